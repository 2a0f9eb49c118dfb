/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a modern virtio-pci device keeps its structures ("Virtio Structure PCI Capabilities").
 * Pure: takes the bytes of config space and the lengths of the BARs, opens nothing.
 */
#ifndef XVS_LIB_VIRTIO_CAP_H
#define XVS_LIB_VIRTIO_CAP_H

#include "lib/pci_sysfs.h"

struct virtio_region {
	uint8_t bar;
	uint32_t off, len; /* len 0: not there */
};

struct virtio_layout {
	struct virtio_region common, notify, isr, device;
	uint32_t notify_multiplier;
};

/*
 * -ENOENT: no virtio capability at all. -ENOTSUP: some, but not the ones that are needed in
 * memory BARs. -EPROTO: one lies outside its BAR or is malformed.
 */
int virtio_cap_parse(const uint8_t cfg[PCI_CONFIG_SIZE], const struct pci_bar bar[PCI_NR_BARS],
		     struct virtio_layout *layout);

#endif
