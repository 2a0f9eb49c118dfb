/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A PCI function as sysfs shows it. Names are parsed strictly before any of them becomes part of
 * a path. Errors: negative errno.
 */
#ifndef XVS_LIB_PCI_SYSFS_H
#define XVS_LIB_PCI_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCI_BDF_SIZE 13 /* SSSS:BB:DD.F and the end */
#define PCI_NAME_SIZE 64
#define PCI_NR_BARS 6
#define PCI_CONFIG_SIZE 256

struct pci_bar {
	uint64_t start, len; /* len 0: not there */
	bool memory;         /* not I/O ports */
};

/* Copies it. -EINVAL unless it reads SSSS:BB:DD.F in lower case, as sysfs spells it. */
int pci_bdf_parse(const char *text, char bdf[PCI_BDF_SIZE]);
/* A driver's name that is safe in a path. */
bool pci_name_ok(const char *name);

bool pci_exists(const char *bdf);
/* A number that no other device has that ever had or will have this address, until the next boot. */
int pci_instance(const char *bdf, uint64_t *instance);
/* The first bytes of config space; -EACCES when the kernel shows less than want. */
int pci_config(const char *bdf, uint8_t *cfg, size_t want);
int pci_bars(const char *bdf, struct pci_bar bar[PCI_NR_BARS]);
/* Opens a file of the device's folder. */
int pci_open(const char *bdf, const char *file, int flags);
/* The device's folder without symbolic links. */
int pci_real_path(const char *bdf, char *path, size_t size);

/* Empty when none. */
int pci_driver(const char *bdf, char name[PCI_NAME_SIZE]);
bool pci_driver_loaded(const char *driver);
int pci_bind(const char *bdf, const char *driver);
int pci_unbind(const char *bdf, const char *driver);
/* Only this driver may bind from now on; "" lifts it. */
int pci_override(const char *bdf, const char *driver);
/* Lifts it where it names this driver. */
int pci_lift_override(const char *bdf, const char *driver);

#endif
