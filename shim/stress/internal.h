/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of the stress test. */
#ifndef XVS_STRESS_INTERNAL_H
#define XVS_STRESS_INTERNAL_H

#include "mem/pins.h"
#include "stress/pattern.h"
#include "stress/server.h"
#include "stress/stress.h"

#include <sys/types.h>

#define STRESS_DOMID 0 /* where the tool runs */
#define READONLY_REGIONS 2u /* the last ones of the pool */
#define POOL_REGIONS 8u
#define WRITABLE_PAGES ((POOL_REGIONS - READONLY_REGIONS) * SERVER_REGION_PAGES)
#define POOL_PAGES (POOL_REGIONS * SERVER_REGION_PAGES)
#define SPARE_REGION 8u   /* comes and goes */
#define FOREIGN_REGION 9u /* granted, but not to this domain */
#define FOREIGN_PAGES 4u
#define RAW_OPS 64u
#define OWN_PAGES 64u /* of this domain, the other end of a copy */
#define PIECE 256u    /* bytes of a copy where the batch has more elements than OWN_PAGES */
#define PIECES (XVS_FRAME_SIZE / PIECE)
#define HISTORY 16u

_Static_assert(OWN_PAGES * PIECES == STRESS_BATCH, "every element has a place of its own");
_Static_assert(SERVER_REGION_PAGES * 3 <= SERVER_ARGS, "a check fits the array");

struct page {
	uint32_t ref;
	struct pattern is;
	bool pending; /* being written: a worker that dies now leaves it half done */
};

/* A kill may come between any two instructions: they must be in this order. */
static inline void page_pending(struct page *page, bool pending)
{
	atomic_signal_fence(memory_order_seq_cst);
	page->pending = pending;
	atomic_signal_fence(memory_order_seq_cst);
}

struct region_state {
	bool live;
	struct page page[SERVER_REGION_PAGES];
};

/* Memory that keeper and worker share, and that outlives a worker. */
struct stress_shared {
	_Atomic uint64_t ops, rounds;
	_Atomic bool stop;       /* the worker is to end in good order */
	_Atomic bool peer_dying; /* from now on anything may fail */
	uint64_t sequence, checked;
	unsigned int reused, late; /* late: revoked only when unmapped */
	struct stats kind[STRESS_KINDS];
	uint32_t gen;
	bool calling; /* a request to the server is under way */
	struct region_state pool[POOL_REGIONS];
	struct compare compare;
	char story[1200];
};

/* DMA pages, in the order they lie there; see layout() in run.c. */
struct share;
struct table;

struct worker {
	struct stress_world *world;
	const struct stress_config *config;
	struct stress_shared *sh;
	struct journal *journal;
	struct hv *hv;
	struct pins pins;
	struct hv_map_op *raw_map;
	struct hv_unmap_op *raw_unmap;
	struct hv_copy_op *copy;
	uint8_t *own;
	const maddr_t *own_maddr;
	struct table *table; /* op_v2.c; NULL: not used yet */
	struct share *share; /* the same */
	struct server_box *box;
	uint32_t *arg;
	uint32_t foreign[FOREIGN_PAGES];
	uint64_t rng;
	unsigned int epoch;
	pid_t keeper;
	int zero_fd;
	enum stress_kind kind;
	unsigned int n; /* elements of the batch */
	struct page *pick[STRESS_BATCH];
	uint16_t pin[STRESS_BATCH];
	struct {
		uint8_t kind;
		uint16_t n;
	} history[HISTORY];
};

enum { WORKER_DONE = 0, WORKER_FAILED = 1, WORKER_PEER_GONE = 3 };

/* DMA pages a worker needs, and the places in them. */
unsigned int worker_dma_pages(void);
void worker_main(struct worker *w, const struct hv_dma *dma) __attribute__((noreturn));

/* Ends the run: what was done, to what, with what result. Never returns. */
void worker_fail(struct worker *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));

uint32_t worker_random(struct worker *w, uint32_t below);

/* Picks w->n pages, consecutive or strewn; of writable regions, of the others, or of all. */
enum pick { PICK_ALL, PICK_WRITABLE, PICK_READONLY };
void worker_pick(struct worker *w, enum pick from);
/* Compares; what names the way the bytes came. */
void worker_check(struct worker *w, const struct page *page, const void *bytes,
		  unsigned int offset, unsigned int len, const char *what);
/* Writes the next generation of a page through a mapping of it. */
void worker_write(struct worker *w, struct page *page, void *bytes);
struct pattern worker_next(struct worker *w, const struct page *page);

/* peer.c: requests to the server. A request that is answered badly ends the run. */
void peer_open(struct worker *w);
void peer_close(struct worker *w);
int peer_call(struct worker *w, enum server_cmd cmd, unsigned int region, unsigned int n);
void peer_share(struct worker *w, unsigned int region);
void peer_revoke(struct worker *w, unsigned int region);
void peer_check(struct worker *w, unsigned int region);
void peer_stamp(struct worker *w, unsigned int region);

/* Each does one batch of its kind and returns the number of operations in it. */
typedef unsigned int op_fn(struct worker *w);
op_fn op_devmap, op_devmap_ro, op_hostmap, op_hostmap_ro;
op_fn op_copy_from, op_copy_to, op_copy_across;
op_fn op_rw_of_ro, op_bad, op_twice, op_revoke;
op_fn op_renew, op_restamp, op_maptrack, op_gntalloc, op_frames;
op_fn op_subpage, op_transitive;
void v2_close(struct worker *w);

/* compare.c: instead of the mix. */
void compare_work(struct worker *w);

/* Maps w->pick for the device, through the journal; w->pin afterwards. */
void map_picked(struct worker *w, bool writable);
void unmap_picked(struct worker *w);

#endif
