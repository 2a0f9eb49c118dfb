/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to virtio_pci.c and xpci_open.c: a virtio-pci device with its registers mapped. */
#ifndef XVS_DEV_XPCI_H
#define XVS_DEV_XPCI_H

#include "dev/virtio_pci.h"

struct xpci {
	struct xdev dev;
	struct xvs_pci *pci; /* not ours */
	volatile uint8_t *common, *notify, *isr, *device;
	uint32_t notify_len, notify_multiplier;
	volatile uint8_t **doorbell; /* of each queue that was enabled */
};

extern const struct xdev_ops xpci_ops;

#endif
