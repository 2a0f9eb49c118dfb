/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef XVS_SIM_GUEST_PRIV_H
#define XVS_SIM_GUEST_PRIV_H

#include "sim/guest.h"

#include <pthread.h>

#define GUEST_GRANTS 512 /* ranges a request may take */

#define GUEST_KEPT 1024  /* runs of pages whose grants stay */

struct sim_range {
	uint32_t ref, n;
	bool kept;
};

struct sim_kept {
	pfn_t pfn;
	uint32_t ref, n;
	uint32_t users; /* requests in flight */
};

struct sim_blk_req {
	uint16_t head;
	bool done;
	uint32_t len; /* of the used element */
	uint32_t writable;
	pfn_t page, table; /* header and status; indirect table */
	uint32_t table_pages, ndesc, nrange;
	uint64_t status_gpa;
	struct vring_desc *desc; /* what the guest gave, kept where nobody else writes */
	struct sim_range range[];
};

struct sim_gqueue {
	struct sim_ring ring;
	bool live;
	pfn_t pfn;
	uint16_t free_head, nfree; /* private list over next[] */
	uint16_t avail, last_avail, last_used;
	bool corked; /* until the next kick the back end sees none of what is put in */
	uint64_t rng;
	uint16_t next[XVS_QUEUE_SIZE_MAX];
	struct sim_blk_req *req[XVS_QUEUE_SIZE_MAX]; /* by head */
};

struct sim_guest {
	struct sim_guest_config cfg;
	pfn_t ctrl_pfn;
	struct xvs_control_page *ctrl;
	uint32_t ctrl_ref, ctrl_port;
	uint32_t seq;
	uint64_t features;
	unsigned int nqueues;
	_Atomic uint64_t sg_rng;
	pthread_mutex_t lock; /* of the story */
	bool violated;
	char story[256];
	pthread_mutex_t keep_lock; /* of the next two; queues share them */
	unsigned int kept_n;
	struct sim_kept kept[GUEST_KEPT];
	struct sim_gqueue queue[XVS_MAX_QUEUES];
};

static inline bool guest_has(const struct sim_guest *g, unsigned int bit)
{
	return g->features >> bit & 1;
}

/* guest.c */
__attribute__((format(printf, 2, 3))) void guest_violate(struct sim_guest *g, const char *fmt, ...);

/* guest_queue.c */
uint32_t guest_random(struct sim_gqueue *q, uint32_t below);
int guest_hide(struct sim_guest *g, uint32_t ref, uint32_t n);
void guest_publish(struct sim_gqueue *q, uint16_t head);
bool guest_used(struct sim_guest *g, struct sim_gqueue *q, struct vring_used_elem *elem);
int guest_wait_used(struct sim_guest *g, struct sim_gqueue *q, unsigned int ms);
void guest_queue_free(struct sim_guest *g, struct sim_gqueue *q);

/* guest_keep.c */
int guest_keep(struct sim_guest *g, uint64_t gpa, uint32_t len, uint64_t *daddr,
	       struct sim_range *range);
void guest_unkeep(struct sim_guest *g, const struct sim_range *range);
/* Ends the grants nothing in flight uses, or all. The back end let go of them. */
void guest_keep_end(struct sim_guest *g, bool all);

/* guest_blk.c */
void guest_req_drop(struct sim_guest *g, struct sim_gqueue *q, struct sim_blk_req *req);

#endif
