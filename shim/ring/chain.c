/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ring/chain.h"

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
	const unsigned int most = entries < max ? entries : max;
	unsigned int index = 0, count = 0;
	const struct vring_desc *d;

	*n = 0;
	do {
		if (refused(index >= entries))
			return "descriptor index outside the indirect table";
		if (refused(count == most))
			return "indirect descriptor chain loops";
		d = &table[index];
		if (refused(d->flags & VRING_DESC_F_INDIRECT))
			return "indirect descriptor within an indirect table";
		chain_take(&out[count++], d);
		index = d->next;
	} while (d->flags & VRING_DESC_F_NEXT);
	*n = count;
	return NULL;
}
