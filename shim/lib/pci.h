/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to pci*.c: a PCI function that is open. */
#ifndef XVS_LIB_PCI_H
#define XVS_LIB_PCI_H

#include "lib/pci_sysfs.h"

#include <xvshim/xvshim.h>

struct pci_map {
	void *va;
	size_t len;
};

struct xvs_pci {
	char bdf[PCI_BDF_SIZE];
	char driver[PCI_NAME_SIZE]; /* that it was taken from */
	int uio, config;
	uint16_t command; /* of config space, with the interrupt unmasked */
	struct pci_bar bar[PCI_NR_BARS];
	struct pci_map map[PCI_NR_BARS];
	volatile uint8_t *status; /* "Device Status Field"; NULL: no modern virtio device */
};

/* Opens what uio_pci_generic has. The caller says what driver had it before. */
int pci_open_function(const char *bdf, struct xvs_pci **pci);

#endif
