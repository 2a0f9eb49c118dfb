/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptor chains: walking them in private memory and checking their form (virtio 1.x, "The
 * Virtqueue Descriptor Table", "Indirect Descriptors"). What memory is, is not known here.
 */
#ifndef XVS_RING_CHAIN_H
#define XVS_RING_CHAIN_H

#include "ring/guest_ring.h"
#include "util/refused.h"

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

static inline void chain_take(struct chain_desc *out, const struct vring_desc *d)
{
	out->daddr = d->addr;
	out->len = d->len;
	out->writable = d->flags & VRING_DESC_F_WRITE;
}

/*
 * Walks the chain that begins at head in the ring's own table. A single indirect descriptor is
 * returned as it is in *indirect (len of 0 otherwise). At most max descriptors, which is not 0, go to
 * out; *n tells how many.
 */
static inline chain_error chain_walk_ring(const struct guest_ring *r, uint16_t head,
					  struct vring_desc *indirect, struct chain_desc *out,
					  unsigned int max, unsigned int *n)
{
	const unsigned int size = r->size, most = size < max ? size : max;
	struct vring_desc d;
	unsigned int index = head, count = 0;

	indirect->len = 0;
	*n = 0;
	if (refused(index >= size))
		return "head outside the descriptor table";
	for (;;) {
		guest_ring_desc(r, index, &d);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (refused(count || (d.flags & VRING_DESC_F_NEXT)))
				return "indirect descriptor within a chain";
			if (refused(!d.len))
				return "indirect table of length 0";
			*indirect = d;
			return NULL;
		}
		chain_take(&out[count++], &d);
		if (!(d.flags & VRING_DESC_F_NEXT))
			break;
		index = d.next;
		if (refused(index >= size))
			return "descriptor index outside the table";
		if (refused(count == most))
			return "descriptor chain loops or is too long";
	}
	*n = count;
	return NULL;
}

/* Form of an indirect descriptor's table: length and bounds. */
chain_error chain_check_indirect(const struct vring_desc *indirect, unsigned int max);

/* Walks a private copy of an indirect table of `entries` descriptors. */
chain_error chain_walk_table(const struct vring_desc *table, unsigned int entries,
			     struct chain_desc *out, unsigned int max, unsigned int *n);

/* Bytes of a chain of each kind, while it is gone through. */
struct chain_sum {
	uint64_t readable, writable;
};

/* Form of the next descriptor of a chain: no empty buffer, device-readable first. */
static inline chain_error chain_check_next(const struct chain_desc *d, struct chain_sum *sum)
{
	if (refused(!d->len))
		return "descriptor of length 0";
	if (d->writable) {
		sum->writable += d->len;
		return NULL;
	}
	if (refused(sum->writable))
		return "device-readable descriptor behind a device-writable one";
	sum->readable += d->len;
	return NULL;
}

/* At the end of the chain. */
static inline chain_error chain_check_sum(const struct chain_sum *sum)
{
	if (refused((sum->writable | sum->readable) > UINT32_MAX))
		return "sum of lengths overflows";
	return NULL;
}

#endif
