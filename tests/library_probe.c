/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * library_probe BDF: libxvshim on the Xen it runs on, built like any program of another project:
 * the public header, the shared library, and for a second opinion Xen's own library. BDF: a nested
 * device that dom0's virtio-pci has and nobody uses.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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

int main(int argc, char **argv)
{
	struct xvs *xvs;

	if (xvs_open(XVS_MEMORY | XVS_OWN | XVS_GRANTS, &xvs) || argc != 2)
		return perror("library_probe"), 1;
	probe_memory(xvs);
	probe_grants(xvs);
	xvs_close(xvs);
	probe_pci(argv[1]);
	printf("library_probe: %u failures\n", failures);
	return failures != 0;
}
