/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A nested virtio-pci device, modern interface: look at it, and drive it as a struct xdev. The
 * library takes it from dom0's driver and gives it back.
 *
 * Errors: negative errno, and where there is a parameter `why`, one line for the user. Nothing
 * here logs.
 */
#ifndef XVS_DEV_VIRTIO_PCI_H
#define XVS_DEV_VIRTIO_PCI_H

#include "dev/dev.h"
#include "lib/pci_sysfs.h"

#include <xvshim/xvshim.h>

struct xpci_info {
	char bdf[PCI_BDF_SIZE];
	uint16_t vendor, device;
	uint32_t virtio_type;
	bool transitional;            /* speaks the legacy interface as well */
	char driver[PCI_NAME_SIZE];   /* that holds it now; empty: none */
	char consumer[PCI_NAME_SIZE]; /* the disk or interface in use; empty: none */
};

/*
 * Looks and changes nothing. 0; -EINVAL no BDF; -ENODEV no such device; -ENOTSUP not virtio, or
 * legacy only; -EPROTO malformed; -EACCES; -EBUSY somebody uses the disk or network interface
 * behind it (info is complete then).
 */
int xpci_check(const char *bdf, struct xpci_info *info, char *why, size_t size);

/*
 * Drives a device that was taken (xvs_pci_take), which stays the caller's, open for longer than
 * *dev. Nothing is reset; bus mastering is on afterwards. The operations open no file and work in a
 * forked child as well; of two processes only one may use it at a time. queue_size_max is right
 * after a reset.
 */
int xpci_open(struct xvs_pci *pci, struct xdev **dev);

/*
 * The feature bits a device offers, without taking it. may_select false: nothing is written, for
 * somebody may be driving it; then only half of the bits is known, or none. true: only where no
 * driver holds it. known: which bits of features mean anything. -ENXIO its registers are switched
 * off; -EINVAL the kernel does not let anybody map registers that its driver holds; else as
 * xpci_check. Features of a device whose modern interface is missing: -ENOENT.
 */
int xpci_peek(const char *bdf, bool may_select, uint64_t *features, uint64_t *known);

/*
 * Resets a device that somebody else may be driving, and sees it confirmed: within a second, else
 * -ETIMEDOUT. Afterwards it writes to no ring that it was told of. Errors as of xpci_peek.
 */
int xpci_stop(const char *bdf);

/* The virtio device type that the ids say; 0: none. Class: the three bytes of config space. */
uint32_t xpci_type(uint16_t vendor, uint16_t device, uint16_t subsystem, uint32_t class);

#endif
