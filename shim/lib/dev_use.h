/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether the system uses the disks and network interfaces behind a device. */
#ifndef XVS_LIB_DEV_USE_H
#define XVS_LIB_DEV_USE_H

#include <stddef.h>

/*
 * path: the device's folder in /sys/devices, without links. 1: in use, by the one in `name`, for
 * `reason` ("mounted", "swap", ...); 0: not; or a negative errno. Readers that open a disk
 * without O_EXCL stay unseen.
 */
int dev_in_use(const char *path, char *name, size_t name_size, char *reason, size_t reason_size);

#endif
