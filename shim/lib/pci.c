/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A function that was taken: its files, config space, BARs, bus mastering, interrupt. */
#include "lib/pci.h"
#include "lib/uio.h"
#include "lib/virtio_cap.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(XVS_DRIVER_SIZE == PCI_NAME_SIZE && XVS_PCI_BARS == PCI_NR_BARS, "sizes");

static size_t offset_in_page(const struct pci_bar *bar)
{
	return bar->start % (size_t)sysconf(_SC_PAGESIZE);
}

/* The whole of a BAR and not a page more: the kernel refuses that. */
static int map_bar(struct xvs_pci *pci, unsigned int i)
{
	size_t len = offset_in_page(&pci->bar[i]) + pci->bar[i].len;
	char file[16];
	int fd, rc = 0;
	void *va;

	snprintf(file, sizeof(file), "resource%u", i);
	fd = pci_open(pci->bdf, file, O_RDWR);
	if (fd < 0)
		return fd;
	va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (va == MAP_FAILED)
		rc = -errno;
	else
		pci->map[i] = (struct pci_map){ va, len };
	close(fd);
	return rc;
}

size_t xvs_pci_bar_size(const struct xvs_pci *pci, unsigned int bar)
{
	return bar < PCI_NR_BARS && pci->bar[bar].memory ? pci->bar[bar].len : 0;
}

int xvs_pci_bar(struct xvs_pci *pci, unsigned int bar, volatile void **va)
{
	int rc = 0;

	if (!xvs_pci_bar_size(pci, bar))
		return -ENOENT;
	if (!pci->map[bar].va)
		rc = map_bar(pci, bar);
	if (!rc)
		*va = (char *)pci->map[bar].va + offset_in_page(&pci->bar[bar]);
	return rc;
}

static int write_command(struct xvs_pci *pci)
{
	uint16_t le = htole16(pci->command);
	ssize_t put = pwrite(pci->config, &le, sizeof(le), PCI_COMMAND);

	if (put < 0)
		return -errno;
	return put == sizeof(le) ? 0 : -EIO;
}

int xvs_pci_bus_master(struct xvs_pci *pci, bool on)
{
	if (on)
		pci->command |= PCI_COMMAND_MASTER;
	else
		pci->command &= (uint16_t)~PCI_COMMAND_MASTER;
	return write_command(pci);
}

/* Where the status of a virtio device stands, so that it can be reset without a driver. */
static int find_status(struct xvs_pci *pci, const uint8_t cfg[PCI_CONFIG_SIZE])
{
	struct virtio_layout layout;
	volatile void *va;
	int rc;

	if (virtio_cap_parse(cfg, pci->bar, &layout))
		return 0;
	rc = xvs_pci_bar(pci, layout.common.bar, &va);
	if (!rc)
		pci->status = (volatile uint8_t *)va + layout.common.off +
			      VIRTIO_PCI_COMMON_STATUS;
	return rc;
}

static int open_files(struct xvs_pci *pci)
{
	uint8_t cfg[PCI_CONFIG_SIZE];
	int rc = pci_config(pci->bdf, cfg, sizeof(cfg));

	if (!rc)
		rc = pci_bars(pci->bdf, pci->bar);
	if (rc)
		return rc;
	if (cfg[PCI_VENDOR_ID] == 0xff && cfg[PCI_VENDOR_ID + 1] == 0xff)
		return -ENODEV;
	/* In this order: bus mastering only holds while the UIO file is open. */
	pci->uio = uio_open(pci->bdf);
	if (pci->uio < 0)
		return pci->uio;
	pci->config = pci_open(pci->bdf, "config", O_RDWR);
	if (pci->config < 0)
		return pci->config;
	pci->command = (uint16_t)(cfg[PCI_COMMAND] | cfg[PCI_COMMAND + 1] << 8);
	pci->command |= PCI_COMMAND_MEMORY;
	pci->command &= (uint16_t)~(PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	rc = write_command(pci);
	return rc ? rc : find_status(pci, cfg);
}

int pci_open_function(const char *bdf, struct xvs_pci **pci)
{
	struct xvs_pci *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return -ENOMEM;
	p->uio = -1;
	p->config = -1;
	rc = pci_bdf_parse(bdf, p->bdf);
	if (!rc)
		rc = open_files(p);
	if (rc)
		xvs_pci_close(p);
	else
		*pci = p;
	return rc;
}

void xvs_pci_close(struct xvs_pci *pci)
{
	if (!pci)
		return;
	for (int i = 0; i < PCI_NR_BARS; i++)
		if (pci->map[i].va)
			munmap(pci->map[i].va, pci->map[i].len);
	if (pci->config >= 0)
		close(pci->config);
	if (pci->uio >= 0)
		close(pci->uio);
	free(pci);
}

const char *xvs_pci_driver(const struct xvs_pci *pci)
{
	return pci->driver;
}

static int moved(ssize_t done, size_t len)
{
	if (done < 0)
		return -errno;
	return (size_t)done == len ? 0 : -ERANGE;
}

int xvs_pci_config_read(struct xvs_pci *pci, unsigned int off, void *buf, size_t len)
{
	return moved(pread(pci->config, buf, len, off), len);
}

int xvs_pci_config_write(struct xvs_pci *pci, unsigned int off, const void *buf, size_t len)
{
	if (off < PCI_COMMAND + 2 && len > PCI_COMMAND - (off < PCI_COMMAND ? off : PCI_COMMAND))
		return -EPERM;
	return moved(pwrite(pci->config, buf, len, off), len);
}

int xvs_pci_irq_fd(const struct xvs_pci *pci)
{
	return pci->uio;
}

int xvs_pci_irq_take(struct xvs_pci *pci)
{
	return uio_take_irq(pci->uio);
}

/* The kernel masks it in the command register when it comes. */
int xvs_pci_irq_unmask(struct xvs_pci *pci)
{
	return write_command(pci);
}
