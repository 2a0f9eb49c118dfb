/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The UIO device of a PCI function: its interrupt as a file descriptor. */
#ifndef XVS_LIB_UIO_H
#define XVS_LIB_UIO_H

#include <stdbool.h>

#define UIO_DRIVER "uio_pci_generic"

/*
 * Opens it, non-blocking. -ENODEV: the function has none. Keep to one open of a device: the
 * kernel clears bus mastering at the end of each (fork shares the one).
 */
int uio_open(const char *bdf);
/* Whether interrupts came since the last time: 1, 0 or a negative errno. */
int uio_take_irq(int fd);

#endif
