/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening a device that was taken: its registers, its type. */
#include "dev/xpci.h"
#include "lib/mmio.h"
#include "lib/virtio_cap.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>

/* What config space says, read once. */
struct facts {
	uint8_t cfg[PCI_CONFIG_SIZE];
	struct virtio_layout layout;
};

static int map_region(struct xpci *x, const struct virtio_region *r, volatile uint8_t **at)
{
	volatile void *va;
	int rc;

	if (!r->len)
		return 0;
	rc = xvs_pci_bar(x->pci, r->bar, &va);
	if (!rc)
		*at = (volatile uint8_t *)va + r->off;
	return rc;
}

static int map_registers(struct xpci *x, const struct facts *facts)
{
	const struct virtio_layout *l = &facts->layout;
	int rc = map_region(x, &l->common, &x->common);

	if (!rc)
		rc = map_region(x, &l->notify, &x->notify);
	if (!rc)
		rc = map_region(x, &l->isr, &x->isr);
	if (!rc)
		rc = map_region(x, &l->device, &x->device);
	x->notify_len = l->notify.len;
	x->notify_multiplier = l->notify_multiplier;
	return rc;
}

static uint16_t config16(const struct facts *facts, unsigned int off)
{
	return (uint16_t)(facts->cfg[off] | facts->cfg[off + 1] << 8);
}

static int gather(struct xvs_pci *pci, struct facts *facts)
{
	struct pci_bar bar[PCI_NR_BARS] = { 0 };
	int rc = xvs_pci_config_read(pci, 0, facts->cfg, sizeof(facts->cfg));

	if (rc)
		return rc;
	if (config16(facts, PCI_VENDOR_ID) == 0xffff)
		return -ENODEV;
	for (unsigned int i = 0; i < PCI_NR_BARS; i++) {
		bar[i].len = xvs_pci_bar_size(pci, i);
		bar[i].memory = bar[i].len;
	}
	return virtio_cap_parse(facts->cfg, bar, &facts->layout);
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

int xpci_open(struct xvs_pci *pci, struct xdev **dev)
{
	struct facts facts;
	struct xpci *x = calloc(1, sizeof(*x));
	int rc;

	if (!x)
		return -ENOMEM;
	x->pci = pci;
	rc = gather(pci, &facts);
	if (!rc)
		rc = map_registers(x, &facts);
	if (!rc)
		rc = describe(x, &facts);
	/* Who had it before may have left it with rings in memory that is another one's now. */
	if (!rc)
		rc = xvs_pci_reset(pci);
	if (!rc)
		rc = xvs_pci_bus_master(pci, true);
	if (rc)
		goto err_close;
	*dev = &x->dev;
	return 0;

err_close:
	xpci_ops.close(&x->dev);
	return rc;
}
