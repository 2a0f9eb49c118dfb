/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoding descriptor addresses (protocol.h, docs/protocol.md "Addressing grant"). A daddr is
 * the raw 64-bit value a guest wrote; nothing about it is true until it was decoded.
 */
#ifndef XVS_MEM_DADDR_H
#define XVS_MEM_DADDR_H

#include "hv/frames.h"

#include "util/refused.h"

#include <errno.h>
#include <xvshim/protocol.h>

/* A buffer of the guest as consecutive grant references. */
struct gref_range {
	uint32_t gref;   /* of the first page */
	uint32_t offset; /* in the first page */
	uint32_t npages;
};

/*
 * Address *and* length, so that the whole buffer is covered by what was checked. Errors:
 * -EINVAL: length 0, not a grant, a reserved bit, or references that wrap around.
 */
static inline int daddr_decode_grant(uint64_t daddr, uint32_t len, struct gref_range *range)
{
	uint64_t first = (daddr >> XVS_DADDR_GREF_SHIFT) & XVS_DADDR_GREF_MASK;
	uint64_t offset = daddr & XVS_FRAME_MASK;
	uint64_t npages = (offset + len + XVS_FRAME_MASK) >> XVS_FRAME_SHIFT;

	if (refused(!len || (daddr & (XVS_DADDR_GRANT | XVS_DADDR_RESERVED)) != XVS_DADDR_GRANT))
		return -EINVAL;
	if (refused(first + npages - 1 > UINT32_MAX))
		return -EINVAL;
	range->gref = (uint32_t)first;
	range->offset = (uint32_t)offset;
	range->npages = (uint32_t)npages;
	return 0;
}

#endif
