/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a PCI function is, and whether dom0 uses what stands behind it. */
#include "dev/virtio_pci.h"
#include "lib/dev_use.h"
#include "lib/virtio_cap.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>

#define VIRTIO_VENDOR 0x1af4
#define TRANSITIONAL_FIRST 0x1000
#define MODERN_FIRST 0x1040
#define MODERN_LAST 0x107f

#define CLASS_STORAGE 0x01
#define CLASS_NETWORK 0x02

uint32_t xpci_type(uint16_t vendor, uint16_t device, uint16_t subsystem, uint32_t class)
{
	if (vendor == VIRTIO_VENDOR) {
		if (device >= MODERN_FIRST && device <= MODERN_LAST)
			return device - MODERN_FIRST;
		/* "Legacy Interfaces: A Note on PCI Device Discovery" */
		if (device >= TRANSITIONAL_FIRST && device < MODERN_FIRST)
			return subsystem;
		return 0;
	}
	/* Silicon of other vendors has only its class to tell; two are beyond doubt. */
	switch (class >> 16) {
	case CLASS_STORAGE:
		return VIRTIO_ID_BLOCK;
	case CLASS_NETWORK:
		return VIRTIO_ID_NET;
	default:
		return 0;
	}
}

static uint16_t le16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static int identify(const uint8_t *cfg, struct xpci_info *info)
{
	uint32_t class = (uint32_t)cfg[PCI_CLASS_PROG] | (uint32_t)cfg[PCI_CLASS_DEVICE] << 8 |
			 (uint32_t)cfg[PCI_CLASS_DEVICE + 1] << 16;

	info->vendor = le16_at(cfg + PCI_VENDOR_ID);
	info->device = le16_at(cfg + PCI_DEVICE_ID);
	info->transitional = info->vendor == VIRTIO_VENDOR && info->device < MODERN_FIRST;
	info->virtio_type = xpci_type(info->vendor, info->device,
				      le16_at(cfg + PCI_SUBSYSTEM_ID), class);
	if (info->vendor == 0xffff)
		return -ENODEV;
	return info->virtio_type ? 0 : -ENOTSUP;
}

static int examine(struct xpci_info *info, char *why, size_t size)
{
	struct pci_bar bar[PCI_NR_BARS];
	uint8_t cfg[PCI_CONFIG_SIZE];
	struct virtio_layout layout;
	int rc = pci_config(info->bdf, cfg, sizeof(cfg));

	if (!rc)
		rc = pci_bars(info->bdf, bar);
	if (rc) {
		snprintf(why, size, "%s: cannot read its config space: %s", info->bdf,
			 strerror(-rc));
		return rc;
	}
	rc = identify(cfg, info);
	if (!rc)
		rc = virtio_cap_parse(cfg, bar, &layout);
	if (rc == -ENODEV)
		snprintf(why, size, "%s: the device does not answer", info->bdf);
	else if (rc == -EPROTO)
		snprintf(why, size, "%s: its virtio capabilities are malformed", info->bdf);
	else if (rc && info->transitional && info->virtio_type)
		snprintf(why, size, "%s: a legacy virtio device without the modern interface",
			 info->bdf);
	else if (rc)
		snprintf(why, size, "%s: not a virtio device (%04x:%04x)", info->bdf,
			 info->vendor, info->device);
	return rc == -ENOENT ? -ENOTSUP : rc;
}

static int check_use(struct xpci_info *info, char *why, size_t size)
{
	char path[4096], reason[64];
	int rc = pci_real_path(info->bdf, path, sizeof(path));

	if (!rc)
		rc = dev_in_use(path, info->consumer, sizeof(info->consumer), reason,
				sizeof(reason));
	if (rc == 1) {
		snprintf(why, size, "%s: in use by dom0: %s is %s", info->bdf, info->consumer,
			 reason);
		return -EBUSY;
	}
	if (rc)
		snprintf(why, size, "%s: cannot tell whether it is in use: %s", info->bdf,
			 strerror(-rc));
	return rc;
}

int xpci_check(const char *bdf, struct xpci_info *info, char *why, size_t size)
{
	int rc;

	memset(info, 0, sizeof(*info));
	if (pci_bdf_parse(bdf, info->bdf)) {
		snprintf(why, size, "%.32s: not a PCI address (want SSSS:BB:DD.F, lower case)", bdf);
		return -EINVAL;
	}
	if (!pci_exists(info->bdf)) {
		snprintf(why, size, "%s: no such PCI device", info->bdf);
		return -ENODEV;
	}
	rc = examine(info, why, size);
	if (rc)
		return rc;
	rc = pci_driver(info->bdf, info->driver);
	if (rc) {
		snprintf(why, size, "%s: cannot read its driver: %s", info->bdf, strerror(-rc));
		return rc;
	}
	return check_use(info, why, size);
}
