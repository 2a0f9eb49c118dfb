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

/* Pages the chain covers and its direction, from its private descriptors. */
static chain_error measure(struct session *s, struct candidate *c, unsigned int *pages)
{
	const struct chain_desc *d = &s->batch.desc[c->desc];
	uint64_t readable, writable;
	chain_error why = chain_check(d, c->desc_n, &readable, &writable);

	*pages = 0;
	for (unsigned int i = 0; i < c->desc_n && !why; i++) {
		struct gref_range range;

		if (daddr_decode_grant(d[i].daddr, d[i].len, &range))
			return "address is not a grant";
		if (range.npages > SHADOW_MAX || *pages + range.npages > c->q->shadow.size)
			return "chain covers more pages than the queue has entries";
		if (ring_refs_hit(&s->refs, range.gref, range.npages))
			return "buffer lies in a ring or the control page";
		if (c->indirect_n && d[i].writable && overlap(&c->table_range, &range))
			return "buffer lies in its own indirect table";
		*pages += range.npages;
	}
	c->writable = (uint32_t)writable;
	c->readable = (uint32_t)readable;
	return why;
}

/* Adds the pages of one descriptor to the batch. Room was checked. */
static void add_desc(struct session *s, const struct chain_desc *d)
{
	struct batch *b = &s->batch;
	struct gref_range range;
	uint32_t left = d->len;

	if (daddr_decode_grant(d->daddr, d->len, &range))
		return; /* measure() refused it */
	for (uint32_t i = 0; i < range.npages; i++) {
		uint32_t part = XVS_FRAME_SIZE - range.offset;

		part = left < part ? left : part;
		b->seg_pin[b->seg_n] = pins_add(&s->pins, range.gref + i, d->writable);
		b->seg_off[b->seg_n] = range.offset;
		b->seg[b->seg_n++] = (struct shadow_seg){ .len = part, .writable = d->writable };
		left -= part;
		range.offset = 0;
	}
}

static void link_pins(struct session *s, const struct candidate *c)
{
	const uint16_t *pin = &s->batch.seg_pin[c->seg];

	for (unsigned int i = 0; i < c->seg_n; i++)
		s->pins.next[pin[i]] = i + 1 < c->seg_n ? pin[i + 1] : PIN_NONE;
}

/* Adds one chain. -EAGAIN: the batch is full, -ENOSPC: its queue has to wait for completions. */
static int add_chain(struct session *s, struct candidate *c, unsigned int pages)
{
	struct batch *b = &s->batch;

	if (pages > JOURNAL_BATCH - s->pins.map_n)
		return -EAGAIN;
	if (!pins_room(&s->pins, pages) || !shadow_reserve(&c->q->shadow, pages))
		return -ENOSPC;
	c->seg = b->seg_n;
	c->seg_n = pages;
	for (unsigned int i = 0; i < c->desc_n; i++)
		add_desc(s, &b->desc[c->desc + i]);
	link_pins(s, c);
	return 0;
}

static void fill_segments(struct session *s)
{
	struct batch *b = &s->batch;

	for (unsigned int i = 0; i < b->seg_n; i++)
		b->seg[i].maddr = maddr_add(pins_maddr(&s->pins, b->seg_pin[i]), b->seg_off[i]);
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
		unsigned int pages;
		chain_error why;
		int rc;

		if (c->q->blocked)
			continue;
		why = measure(s, c, &pages);
		if (why)
			return why;
		rc = add_chain(s, c, pages);
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
	int rc;

	forget_reservations(s);
	if (why) {
		pins_undo(&s->pins, 0);
		session_break(s, "%s", why);
		return -EINVAL;
	}
	if (!s->pins.map_n)
		return 0;
	rc = map_batch(s);
	if (!rc)
		fill_segments(s);
	return rc;
}
