/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One batch towards the device: gather, translate, and, once every page is mapped, write down
 * what was taken and hand it over. A batch costs one copy (if there are indirect tables), one
 * map and at most one notification a queue, whatever its size.
 */
#include "session/internal.h"

static void trace_chain(struct session *s, const struct candidate *c)
{
	struct batch *b = &s->batch;
	unsigned int seg = c->seg;
	uint16_t queue = (uint16_t)(c->q - s->queue);

	for (unsigned int i = 0; i < c->desc_n && i < 4; i++) {
		const struct chain_desc *d = &b->desc[c->desc + i];
		uint32_t at = atomic_load_explicit(&s->st->trace_next, memory_order_relaxed);
		struct gref_range range;
		bool kept;

		s->st->trace[at % JOURNAL_TRACE] = (struct journal_trace){
			.daddr = d->daddr, .maddr = b->seg[seg].maddr.a, .len = d->len,
			.queue = queue, .writable = d->writable };
		atomic_store_explicit(&s->st->trace_next, at + 1, memory_order_release);
		if (s->p2m ? daddr_decode_p2m(d->daddr, d->len, &range) :
			     daddr_decode(d->daddr, d->len, s->keep, &range, &kept))
			return;
		seg += range.npages;
	}
}

/*
 * Takes one chain from the guest. The order of the two stores is what a successor relies on:
 * a head noted as in flight at last_avail means that only the second store is missing.
 */
void session_take_chain(struct candidate *c)
{
	struct squeue *q = c->q;
	struct journal_queue *log = q->log;
	uint32_t at = log->last_avail;

	if (__builtin_expect(c->resumed, false)) {
		q->resume_at++;
		return;
	}
	atomic_store_explicit(&log->inflight[c->head], 1u << 31 | at, memory_order_release);
	at++;
	q->ring.last_avail = (uint16_t)at;
	__atomic_store_n(&log->last_avail, at, __ATOMIC_RELEASE);
}

static unsigned int hand_over(struct session *s)
{
	struct batch *b = &s->batch;
	uint64_t descs = 0, indirect = 0, readable = 0, writable = 0;
	unsigned int chains = 0;

	for (unsigned int i = 0; i < b->chain_n; i++) {
		struct candidate *c = &b->chain[i];
		struct shadow_chain chain = { .guest_head = c->head,
					      .first_pin = c->first_pin,
					      .writable = c->writable };

		if (!c->seg_n)
			continue;
		session_take_chain(c);
		shadow_add(&c->q->shadow, &b->seg[c->seg], c->seg_n, &chain);
		if (!chains)
			trace_chain(s, c);
		chains++;
		descs += c->desc_n;
		indirect += c->indirect_n != 0;
		readable += c->readable;
		writable += c->writable;
	}
	stat_add(&s->st->descs, descs);
	stat_add(&s->st->indirect, indirect);
	stat_add(&s->st->bytes_read, readable);
	stat_add(&s->st->bytes_written, writable);
	return chains;
}

static void publish(struct session *s)
{
	for (unsigned int i = 0; i < s->num_queues; i++) {
		struct squeue *q = &s->queue[i];

		if (!q->enabled || !shadow_publish(&q->shadow))
			continue;
		s->dev->ops->notify(s->dev, i);
		stat_add(&s->st->dev_notifies, 1);
	}
	session_count_inflight(s);
}

unsigned int session_submit(struct session *s)
{
	unsigned int chains;

	if (!s->live || s->shortage || !batch_gather(s))
		return 0;
	if (batch_translate(s) || !s->batch.seg_n)
		return 0;
	chains = hand_over(s);
	publish(s);
	stat_add(&s->st->batches, 1);
	stat_add(&s->st->chains, chains);
	stat_add(&s->st->pages, s->batch.seg_n);
	atomic_store_explicit(&s->st->kept, s->kept.n, memory_order_relaxed);
	return chains;
}
