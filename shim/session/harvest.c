/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One batch towards the guest: completed chains are taken from the shadow rings, their pages
 * are unmapped in one hypercall, and only then does the guest learn of them.
 */
#include "session/internal.h"

#include <errno.h>

_Static_assert(SHADOW_MAX <= JOURNAL_RING_MAX, "all that can complete has room in the list");

/* A chain's pages must fit into what is left of the unmap batch. */
static bool unmap_room(const struct session *s, const struct squeue *q)
{
	return JOURNAL_BATCH - s->pins.unmap_n >= q->shadow.size;
}

static void drop_pins(struct session *s, uint16_t node)
{
	while (node != PIN_NONE) {
		uint16_t next = s->pins.next[node];

		if (pins_is_use(node))
			kept_put(&s->kept, node);
		else
			pins_drop(&s->pins, node); /* unmap_room() said yes */
		node = next;
	}
}

/* Takes completions of one queue into its journal's list. */
static int take_queue(struct session *s, struct squeue *q)
{
	struct journal_used *pub = q->log->pub;
	int rc = 0, waiting = shadow_waiting(&q->shadow);
	struct shadow_chain chain;
	unsigned int n = 0;
	uint32_t len;

	if (waiting < 0)
		return waiting;
	while (waiting-- && unmap_room(s, q)) {
		rc = shadow_take(&q->shadow, &chain, &len);
		if (rc)
			break;
		if (s->p2m)
			session_p2m_drop(s, chain.first_pin);
		else
			drop_pins(s, chain.first_pin);
		pub[n++] = (struct journal_used){ chain.guest_head, len };
	}
	q->done_n = n;
	return rc;
}

/*
 * Publishes one queue. In this order, so that a successor can tell how far it got: the list
 * becomes valid, the guest's index moves (that one store commits it), the chains stop being in
 * flight, the list becomes invalid.
 */
void session_publish(struct session *s, struct squeue *q)
{
	struct journal_queue *log = q->log;
	const unsigned int n = q->done_n;
	const struct guest_ring ring = q->ring;
	uint16_t old = ring.used_idx;

	atomic_store_explicit(&log->used, n << 16 | old, memory_order_release);
	for (unsigned int i = 0; i < n; i++)
		guest_ring_put(&ring, (uint16_t)(old + i), log->pub[i].id, log->pub[i].len);
	guest_ring_publish(&q->ring, (uint16_t)(old + n));
	for (unsigned int i = 0; i < n; i++)
		atomic_store_explicit(&log->inflight[log->pub[i].id], 0, memory_order_relaxed);
	atomic_store_explicit(&log->used, q->ring.used_idx, memory_order_release);
	if (guest_ring_wants_event(&q->ring, old)) {
		session_notify(s, q->port);
		stat_add(&s->st->guest_notifies, 1);
	}
}

static int unmap_batch(struct session *s)
{
	if (s->p2m)
		return session_p2m_flush(s);
	if (!s->pins.unmap_n)
		return 0;
	stat_add(&s->st->unmap_calls, 1);
	stat_add(&s->st->unmap_pages, s->pins.unmap_n);
	s->batch_calls++;
	return pins_unmap(&s->pins);
}

static void broken_device(struct session *s, unsigned int index, int rc)
{
	session_break(s, "queue %u: the nested device %s", index,
		      rc == -EMSGSIZE ? "returned a length above the buffer's" :
					"returned a chain it was not given");
}

unsigned int session_harvest(struct session *s)
{
	unsigned int done = 0;
	int err;

	if (!s->live)
		return 0;
	for (unsigned int i = 0; i < s->num_queues; i++) {
		struct squeue *q = &s->queue[(s->turn + i) % s->num_queues];

		q->done_n = 0;
		if (!q->enabled)
			continue;
		err = take_queue(s, q);
		if (err < 0) {
			broken_device(s, squeue_index(s, q), err);
			return 0;
		}
		done += q->done_n;
	}
	if (!done)
		return 0;
	err = unmap_batch(s);
	if (err) {
		session_break(s, "pages cannot be unmapped: %s", strerror(-err));
		return 0;
	}
	for (unsigned int i = 0; i < s->num_queues; i++) {
		struct squeue *q = &s->queue[i];

		q->blocked = false; /* there may be room now, also for others */
		if (q->done_n)
			session_publish(s, q);
	}
	session_count_inflight(s);
	stat_add(&s->st->harvests, 1);
	stat_add(&s->st->completions, done);
	return done;
}
