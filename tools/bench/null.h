/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine that costs as little as it can, so that what is measured is the session: a seam
 * whose grant operations read one table without locks, a device that completes what it is
 * asked to, and a guest that has posted its chains before the clock starts. It checks nothing
 * and proves nothing; that is the simulation's part.
 */
#ifndef XVS_BENCH_NULL_H
#define XVS_BENCH_NULL_H

#include "dev/dev.h"
#include "hv/hv.h"
#include "mem/p2m_cache.h"

#include <linux/virtio_ring.h>
#include <xvshim/protocol.h>

/* Grant references of the guest. */
enum {
	NULL_REF_CTRL = 1,
	NULL_REF_DESC = 2,
	NULL_REF_AVAIL = 3,
	NULL_REF_USED = 4,
	NULL_REF_TABLE = 8, /* an indirect table for each head, 2 pages */
	NULL_REF_DATA = 1024,
};

#define NULL_RING 256u

struct null_machine {
	struct hv hv;
	struct xdev dev;
	struct p2m_cache frames; /* reference to machine frame */
	char *guest;             /* references below NULL_REF_DATA */
	struct hv_dma dma;
	uint32_t next_handle;
	/* the device's queue */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t size, last;
};

/* The guest's data has that many references. Ends the program when it cannot. */
void null_open(struct null_machine *m, uint64_t data_refs);
/* The device completes everything that waits. */
void null_complete(struct null_machine *m);

static inline void *null_page(const struct null_machine *m, uint32_t ref)
{
	return m->guest + (size_t)ref * XVS_FRAME_SIZE;
}

#endif
