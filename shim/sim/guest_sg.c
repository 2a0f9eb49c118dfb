/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buffers of the guest, in pieces as uncomfortable as drivers make them. */
#include "sim/guest_priv.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdatomic.h>
#include <stdlib.h>

/* splitmix64; any thread of any queue may ask. */
static uint32_t guest_sg_random(struct sim_guest *g, uint32_t below)
{
	uint64_t z = atomic_fetch_add(&g->sg_rng, 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) >> 32) % below;
}

static uint32_t guest_sg_pages(const struct sim_sg *sg)
{
	return (uint32_t)(((sg->gpa & XVS_FRAME_MASK) + sg->len + XVS_FRAME_MASK) >>
			  XVS_FRAME_SHIFT);
}

/* The length of the next piece; the last one allowed takes all that is left. */
static uint32_t guest_piece(struct sim_guest *g, size_t left, uint32_t size_max, unsigned int more)
{
	uint32_t max = left < size_max ? (uint32_t)left : size_max;
	uint64_t rest;
	uint32_t n;

	if (more <= 1)
		return max;
	n = 1 + guest_sg_random(g, max);
	rest = left - n;
	/* What is left must fit into the pieces that are left. */
	if (rest > (uint64_t)(more - 1) * size_max)
		n = max;
	return n;
}

int sim_sg_alloc(struct sim_guest *g, size_t len, uint32_t size_max, unsigned int max,
		 struct sim_sg *sg, unsigned int *n)
{
	int err = 0;

	*n = 0;
	while (len && *n < max) {
		struct sim_sg *s = &sg[*n];
		pfn_t pfn;

		s->len = guest_piece(g, len, size_max, max - *n);
		s->gpa = guest_sg_random(g, XVS_FRAME_SIZE);
		err = sim_pages_alloc(g->cfg.machine, g->cfg.domid, guest_sg_pages(s), &pfn);
		if (err)
			break;
		s->gpa += pfn.n << XVS_FRAME_SHIFT;
		len -= s->len;
		(*n)++;
	}
	if (!err && len)
		err = -EMSGSIZE;
	if (err)
		sim_sg_free(g, sg, *n);
	return err;
}

void sim_sg_free(struct sim_guest *g, const struct sim_sg *sg, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		sim_pages_free(g->cfg.machine, g->cfg.domid,
			       (pfn_t){ sg[i].gpa >> XVS_FRAME_SHIFT }, guest_sg_pages(&sg[i]));
}

int sim_sg_fill(struct sim_guest *g, const struct sim_sg *sg, unsigned int n, const void *buf)
{
	const uint8_t *at = buf;
	int err = 0;

	for (unsigned int i = 0; !err && i < n; at += sg[i++].len)
		err = sim_mem_write(g->cfg.machine, g->cfg.domid, sg[i].gpa, at, sg[i].len);
	return err;
}

int sim_sg_fetch(struct sim_guest *g, const struct sim_sg *sg, unsigned int n, void *buf)
{
	uint8_t *at = buf;
	int err = 0;

	for (unsigned int i = 0; !err && i < n; at += sg[i++].len)
		err = sim_mem_read(g->cfg.machine, g->cfg.domid, sg[i].gpa, at, sg[i].len);
	return err;
}

/* What the device's config space allows; the protocol counts pages against the queue's size. */
static void guest_blk_limits(struct sim_guest *g, unsigned int queue, uint32_t *size_max,
			     unsigned int *segs)
{
	unsigned int room = g->queue[queue].ring.size / 2u;
	struct virtio_blk_config c;

	*size_max = 1u << 20;
	*segs = room > 3 ? room - 2 : 1;
	if (sim_guest_config_read(g, 0, &c, sizeof(c)))
		return;
	if (guest_has(g, VIRTIO_BLK_F_SIZE_MAX) && c.size_max && c.size_max < *size_max)
		*size_max = c.size_max;
	if (guest_has(g, VIRTIO_BLK_F_SEG_MAX) && c.seg_max && c.seg_max < *segs)
		*segs = c.seg_max;
	if (*segs > 32)
		*segs = 32;
}

static int guest_blk_io(struct sim_guest *g, unsigned int queue, uint32_t type, uint64_t sector,
			void *buf, size_t len)
{
	struct sim_sg sg[GUEST_GRANTS];
	struct sim_blk_req *r;
	unsigned int n = 0, segs;
	uint32_t size_max;
	int rc;

	guest_blk_limits(g, queue, &size_max, &segs);
	rc = sim_sg_alloc(g, len, size_max, segs, sg, &n);
	if (!rc && type == VIRTIO_BLK_T_OUT)
		rc = sim_sg_fill(g, sg, n, buf);
	if (rc)
		return rc;
	r = sim_blk_submit(g, queue, type, sector, sg, n, &rc);
	if (!r)
		goto out;
	sim_blk_kick(g, queue);
	rc = sim_blk_wait(g, queue, r);
	/* Not completed: the pages stay with the request, whatever becomes of it. */
	if (rc < 0)
		return rc;
	if (!rc && type == VIRTIO_BLK_T_IN)
		rc = sim_sg_fetch(g, sg, n, buf);
out:
	sim_sg_free(g, sg, n);
	return rc;
}

int sim_blk_read(struct sim_guest *g, unsigned int queue, uint64_t sector, void *buf, size_t len)
{
	return guest_blk_io(g, queue, VIRTIO_BLK_T_IN, sector, buf, len);
}

int sim_blk_write(struct sim_guest *g, unsigned int queue, uint64_t sector, const void *buf,
		  size_t len)
{
	return guest_blk_io(g, queue, VIRTIO_BLK_T_OUT, sector, (void *)(uintptr_t)buf, len);
}

int sim_blk_flush(struct sim_guest *g, unsigned int queue)
{
	return guest_blk_io(g, queue, VIRTIO_BLK_T_FLUSH, 0, NULL, 0);
}
