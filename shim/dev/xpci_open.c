/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening a device that was taken: its files, its registers, bus mastering. */
#include "dev/mmio.h"
#include "dev/uio.h"
#include "dev/virtio_cap.h"
#include "dev/xpci.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What config space and sysfs say, read once. */
struct facts {
	char bdf[PCI_BDF_SIZE];
	uint8_t cfg[PCI_CONFIG_SIZE];
	struct pci_bar bar[PCI_NR_BARS];
	struct virtio_layout layout;
};

static size_t offset_in_page(const struct pci_bar *bar)
{
	return bar->start % (size_t)sysconf(_SC_PAGESIZE);
}

/* The whole of a BAR and not a page more: the kernel refuses that. */
static int map_bar(struct xpci *x, const struct facts *facts, unsigned int i)
{
	size_t len = offset_in_page(&facts->bar[i]) + facts->bar[i].len;
	char file[16];
	int fd, rc = 0;
	void *va;

	if (x->bar[i].va)
		return 0;
	snprintf(file, sizeof(file), "resource%u", i);
	fd = pci_open(facts->bdf, file, O_RDWR);
	if (fd < 0)
		return fd;
	va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (va == MAP_FAILED)
		rc = -errno;
	else
		x->bar[i] = (struct xpci_map){ va, len };
	close(fd);
	return rc;
}

static int map_region(struct xpci *x, const struct facts *facts, const struct virtio_region *r,
		      volatile uint8_t **at)
{
	int rc;

	if (!r->len)
		return 0;
	rc = map_bar(x, facts, r->bar);
	if (!rc)
		*at = (volatile uint8_t *)x->bar[r->bar].va +
		      offset_in_page(&facts->bar[r->bar]) + r->off;
	return rc;
}

static int map_registers(struct xpci *x, const struct facts *facts)
{
	const struct virtio_layout *l = &facts->layout;
	int rc = map_region(x, facts, &l->common, &x->common);

	if (!rc)
		rc = map_region(x, facts, &l->notify, &x->notify);
	if (!rc)
		rc = map_region(x, facts, &l->isr, &x->isr);
	if (!rc)
		rc = map_region(x, facts, &l->device, &x->device);
	x->notify_len = l->notify.len;
	x->notify_multiplier = l->notify_multiplier;
	return rc;
}

static uint16_t config16(const struct facts *facts, unsigned int off)
{
	return (uint16_t)(facts->cfg[off] | facts->cfg[off + 1] << 8);
}

static int gather(const char *bdf, struct facts *facts)
{
	int rc = pci_bdf_parse(bdf, facts->bdf);

	if (!rc)
		rc = pci_config(facts->bdf, facts->cfg, sizeof(facts->cfg));
	if (!rc && config16(facts, PCI_VENDOR_ID) == 0xffff)
		rc = -ENODEV;
	if (!rc)
		rc = pci_bars(facts->bdf, facts->bar);
	return rc ? rc : virtio_cap_parse(facts->cfg, facts->bar, &facts->layout);
}

/* In this order: bus mastering only holds while the UIO file is open. */
static int open_files(struct xpci *x, const struct facts *facts)
{
	x->uio = uio_open(facts->bdf);
	if (x->uio < 0)
		return x->uio;
	x->config = pci_open(facts->bdf, "config", O_RDWR);
	if (x->config < 0)
		return x->config;
	x->command = config16(facts, PCI_COMMAND) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	x->command &= (uint16_t)~PCI_COMMAND_INTX_DISABLE;
	return xpci_write_command(x);
}

static int describe(struct xpci *x, const struct facts *facts)
{
	uint32_t class = (uint32_t)config16(facts, PCI_CLASS_DEVICE) << 8;
	uint16_t queues = mmio_read16(x->common + VIRTIO_PCI_COMMON_NUMQ);

	if (queues == 0xffff)
		return -ENODEV;
	if (!queues)
		return -EPROTO;
	x->dev.ops = &xpci_ops;
	x->dev.device_id = xpci_type(config16(facts, PCI_VENDOR_ID),
				     config16(facts, PCI_DEVICE_ID),
				     config16(facts, PCI_SUBSYSTEM_ID), class);
	x->dev.vendor_id = config16(facts, PCI_SUBSYSTEM_VENDOR_ID);
	x->dev.num_queues = queues;
	x->dev.config_len = facts->layout.device.len;
	x->doorbell = calloc(queues ? queues : 1u, sizeof(*x->doorbell));
	return x->doorbell ? 0 : -ENOMEM;
}

int xpci_open(const char *bdf, struct xdev **dev, char *why, size_t size)
{
	struct facts facts;
	struct xpci *x = calloc(1, sizeof(*x));
	int rc;

	if (!x)
		return -ENOMEM;
	x->uio = -1;
	x->config = -1;
	rc = gather(bdf, &facts);
	if (!rc)
		rc = open_files(x, &facts);
	if (!rc)
		rc = map_registers(x, &facts);
	if (!rc)
		rc = describe(x, &facts);
	if (rc)
		goto err_close;
	*dev = &x->dev;
	return 0;

err_close:
	snprintf(why, size, "%.32s: cannot open it through UIO: %s", bdf, strerror(-rc));
	xpci_ops.close(&x->dev);
	return rc;
}
