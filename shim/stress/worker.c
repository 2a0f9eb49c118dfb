/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worker: one operation after the other, until told to stop, killed, or something is wrong. */
#include "stress/child.h"
#include "stress/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static op_fn *const op_of[STRESS_KINDS] = {
	[STRESS_DEVMAP] = op_devmap,
	[STRESS_DEVMAP_RO] = op_devmap_ro,
	[STRESS_HOSTMAP] = op_hostmap,
	[STRESS_HOSTMAP_RO] = op_hostmap_ro,
	[STRESS_COPY_FROM] = op_copy_from,
	[STRESS_COPY_TO] = op_copy_to,
	[STRESS_COPY_ACROSS] = op_copy_across,
	[STRESS_RW_OF_RO] = op_rw_of_ro,
	[STRESS_BAD] = op_bad,
	[STRESS_TWICE] = op_twice,
	[STRESS_REVOKE] = op_revoke,
	[STRESS_RENEW] = op_renew,
	[STRESS_RESTAMP] = op_restamp,
	[STRESS_MAPTRACK] = op_maptrack,
	[STRESS_GNTALLOC] = op_gntalloc,
	[STRESS_FRAMES] = op_frames,
	[STRESS_SUBPAGE] = op_subpage,
	[STRESS_TRANSITIVE] = op_transitive,
};

#define RAW_PAGES 1u
#define COPY_PAGES ((unsigned int)(STRESS_BATCH * sizeof(struct hv_copy_op) / XVS_FRAME_SIZE))
_Static_assert(RAW_OPS * sizeof(struct hv_map_op) <= XVS_FRAME_SIZE, "one page");
_Static_assert(STRESS_BATCH * sizeof(struct hv_copy_op) % XVS_FRAME_SIZE == 0, "whole pages");

unsigned int worker_dma_pages(void)
{
	return pins_dma_pages() + 2 * RAW_PAGES + COPY_PAGES + OWN_PAGES;
}

static void lay_out(struct worker *w, const struct hv_dma *dma)
{
	uint8_t *at = dma->va;

	pins_open(&w->pins, w->hv, w->journal, dma, 0, w->world->domid);
	at += (size_t)pins_dma_pages() * XVS_FRAME_SIZE;
	w->raw_map = (void *)at;
	at += RAW_PAGES * XVS_FRAME_SIZE;
	w->raw_unmap = (void *)at;
	at += RAW_PAGES * XVS_FRAME_SIZE;
	w->copy = (void *)at;
	at += COPY_PAGES * XVS_FRAME_SIZE;
	w->own = at;
	w->own_maddr = dma->maddr + worker_dma_pages() - OWN_PAGES;
}

static size_t put_history(struct worker *w, char *text, size_t size)
{
	uint64_t last = w->sh->rounds;
	size_t n = 0;

	for (uint64_t i = last >= HISTORY ? last - HISTORY + 1 : 0; i <= last && n < size; i++) {
		int k = snprintf(text + n, size - n, " %s:%u",
				 stress_kind_name(w->history[i % HISTORY].kind),
				 w->history[i % HISTORY].n);

		n += k > 0 ? (size_t)k : 0;
	}
	return n;
}

void worker_fail(struct worker *w, const char *fmt, ...)
{
	char *text = w->sh->story;
	size_t size = sizeof(w->sh->story), n;
	va_list ap;
	int k;

	/* What a dying domain answers proves nothing. */
	if (atomic_load(&w->sh->peer_dying))
		_exit(WORKER_PEER_GONE);
	k = snprintf(text, size, "%s, round %llu of worker %u, seed %llu, batch of %u: ",
		     stress_kind_name(w->kind), (unsigned long long)w->sh->rounds, w->epoch,
		     (unsigned long long)w->config->seed, w->n);
	n = k > 0 ? (size_t)k : 0;
	va_start(ap, fmt);
	k = vsnprintf(text + n, size - n, fmt, ap);
	va_end(ap);
	n += k > 0 ? (size_t)k : 0;
	if (n < size)
		k = snprintf(text + n, size - n, "; rounds before it:");
	n += k > 0 ? (size_t)k : 0;
	if (n < size)
		put_history(w, text + n, size - n);
	_exit(WORKER_FAILED);
}

/* splitmix64 */
static uint64_t next_random(struct worker *w)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint32_t worker_random(struct worker *w, uint32_t below)
{
	return below ? (uint32_t)((next_random(w) >> 32) * below >> 32) : 0;
}

static struct page *pool_page(struct worker *w, unsigned int i)
{
	return &w->sh->pool[i / SERVER_REGION_PAGES].page[i % SERVER_REGION_PAGES];
}

/*
 * A step of 1 is a run of consecutive references. The others have no factor in common with the
 * number of pages (2^n 3^m), so that no page comes twice before each came once.
 */
void worker_pick(struct worker *w, enum pick from)
{
	static const unsigned int steps[] = { 1, 1, 5, 7, 37, 101, 185, 191 };
	unsigned int first = from == PICK_READONLY ? WRITABLE_PAGES : 0;
	unsigned int count = from == PICK_WRITABLE ? WRITABLE_PAGES : POOL_PAGES - first;
	unsigned int at = worker_random(w, count), step = steps[worker_random(w, 8)];

	for (unsigned int i = 0; i < w->n; i++) {
		w->pick[i] = pool_page(w, first + at);
		at = (at + step) % count;
	}
}

void worker_check(struct worker *w, const struct page *page, const void *bytes,
		  unsigned int offset, unsigned int len, const char *what)
{
	int wrong = pattern_find_wrong(bytes, offset, len, &page->is);
	char story[500];

	w->sh->checked += len;
	if (wrong < 0)
		return;
	pattern_story(bytes, offset, wrong, &page->is, story, sizeof(story));
	worker_fail(w, "wrong byte, %s reference %u of domain %u: %s", what, page->ref,
		    w->world->domid, story);
}

struct pattern worker_next(struct worker *w, const struct page *page)
{
	return (struct pattern){ .owner = w->world->domid, .ref = page->ref, .gen = ++w->sh->gen,
				 .writer = PATTERN_TOOL };
}

void worker_write(struct worker *w, struct page *page, void *bytes)
{
	page_pending(page, true);
	page->is = worker_next(w, page);
	pattern_write(bytes, &page->is);
	page_pending(page, false);
}

/* Small batches and the largest are as likely as all between: powers of two, then within. */
static unsigned int random_size(struct worker *w)
{
	unsigned int limit = 1u << worker_random(w, 11), n = 1 + worker_random(w, limit);

	if (worker_random(w, 16) == 0)
		n = w->config->batch;
	return n < w->config->batch ? n : w->config->batch;
}

static enum stress_kind random_kind(struct worker *w)
{
	uint32_t sum = 0, at;
	unsigned int i;

	for (i = 0; i < STRESS_KINDS; i++)
		sum += w->config->mix.weight[i];
	at = worker_random(w, sum);
	for (i = 0; at >= w->config->mix.weight[i]; i++)
		at -= w->config->mix.weight[i];
	return (enum stress_kind)i;
}

static void note(struct worker *w)
{
	uint64_t x = w->sh->sequence ^ ((uint64_t)w->kind << 32 | w->n) ^ w->rng;

	w->sh->sequence = (x << 13 | x >> 51) * 0x9e3779b97f4a7c15ull;
	w->history[w->sh->rounds % HISTORY].kind = (uint8_t)w->kind;
	w->history[w->sh->rounds % HISTORY].n = (uint16_t)w->n;
}

static void one_round(struct worker *w)
{
	uint64_t begun;
	unsigned int ops;

	w->kind = random_kind(w);
	w->n = random_size(w);
	note(w);
	begun = stats_now();
	ops = op_of[w->kind](w);
	stats_add(&w->sh->kind[w->kind], ops, stats_now() - begun);
	atomic_fetch_add(&w->sh->ops, ops);
	atomic_fetch_add(&w->sh->rounds, 1);
}

static bool enough(struct worker *w)
{
	return atomic_load(&w->sh->stop) ||
	       (w->config->ops && atomic_load(&w->sh->ops) >= w->config->ops);
}

void worker_main(struct worker *w, const struct hv_dma *dma)
{
	int rc;

	child_begin(w->keeper);
	w->rng = w->config->seed + w->epoch * 0x100000001b3ull;
	w->zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	w->hv = w->world->open(w->world, HV_CAP_GRANT | HV_CAP_STORE | HV_CAP_DOMAIN, &rc);
	if (!w->hv || w->zero_fd < 0)
		worker_fail(w, "cannot open the hypervisor: %s", strerror(-rc));
	lay_out(w, dma);
	peer_open(w);
	if (w->config->pairs)
		compare_work(w);
	while (!w->config->pairs && !enough(w))
		one_round(w);
	v2_close(w);
	peer_close(w);
	hv_close(w->hv);
	_exit(WORKER_DONE);
}
