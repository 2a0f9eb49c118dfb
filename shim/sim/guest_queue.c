/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's rings: virtio 1.x, "Split Virtqueues", from the driver's side. */
#include "sim/guest_priv.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

uint32_t guest_random(struct sim_gqueue *q, uint32_t below)
{
	q->rng = q->rng * 6364136223846793005ull + 1442695040888963407ull;
	return below ? (uint32_t)(q->rng >> 33) % below : 0;
}

static uint32_t guest_pages(uint64_t gpa, uint64_t len)
{
	return (uint32_t)(((gpa & XVS_FRAME_MASK) + len + XVS_FRAME_MASK) >> XVS_FRAME_SHIFT);
}

int sim_guest_expose(struct sim_guest *g, uint64_t gpa, uint32_t len, bool readonly,
		     uint64_t *daddr, uint32_t *ref, uint32_t *n)
{
	pfn_t pfn = { gpa >> XVS_FRAME_SHIFT };
	int err;

	*n = 0;
	*ref = 0;
	*daddr = gpa;
	if (g->cfg.addressing == XVS_ADDRESSING_P2M)
		return 0;
	err = sim_grant_range(g->cfg.machine, g->cfg.domid, pfn, guest_pages(gpa, len),
			      g->cfg.backend, readonly, ref);
	if (err)
		return err;
	*n = guest_pages(gpa, len);
	*daddr = XVS_DADDR_GRANT | (uint64_t)*ref << XVS_DADDR_GREF_SHIFT | (gpa & XVS_FRAME_MASK);
	return 0;
}

/* Ends grants. A page still mapped means that the back end keeps what it has to let go. */
int guest_hide(struct sim_guest *g, uint32_t ref, uint32_t n)
{
	int err = n ? sim_grant_end(g->cfg.machine, g->cfg.domid, ref, n) : 0;

	if (err == -EBUSY)
		guest_violate(g, "grants %u to %u are still mapped when the guest ends them", ref,
			      ref + n - 1);
	return err;
}

/* Offsets of the three parts in one run of pages. */
static uint32_t guest_avail_off(uint16_t size)
{
	return 16u * size;
}

static uint32_t guest_used_off(uint16_t size)
{
	return (guest_avail_off(size) + 6u + 2u * size + 3u) & ~3u;
}

static uint32_t guest_ring_len(uint16_t size)
{
	return guest_used_off(size) + 6u + 8u * size;
}

static void guest_queue_init(struct sim_gqueue *q, uint16_t size, uint64_t daddr)
{
	struct sim_ring *r = &q->ring;
	uint8_t *va = (uint8_t *)r->desc;

	memset(va, 0, (size_t)r->npages << XVS_FRAME_SHIFT);
	r->size = size;
	r->avail = (struct vring_avail *)(va + guest_avail_off(size));
	r->used = (struct vring_used *)(va + guest_used_off(size));
	r->desc_addr = daddr;
	r->driver_addr = daddr + guest_avail_off(size);
	r->device_addr = daddr + guest_used_off(size);
	q->avail = q->last_avail = q->last_used = 0;
	q->corked = false;
	q->free_head = 0;
	q->nfree = size;
	for (uint16_t i = 0; i < size; i++)
		q->next[i] = (uint16_t)(i + 1);
	memset(q->req, 0, sizeof(q->req));
	q->live = true;
}

static int guest_queue_alloc(struct sim_guest *g, struct sim_gqueue *q, uint16_t size)
{
	struct sim_machine *m = g->cfg.machine;
	uint32_t len = guest_ring_len(size), n;
	uint64_t daddr;
	int err;

	q->ring.npages = guest_pages(0, len);
	err = sim_pages_alloc(m, g->cfg.domid, q->ring.npages, &q->pfn);
	if (err)
		return err;
	q->ring.desc = sim_pages_map(m, g->cfg.domid, q->pfn, q->ring.npages);
	err = q->ring.desc ? 0 : -ENOMEM;
	if (err)
		goto err_pages;
	err = sim_guest_expose(g, q->pfn.n << XVS_FRAME_SHIFT, len, false, &daddr, &q->ring.ref,
			       &n);
	if (err)
		goto err_map;
	err = sim_evtchn_alloc(m, g->cfg.domid, g->cfg.backend, &q->ring.port);
	if (err)
		goto err_expose;
	guest_queue_init(q, size, daddr);
	return 0;

err_expose:
	guest_hide(g, q->ring.ref, n);
err_map:
	sim_pages_unmap(q->ring.desc, q->ring.npages);
err_pages:
	sim_pages_free(m, g->cfg.domid, q->pfn, q->ring.npages);
	return err;
}

/* After a reset, or when the guest goes: nothing of the queue may be in use any more. */
void guest_queue_free(struct sim_guest *g, struct sim_gqueue *q)
{
	struct sim_machine *m = g->cfg.machine;
	uint32_t n = g->cfg.addressing == XVS_ADDRESSING_GRANT ? q->ring.npages : 0;

	if (!q->live)
		return;
	for (uint16_t i = 0; i < q->ring.size; i++)
		if (q->req[i])
			guest_req_drop(g, q, q->req[i]);
	sim_evtchn_close(m, g->cfg.domid, q->ring.port);
	if (!guest_hide(g, q->ring.ref, n))
		sim_pages_free(m, g->cfg.domid, q->pfn, q->ring.npages);
	sim_pages_unmap(q->ring.desc, q->ring.npages);
	q->live = false;
}

int sim_guest_setup_queue(struct sim_guest *g, unsigned int queue, uint16_t size)
{
	struct xvs_request req = { .op = XVS_OP_SET_VQUEUE, .u.index = queue };
	struct xvs_queue *entry = &g->ctrl->queue[queue];
	struct sim_gqueue *q = &g->queue[queue];
	int err;

	if (!size || size > entry->size_max)
		size = entry->size_max;
	if (!size || size > XVS_QUEUE_SIZE_MAX || size & (size - 1))
		return -EINVAL;
	err = q->live ? -EBUSY : guest_queue_alloc(g, q, size);
	if (err)
		return err;
	entry->size = size;
	entry->evtchn = q->ring.port;
	entry->desc_addr = q->ring.desc_addr;
	entry->driver_addr = q->ring.driver_addr;
	entry->device_addr = q->ring.device_addr;
	err = sim_guest_request(g, &req);
	if (!err && atomic_load_explicit((_Atomic uint32_t *)&entry->enabled,
					 memory_order_acquire) != 1) {
		guest_violate(g, "queue %u is not enabled after SET_VQUEUE", queue);
		err = -EPROTO;
	}
	/* -ETIMEDOUT: it may still be taken up, so the pages stay. */
	if (err && err != -ETIMEDOUT)
		guest_queue_free(g, q);
	return err;
}

struct sim_ring *sim_guest_ring(struct sim_guest *g, unsigned int queue)
{
	return &g->queue[queue].ring;
}

/* Release pairs with the back end's acquire load of avail idx. */
static void guest_show(struct sim_gqueue *q)
{
	atomic_store_explicit((_Atomic uint16_t *)&q->ring.avail->idx, q->avail,
			      memory_order_release);
}

void guest_publish(struct sim_gqueue *q, uint16_t head)
{
	q->ring.avail->ring[q->avail % q->ring.size] = head;
	q->avail++;
	if (!q->corked)
		guest_show(q);
}

void sim_guest_push(struct sim_guest *g, unsigned int queue, uint16_t head)
{
	guest_publish(&g->queue[queue], head);
}

int sim_guest_kick(struct sim_guest *g, unsigned int queue)
{
	struct sim_gqueue *q = &g->queue[queue];

	q->last_avail = q->avail;
	return sim_evtchn_send(g->cfg.machine, g->cfg.domid, q->ring.port);
}

void sim_blk_cork(struct sim_guest *g, unsigned int queue)
{
	g->queue[queue].corked = true;
}

int sim_blk_kick(struct sim_guest *g, unsigned int queue)
{
	struct sim_gqueue *q = &g->queue[queue];
	const struct sim_ring *r = &q->ring;
	uint16_t old = q->last_avail;
	bool want;

	if (q->corked) {
		q->corked = false;
		guest_show(q);
	}
	/* The index before the wish; pairs with the back end's fence between wish and look. */
	atomic_thread_fence(memory_order_seq_cst);
	if (guest_has(g, VIRTIO_RING_F_EVENT_IDX))
		want = vring_need_event(atomic_load_explicit((_Atomic uint16_t *)
							     &r->used->ring[r->size],
							     memory_order_relaxed),
					q->avail, old);
	else
		want = !(atomic_load_explicit((_Atomic uint16_t *)&r->used->flags,
					      memory_order_relaxed) & VRING_USED_F_NO_NOTIFY);
	q->last_avail = q->avail;
	return want && q->avail != old ? sim_guest_kick(g, queue) : 0;
}

/* Takes the next used element. Acquire pairs with the back end's release store of used idx. */
bool guest_used(struct sim_guest *g, struct sim_gqueue *q, struct vring_used_elem *elem)
{
	const struct sim_ring *r = &q->ring;
	uint16_t idx = atomic_load_explicit((_Atomic uint16_t *)&r->used->idx,
					    memory_order_acquire);

	if (idx == q->last_used)
		return false;
	if ((uint16_t)(idx - q->last_used) > r->size) {
		guest_violate(g, "used index %u runs ahead of %u", idx, q->last_used);
		return false;
	}
	*elem = r->used->ring[q->last_used % r->size];
	q->last_used++;
	return true;
}

static bool guest_has_used(const struct sim_gqueue *q)
{
	return atomic_load_explicit((_Atomic uint16_t *)&q->ring.used->idx,
				    memory_order_acquire) != q->last_used;
}

/* Asks for an event, looks once more, waits. 0: look again; -ETIMEDOUT. */
int guest_wait_used(struct sim_guest *g, struct sim_gqueue *q, unsigned int ms)
{
	struct sim_ring *r = &q->ring;
	int rc;

	if (guest_has(g, VIRTIO_RING_F_EVENT_IDX))
		atomic_store_explicit((_Atomic uint16_t *)&r->avail->ring[r->size], q->last_used,
				      memory_order_relaxed);
	/* The wish before the look; pairs with the back end's fence after used idx. */
	atomic_thread_fence(memory_order_seq_cst);
	if (guest_has_used(q))
		return 0;
	rc = sim_evtchn_wait(g->cfg.machine, g->cfg.domid, r->port, ms);
	if (rc < 0)
		return rc;
	return rc ? 0 : -ETIMEDOUT;
}

int sim_guest_pop(struct sim_guest *g, unsigned int queue, unsigned int ms,
		  struct vring_used_elem *elem)
{
	struct sim_gqueue *q = &g->queue[queue];

	for (int i = 0; i < 3; i++) {
		if (guest_used(g, q, elem))
			return 0;
		if (guest_wait_used(g, q, ms))
			break;
	}
	return guest_used(g, q, elem) ? 0 : -EAGAIN;
}
