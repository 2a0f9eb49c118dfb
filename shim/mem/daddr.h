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
#include <stdbool.h>
#include <xvshim/protocol.h>

/* A buffer of the guest as consecutive grant references. */
struct gref_range {
	uint32_t gref;   /* of the first page */
	uint32_t offset; /* in the first page */
	uint32_t npages;
};

#define DADDR_GRANT_BITS (XVS_DADDR_GREF_MASK << XVS_DADDR_GREF_SHIFT | XVS_FRAME_MASK)
_Static_assert(XVS_DADDR_KEEP & XVS_DADDR_RESERVED, "reserved where it was not agreed on");
_Static_assert((DADDR_GRANT_BITS | XVS_DADDR_GRANT) == ~XVS_DADDR_RESERVED, "one or the other");

/*
 * Address *and* length, so that the whole buffer is covered by what was checked. Errors:
 * -EINVAL: length 0, not a grant, a reserved bit, or references that wrap around.
 */
static inline int daddr_decode_grant(uint64_t daddr, uint32_t len, struct gref_range *range)
{
	/* what is left without the mark is reference and offset, if no reserved bit is set */
	uint64_t first = daddr ^ XVS_DADDR_GRANT, last = first + len - 1;

	if (refused(!len || ((first | last) & ~DADDR_GRANT_BITS)))
		return -EINVAL;
	range->gref = (uint32_t)(first >> XVS_DADDR_GREF_SHIFT);
	range->offset = (uint32_t)(first & XVS_FRAME_MASK);
	range->npages = (uint32_t)((last >> XVS_FRAME_SHIFT) - (first >> XVS_FRAME_SHIFT) + 1);
	return 0;
}

/*
 * The same for addressing "p2m", where a daddr is the guest's own byte address: gref holds the pfn,
 * which fits. -EINVAL: length 0; -ERANGE: beyond what any guest has.
 */
static inline int daddr_decode_p2m(uint64_t daddr, uint32_t len, struct gref_range *range)
{
	uint64_t last = daddr + len - 1;

	if (refused(!len))
		return -EINVAL;
	if (refused((daddr | last) >> XVS_P2M_BITS))
		return -ERANGE;
	range->gref = (uint32_t)(daddr >> XVS_FRAME_SHIFT);
	range->offset = (uint32_t)(daddr & XVS_FRAME_MASK);
	range->npages = (uint32_t)((last >> XVS_FRAME_SHIFT) - (daddr >> XVS_FRAME_SHIFT) + 1);
	return 0;
}

/* keep: XVS_DADDR_KEEP where that was agreed on, else 0. Whether it was set goes to *kept. */
static inline int daddr_decode(uint64_t daddr, uint32_t len, uint64_t keep,
			       struct gref_range *range, bool *kept)
{
	*kept = daddr & keep;
	return daddr_decode_grant(daddr & ~keep, len, range);
}

#endif
