/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stress/server.h"

#include "stress/pattern.h"
#include "stress/stats.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SPINS 2000
#define CHUNK 64u     /* pages a step of an exhaustion */
#define CHUNKS 1024u  /* steps at most */

struct region {
	void *va;
	unsigned int n;
	uint32_t ref[SERVER_REGION_PAGES];
};

struct server {
	const struct server_pages *pages;
	struct server_box *box;
	uint32_t *arg;
	struct region region[SERVER_REGIONS];
	uint64_t deferred_at; /* when `deferred` of the mailbox was counted, ns */
};

static void *page_of(const struct region *r, unsigned int i)
{
	return (char *)r->va + (size_t)i * XVS_FRAME_SIZE;
}

static int do_share(struct server *s, struct region *r)
{
	struct server_box *b = s->box;
	struct pattern p = { .owner = b->owner, .gen = b->gen, .writer = PATTERN_SERVER };
	unsigned int n = b->n;
	int rc;

	if (r->va)
		return -EEXIST;
	if (!n || n > SERVER_REGION_PAGES)
		return -EINVAL;
	rc = s->pages->share(s->pages->priv, (uint16_t)b->to, n, b->readonly, r->ref, &r->va);
	if (rc) {
		r->va = NULL;
		return rc;
	}
	r->n = n;
	for (unsigned int i = 0; i < n; i++) {
		p.ref = r->ref[i];
		pattern_write(page_of(r, i), &p);
		s->arg[i] = r->ref[i];
	}
	return 0;
}

/* Counts down what the kernel has taken out of its table meanwhile, whole pages at a time. */
static void count_deferred(struct server *s)
{
	const uint64_t a_page = 1000000000u / SERVER_DEFERRED_A_SECOND;
	uint64_t gone = (stats_now() - s->deferred_at) / a_page;

	s->deferred_at += gone * a_page;
	s->box->deferred -= gone < s->box->deferred ? (uint32_t)gone : s->box->deferred;
}

static int do_revoke(struct server *s, struct region *r, unsigned int mapped)
{
	int rc;

	if (!r->va)
		return -ENOENT;
	rc = s->pages->unshare(s->pages->priv, r->va, r->n, r->ref);
	if (rc)
		return rc;
	r->va = NULL;
	s->box->deferred += mapped < r->n ? mapped : r->n;
	return 0;
}

static int do_stamp(struct server *s, struct region *r)
{
	struct pattern p = { .owner = s->box->owner, .writer = PATTERN_SERVER };

	if (!r->va)
		return -ENOENT;
	for (unsigned int i = 0; i < r->n; i++) {
		p.ref = r->ref[i];
		p.gen = s->arg[i];
		pattern_write(page_of(r, i), &p);
	}
	return 0;
}

static int do_check(struct server *s, struct region *r)
{
	struct pattern p = { .owner = s->box->owner };
	int wrong;

	if (!r->va)
		return -ENOENT;
	for (unsigned int i = 0; i < r->n; i++) {
		p.ref = s->arg[3 * i];
		p.gen = s->arg[3 * i + 1];
		p.writer = s->arg[3 * i + 2];
		wrong = p.gen ? pattern_find_wrong(page_of(r, i), 0, XVS_FRAME_SIZE, &p) : -1;
		if (wrong < 0)
			continue;
		s->box->count = i;
		pattern_story(page_of(r, i), 0, wrong, &p, s->box->story, sizeof(s->box->story));
		return -EBADMSG;
	}
	return 0;
}

static int do_reset(struct server *s)
{
	int rc = 0, err;

	for (unsigned int i = 0; i < SERVER_REGIONS; i++) {
		err = s->region[i].va ? do_revoke(s, &s->region[i], 0) : 0;
		rc = rc ? rc : err;
	}
	return rc;
}

static int do_exhaust(struct server *s, uint32_t mode)
{
	struct {
		void *va;
		uint32_t ref[CHUNK];
	} *step = calloc(CHUNKS, sizeof(*step));
	unsigned int n = 0;
	int rc = step ? 0 : -ENOMEM, why = 0, err;

	if (!rc && mode == EXHAUST_FRAMES)
		rc = s->pages->lift_limit(s->pages->priv, true);
	if (rc)
		goto out;
	while (!why && n < CHUNKS) {
		why = s->pages->share(s->pages->priv, (uint16_t)s->box->to, CHUNK, false,
				      step[n].ref, &step[n].va);
		n += !why;
	}
	s->box->count = n * CHUNK;
	while (n--) {
		err = s->pages->unshare(s->pages->priv, step[n].va, CHUNK, step[n].ref);
		rc = rc ? rc : err;
	}
	if (mode == EXHAUST_FRAMES) {
		err = s->pages->lift_limit(s->pages->priv, false);
		rc = rc ? rc : err;
	}
out:
	free(step);
	return rc ? rc : why;
}

static int carry_out(struct server *s)
{
	struct server_box *b = s->box;
	struct region *r = &s->region[b->region % SERVER_REGIONS];

	switch (b->cmd) {
	case SERVER_HELLO:
		return 0;
	case SERVER_SHARE:
		return do_share(s, r);
	case SERVER_REVOKE:
		return do_revoke(s, r, b->n);
	case SERVER_STAMP:
		return do_stamp(s, r);
	case SERVER_CHECK:
		return do_check(s, r);
	case SERVER_RESET:
		return do_reset(s);
	case SERVER_EXHAUST:
		return do_exhaust(s, b->n);
	default:
		return -ENOSYS;
	}
}

/* Gives way at once, sleeps after a while: an event channel would cost more than it saves. */
static void idle(unsigned int *spins)
{
	static const struct timespec nap = { .tv_nsec = 200000 };

	if (++*spins < SPINS)
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

static void serve(struct server *s, const _Atomic bool *stop)
{
	unsigned int spins = 0;

	while (!atomic_load(stop)) {
		uint32_t seq = atomic_load_explicit(&s->box->request, memory_order_acquire);

		if (seq == atomic_load_explicit(&s->box->response, memory_order_relaxed)) {
			idle(&spins);
			continue;
		}
		spins = 0;
		s->box->count = 0;
		count_deferred(s);
		s->box->status = carry_out(s);
		/* pairs with the acquire of peer_finish() */
		atomic_store_explicit(&s->box->response, seq, memory_order_release);
	}
}

static int publish(const struct server_pages *pages, const uint32_t *ref)
{
	char value[64];

	snprintf(value, sizeof(value), "%u %u %d", ref[0], ref[1], (int)getpid());
	return pages->publish(pages->priv, value);
}

int server_run(const struct server_pages *pages, uint16_t to, const _Atomic bool *stop)
{
	struct server *s = calloc(1, sizeof(*s));
	uint32_t ref[SERVER_BOX_PAGES];
	void *va = NULL;
	int rc = -ENOMEM;

	if (!s)
		return rc;
	s->pages = pages;
	rc = pages->share(pages->priv, to, SERVER_BOX_PAGES, false, ref, &va);
	if (rc)
		goto err_free;
	s->box = va;
	s->arg = (void *)((char *)va + XVS_FRAME_SIZE);
	s->box->magic = SERVER_MAGIC;
	s->box->version = SERVER_VERSION;
	s->deferred_at = stats_now();
	rc = publish(pages, ref);
	if (rc)
		goto err_unshare;
	serve(s, stop);
	pages->publish(pages->priv, NULL);
	do_reset(s);
err_unshare:
	pages->unshare(pages->priv, va, SERVER_BOX_PAGES, ref);
err_free:
	free(s);
	return rc;
}
