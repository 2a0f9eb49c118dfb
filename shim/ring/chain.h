/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptor chains: walking them in private memory and checking their form (virtio 1.x, "The
 * Virtqueue Descriptor Table", "Indirect Descriptors"). What memory is, is not known here.
 */
#ifndef XVS_RING_CHAIN_H
#define XVS_RING_CHAIN_H

#include "ring/guest_ring.h"

#include <stddef.h>

#define CHAIN_MAX 256u /* descriptors of a chain */

/* One descriptor of a chain, in order, private. */
struct chain_desc {
	uint64_t daddr;
	uint32_t len;
	bool writable; /* device-writable */
};

/* Why a chain was refused, in words for a log line; NULL if it was not. */
typedef const char *chain_error;

/*
 * Walks the chain that begins at head in the ring's own table. A single indirect descriptor is
 * returned as it is in *indirect (len of 0 otherwise). At most max descriptors go to out; *n
 * tells how many.
 */
chain_error chain_walk_ring(const struct guest_ring *r, uint16_t head, struct vring_desc *indirect,
			    struct chain_desc *out, unsigned int max, unsigned int *n);

/* Form of an indirect descriptor's table: length and bounds. */
chain_error chain_check_indirect(const struct vring_desc *indirect, unsigned int max);

/* Walks a private copy of an indirect table of `entries` descriptors. */
chain_error chain_walk_table(const struct vring_desc *table, unsigned int entries,
			     struct chain_desc *out, unsigned int max, unsigned int *n);

/* Form of the whole chain: no empty buffer, device-readable first. *readable and *writable get
 * the number of bytes of each kind. */
chain_error chain_check(const struct chain_desc *d, unsigned int n, uint64_t *readable,
			uint64_t *writable);

#endif
