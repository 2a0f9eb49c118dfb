/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "session/internal.h"

#include <errno.h>

#define PART_PAGES_MAX P2M_RING_PAGES /* of SHADOW_MAX entries, at any offset of their alignment */

static void filter_set(struct ring_refs *refs, uint32_t gref)
{
	refs->filter[gref / 64 % 64] |= 1ull << (gref % 64);
}

int ring_refs_add(struct ring_refs *refs, struct gref_range range)
{
	if (refs->n == sizeof(refs->range) / sizeof(refs->range[0]))
		return -ENOSPC;
	if (!refs->n || range.gref < refs->low)
		refs->low = range.gref;
	if (!refs->n || range.gref + range.npages - 1 > refs->high)
		refs->high = range.gref + range.npages - 1;
	refs->range[refs->n++] = range;
	for (uint32_t i = 0; i < range.npages; i++)
		filter_set(refs, range.gref + i);
	return 0;
}

static bool in_ranges(const struct ring_refs *refs, uint32_t gref)
{
	for (unsigned int i = 0; i < refs->n; i++)
		if (gref - refs->range[i].gref < refs->range[i].npages)
			return true;
	return false;
}

bool ring_refs_contain(const struct ring_refs *refs, uint32_t gref, unsigned int npages)
{
	for (unsigned int i = 0; i < npages; i++, gref++)
		if ((refs->filter[gref / 64 % 64] >> (gref % 64) & 1) && in_ranges(refs, gref))
			return true;
	return false;
}

/* Maps one part of a ring; *va is its first byte. */
static int map_part(struct session *s, struct ring_map *m, uint64_t daddr, uint32_t len,
		    unsigned int align, bool writable, void **va)
{
	uint32_t gref[PART_PAGES_MAX];
	struct gref_range range;
	int rc = s->p2m ? daddr_decode_p2m(daddr, len, &range) :
			  daddr_decode_grant(daddr, len, &range);

	if (rc || daddr % align || range.npages > PART_PAGES_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < range.npages; i++)
		gref[i] = range.gref + i;
	rc = ring_refs_add(&s->refs, range);
	if (rc)
		return rc;
	if (s->p2m) {
		rc = session_p2m_map_ring(s, &range, writable, &m->va);
		if (rc)
			return rc;
		m->npages = range.npages;
		*va = (char *)m->va + range.offset;
		return 0;
	}
	/* What gntdev says of a refused grant tells nothing of whose fault it was. */
	if (s->hv->ops->host_map(s->hv, s->p.domid, gref, range.npages, writable, &m->va))
		return -EAGAIN;
	m->npages = range.npages;
	*va = (char *)m->va + range.offset;
	return 0;
}

/* What cannot be unmapped goes with this process, and until then nobody says that it is. */
static void unmap_parts(struct session *s, struct squeue *q)
{
	for (unsigned int i = 0; i < 3; i++) {
		int rc = 0;

		if (q->map[i].npages && s->p2m)
			rc = s->hv->ops->foreign_unmap(s->hv, q->map[i].va, q->map[i].npages);
		else if (q->map[i].npages)
			rc = s->hv->ops->host_unmap(s->hv, q->map[i].va, q->map[i].npages);
		if (rc)
			session_give_up(s, rc, "a ring cannot be unmapped");
		q->map[i] = (struct ring_map){ 0 };
	}
}

static int map_ring(struct session *s, struct squeue *q, const struct xvs_queue *e)
{
	void *desc, *avail, *used;
	int rc = map_part(s, &q->map[0], e->desc_addr, GUEST_RING_DESC_BYTES(e->size), 16, false,
			  &desc);

	if (!rc)
		rc = map_part(s, &q->map[1], e->driver_addr, GUEST_RING_AVAIL_BYTES(e->size), 2,
			      false, &avail);
	if (!rc)
		rc = map_part(s, &q->map[2], e->device_addr, GUEST_RING_USED_BYTES(e->size), 4, true,
			      &used);
	if (rc) {
		unmap_parts(s, q);
		return rc;
	}
	q->ring = (struct guest_ring){ .desc = desc, .avail = avail, .used = used,
				       .size = e->size };
	return 0;
}

uint16_t squeue_size_max(const struct session *s, unsigned int index)
{
	uint16_t max = s->gone ? 0 : s->dev->ops->queue_size_max(s->dev, index), size = 1;

	if (!max)
		return 0;
	while (size * 2u <= max && size * 2u <= SHADOW_MAX)
		size = (uint16_t)(size * 2);
	return size;
}

static const char *check_entry(const struct session *s, unsigned int index,
			       const struct xvs_queue *e)
{
	uint16_t max = squeue_size_max(s, index);

	if (!max)
		return "no such queue";
	if (!e->size || (e->size & (e->size - 1)) || e->size > max)
		return "queue size is not a power of two within size_max";
	return NULL;
}

int squeue_enable(struct session *s, unsigned int index, const char **why)
{
	struct squeue *q = &s->queue[index];
	unsigned int refs = s->refs.n;
	struct xvs_queue e;
	int rc;

	control_queue(&s->ctrl, index, &e);
	*why = check_entry(s, index, &e);
	if (*why)
		return -EINVAL;
	*why = s->p2m ? "ring addresses are not the guest's memory" :
		       "ring addresses are not valid grants";
	rc = map_ring(s, q, &e);
	if (rc)
		goto err_refs;
	*why = "event channel cannot be bound";
	rc = s->hv->ops->evtchn_bind(s->hv, s->p.domid, e.evtchn, &q->port);
	if (rc)
		goto err_unmap;
	q->log = &s->log->queue[index];
	q->masked = false;
	q->blocked = false;
	q->resume_n = q->resume_at = 0;
	q->enabled = true;
	*why = NULL;
	return 0;

err_unmap:
	unmap_parts(s, q);
err_refs:
	s->refs.n = refs; /* their bits in the filter only cost a look */
	return rc;
}

void squeue_disable(struct session *s, unsigned int index)
{
	struct squeue *q = &s->queue[index];

	if (!q->enabled)
		return;
	s->hv->ops->evtchn_unbind(s->hv, q->port);
	unmap_parts(s, q);
	q->enabled = false;
}

int squeue_start(struct session *s, unsigned int index, uint64_t dev_features)
{
	struct squeue *q = &s->queue[index];
	struct shadow_ring *sh = &q->shadow;
	uint16_t size = squeue_size_max(s, index);

	shadow_init(sh, s->p.dma, s->shadow_page + index * shadow_dma_pages(), size,
		    dev_features >> VIRTIO_RING_F_EVENT_IDX & 1,
		    dev_features >> VIRTIO_RING_F_INDIRECT_DESC & 1);
	q->ring.event_idx = s->features >> VIRTIO_RING_F_EVENT_IDX & 1;
	return s->dev->ops->queue_enable(s->dev, index, size, sh->desc_maddr, sh->avail_maddr,
					 sh->used_maddr);
}

/* How long ago a chain was taken, in chains; the newest can be 0, see below. */
static uint32_t age_of(const struct squeue *q, uint16_t head)
{
	return (q->log->last_avail - atomic_load(&q->log->inflight[head])) & 0x7fffffff;
}

/* Also corrects last_avail. */
void squeue_collect(struct squeue *q)
{
	unsigned int n = 0;

	for (uint16_t head = 0; head < q->ring.size; head++) {
		unsigned int i = n;

		if (!atomic_load(&q->log->inflight[head]))
			continue;
		for (; i && age_of(q, q->resume[i - 1]) < age_of(q, head); i--)
			q->resume[i] = q->resume[i - 1];
		q->resume[i] = head;
		n++;
	}
	/* The worker died between noting the newest chain and moving last_avail past it. */
	if (n && age_of(q, q->resume[n - 1]) == 0)
		q->log->last_avail++;
	q->ring.last_avail = (uint16_t)q->log->last_avail;
	q->resume_n = n;
	q->resume_at = 0;
}

void session_count_inflight(struct session *s)
{
	uint32_t n = 0;

	for (unsigned int i = 0; i < s->num_queues; i++)
		if (s->queue[i].enabled)
			n += s->queue[i].shadow.inflight;
	atomic_store_explicit(&s->st->inflight, n, memory_order_relaxed);
}
