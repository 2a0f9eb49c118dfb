/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guard: a virtio device that bypasses the IOMMU must not be assigned to a guest as a PCI
 * device, for every address the guest writes would be an address of the machine. The way to an
 * assignment leads through dom0's driver pciback, so that is where the guard looks: when it
 * starts, when the kernel says that a driver took a device, and when the toolstack writes an
 * assignment into the store.
 *
 * It warns, or, with guard = enforce, takes the device from pciback. Is it assigned already, then
 * the guest is paused meanwhile and the device silenced first: no memory decoding, no bus
 * mastering.
 */
#ifndef XVS_DAEMON_GUARD_H
#define XVS_DAEMON_GUARD_H

#include "lib/pci_sysfs.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#define GUARD_SEEN 16

struct keeper;

struct guard {
	const char *root; /* NULL; a test has a folder instead of this machine's files */
	bool due;
	int uevents; /* netlink socket; -1: none */
	ev_io io;
	/* What was warned of, so that it is warned of once. */
	struct guard_seen {
		char bdf[PCI_BDF_SIZE]; /* empty: free */
		int domid;              /* -1: not assigned */
		bool now;               /* found in this round */
	} seen[GUARD_SEEN];
};

/* Watches; the first look is due at once. Where it cannot watch it says so and goes on. */
void guard_open(struct keeper *k, const char *root);
void guard_close(struct keeper *k);

/* Something changed: look in the next turn. */
void guard_kick(struct keeper *k);
/* One look, if one is due. */
void guard_step(struct keeper *k);

#endif
