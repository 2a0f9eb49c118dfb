/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's disk driver: virtio 1.x, "Block Device". */
#include "sim/guest_priv.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>

/*
 * Where grants may stay, three of four do, so that both kinds meet in one chain. Granted
 * read-only or kept: what is kept is read-write.
 */
static int guest_expose(struct sim_guest *g, struct sim_gqueue *q, uint64_t gpa, uint32_t len,
			bool readonly, uint64_t *daddr, struct sim_range *range)
{
	range->kept = false;
	if (g->cfg.addressing == XVS_ADDRESSING_GRANT &&
	    g->cfg.protection != XVS_PROTECTION_STRICT && guest_random(q, 4) &&
	    !guest_keep(g, gpa, len, daddr, range))
		return 0;
	return sim_guest_expose(g, gpa, len, readonly, daddr, &range->ref, &range->n);
}

/* Adds one buffer to the request: grants it and keeps its descriptor in private memory. */
static int guest_add(struct sim_guest *g, struct sim_gqueue *q, struct sim_blk_req *r,
		     uint64_t gpa, uint32_t len, bool write)
{
	struct sim_range *range = &r->range[r->nrange];
	uint64_t daddr;
	int err;

	err = guest_expose(g, q, gpa, len, !write, &daddr, range);
	if (err)
		return err;
	r->nrange++;
	r->desc[r->ndesc] = (struct vring_desc){ .addr = daddr, .len = len,
						 .flags = write ? VRING_DESC_F_WRITE : 0 };
	r->ndesc++;
	if (write)
		r->writable += len;
	return 0;
}

/*
 * Header and status at places that differ from request to request, on pages of their own: a
 * page both may be mapped for writing would hide that the header's was.
 */
static int guest_add_head(struct sim_guest *g, struct sim_gqueue *q, struct sim_blk_req *r,
			  uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	uint64_t gpa = (r->page.n << XVS_FRAME_SHIFT) + guest_random(q, 510) * 8;

	r->status_gpa = ((r->page.n + 1) << XVS_FRAME_SHIFT) + guest_random(q, XVS_FRAME_SIZE);
	sim_mem_write(g->cfg.machine, g->cfg.domid, gpa, &hdr, sizeof(hdr));
	sim_mem_write(g->cfg.machine, g->cfg.domid, r->status_gpa, "\xff", 1);
	return guest_add(g, q, r, gpa, sizeof(hdr), false);
}

static struct sim_blk_req *guest_req_new(struct sim_guest *g, unsigned int n)
{
	struct sim_blk_req *r = calloc(1, sizeof(*r) + (n + 3) * sizeof(r->range[0]));

	if (!r)
		return NULL;
	r->desc = calloc(n + 2, sizeof(*r->desc));
	if (r->desc && !sim_pages_alloc(g->cfg.machine, g->cfg.domid, 2, &r->page))
		return r;
	free(r->desc);
	free(r);
	return NULL;
}

/* Ends what the request granted. Pages that cannot be had back are never used again. */
static void guest_req_free(struct sim_guest *g, struct sim_blk_req *r)
{
	int err = 0;

	for (uint32_t i = 0; i < r->nrange; i++)
		if (r->range[i].kept)
			guest_unkeep(g, &r->range[i]);
		else if (guest_hide(g, r->range[i].ref, r->range[i].n))
			err = -EBUSY;
	if (!err) {
		sim_pages_free(g->cfg.machine, g->cfg.domid, r->page, 2);
		sim_pages_free(g->cfg.machine, g->cfg.domid, r->table, r->table_pages);
	}
	r->nrange = 0;
	r->table_pages = 0;
}

static void guest_req_destroy(struct sim_blk_req *r)
{
	free(r->desc);
	free(r);
}

/* Writes the chain into a table of its own, which may lie across a page edge. */
static int guest_write_indirect(struct sim_guest *g, struct sim_gqueue *q, struct sim_blk_req *r,
				struct vring_desc *slot)
{
	uint32_t len = r->ndesc * 16, n = r->ndesc;
	struct sim_range *range = &r->range[r->nrange];
	uint64_t gpa, daddr;
	int err;

	for (uint32_t i = 0; i + 1 < n; i++) {
		r->desc[i].flags |= VRING_DESC_F_NEXT;
		r->desc[i].next = (uint16_t)(i + 1);
	}
	r->table_pages = 2 + len / XVS_FRAME_SIZE;
	err = sim_pages_alloc(g->cfg.machine, g->cfg.domid, r->table_pages, &r->table);
	if (err) {
		r->table_pages = 0;
		return err;
	}
	gpa = (r->table.n << XVS_FRAME_SHIFT) + guest_random(q, XVS_FRAME_SIZE / 16) * 16;
	sim_mem_write(g->cfg.machine, g->cfg.domid, gpa, r->desc, len);
	err = guest_expose(g, q, gpa, len, true, &daddr, range);
	if (err)
		return err;
	r->nrange++;
	*slot = (struct vring_desc){ .addr = daddr, .len = len, .flags = VRING_DESC_F_INDIRECT };
	return 0;
}

static void guest_write_direct(struct sim_gqueue *q, struct sim_blk_req *r)
{
	uint16_t at = r->head;

	for (uint32_t i = 0; i < r->ndesc; i++) {
		struct vring_desc d = r->desc[i];

		if (i + 1 < r->ndesc) {
			d.flags |= VRING_DESC_F_NEXT;
			d.next = q->next[at];
		}
		q->ring.desc[at] = d;
		at = q->next[at];
	}
}

static void guest_trace(struct sim_guest *g, unsigned int queue, const struct sim_blk_req *r,
			uint64_t hdr_gpa, const struct sim_sg *sg)
{
	for (uint32_t i = 0; g->cfg.trace && i < r->ndesc; i++) {
		struct sim_guest_trace t = { .queue = queue, .head = r->head,
					     .daddr = r->desc[i].addr, .len = r->desc[i].len };

		t.gpa = !i ? hdr_gpa : i + 1 == r->ndesc ? r->status_gpa : sg[i - 1].gpa;
		t.write = r->desc[i].flags & VRING_DESC_F_WRITE;
		g->cfg.trace(g->cfg.arg, &t);
	}
}

static int guest_req_build(struct sim_guest *g, struct sim_gqueue *q, struct sim_blk_req *r,
			   uint32_t type, uint64_t sector, const struct sim_sg *sg, unsigned int n)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	int err = guest_add_head(g, q, r, type, sector);

	for (unsigned int i = 0; !err && i < n; i++)
		err = guest_add(g, q, r, sg[i].gpa, sg[i].len, in);
	if (!err)
		err = guest_add(g, q, r, r->status_gpa, 1, true);
	return err;
}

/* Descriptors are taken from the private list; what is in the ring is never read back. */
static int guest_req_place(struct sim_guest *g, struct sim_gqueue *q, struct sim_blk_req *r)
{
	struct vring_desc slot;
	uint32_t need = guest_has(g, VIRTIO_RING_F_INDIRECT_DESC) ? 1 : r->ndesc;
	int err;

	if (q->nfree < need)
		return -ENOSPC;
	r->head = q->free_head;
	if (guest_has(g, VIRTIO_RING_F_INDIRECT_DESC)) {
		err = guest_write_indirect(g, q, r, &slot);
		if (err)
			return err;
		q->ring.desc[r->head] = slot;
	} else {
		guest_write_direct(q, r);
	}
	for (uint32_t i = 0; i < need; i++)
		q->free_head = q->next[q->free_head];
	q->nfree = (uint16_t)(q->nfree - need);
	q->req[r->head] = r;
	return 0;
}

/* Puts the descriptors of a request back at the front of the list. */
static void guest_req_unplace(struct sim_guest *g, struct sim_gqueue *q, struct sim_blk_req *r)
{
	uint32_t n = guest_has(g, VIRTIO_RING_F_INDIRECT_DESC) ? 1 : r->ndesc;
	uint16_t last = r->head;

	for (uint32_t i = 1; i < n; i++)
		last = q->next[last];
	q->next[last] = q->free_head;
	q->free_head = r->head;
	q->nfree = (uint16_t)(q->nfree + n);
	q->req[r->head] = NULL;
}

struct sim_blk_req *sim_blk_submit(struct sim_guest *g, unsigned int queue, uint32_t type,
				   uint64_t sector, const struct sim_sg *sg, unsigned int n,
				   int *err)
{
	struct sim_gqueue *q = &g->queue[queue];
	struct sim_blk_req *r = q->live && n <= GUEST_GRANTS ? guest_req_new(g, n) : NULL;
	uint64_t hdr_gpa;

	*err = -ENOMEM;
	if (!r)
		return NULL;
	*err = guest_req_build(g, q, r, type, sector, sg, n);
	if (!*err)
		*err = guest_req_place(g, q, r);
	if (*err) {
		guest_req_free(g, r);
		guest_req_destroy(r);
		return NULL;
	}
	hdr_gpa = (r->page.n << XVS_FRAME_SHIFT) | (r->desc[0].addr & XVS_FRAME_MASK);
	guest_trace(g, queue, r, hdr_gpa, sg);
	guest_publish(q, r->head);
	return r;
}

/* The device is reset, or its back end gone: the request will never complete. */
void guest_req_drop(struct sim_guest *g, struct sim_gqueue *q, struct sim_blk_req *r)
{
	q->req[r->head] = NULL;
	if (!r->done)
		guest_req_free(g, r);
	guest_req_destroy(r);
}

/* One used element: the grants are ended at once, before anybody looks at the data. */
static void guest_complete(struct sim_guest *g, struct sim_gqueue *q,
			   const struct vring_used_elem *e)
{
	struct sim_blk_req *r = e->id < q->ring.size ? q->req[e->id] : NULL;

	if (!r || r->done) {
		guest_violate(g, "used id %u, which is not in flight", e->id);
		return;
	}
	if (e->len > r->writable)
		guest_violate(g, "used length %u of a request with %u writable bytes", e->len,
			      r->writable);
	r->done = true;
	r->len = e->len;
	guest_req_free(g, r);
}

bool sim_blk_done(struct sim_guest *g, unsigned int queue, struct sim_blk_req *req)
{
	struct sim_gqueue *q = &g->queue[queue];
	struct vring_used_elem e;

	while (guest_used(g, q, &e))
		guest_complete(g, q, &e);
	return req->done;
}

uint32_t sim_blk_used_len(const struct sim_blk_req *req)
{
	return req->len;
}

int sim_blk_wait(struct sim_guest *g, unsigned int queue, struct sim_blk_req *req)
{
	struct sim_gqueue *q = &g->queue[queue];
	uint8_t status = 0;
	int err = 0;

	while (!sim_blk_done(g, queue, req)) {
		err = sim_guest_violation(g) ? -EPROTO : guest_wait_used(g, q, g->cfg.timeout);
		/* It stays in flight until a reset: the device may still write to it. */
		if (err)
			return err;
	}
	err = sim_mem_read(g->cfg.machine, g->cfg.domid, req->status_gpa, &status, 1);
	guest_req_unplace(g, q, req);
	guest_req_destroy(req);
	if (sim_guest_violation(g))
		err = -EPROTO;
	return err ? err : status;
}
