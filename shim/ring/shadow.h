/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's side of a split virtqueue whose device is the nested one: descriptors hold
 * machine addresses. It lies in DMA memory; nobody but this process and the device sees it.
 * What the device writes (the used ring) is checked like a guest's memory.
 */
#ifndef XVS_RING_SHADOW_H
#define XVS_RING_SHADOW_H

#include "hv/hv.h"
#include "ring/event.h"
#include "util/shared.h"
#include "util/refused.h"

#include <errno.h>
#include <linux/virtio_ring.h>

#define SHADOW_MAX 256u       /* entries: descriptor table = one machine page */
#define SHADOW_SMALL 16u      /* descriptors of a small indirect table, one for each entry */
#define SHADOW_BIG_TABLES 16u /* of SHADOW_MAX descriptors, one machine page each */
#define SHADOW_NO_TABLE 0xffu

/* A piece of machine memory of one direction. */
struct shadow_seg {
	maddr_t maddr;
	uint32_t len;
	bool writable;
};

/* What the caller wants back when a chain completes. */
struct shadow_chain {
	uint16_t guest_head;
	uint16_t first_pin;
	uint32_t writable; /* bytes the device may write */
};

struct shadow_ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	maddr_t desc_maddr, avail_maddr, used_maddr;
	uint16_t size;
	uint16_t avail_idx, published_idx, last_used;
	uint16_t free_head, free_n; /* free descriptors, linked in next[] */
	uint16_t reserved_n;        /* of these, promised to chains of this batch */
	uint8_t reserved_big;
	uint16_t inflight;
	bool event_idx, indirect;
	uint8_t big_free_n;
	uint8_t big_free[SHADOW_BIG_TABLES];
	uint8_t table[SHADOW_MAX];  /* big table of the chain, or SHADOW_NO_TABLE */
	uint16_t count[SHADOW_MAX]; /* descriptors of the chain at this head; 0: none there */
	uint16_t next[SHADOW_MAX];
	struct shadow_chain chain[SHADOW_MAX];
	const struct hv_dma *dma;
	unsigned int small_page, big_page; /* first page of each kind of table, in dma */
};

/* DMA pages one ring takes. */
unsigned int shadow_dma_pages(void);

/* Lays the ring out in zeroed state. size is a power of two, at most SHADOW_MAX. */
void shadow_init(struct shadow_ring *s, const struct hv_dma *dma, unsigned int first_page,
		 uint16_t size, bool event_idx, bool indirect);

/* Sets room aside for a chain of n segments; false: there is none now. */
static inline bool shadow_reserve(struct shadow_ring *s, unsigned int n)
{
	unsigned int reserved = s->reserved_n + (n > 1 && s->indirect ? 1 : n);

	if (n > s->size || reserved > s->free_n)
		return false;
	if (n > SHADOW_SMALL && s->indirect) {
		if (s->big_free_n == s->reserved_big)
			return false;
		s->reserved_big++;
	}
	s->reserved_n = (uint16_t)reserved;
	return true;
}

void shadow_unreserve(struct shadow_ring *s);

/* The descriptors of a chain of several segments; returns the head. */
uint16_t shadow_put(struct shadow_ring *s, const struct shadow_seg *seg, unsigned int n);

static inline uint16_t shadow_put_one(struct shadow_ring *s, const struct shadow_seg *seg)
{
	uint16_t id = s->free_head;
	struct vring_desc *d = &s->desc[id];

	s->free_head = s->next[id];
	s->free_n--;
	s->count[id] = 1;
	d->addr = seg->maddr.a;
	d->len = seg->len;
	d->flags = (uint16_t)(seg->writable * VRING_DESC_F_WRITE);
	d->next = 0;
	return id;
}

/* Adds a chain whose room was reserved. Merges neighbours that touch in machine memory. Not
 * visible to the device before shadow_publish. */
static inline void shadow_add(struct shadow_ring *s, const struct shadow_seg *seg, unsigned int n,
			      const struct shadow_chain *chain)
{
	uint16_t head = n == 1 ? shadow_put_one(s, seg) : shadow_put(s, seg, n);
	unsigned int idx = s->avail_idx;

	s->chain[head] = *chain;
	s->inflight++;
	shared_write(&s->avail->ring[idx & (s->size - 1u)], head);
	s->avail_idx = (uint16_t)(idx + 1);
}

/* Makes all added chains visible. Returns whether the device wants a notification. */
bool shadow_publish(struct shadow_ring *s);

/* Gives the descriptors of a chain back, and its table. */
void shadow_release(struct shadow_ring *s, uint16_t head);

/* How many chains have completed and were not taken. -EPROTO: more than are in flight. */
static inline int shadow_waiting(const struct shadow_ring *s)
{
	uint16_t waiting = (uint16_t)(shared_read_acquire(&s->used->idx) - s->last_used);

	return refused(waiting > s->inflight) ? -EPROTO : waiting;
}

/*
 * Takes one completed chain; shadow_waiting() said that there is one. 0. -EPROTO: the device returned
 * an id it was not given. len is as the device said, at most chain->writable; -EMSGSIZE (the chain was
 * taken, len is clamped): it said more.
 */
static inline int shadow_take(struct shadow_ring *s, struct shadow_chain *chain, uint32_t *len)
{
	const unsigned int last = s->last_used, size = s->size;
	const struct vring_used_elem *e = &s->used->ring[last & (size - 1)];
	uint32_t id, count;

	id = shared_read(&e->id);
	*len = shared_read(&e->len);
	if (refused(id >= size))
		return -EPROTO;
	count = s->count[id];
	if (refused(!count))
		return -EPROTO;
	*chain = s->chain[id];
	s->last_used = (uint16_t)(last + 1);
	s->inflight--;
	if (count == 1 && s->table[id] == SHADOW_NO_TABLE) {
		s->count[id] = 0;
		s->next[id] = s->free_head;
		s->free_head = (uint16_t)id;
		s->free_n++;
	} else {
		shadow_release(s, (uint16_t)id);
	}
	if (refused(*len > chain->writable)) {
		*len = chain->writable;
		return -EMSGSIZE;
	}
	return 0;
}

/* Something completed? For polling. */
static inline bool shadow_pending(const struct shadow_ring *s)
{
	return shared_read_acquire(&s->used->idx) != s->last_used;
}

/* Asks the device for an interrupt on the next completion; the caller looks once more after. */
void shadow_want_irq(struct shadow_ring *s);
void shadow_no_irq(struct shadow_ring *s);

#endif
