/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine in a folder, for the survey: what /sys, /proc and Xen would say of it. */
#ifndef XVS_TESTS_SURVEY_TREE_H
#define XVS_TESTS_SURVEY_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As the virtio bus shows them, from bit 0: VERSION_1 and what the name says. */
#define FEATURES_MODERN "0000000000000000000000000000000010000000000000000000000000000000\n"
#define FEATURES_PLATFORM "0000000000000000000000000000000011000000000000000000000000000000\n"
#define FEATURES_ORDER "0000000000000000000000000000000010001000000000000000000000000000\n"

extern char tree_root[64];

void tree_make(void);
void tree_forget(void);

/* Files below the folder, made with the folders above them. */
void put(const char *name, const void *data, size_t len);
void put_text(const char *name, const char *text);
void put_link(const char *name, const char *target);
bool get_text(const char *name, char *text, size_t size);
void tree_remove(const char *name);

/* A virtio function; with caps: its four capabilities in BAR 4. */
void modern_config(uint8_t cfg[256], uint16_t vendor, uint16_t device, uint16_t subsystem,
		   bool caps);
/* driver and features NULL: none. len: as much of cfg as is to be seen. */
void put_device(const char *bdf, const uint8_t cfg[256], size_t len, const char *driver,
		const char *name, const char *features);
/* A dom0; what Xen says as `xl info` prints it. */
void put_xen(bool iommu, bool pvh);

#endif
