/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of shim/session share. */
#ifndef XVS_SESSION_INTERNAL_H
#define XVS_SESSION_INTERNAL_H

#include "bus/control.h"
#include "mem/daddr.h"
#include "mem/kept.h"
#include "mem/pins.h"
#include "policy/types.h"
#include "ring/chain.h"
#include "ring/guest_ring.h"
#include "ring/shadow.h"
#include "session/session.h"
#include "util/log.h"
#include "util/refused.h"

#include <errno.h>

#define BATCH_CHAINS 128u   /* chains taken at once, all queues together */
#define BATCH_DESCS 1024u   /* their descriptors */
#define BATCH_COPIES 128u   /* copies of indirect tables */
#define SCRATCH_PAGES 16u   /* for these tables */
#define RETRY_MS 10         /* after a shortage that is not the guest's doing */

/* One contiguous part of a guest ring, mapped. */
struct ring_map {
	void *va;
	unsigned int npages;
};

struct squeue {
	bool enabled; /* rings mapped, port bound */
	bool blocked; /* its next chain has to wait for room */
	uint32_t port;
	bool masked; /* an event came and was not unmasked yet */
	struct guest_ring ring;
	struct shadow_ring shadow;
	struct ring_map map[3];
	struct journal_queue *log;
	/* chains a dead worker had in flight, in order, to be submitted first */
	uint16_t resume[JOURNAL_RING_MAX];
	unsigned int resume_n, resume_at;
	unsigned int done_n; /* completions of this harvest, in log->pub */
	/* the batch a head was last gathered for; batch counts from 1 and starts over */
	uint16_t gathered[JOURNAL_RING_MAX], batch;
};

#define OP_NONE 0xffffu

/* A chain on its way from a guest ring to a shadow ring. */
struct candidate {
	struct squeue *q;
	uint16_t head;
	uint16_t indirect_n; /* entries of the indirect table; 0: none */
	uint16_t first_pin;
	uint16_t resumed;
	uint32_t desc;    /* its descriptors, in batch.desc */
	unsigned int desc_n;
	uint16_t seg, seg_n; /* its segments, in batch.seg */
	uint32_t readable, writable; /* bytes */
	const struct vring_desc *table; /* private copy of the indirect table */
	struct gref_range table_range;
};
_Static_assert(sizeof(struct candidate) == 64, "one cache line");

struct batch {
	struct candidate chain[BATCH_CHAINS];
	struct chain_desc desc[BATCH_DESCS];
	struct shadow_seg seg[JOURNAL_BATCH];
	uint16_t op[JOURNAL_BATCH]; /* of the map batch, for each segment; OP_NONE: mapped before */
	uint64_t no; /* counts batches */
	unsigned int chain_n, desc_n, copy_n, seg_n;
	unsigned int hits;    /* pages found mapped */
	unsigned int planned; /* descriptors, those in tables included: a page each or more */
	unsigned int scratch_page, scratch_off;
};

/* References of rings and control page: no buffer may name them. */
struct ring_refs {
	uint32_t low, high;  /* none is below the one or above the other */
	uint64_t filter[64]; /* bit gref % 4096: perhaps */
	struct gref_range range[1 + 3 * XVS_MAX_QUEUES];
	unsigned int n;
};

struct session_p2m;

struct session {
	struct session_params p;
	struct hv *hv;
	struct xdev *dev;
	struct journal_data *log;
	struct session_stats *st;
	const struct vtype *type;

	struct control ctrl;
	uint32_t ctrl_port;
	bool ctrl_masked;
	uint64_t offered;  /* to the guest */
	uint64_t features; /* the driver's */
	uint8_t status;    /* as the guest sees it */
	bool live;         /* DRIVER_OK: chains move */
	bool broken;
	bool gone;  /* the nested device was taken away: nobody looks at it before a reset */
	bool taken; /* by order: it does not come back */
	bool lost;  /* it says so itself: its registers may be another one's by now */
	bool replay; /* the next request may have been carried out by a dead worker */
	int fatal; /* the session cannot go on */
	struct log_limit limit;

	unsigned int config_len; /* bytes of config space the guest sees */
	unsigned int num_queues;
	struct squeue queue[XVS_MAX_QUEUES];
	unsigned int turn; /* queue that comes first in the next batch */
	struct ring_refs refs;

	struct pins pins;
	struct kept kept;
	struct session_p2m *p2m; /* NULL: addressing grant */
	uint64_t now_us; /* about; of the last look at the clock */
	uint64_t keep; /* XVS_DADDR_KEEP where it was agreed on */
	uint64_t age_at, age_batch; /* next look for old pages, in us; last batch of the last look */
	struct hv_copy_op *copy_op; /* BATCH_COPIES, DMA memory */
	unsigned int copy_page, scratch_page, shadow_page; /* first pages, in dma */
	struct batch batch;
	bool shortage; /* retry after RETRY_MS */
	unsigned int batch_calls; /* grant hypercalls of this batch, without the copy */
	unsigned int waits; /* one of CLOCK_WAITS is measured */
	unsigned int poll_us[2]; /* adapted, at most p.poll_us: for a guest's chain, a completion */
};

static inline unsigned int squeue_index(const struct session *s, const struct squeue *q)
{
	return (unsigned int)(q - s->queue);
}

/* The way out of a function that found a rule broken. */
static inline int refuse(chain_error *why, const char *reason)
{
	*why = reason;
	return -EINVAL;
}

static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
	/* one writer: no locked instruction needed */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* session.c: the device is broken by the guest or by itself. Quiesces it, lets go of all. */
void session_break(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Nothing of it is the guest's doing: another worker has to go on from the journal. */
void session_give_up(struct session *s, int rc, const char *what);
/* loop.c: takes every event that is there. */
void session_drain_events(struct session *s);
/* Events to the guest. One that cannot be sent would be waited for in vain. */
void session_notify(struct session *s, uint32_t port);
/* Stops the device and lets go of every page but the control page. 0 or -ETIMEDOUT. */
/* forget: the chains in flight are gone for good (a reset), not to be resumed. */
int session_quiesce(struct session *s, bool forget);
/*
 * The first half of it: the device is reset and no page of a chain is mapped. The rings stay. Negative:
 * the device may still write, or a page is still mapped, and on record.
 */
int session_let_go(struct session *s);
/* For the report, until there is another one. */
void session_keep_reason(struct session *s, const char *reason);
/* Writes the status down where the keeper and the next worker find it. */
void session_keep_status(struct session *s);

/* requests.c: requests of the front end, features, config. True: there was one. */
bool session_serve_control(struct session *s);
int session_identify(struct session *s);
void session_update_config(struct session *s);
/* Takes status, features and queues up where a dead worker left them. */
int session_resume(struct session *s);

/* queue.c: one queue of the guest and its shadow. */
/* Entries the guest may use; the shadow ring has as many. 0: no such queue. */
uint16_t squeue_size_max(const struct session *s, unsigned int index);
int squeue_enable(struct session *s, unsigned int index, const char **why);
/* Chains in flight become those to be taken first, in the order they were taken in. */
void squeue_collect(struct squeue *q);
void squeue_disable(struct session *s, unsigned int index);
/* Starts the shadow ring on the device. The device has FEATURES_OK and not DRIVER_OK. */
int squeue_start(struct session *s, unsigned int index, uint64_t dev_features);
void session_count_inflight(struct session *s);
/* Does one of npages from gref on belong to a ring? The slow half, where it may. */
bool ring_refs_contain(const struct ring_refs *refs, uint32_t gref, unsigned int npages);
static inline bool ring_refs_hit(const struct ring_refs *refs, uint32_t gref, unsigned int npages)
{
	/* references do not wrap around: daddr_decode_grant() */
	return gref <= refs->high && gref + npages - 1 >= refs->low &&
	       ring_refs_contain(refs, gref, npages);
}
int ring_refs_add(struct ring_refs *refs, struct gref_range range);

/* gather.c: chains of the guest rings into the batch, their tables copied, their form checked. */
unsigned int batch_gather(struct session *s);
/* translate.c: pages mapped, segments with machine addresses. */
int batch_translate(struct session *s);
/* The queue whose chain in the batch names this page (gref or pfn), for the log. */
unsigned int batch_queue_of(const struct session *s, uint64_t page);

/* keep.c: pages kept between requests. Each breaks the device where Xen refuses. */
/* All of them but those in flight. 0, or -EIO. */
int session_release(struct session *s);
/* Makes room where a page could not be kept. */
void session_keep_room(struct session *s);
/* Gives back what was not used for a while. Returns ms until the next look; -1: never. */
int session_keep_age(struct session *s, uint64_t now_us);

/* p2m.c: in addressing p2m instead of pins, kept pages and grant copies. A gref_range holds pfns. */
#define P2M_RING_PAGES 2
int session_p2m_open(struct session *s, char *why, size_t size);
void session_p2m_close(struct session *s);
/* Before a batch. false: there can be none now. */
bool session_p2m_begin(struct session *s);
/* -EINVAL with *why. */
int session_p2m_decode(struct session *s, uint64_t daddr, uint32_t len, struct gref_range *range,
		       chain_error *why);
/* Adds one page to the batch, and its use to a chain's list. Errors as of a chain. */
int session_p2m_add(struct session *s, uint32_t pfn, bool writable, uint16_t **link, uint16_t *op,
		    chain_error *why);
unsigned int session_p2m_mark(struct session *s);
/* Takes back what came after the mark. */
void session_p2m_undo(struct session *s, unsigned int mark);
/* Holds the pages of the batch and completes its segments, or gives the batch up. */
int session_p2m_map(struct session *s);
/* The uses of a chain, by its list; then what is not to be kept, in one request. */
void session_p2m_drop(struct session *s, uint16_t use);
int session_p2m_flush(struct session *s);
/* All of them: the device was reset. */
int session_p2m_release(struct session *s);
/* As session_keep_age(). */
int session_p2m_age(struct session *s, uint64_t now_us);
/* Reads len bytes of the guest. -EINVAL with *why, -EAGAIN: later. */
int session_p2m_read(struct session *s, const struct gref_range *range, char *to, uint32_t len,
		     chain_error *why);
int session_p2m_map_ring(struct session *s, const struct gref_range *range, bool writable,
			 void **va);

/* submit.c, harvest.c: one batch each. Return the number of chains moved. */
unsigned int session_submit(struct session *s);
unsigned int session_harvest(struct session *s);
/* One chain of the batch is the back end's now. */
void session_take_chain(struct candidate *c);
/* Gives the guest what is in the queue's list, log->pub, and notifies it where it wants that. */
void session_publish(struct session *s, struct squeue *q);

/* lost.c: the nested device was unplugged. Its requests are answered with an error from now on. */
void session_lose_device(struct session *s);
/* The same by order, of a device that is there. */
void session_take_device(struct session *s);
/* One batch. Returns the number of chains answered. */
unsigned int session_answer_errors(struct session *s);

#endif
