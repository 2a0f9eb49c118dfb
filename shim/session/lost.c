/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nested device is taken away while a driver uses it: by the outer hypervisor, or by force. Drivers
 * wait for every request they made, virtio_blk even when it is removed, so each is answered with an
 * error until the device is detached: a disk that is gone, and not one that is silent.
 */
#include "session/internal.h"

#include <errno.h>

/* Nothing is in the shadow rings any more; what was is taken from the guest's rings once more. */
static void take_back(struct session *s)
{
	for (unsigned int i = 0; i < s->num_queues; i++) {
		struct squeue *q = &s->queue[i];

		if (!q->enabled)
			continue;
		shadow_init(&q->shadow, s->p.dma, s->shadow_page + i * shadow_dma_pages(),
			    q->shadow.size, q->shadow.event_idx, q->shadow.indirect);
		squeue_collect(q);
		q->blocked = false;
	}
	s->shortage = false;
	session_count_inflight(s);
}

static void lose(struct session *s, const char *reason)
{
	int rc = 0;

	while (session_harvest(s)) /* what it has answered */
		;
	if (s->broken || !s->live || !s->type->error_status) {
		session_break(s, "%s", reason);
	} else if (!s->gone) {
		log_limited(&s->limit, LOG_WARN,
			    "%s: %s; every request is answered with an error until it is detached",
			    s->p.name, reason);
		session_keep_reason(s, reason);
		rc = session_let_go(s);
		if (rc)
			s->fatal = rc;
		else if (!s->fatal)
			take_back(s);
	}
	/* One that may still write is not gone: nobody may do without its reset. */
	s->gone = !s->fatal;
}

void session_lose_device(struct session *s)
{
	lose(s, "the nested device is gone");
}

void session_take_device(struct session *s)
{
	s->taken = true;
	lose(s, "the nested device is taken away");
}

/* Where the byte is that tells how a request ended: the last one that the device may write. */
static chain_error find_status(const struct session *s, const struct candidate *c,
			       struct gref_range *at, uint64_t *writable)
{
	const struct chain_desc *d = &s->batch.desc[c->desc];
	struct chain_sum sum = { 0 };
	uint64_t last;
	bool kept;

	for (unsigned int i = 0; i < c->desc_n; i++) {
		chain_error why = chain_check_next(&d[i], &sum);

		if (why)
			return why;
	}
	if (refused(!sum.writable))
		return "no room for the status of a request";
	d += c->desc_n - 1; /* those that the device may write are the last */
	if (s->p2m ? daddr_decode_p2m(d->daddr, d->len, at) :
		     daddr_decode(d->daddr, d->len, s->keep, at, &kept))
		return "buffer address is not valid";
	last = (uint64_t)at->offset + d->len - 1;
	at->gref += (uint32_t)(last >> XVS_FRAME_SHIFT);
	at->offset = (uint32_t)(last & XVS_FRAME_MASK);
	at->npages = 1;
	if (refused(ring_refs_hit(&s->refs, at->gref, 1)))
		return "buffer lies in a ring or the control page";
	*writable = sum.writable;
	return NULL;
}

static void plan_copy(struct session *s, unsigned int i, const struct gref_range *at)
{
	s->copy_op[i] = (struct hv_copy_op){
		.source = { .frame = mfn_of(s->p.dma->maddr[s->scratch_page]).n,
			    .domid = HV_DOMID_SELF },
		.dest = { .frame = at->gref, .domid = s->p.domid, .offset = (uint16_t)at->offset },
		.len = 1,
		.flags = HV_COPY_DEST_GREF,
		.status = HV_STATUS_PENDING,
	};
}

/* 0; -EINVAL: not the guest's memory; -EAGAIN: later. */
static int write_p2m(struct session *s, const struct gref_range *at)
{
	void *va;
	int rc = session_p2m_map_ring(s, at, true, &va);

	if (rc)
		return rc;
	shared_write((uint8_t *)va + at->offset, s->type->error_status);
	if (s->hv->ops->foreign_unmap(s->hv, va, 1))
		session_give_up(s, -EIO, "a page cannot be unmapped");
	return 0;
}

/* The first of the batch that could not be told, with its reason in *rc; all of them: chain_n. */
static unsigned int copy_errors(struct session *s, int *rc)
{
	const unsigned int n = s->batch.chain_n;
	unsigned int i;

	/* The tables that lay there are in private memory by now. */
	*((uint8_t *)s->p.dma->va + (size_t)s->scratch_page * XVS_FRAME_SIZE) = s->type->error_status;
	*rc = s->hv->ops->gnt_copy(s->hv, s->copy_op, n);
	if (*rc) {
		s->fatal = *rc;
		return 0;
	}
	for (i = 0; i < n && s->copy_op[i].status == HV_STATUS_OKAY; i++)
		;
	if (i < n)
		*rc = hv_status_errno(s->copy_op[i].status) == -EAGAIN ? -EAGAIN : -EINVAL;
	return i;
}

/* Returns how many chains of the batch, from the first on, may be given back. */
static unsigned int tell_errors(struct session *s)
{
	struct batch *b = &s->batch;
	chain_error why = NULL;
	unsigned int i;
	int rc = 0;

	for (i = 0; i < b->chain_n && !rc; i++) {
		struct candidate *c = &b->chain[i];
		struct gref_range at;
		uint64_t writable = 0;

		why = find_status(s, c, &at, &writable);
		if (why)
			rc = -EINVAL;
		else if (s->p2m)
			rc = write_p2m(s, &at);
		else
			plan_copy(s, i, &at);
		/* "at least what was written", from the first byte on: nothing but the status was */
		c->writable = writable == 1;
		if (rc)
			break;
	}
	if (!rc && !s->p2m)
		i = copy_errors(s, &rc);
	if (rc == -EAGAIN)
		s->shortage = true;
	else if (rc && !s->fatal)
		session_break(s, "queue %u: %s", squeue_index(s, b->chain[i].q),
			      why ? why : "the status of a request cannot be written");
	return s->broken || s->fatal ? 0 : i;
}

unsigned int session_answer_errors(struct session *s)
{
	struct batch *b = &s->batch;
	unsigned int n;

	if (!s->live || s->shortage || !batch_gather(s))
		return 0;
	n = tell_errors(s);
	for (unsigned int i = 0; i < s->num_queues; i++)
		s->queue[i].done_n = 0;
	for (unsigned int i = 0; i < n; i++) {
		struct squeue *q = b->chain[i].q;

		session_take_chain(&b->chain[i]);
		q->log->pub[q->done_n++] = (struct journal_used){ b->chain[i].head,
								  b->chain[i].writable };
	}
	for (unsigned int i = 0; i < s->num_queues && n; i++)
		if (s->queue[i].done_n)
			session_publish(s, &s->queue[i]);
	stat_add(&s->st->failed, n);
	return n;
}
