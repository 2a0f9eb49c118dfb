/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * library_probe VIRTIO [EDU]: libxvshim on the Xen it runs on, built like any program of another
 * project: the public header, the shared library, and for a second opinion Xen's own library.
 * VIRTIO: the address of a nested device that dom0's virtio-pci has and nobody uses. EDU: that of
 * QEMU's device of this name, which copies between memory and a buffer of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xengnttab.h>
#include <xvshim/xvshim.h>

#define PAGE 4096u
#define GRANTS 500u

static unsigned int failures;

static void check(bool ok, const char *what)
{
	printf("%s %s\n", ok ? "ok  " : "FAIL", what);
	fflush(stdout);
	failures += !ok;
}

static uint64_t pfn_of(const void *va)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)va / PAGE * sizeof(entry))) < 0)
		perror("pagemap");
	close(fd);
	return entry & ((1ull << 55) - 1);
}

static void probe_memory(struct xvs *xvs)
{
	unsigned int touching = 0;
	uint64_t maddr, same;
	bool right = true;
	struct xvs_dma *dma;
	size_t part;
	char *va;

	check(!xvs_dma_alloc(xvs, 64 * PAGE, &dma), "memory");
	va = xvs_dma_va(dma);
	for (size_t off = 0; off < 64 * PAGE; off += PAGE) {
		right = right && !va[off] && !xvs_dma_maddr(dma, off, PAGE, &maddr, NULL) &&
			!xvs_translate(xvs, va + off, PAGE, &same, NULL) && maddr == same;
		right = right && !xvs_translate_pfn(xvs, pfn_of(va + off), &same) && maddr == same;
		touching += maddr / PAGE == pfn_of(va + off);
	}
	check(right, "Xen's answer (a device map) and the kernel's (its p2m) are the same address");
	check(touching == 0, "and never the frame number that pagemap shows");
	check(!xvs_dma_maddr(dma, 12, 64 * PAGE - 12, &maddr, &part) && part >= PAGE - 12 &&
		      (part == 64 * PAGE - 12 ||
		       xvs_dma_maddr(dma, 12, part + 1, &maddr, NULL) == -EXDEV),
	      "the contiguous part ends where it says");
	check(xvs_translate(xvs, NULL, 1, &maddr, NULL) == -EFAULT, "nothing is at NULL");
	xvs_dma_free(dma);
}

/* Pages of this domain, granted to itself by Xen's own library: a stand-in for another domain. */
static void probe_grants(struct xvs *xvs)
{
	static struct xvs_grant g[GRANTS + 1];
	xengntshr_handle *shr = xengntshr_open(NULL, 0);
	static uint32_t ref[GRANTS];
	bool right = true;
	uint64_t maddr;
	char *va;

	va = xengntshr_share_pages(shr, 0, GRANTS, ref, 0);
	if (!va)
		return check(false, "pages to grant");
	for (unsigned int i = 0; i < GRANTS; i++)
		g[i] = (struct xvs_grant){ .gref = ref[i], .flags = XVS_GRANT_READONLY };
	g[GRANTS].gref = 0x7ffffff;
	check(xvs_grant_map(xvs, g, GRANTS + 1) == -ENOENT && g[GRANTS].error == -ENOENT &&
		      g[GRANTS].handle == XVS_NO_HANDLE,
	      "a reference that does not exist fails alone");
	for (unsigned int i = 0; i < GRANTS; i++)
		right = right && !g[i].error && g[i].handle != XVS_NO_HANDLE &&
			!xvs_translate(xvs, va + i * PAGE, PAGE, &maddr, NULL) && maddr == g[i].maddr;
	check(right, "500 grants have the machine addresses of the pages behind them");
	check(!xvs_grant_unmap(xvs, g, GRANTS + 1) && !xvs_grant_unmap(xvs, g, GRANTS + 1),
	      "unmapped, and once more is nothing to do");
	g[0].flags = 0;
	check(xvs_grant_map(xvs, g, 1) == -EIO && g[0].handle == XVS_NO_HANDLE,
	      "what was granted for reading is not mapped for writing");
	xengntshr_unshare(shr, va, GRANTS);
	xengntshr_close(shr);
}

/* What is killed leaves its memory pinned, and its successor undoes that by what was written down. */
static void probe_successor(void)
{
	struct xvs_grant *pin = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				     -1, 0);
	struct xvs_dma *dma;
	struct xvs *xvs = NULL;
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		if (!xvs_open(XVS_MEMORY | XVS_GRANTS, &xvs) && !xvs_dma_alloc(xvs, 8 * PAGE, &dma) &&
		    !xvs_grant_unmap(xvs, NULL, 0) && xvs_dma_pins(dma, pin, 8) == 8)
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	check(WIFSIGNALED(status) && !xvs_open(XVS_GRANTS, &xvs) &&
		      !xvs_grant_unmap(xvs, pin, 8) && pin[7].handle == XVS_NO_HANDLE,
	      "pins of a process that was killed are undone by its successor");
	xvs_close(xvs);
	munmap(pin, PAGE);
}

static void probe_pci(const char *bdf)
{
	char why[XVS_WHY_SIZE] = "", path[96], driver[256] = "";
	struct xvs_pci *pci = NULL;

	check(xvs_pci_take(bdf, 0, &pci, why, sizeof(why)) == -EBUSY, why);
	check(!xvs_pci_take(bdf, XVS_PCI_UNBIND, &pci, why, sizeof(why)), "taken");
	if (!pci)
		return;
	check(!strcmp(xvs_pci_driver(pci), "virtio-pci"), xvs_pci_driver(pci));
	check(!xvs_pci_reset(pci), "reset, confirmed");
	check(xvs_pci_irq_take(pci) == 0 && !xvs_pci_irq_unmask(pci), "no interrupt yet");
	check(!xvs_pci_release(pci, why, sizeof(why)), "released");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", bdf);
	check(readlink(path, driver, sizeof(driver) - 1) > 0 && strstr(driver, "/virtio-pci"),
	      "its driver has it again");
}

/* QEMU's docs/specs/edu.txt */
enum {
	EDU_ID = 0x00, EDU_IRQ_STATUS = 0x24, EDU_IRQ_ACK = 0x64, EDU_FROM = 0x80, EDU_TO = 0x88,
	EDU_COUNT = 0x90, EDU_COMMAND = 0x98, EDU_BUFFER = 0x40000,
	EDU_LEN = 2048, /* QEMU ends itself when all 4096 bytes of the buffer are copied at once */
	EDU_START = 1, EDU_TO_MEMORY = 2, EDU_IRQ = 4,
};

struct edu {
	struct xvs_pci *pci;
	volatile char *bar;
};

static volatile uint32_t *reg32(struct edu *e, unsigned int at)
{
	return (volatile uint32_t *)(e->bar + at);
}

static volatile uint64_t *reg64(struct edu *e, unsigned int at)
{
	return (volatile uint64_t *)(e->bar + at);
}

/* One copy, awaited by interrupt. */
static bool copy(struct edu *e, uint64_t from, uint64_t to, unsigned int direction)
{
	struct pollfd p = { .fd = xvs_pci_irq_fd(e->pci), .events = POLLIN };
	bool came;

	*reg64(e, EDU_FROM) = from;
	*reg64(e, EDU_TO) = to;
	*reg64(e, EDU_COUNT) = EDU_LEN;
	*reg64(e, EDU_COMMAND) = EDU_START | EDU_IRQ | direction;
	came = poll(&p, 1, 5000) == 1 && xvs_pci_irq_take(e->pci) == 1 &&
	       xvs_pci_irq_take(e->pci) == 0;
	*reg32(e, EDU_IRQ_ACK) = *reg32(e, EDU_IRQ_STATUS);
	return !xvs_pci_irq_unmask(e->pci) && came;
}

static bool all_are(const char *page, char byte)
{
	return page[0] == byte && !memcmp(page, page + 1, PAGE - 1);
}

static void probe_copies(struct edu *e, struct xvs_dma *dma)
{
	char *va = xvs_dma_va(dma);
	uint64_t from, to;

	check(!xvs_dma_maddr(dma, 0, PAGE, &from, NULL) &&
		      !xvs_dma_maddr(dma, 2 * PAGE, PAGE, &to, NULL),
	      "two pages for a device");
	for (unsigned int i = 0; i < PAGE; i++)
		va[i] = (char)(i * 7 + i / 256);
	memset(va + 2 * PAGE, 'a', PAGE);
	check(!xvs_pci_bus_master(e->pci, true) && copy(e, from, EDU_BUFFER, 0) &&
		      copy(e, EDU_BUFFER, to, EDU_TO_MEMORY) && !memcmp(va, va + 2 * PAGE, EDU_LEN),
	      "a device copies one to the other by their machine addresses, with interrupts");
	check(all_are(va + PAGE, 0), "and leaves the page between alone");
	memset(va + 2 * PAGE, 'a', PAGE);
	check(!xvs_pci_bus_master(e->pci, false) && copy(e, EDU_BUFFER, to, EDU_TO_MEMORY) &&
		      all_are(va + 2 * PAGE, 'a'),
	      "without bus mastering it copies nothing");
}

static void probe_edu(const char *bdf)
{
	char why[XVS_WHY_SIZE] = "", path[96], driver[256];
	volatile void *va = NULL;
	struct edu e = { 0 };
	struct xvs_dma *dma;
	struct xvs *xvs;
	int rc;

	if (xvs_open(XVS_MEMORY, &xvs) || xvs_dma_alloc(xvs, 3 * PAGE, &dma) ||
	    xvs_pci_take(bdf, 0, &e.pci, why, sizeof(why)))
		return check(false, why);
	check(!*xvs_pci_driver(e.pci) && xvs_pci_bar_size(e.pci, 0) == 1 << 20 &&
		      !xvs_pci_bar(e.pci, 0, &va),
	      "a device that is no virtio device and has no driver");
	e.bar = va;
	check((*reg32(&e, EDU_ID) & 0xff) == 0xed, "it answers");
	probe_copies(&e, dma);
	rc = xvs_pci_reset(e.pci);
	check(rc == -EOPNOTSUPP || !rc, rc ? "the kernel knows no reset of it" : "reset");
	xvs_pci_bus_master(e.pci, true);
	check(!xvs_pci_release(e.pci, why, sizeof(why)), "released");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", bdf);
	check(readlink(path, driver, sizeof(driver)) < 0 && errno == ENOENT, "to no driver");
	xvs_dma_free(dma);
	xvs_close(xvs);
}

int main(int argc, char **argv)
{
	struct xvs *xvs;

	if (argc < 2 || xvs_open(XVS_MEMORY | XVS_OWN | XVS_GRANTS, &xvs))
		return perror("library_probe"), 1;
	probe_memory(xvs);
	probe_grants(xvs);
	xvs_close(xvs);
	probe_successor();
	probe_pci(argv[1]);
	if (argc > 2)
		probe_edu(argv[2]);
	printf("library_probe: %u failures\n", failures);
	return failures != 0;
}
