/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Second step of a batch: every buffer is decoded and checked, its pages are mapped for the
 * device in one hypercall, and segments with machine addresses come out.
 */
#include "session/internal.h"

#include <errno.h>

/*
 * Do bytes of a buffer lie in its own indirect table? The two may well share a page, where grants
 * stay. In one comparison: b begins less than its own length before a, or within it.
 */
static inline bool overlap(const struct gref_range *a, uint32_t a_len, const struct gref_range *b,
			   uint32_t b_len)
{
	uint64_t from = (uint64_t)a->gref << XVS_FRAME_SHIFT | a->offset;
	uint64_t to = (uint64_t)b->gref << XVS_FRAME_SHIFT | b->offset;

	return to - from + b_len - 1 < (uint64_t)a_len + b_len - 1;
}

/* A chain on its way into the batch. */
struct adding {
	unsigned int first; /* its first segment in the batch, one for each page */
	unsigned int end;   /* its last one must lie below */
	uint16_t *link;     /* where its list of pages goes on */
	struct gref_range table;
	uint32_t table_len; /* bytes; 0: there is none */
};

/* Why npages more do not fit: the guest's doing, or the batch's, or the pins'. */
static int no_room(struct session *s, const struct candidate *c, const struct adding *to,
		   uint32_t npages, chain_error *why)
{
	if (npages > c->q->shadow.size - (s->batch.seg_n - to->first))
		return refuse(why, "chain covers more pages than the queue has entries");
	return npages > JOURNAL_BATCH - s->batch.seg_n ? -EAGAIN : -ENOSPC;
}

static inline void link_node(struct session *s, struct adding *to, uint16_t node)
{
	*to->link = node;
	to->link = &s->pins.next[node];
}

/* A page that goes with its request. Its frame is added when it is known. */
static inline void add_page(struct session *s, struct adding *to, uint32_t gref, bool writable,
			    struct shadow_seg *seg)
{
	s->batch.op[seg - s->batch.seg] = (uint16_t)s->pins.map_n;
	link_node(s, to, pins_add(&s->pins, gref, writable));
}

/*
 * A page that may stay: found, or mapped to stay. It is mapped writable, so that whoever uses it
 * next can; what may not stay for want of room goes with its request.
 */
static inline void add_kept(struct session *s, struct adding *to, uint32_t gref, bool writable,
			    struct shadow_seg *seg)
{
	struct kept *k = &s->kept;
	uint16_t *op = &s->batch.op[seg - s->batch.seg], pin = kept_find(k, gref);

	if (__builtin_expect(pin == PIN_NONE, 0)) {
		pin = kept_add(k, gref);
		if (pin == PIN_NONE) {
			add_page(s, to, gref, writable, seg);
			return;
		}
		stat_add(&s->st->keep_added, 1);
	}
	if (__builtin_expect(kept_pending(k, pin), 0)) {
		*op = k->op[pin];
	} else {
		*op = OP_NONE;
		seg->maddr.a += pins_maddr(&s->pins, pin).a;
		s->batch.hits++;
	}
	link_node(s, to, kept_get(k, pin, s->batch.no));
}

/* As add_desc, for pages that are named by pfn; what is not the guest's is found here. */
static int add_desc_p2m(struct session *s, const struct candidate *c, struct adding *to,
			const struct chain_desc *d, chain_error *why)
{
	struct gref_range range;
	uint32_t left = d->len, offset;
	int rc = session_p2m_decode(s, d->daddr, left, &range, why);

	if (rc)
		return rc;
	if (range.npages > to->end - s->batch.seg_n)
		return no_room(s, c, to, range.npages, why);
	if (ring_refs_hit(&s->refs, range.gref, range.npages))
		return refuse(why, "buffer lies in a ring");
	if (d->writable && to->table_len && overlap(&to->table, to->table_len, &range, left))
		return refuse(why, "buffer lies in its own indirect table");
	offset = range.offset;
	for (uint32_t i = 0; i < range.npages; i++) {
		uint32_t room = XVS_FRAME_SIZE - offset, part = left < room ? left : room;
		unsigned int n = s->batch.seg_n;

		rc = session_p2m_add(s, range.gref + i, d->writable, &to->link, &s->batch.op[n],
				     why);
		if (rc)
			return rc;
		s->batch.seg[n] = (struct shadow_seg){ .maddr = { offset }, .len = part,
						       .writable = d->writable };
		s->batch.seg_n++;
		offset = 0;
		left -= part;
	}
	return 0;
}

/* Checks one descriptor and adds its pages to the batch. Errors as of add_descs. */
static inline int add_desc(struct session *s, const struct candidate *c, struct adding *to,
			   const struct chain_desc *d, chain_error *why)
{
	struct shadow_seg *seg = &s->batch.seg[s->batch.seg_n];
	struct gref_range range;
	uint32_t left = d->len, gref, offset;
	bool writable = d->writable, kept;

	if (daddr_decode(d->daddr, left, s->keep, &range, &kept))
		return refuse(why, "address is not a grant");
	if (__builtin_expect(range.npages > to->end - s->batch.seg_n, 0))
		return no_room(s, c, to, range.npages, why);
	if (refused(ring_refs_hit(&s->refs, range.gref, range.npages)))
		return refuse(why, "buffer lies in a ring or the control page");
	if (refused(writable && to->table_len &&
		    overlap(&to->table, to->table_len, &range, left)))
		return refuse(why, "buffer lies in its own indirect table");
	gref = range.gref;
	offset = range.offset;
	do {
		uint32_t room = XVS_FRAME_SIZE - offset, part = left < room ? left : room;

		*seg = (struct shadow_seg){ .maddr = { offset }, .len = part,
					    .writable = writable };
		if (kept)
			add_kept(s, to, gref++, writable, seg++);
		else
			add_page(s, to, gref++, writable, seg++);
		offset = 0;
		left -= part;
	} while (left);
	s->batch.seg_n += range.npages;
	return 0;
}

static inline unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/*
 * All descriptors of a chain, of which there is at least one. -EINVAL with *why, -EAGAIN: the
 * batch is full, -ENOSPC: the queue waits for completions.
 */
static inline int add_descs(struct session *s, struct candidate *c, struct adding *to,
			    chain_error *why)
{
	const struct chain_desc *d = &s->batch.desc[c->desc], *end = d + c->desc_n;
	struct chain_sum sum = { 0 };
	chain_error form;
	int rc;

	do {
		form = chain_check_next(d, &sum);
		if (refused(form != NULL))
			return refuse(why, form);
		rc = s->p2m ? add_desc_p2m(s, c, to, d, why) : add_desc(s, c, to, d, why);
		if (__builtin_expect(rc, 0))
			return rc;
	} while (++d < end);
	form = chain_check_sum(&sum);
	if (refused(form != NULL))
		return refuse(why, form);
	c->writable = (uint32_t)sum.writable;
	c->readable = (uint32_t)sum.readable;
	return shadow_reserve(&c->q->shadow, s->batch.seg_n - to->first) ? 0 : -ENOSPC;
}

/* Gives the uses in a chain's list back; its pins go another way. */
static void drop_uses(struct session *s, uint16_t node)
{
	while (node != PIN_NONE) {
		uint16_t next = s->pins.next[node];

		if (pins_is_use(node))
			kept_put(&s->kept, node);
		node = next;
	}
}

/* Takes the map batch back from element `from` on; nothing of it was mapped. */
static void undo_map(struct session *s, unsigned int from)
{
	kept_forget_batch(&s->kept, from, s->pins.map_n);
	pins_undo(&s->pins, from);
}

/* Adds one chain, or nothing of it. As add_descs. */
static int add_chain(struct session *s, struct candidate *c, chain_error *why)
{
	unsigned int first = s->batch.seg_n, first_op = s->pins.map_n;
	unsigned int pages = least(c->q->shadow.size, s->pins.free_n);
	unsigned int mark = s->p2m ? session_p2m_mark(s) : 0;
	struct adding to = { .first = first, .link = &c->first_pin };
	int rc;

	to.end = least(first + least(pages, s->pins.use_free_n), JOURNAL_BATCH);
	if (c->indirect_n) {
		to.table = c->table_range;
		to.table_len = c->indirect_n * (uint32_t)sizeof(struct vring_desc);
	}
	rc = add_descs(s, c, &to, why);
	*to.link = PIN_NONE;
	if (__builtin_expect(rc, 0)) {
		if (s->p2m) {
			session_p2m_undo(s, mark);
		} else {
			drop_uses(s, c->first_pin);
			undo_map(s, first_op);
		}
		s->batch.seg_n = first;
		return rc;
	}
	c->seg = (uint16_t)first;
	c->seg_n = (uint16_t)(s->batch.seg_n - first);
	return 0;
}

static void fill_segments(struct session *s, unsigned int ops)
{
	struct shadow_seg *seg = s->batch.seg;
	const uint16_t *op = s->batch.op;
	unsigned int n = s->batch.seg_n;

	/* no element stands for two segments then, so they are in the same order */
	if (ops == n)
		for (unsigned int i = 0; i < n; i++)
			seg[i].maddr.a += pins_batch_maddr(&s->pins, i).a;
	else
		for (unsigned int i = 0; i < n; i++)
			if (op[i] != OP_NONE)
				seg[i].maddr.a += pins_batch_maddr(&s->pins, op[i]).a;
}

/* The batch was not mapped and is given up. */
static void undo_batch(struct session *s, unsigned int ops)
{
	struct batch *b = &s->batch;

	for (unsigned int i = 0; i < b->chain_n; i++)
		if (b->chain[i].seg_n)
			drop_uses(s, b->chain[i].first_pin);
	kept_forget_batch(&s->kept, 0, ops);
	b->seg_n = 0;
}

unsigned int batch_queue_of(const struct session *s, uint64_t page)
{
	const struct batch *b = &s->batch;

	for (unsigned int i = 0; i < b->chain_n; i++) {
		const struct candidate *c = &b->chain[i];

		for (unsigned int j = 0; j < c->desc_n && c->seg_n; j++) {
			const struct chain_desc *d = &b->desc[c->desc + j];
			struct gref_range r;
			bool kept;
			int rc = s->p2m ? daddr_decode_p2m(d->daddr, d->len, &r) :
					  daddr_decode(d->daddr, d->len, s->keep, &r, &kept);

			if (!rc && page - r.gref < r.npages)
				return squeue_index(s, c->q);
		}
	}
	return 0;
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
	if (rc)
		undo_batch(s, pages);
	if (rc == -EFAULT)
		session_break(s, "queue %u: grant %u cannot be mapped: not granted, revoked, or "
				 "read-only under a device-writable descriptor",
			      batch_queue_of(s, gref), gref);
	else if (rc == -ENOSPC)
		s->shortage = true;
	else if (rc)
		s->fatal = rc;
	return rc;
}

/*
 * Adds what fits; chains behind one that does not fit stay in order behind it. Returns the reason
 * if the guest broke a rule, and in which queue.
 */
static chain_error add_chains(struct session *s, unsigned int *queue)
{
	struct batch *b = &s->batch;

	for (unsigned int i = 0; i < b->chain_n; i++) {
		struct candidate *c = &b->chain[i];
		chain_error why;
		int rc;

		if (c->q->blocked)
			continue;
		rc = add_chain(s, c, &why);
		if (rc == -EINVAL) {
			*queue = squeue_index(s, c->q);
			return why;
		}
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

static void give_up(struct session *s)
{
	if (s->p2m) {
		session_p2m_undo(s, 0);
		s->batch.seg_n = 0;
		return;
	}
	undo_batch(s, s->pins.map_n);
	pins_undo(&s->pins, 0);
}

int batch_translate(struct session *s)
{
	unsigned int queue = 0, ops;
	chain_error why = add_chains(s, &queue);
	int rc;

	ops = s->pins.map_n;
	forget_reservations(s);
	if (why) {
		give_up(s);
		session_break(s, "queue %u: %s", queue, why);
		return -EINVAL;
	}
	if (s->p2m)
		return session_p2m_map(s);
	stat_add(&s->st->keep_hits, s->batch.hits);
	if (!ops)
		return 0;
	rc = map_batch(s);
	if (!rc)
		fill_segments(s, ops);
	return rc;
}
