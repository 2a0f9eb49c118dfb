/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of each virtio device type: whether it can be given to a guest through this
 * transport, which of its feature bits pass, and which config fields count descriptors.
 * Numbers are those of virtio 1.x, "Device Types".
 */
#ifndef XVS_POLICY_TYPES_H
#define XVS_POLICY_TYPES_H

#include <stdbool.h>
#include <stdint.h>

struct vtype {
	uint32_t device_id;
	const char *name;
	const char *refuse;    /* NULL, or why a guest cannot have one */
	unsigned int config_len; /* bytes of config space that the passed features need */
	uint64_t feature_mask; /* type-specific bits that may pass from the device */
	uint64_t feature_add;  /* bits offered even if the device does not: this transport's */

	/*
	 * Rewrites what counts or sizes descriptors in a copy of config space, `len` bytes of
	 * it. features: what the *device* offers, that is which fields mean anything.
	 * max_pages: pages a chain may cover after translation. NULL: nothing to rewrite.
	 */
	void (*limit_config)(uint8_t *config, unsigned int len, uint64_t features,
			     unsigned int max_pages);

	/*
	 * What the last device-writable byte of a request says of one that failed, where that byte
	 * is how a request ended; 0: it is not.
	 */
	uint8_t error_status;

	/* May a driver write these bytes of config space? NULL: none. */
	bool (*config_writable)(unsigned int off, unsigned int len);
};

/* NULL: not a type of the specification. */
const struct vtype *vtype_find(uint32_t device_id);

/* For messages: a name also where there is no entry. */
const char *vtype_name(uint32_t device_id);

#endif
