/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Second step of a batch: every buffer is decoded and checked, its pages are mapped for the
 * device in one hypercall, and segments with machine addresses come out.
 */
#include "session/internal.h"

#include <errno.h>

static bool overlap(const struct gref_range *a, const struct gref_range *b)
{
	return a->gref - b->gref < b->npages || b->gref - a->gref < a->npages;
}

/*
 * Checks one descriptor and adds its pages to the batch. first: index of the chain's first page
 * in the batch; *link: where its list of pins goes on. Errors as of add_descs.
 */
static inline int add_desc(struct session *s, const struct candidate *c,
			   const struct chain_desc *d, unsigned int first, uint16_t **link,
			   chain_error *why)
{
	struct shadow_seg *seg = &s->batch.seg[s->pins.map_n];
	struct gref_range range;
	uint32_t left = d->len, gref, offset;

	if (daddr_decode_grant(d->daddr, left, &range))
		return refuse(why, "address is not a grant");
	if (refused(range.npages > c->q->ring.size - (s->pins.map_n - first)))
		return refuse(why, "chain covers more pages than the queue has entries");
	if (refused(ring_refs_hit(&s->refs, range.gref, range.npages)))
		return refuse(why, "buffer lies in a ring or the control page");
	if (refused(c->indirect_n && d->writable && overlap(&c->table_range, &range)))
		return refuse(why, "buffer lies in its own indirect table");
	if (__builtin_expect(!pins_room(&s->pins, range.npages), 0))
		return range.npages > JOURNAL_BATCH - s->pins.map_n ? -EAGAIN : -ENOSPC;
	gref = range.gref;
	offset = range.offset;
	do {
		uint32_t room = XVS_FRAME_SIZE - offset, part = left < room ? left : room;
		uint16_t pin = pins_add(&s->pins, gref++, d->writable);

		**link = pin;
		*link = &s->pins.next[pin];
		/* the frame is added when it is known */
		*seg++ = (struct shadow_seg){ .maddr = { offset }, .len = part,
					      .writable = d->writable };
		offset = 0;
		left -= part;
	} while (left);
	return 0;
}

/* -EINVAL with *why, -EAGAIN: the batch is full, -ENOSPC: the queue waits for completions. */
static inline int add_descs(struct session *s, struct candidate *c, unsigned int first,
			    chain_error *why)
{
	const struct chain_desc *d = &s->batch.desc[c->desc], *end = d + c->desc_n;
	struct chain_sum sum = { 0 };
	uint16_t *link = &c->first_pin;
	chain_error form;
	int rc;

	do {
		form = chain_check_next(d, &sum);
		if (refused(form != NULL))
			return refuse(why, form);
		rc = add_desc(s, c, d, first, &link, why);
		if (__builtin_expect(rc, 0))
			return rc;
	} while (++d < end);
	*link = PIN_NONE;
	form = chain_check_sum(&sum);
	if (refused(form != NULL))
		return refuse(why, form);
	c->writable = (uint32_t)sum.writable;
	c->readable = (uint32_t)sum.readable;
	return shadow_reserve(&c->q->shadow, s->pins.map_n - first) ? 0 : -ENOSPC;
}

/* Adds one chain, or nothing of it. As add_descs. */
static int add_chain(struct session *s, struct candidate *c, chain_error *why)
{
	unsigned int first = s->pins.map_n;
	int rc = add_descs(s, c, first, why);

	if (__builtin_expect(rc, 0)) {
		pins_undo(&s->pins, first);
		return rc;
	}
	c->seg = (uint16_t)first;
	c->seg_n = (uint16_t)(s->pins.map_n - first);
	return 0;
}

static void fill_segments(struct session *s, unsigned int pages)
{
	struct shadow_seg *seg = s->batch.seg;

	for (unsigned int i = 0; i < pages; i++)
		seg[i].maddr.a += pins_batch_maddr(&s->pins, i).a;
	s->batch.seg_n = pages;
}

static int map_batch(struct session *s)
{
	uint32_t gref = 0;
	unsigned int pages = s->pins.map_n;
	int rc;

	stat_add(&s->st->map_calls, 1);
	stat_add(&s->st->map_pages, pages);
	s->batch_calls++;
	rc = pins_map(&s->pins, &gref);
	if (rc == -EFAULT)
		session_break(s, "grant %u cannot be mapped: not granted, revoked, or read-only "
				 "under a device-writable descriptor", gref);
	else if (rc == -ENOSPC)
		s->shortage = true;
	else if (rc)
		s->fatal = rc;
	return rc;
}

/* Adds what fits; chains behind one that does not fit stay in order behind it. */
static chain_error add_chains(struct session *s)
{
	struct batch *b = &s->batch;

	for (unsigned int i = 0; i < b->chain_n; i++) {
		struct candidate *c = &b->chain[i];
		chain_error why;
		int rc;

		if (c->q->blocked)
			continue;
		rc = add_chain(s, c, &why);
		if (rc == -EINVAL)
			return why;
		if (rc == -EAGAIN)
			break; /* the next batch begins with it */
		if (rc) {
			c->q->blocked = true;
			stat_add(&s->st->stalls, 1);
		}
	}
	return NULL;
}

static void forget_reservations(struct session *s)
{
	for (unsigned int i = 0; i < s->num_queues; i++)
		shadow_unreserve(&s->queue[i].shadow);
}

int batch_translate(struct session *s)
{
	chain_error why = add_chains(s);
	unsigned int pages = s->pins.map_n;
	int rc;

	forget_reservations(s);
	if (why) {
		pins_undo(&s->pins, 0);
		session_break(s, "%s", why);
		return -EINVAL;
	}
	if (!pages)
		return 0;
	rc = map_batch(s);
	if (!rc)
		fill_segments(s, pages);
	return rc;
}
