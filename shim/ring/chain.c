/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ring/chain.h"

static void take(struct chain_desc *out, const struct vring_desc *d)
{
	out->daddr = d->addr;
	out->len = d->len;
	out->writable = d->flags & VRING_DESC_F_WRITE;
}

chain_error chain_walk_ring(const struct guest_ring *r, uint16_t head, struct vring_desc *indirect,
			    struct chain_desc *out, unsigned int max, unsigned int *n)
{
	struct vring_desc d;
	unsigned int index = head, count = 0;

	indirect->len = 0;
	*n = 0;
	do {
		if (index >= r->size)
			return "descriptor index outside the table";
		if (count == r->size || count == max)
			return "descriptor chain loops or is too long";
		guest_ring_desc(r, index, &d);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (count || (d.flags & VRING_DESC_F_NEXT))
				return "indirect descriptor within a chain";
			if (!d.len)
				return "indirect table of length 0";
			*indirect = d;
			return NULL;
		}
		take(&out[count++], &d);
		index = d.next;
	} while (d.flags & VRING_DESC_F_NEXT);
	*n = count;
	return NULL;
}

chain_error chain_check_indirect(const struct vring_desc *indirect, unsigned int max)
{
	if (!indirect->len || indirect->len % sizeof(struct vring_desc))
		return "indirect table length is not a multiple of 16";
	if (indirect->len / sizeof(struct vring_desc) > max)
		return "indirect table longer than the queue";
	return NULL;
}

chain_error chain_walk_table(const struct vring_desc *table, unsigned int entries,
			     struct chain_desc *out, unsigned int max, unsigned int *n)
{
	unsigned int index = 0, count = 0;
	const struct vring_desc *d;

	*n = 0;
	do {
		if (index >= entries)
			return "descriptor index outside the indirect table";
		if (count == entries || count == max)
			return "indirect descriptor chain loops";
		d = &table[index];
		if (d->flags & VRING_DESC_F_INDIRECT)
			return "indirect descriptor within an indirect table";
		take(&out[count++], d);
		index = d->next;
	} while (d->flags & VRING_DESC_F_NEXT);
	*n = count;
	return NULL;
}

chain_error chain_check(const struct chain_desc *d, unsigned int n, uint64_t *readable,
			uint64_t *writable)
{
	*readable = *writable = 0;
	for (unsigned int i = 0; i < n; i++) {
		if (!d[i].len)
			return "descriptor of length 0";
		if (d[i].writable)
			*writable += d[i].len;
		else if (*writable)
			return "device-readable descriptor behind a device-writable one";
		else
			*readable += d[i].len;
	}
	if (*writable > UINT32_MAX || *readable > UINT32_MAX)
		return "sum of lengths overflows";
	return NULL;
}
