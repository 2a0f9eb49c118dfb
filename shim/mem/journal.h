/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must outlive a worker: which grant handles are live, which chains are in flight, what
 * was about to be published. A file under the run directory, mapped shared by the keeper and
 * the worker of one device.
 *
 * A worker may die between any two instructions, so each step is ordered such that the next
 * process can tell what happened; docs/design.md, "The journal", gives the argument. Power
 * loss is not a case: Xen and its handles are gone with it.
 */
#ifndef XVS_MEM_JOURNAL_H
#define XVS_MEM_JOURNAL_H

#include "hv/hv.h"

#include <stdatomic.h>
#include <xvshim/protocol.h>

#define JOURNAL_MAGIC 0x4c4e4a58u
#define JOURNAL_VERSION 5
#define JOURNAL_PINS 8192u         /* pages of the guest mapped at once, all queues */
#define JOURNAL_BATCH 1024u        /* grant operations a hypercall */
#define JOURNAL_DMA_PAGES_MAX 2048 /* DMA pages a device */
#define JOURNAL_RING_MAX 256u      /* entries of a queue */
#define JOURNAL_TRACE 64u

/* One mapped page of the guest; live while handle is not HV_HANDLE_NONE. */
struct journal_pin {
	maddr_t maddr;
	uint32_t handle;
	uint32_t gref;
};

struct journal_used {
	uint32_t id, len;
};

/* One queue of the guest. */
struct journal_queue {
	uint16_t size; /* 0: not enabled */
	uint32_t last_avail; /* chains taken; the low half is the index in the available ring */
	/* used_idx in the low half, number of elements in pub[] in the high half: one store
	 * commits both */
	_Atomic uint32_t used;
	struct journal_used pub[JOURNAL_RING_MAX];
	/* in flight: 1 << 31 | the value of last_avail it was taken at; 0: free */
	_Atomic uint32_t inflight[JOURNAL_RING_MAX];
};

/* What the worker counts; read by the keeper at any time. All since the device was attached. */
struct session_stats {
	_Atomic uint64_t batches, chains, descs, indirect, pages, bytes_read, bytes_written;
	_Atomic uint64_t completions, harvests;
	_Atomic uint64_t map_calls, map_pages, unmap_calls, unmap_pages, copy_calls, copy_ops;
	_Atomic uint64_t guest_notifies, guest_kicks, dev_notifies, dev_irqs, polls_hit, polls_missed;
	_Atomic uint64_t stalls;   /* a chain had to wait for room */
	/* pages found mapped, newly kept, and given back; indirect tables read in place */
	_Atomic uint64_t keep_hits, keep_added, keep_dropped, table_reads;
	_Atomic uint64_t releases; /* times the front end asked for its grants */
	_Atomic uint32_t kept;     /* pages kept now */
	_Atomic uint64_t broken;   /* times the device was broken */
	_Atomic uint64_t resumed;  /* chains submitted again after a take-over */
	_Atomic uint64_t failed;   /* chains answered with an error, the nested device being gone */
	_Atomic uint64_t max_batch_hypercalls; /* grant hypercalls of the worst batch, without the copy */
	/* addressing p2m: requests to the holder; pages the guest gave away; pages refused: beyond
	 * its memory, none there, not its own by Xen's word */
	_Atomic uint64_t p2m_requests, p2m_stale, p2m_beyond, p2m_absent, p2m_refused;
	_Atomic uint32_t driver_status; /* as the guest sees it */
	_Atomic uint32_t inflight;
	char reason[160]; /* why the device was broken last; guarded by reason_seq (odd: changing) */
	_Atomic uint32_t reason_seq;
	_Atomic uint32_t trace_next;
	struct journal_trace {
		uint64_t daddr;
		uint64_t maddr;
		uint32_t len;
		uint16_t queue;
		uint16_t writable;
	} trace[JOURNAL_TRACE];
};

struct journal_data {
	uint32_t magic, version;
	uint64_t size;
	_Atomic uint32_t epoch;
	/* DMA memory: what to unmap when no process holds it any more */
	_Atomic uint32_t dma_pages;
	maddr_t dma_maddr[JOURNAL_DMA_PAGES_MAX];
	uint32_t dma_handle[JOURNAL_DMA_PAGES_MAX];
	/* grant operations under way; the arrays are DMA pages, from these on */
	uint32_t map_page, unmap_page;
	_Atomic uint32_t map_n, unmap_n;
	struct journal_pin pin[JOURNAL_PINS];
	struct journal_queue queue[XVS_MAX_QUEUES];
	uint64_t driver_features;
	_Atomic uint32_t driver_status;
	_Atomic uint32_t leaked; /* handles Xen refused to unmap */
	struct session_stats stats;
};

struct journal {
	struct journal_data *data;
	int fd;
};

/*
 * Creates the file (mode 0600; -EEXIST when it is there) or opens one left behind (-EINVAL: not
 * a journal of this version; -ENODATA: its making was not finished, nothing was ever mapped by
 * it). path NULL: anonymous memory, for a simulation.
 */
int journal_create(struct journal *j, const char *path);
int journal_open(struct journal *j, const char *path);
void journal_close(struct journal *j);

/* Records DMA memory; to be called before a device may learn of it. */
int journal_set_dma(struct journal *j, const struct hv_dma *dma);
/* To be called right before hv_ops.dma_free, so that no later process unpins it once more. */
void journal_forget_dma(struct journal *j);

/*
 * Unmaps every handle that the dead worker left, exactly once each. The device has been reset
 * and confirmed it. dma NULL: the process that held the DMA memory is gone too; its operation
 * pages are mapped by machine frame. Returns the number of pages unmapped, or a negative errno
 * when hypercalls fail: then call again. Idempotent.
 */
int journal_recover(struct journal *j, struct hv *hv, const struct hv_dma *dma);

/* Unpins DMA memory of a process that is gone. The device has been reset. */
int journal_release_dma(struct journal *j, struct hv *hv);

/* Number of guest pages mapped right now. */
unsigned int journal_live(const struct journal *j);

#endif
