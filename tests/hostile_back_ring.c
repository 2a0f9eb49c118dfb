/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hostile_back.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE

void *hb_map(struct hb *b, uint32_t gref, bool writable)
{
	void *va;

	return b->hv->ops->host_map(b->hv, b->domid, &gref, 1, writable, &va) ? NULL : va;
}

void hb_unmap(struct hb *b, void *va)
{
	b->hv->ops->host_unmap(b->hv, va, 1);
}

static uint32_t ref_of(uint64_t daddr)
{
	return (uint32_t)(daddr >> XVS_DADDR_GREF_SHIFT & XVS_DADDR_GREF_MASK);
}

int hb_queue_on(struct hb *b)
{
	struct xvs_queue e = b->ctrl->queue[0];
	struct hb_queue *q = &b->q;
	void *used;

	/* xvshim_front has used rings on pages of their own; the rest of 64 entries fits one page */
	memset(q, 0, sizeof(*q));
	q->size = e.size;
	q->desc_ref = ref_of(e.desc_addr);
	q->avail_ref = ref_of(e.driver_addr);
	q->desc = hb_map(b, q->desc_ref, false);
	if (!q->desc || q->desc_ref != q->avail_ref || e.desc_addr & 4095)
		return XVS_EINVAL;
	q->avail_ring = (void *)((char *)(uintptr_t)q->desc + (e.driver_addr & 4095));
	used = hb_map(b, ref_of(e.device_addr), true);
	if (!used || b->hv->ops->evtchn_bind(b->hv, b->domid, e.evtchn, &q->port))
		return XVS_EINVAL;
	q->used_ring = (void *)((char *)used + (e.device_addr & 4095));
	q->live = true;
	b->ctrl->queue[0].enabled = 1;
	return 0;
}

void hb_queue_off(struct hb *b)
{
	struct hb_queue *q = &b->q;

	if (!q->live)
		return;
	b->hv->ops->evtchn_unbind(b->hv, q->port);
	hb_unmap(b, (void *)((uintptr_t)q->used_ring & ~4095ul));
	hb_unmap(b, (void *)(uintptr_t)q->desc);
	q->live = false;
	if (b->ctrl)
		b->ctrl->queue[0].enabled = 0;
}

/* Bytes between the guest and buf, page by page. keep: the first page stays mapped. */
static bool move(struct hb *b, uint64_t daddr, uint8_t *buf, uint32_t len, bool to_guest, bool keep)
{
	while (len) {
		uint32_t off = daddr & 4095, part = 4096 - off < len ? 4096 - off : len;
		uint8_t *va = hb_map(b, ref_of(daddr), to_guest);

		if (!va)
			return false;
		if (to_guest)
			memcpy(va + off, buf, part);
		else
			memcpy(buf, va + off, part);
		if (keep && !b->kept)
			b->kept = va;
		else
			hb_unmap(b, va);
		daddr += part;
		buf += part;
		len -= part;
	}
	return true;
}

/* The chain at head, flat. Returns how many; whether by an indirect table goes to *table. */
static unsigned int flatten(struct hb *b, uint16_t head, struct vring_desc *out, uint64_t *table)
{
	struct vring_desc copy[128];
	const struct vring_desc *from = b->q.desc;
	struct vring_desc d = from[head];
	unsigned int n = 0;

	*table = 0;
	if (d.flags & VRING_DESC_F_INDIRECT) {
		*table = d.addr;
		if (d.len > sizeof(copy) || !move(b, d.addr, (uint8_t *)copy, d.len, false, false))
			return 0;
		from = copy;
		d = copy[0];
	}
	for (; n < 128; d = from[d.next]) {
		out[n++] = d;
		if (!(d.flags & NEXT))
			break;
	}
	return n;
}

/* A table that it may only read, and the control page of which it may write a part. */
static void rewrite(struct hb *b, uint64_t table)
{
	uint32_t refs[3] = { b->q.desc_ref, b->q.avail_ref, table ? ref_of(table) : b->q.desc_ref };
	struct xvs_device_info *info = &b->ctrl->info;
	uint32_t status = info->device_status;
	uint8_t *va;

	for (unsigned int i = 0; i < 3; i++) {
		va = hb_map(b, refs[i], true);
		b->refused += !va;
		if (!va)
			continue;
		memset(va, 0xa5, XVS_PAGE_SIZE);
		hb_unmap(b, va);
	}
	memset(info, 0xa5, sizeof(*info));
	info->device_status = status;
	info->config_generation = 0xa5a5a5a5; /* odd, for ever */
	memset(&b->ctrl->req, 0xa5, sizeof(b->ctrl->req));
	memset(b->ctrl->queue, 0xa5, sizeof(b->ctrl->queue));
	memset(b->ctrl->config, 0xa5, sizeof(b->ctrl->config));
}

/* Data between buffers and the disk. Returns the status byte. */
static uint8_t transfer(struct hb *b, const struct vring_desc *d, unsigned int n,
			const struct virtio_blk_outhdr *hdr, uint32_t *written, bool keep)
{
	uint64_t at = hdr->sector * 512;

	if (hdr->type != VIRTIO_BLK_T_IN && hdr->type != VIRTIO_BLK_T_OUT)
		return VIRTIO_BLK_S_UNSUPP;
	for (unsigned int i = 1; i + 1 < n; i++) {
		bool in = hdr->type == VIRTIO_BLK_T_IN;

		if (at + d[i].len > HB_SECTORS * 512ull ||
		    !move(b, d[i].addr, b->disk + at, d[i].len, in, keep))
			return VIRTIO_BLK_S_IOERR;
		*written += in ? d[i].len : 0;
		at += d[i].len;
	}
	return VIRTIO_BLK_S_OK;
}

static void publish(struct hb *b, struct vring_used_elem e)
{
	struct hb_queue *q = &b->q;

	q->used_ring->ring[q->used++ % q->size] = e;
	__atomic_store_n(&q->used_ring->idx, q->used, __ATOMIC_RELEASE);
	b->hv->ops->evtchn_notify(b->hv, q->port);
}

static void one(struct hb *b, uint16_t head)
{
	struct vring_desc d[128];
	struct virtio_blk_outhdr hdr = { 0 };
	struct vring_used_elem e = { .id = head };
	uint64_t table;
	unsigned int n = flatten(b, head, d, &table);
	uint8_t status = VIRTIO_BLK_S_IOERR;
	bool now;

	b->requests++;
	if (n < 2 || d[0].len != sizeof(hdr) ||
	    !move(b, d[0].addr, (uint8_t *)&hdr, sizeof(hdr), false, false)) {
		publish(b, e);
		return;
	}
	now = !b->done && b->bug && hdr.sector >= HB_TRIGGER && hdr.sector < HB_SECTORS;
	status = transfer(b, d, n, &hdr, &e.len, now && b->bug == HB_KEEP);
	if (move(b, d[n - 1].addr, &status, 1, true, false))
		e.len++;
	if (now) {
		b->done = true;
		if (b->bug == HB_USED_RANGE)
			e.id = 60000;
		if (b->bug == HB_USED_NEVER)
			e.id = (head + 1u) % b->q.size;
		if (b->bug == HB_USED_LEN)
			e.len = 0x7fffffff;
		if (b->bug == HB_REWRITE)
			rewrite(b, table);
		if (b->kept)
			memcpy(b->was, b->kept, XVS_PAGE_SIZE);
	}
	publish(b, e);
}

void hb_serve(struct hb *b)
{
	struct hb_queue *q = &b->q;

	while (q->live && __atomic_load_n(&q->avail_ring->idx, __ATOMIC_ACQUIRE) != q->avail)
		one(b, q->avail_ring->ring[q->avail++ % q->size]);
}
