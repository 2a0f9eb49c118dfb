/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tool's end of the mailbox, and what it knows of the server's pages. */
#include "stress/internal.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SPINS 4000
#define TIMEOUT_NS 60000000000ull /* an exhaustion under emulation takes many seconds */

/* A server that dies may never answer; the keeper says so before it kills. */
static void wait_answer(struct worker *w, uint32_t seq)
{
	static const struct timespec nap = { .tv_nsec = 100000 };
	uint64_t begun = stats_now();
	unsigned int spins = 0;

	/* pairs with the release of serve() */
	while (atomic_load_explicit(&w->box->response, memory_order_acquire) != seq) {
		if (spins++ < SPINS) {
			sched_yield();
			continue;
		}
		if (atomic_load(&w->sh->peer_dying))
			_exit(WORKER_PEER_GONE);
		if (stats_now() - begun > TIMEOUT_NS)
			worker_fail(w, "the grant server does not answer");
		nanosleep(&nap, NULL);
	}
}

int peer_call(struct worker *w, enum server_cmd cmd, unsigned int region, unsigned int n)
{
	struct server_box *b = w->box;
	uint32_t seq = atomic_load(&b->request) + 1;

	w->sh->calling = true;
	b->cmd = cmd;
	b->region = region;
	b->n = n;
	b->owner = w->world->domid;
	b->gen = w->sh->gen;
	atomic_store_explicit(&b->request, seq, memory_order_release);
	wait_answer(w, seq);
	w->sh->calling = false;
	return b->status;
}

void peer_share(struct worker *w, unsigned int region)
{
	struct region_state *r = &w->sh->pool[region];
	int rc;

	w->sh->gen++;
	w->box->to = STRESS_DOMID;
	w->box->readonly = region >= POOL_REGIONS - READONLY_REGIONS;
	rc = peer_call(w, SERVER_SHARE, region, SERVER_REGION_PAGES);
	if (rc)
		worker_fail(w, "the server cannot grant region %u: %s", region, strerror(-rc));
	for (unsigned int i = 0; i < SERVER_REGION_PAGES; i++)
		r->page[i] = (struct page){
			.ref = w->arg[i],
			.is = { .owner = w->world->domid, .ref = w->arg[i], .gen = w->sh->gen,
				.writer = PATTERN_SERVER },
		};
	atomic_signal_fence(memory_order_seq_cst);
	r->live = true;
}

/* Nothing of it is mapped: that a page is in use still is a leak that Xen itself reports. */
void peer_revoke(struct worker *w, unsigned int region)
{
	int rc;

	w->sh->pool[region].live = false; /* first: a successor must not ask for it */
	rc = peer_call(w, SERVER_REVOKE, region, 0);
	if (rc == -EBUSY)
		worker_fail(w, "leak: region %u (references from %u) cannot be revoked, the other side's "
			       "grant table says a page is in use, and this tool has none mapped",
			    region, w->sh->pool[region].page[0].ref);
	if (rc)
		worker_fail(w, "the server cannot end region %u: %s", region, strerror(-rc));
}

/* The server compares what this tool last wrote, or it itself. */
void peer_check(struct worker *w, unsigned int region)
{
	struct region_state *r = &w->sh->pool[region];
	int rc;

	for (unsigned int i = 0; i < SERVER_REGION_PAGES; i++) {
		w->arg[3 * i] = r->page[i].is.ref;
		w->arg[3 * i + 1] = r->page[i].pending ? 0 : r->page[i].is.gen;
		w->arg[3 * i + 2] = r->page[i].is.writer;
	}
	rc = peer_call(w, SERVER_CHECK, region, 0);
	w->sh->checked += (uint64_t)SERVER_REGION_PAGES * XVS_FRAME_SIZE;
	if (rc == -EBADMSG)
		worker_fail(w, "wrong byte seen by the server in region %u, page %u: %.390s", region,
			    w->box->count, w->box->story);
	if (rc)
		worker_fail(w, "the server cannot check region %u: %s", region, strerror(-rc));
}

void peer_stamp(struct worker *w, unsigned int region)
{
	struct region_state *r = &w->sh->pool[region];
	int rc;

	for (unsigned int i = 0; i < SERVER_REGION_PAGES; i++) {
		page_pending(&r->page[i], true);
		r->page[i].is = (struct pattern){ .owner = w->world->domid, .ref = r->page[i].ref,
						  .gen = ++w->sh->gen, .writer = PATTERN_SERVER };
		w->arg[i] = r->page[i].is.gen;
	}
	rc = peer_call(w, SERVER_STAMP, region, 0);
	if (rc)
		worker_fail(w, "the server cannot write region %u: %s", region, strerror(-rc));
	for (unsigned int i = 0; i < SERVER_REGION_PAGES; i++)
		page_pending(&r->page[i], false);
}

static int read_node(struct worker *w, uint32_t ref[SERVER_BOX_PAGES])
{
	char path[80], *value = NULL;
	int rc;

	snprintf(path, sizeof(path), "/local/domain/%u/" SERVER_NODE, w->world->domid);
	rc = w->hv->ops->store_read(w->hv, 0, path, &value);
	if (!rc && sscanf(value, "%u %u", &ref[0], &ref[1]) != 2)
		rc = -EINVAL;
	free(value);
	return rc;
}

/*
 * An earlier worker may have died in the middle of a request: it is answered before another
 * one is made. What the pages held then is compared, unless that request was changing it.
 */
static void settle(struct worker *w)
{
	wait_answer(w, atomic_load(&w->box->request));
	for (unsigned int i = 0; !w->sh->calling && i < POOL_REGIONS; i++)
		if (w->sh->pool[i].live)
			peer_check(w, i);
	for (unsigned int i = 0; i < POOL_REGIONS; i++)
		w->sh->pool[i].live = false;
}

void peer_open(struct worker *w)
{
	uint32_t ref[SERVER_BOX_PAGES];
	void *va = NULL;
	int rc = read_node(w, ref);

	if (!rc)
		rc = w->hv->ops->host_map(w->hv, w->world->domid, ref, SERVER_BOX_PAGES, true, &va);
	if (rc)
		worker_fail(w, "no grant server in domain %u: %s", w->world->domid, strerror(-rc));
	w->box = va;
	w->arg = (void *)((char *)va + XVS_FRAME_SIZE);
	if (w->box->magic != SERVER_MAGIC || w->box->version != SERVER_VERSION)
		worker_fail(w, "the grant server speaks another version");
	settle(w);
	rc = peer_call(w, SERVER_RESET, 0, 0);
	if (rc)
		worker_fail(w, "leak: nothing is mapped, and the server cannot end its grants: %s",
			    strerror(-rc));
	for (unsigned int i = 0; i < POOL_REGIONS; i++)
		peer_share(w, i);
	w->sh->gen++;
	w->box->to = w->world->domid; /* to itself: not to us */
	w->box->readonly = false;
	if (w->world->loopback)
		w->box->to = w->world->domid + 1u;
	rc = peer_call(w, SERVER_SHARE, FOREIGN_REGION, FOREIGN_PAGES);
	if (rc)
		worker_fail(w, "the server cannot grant to another domain: %s", strerror(-rc));
	memcpy(w->foreign, w->arg, sizeof(w->foreign));
}

void peer_close(struct worker *w)
{
	int rc = peer_call(w, SERVER_RESET, 0, 0);

	if (rc)
		worker_fail(w, "leak: at the end nothing is mapped, and the server cannot end its "
			       "grants: %s", strerror(-rc));
	for (unsigned int i = 0; i < POOL_REGIONS; i++)
		w->sh->pool[i].live = false;
	w->hv->ops->host_unmap(w->hv, w->box, SERVER_BOX_PAGES);
}
