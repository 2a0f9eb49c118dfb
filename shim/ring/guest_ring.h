/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device's side of a split virtqueue that a guest owns (virtio 1.x, "Split Virtqueues").
 * Everything is read once and checked by the caller's rules; indices of ours are kept in
 * private memory and never read back.
 */
#ifndef XVS_RING_GUEST_RING_H
#define XVS_RING_GUEST_RING_H

#include "ring/event.h"
#include "util/shared.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>

struct guest_ring {
	const struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t size;
	uint16_t last_avail; /* next entry of the available ring to take */
	uint16_t used_idx;   /* as published */
	bool event_idx;
};

#define GUEST_RING_DESC_BYTES(n) (16u * (n))
#define GUEST_RING_AVAIL_BYTES(n) (6u + 2u * (n))
#define GUEST_RING_USED_BYTES(n) (6u + 8u * (n))

static inline uint16_t *guest_ring_used_event(const struct guest_ring *r)
{
	return &r->avail->ring[r->size];
}

static inline uint16_t *guest_ring_avail_event(const struct guest_ring *r)
{
	return (uint16_t *)(void *)&r->used->ring[r->size];
}

/* Number of chains that wait, or -EOVERFLOW if the index ran ahead of the ring. Pairs with the
 * driver's release of avail->idx. */
static inline int guest_ring_waiting(const struct guest_ring *r)
{
	uint16_t n = (uint16_t)(shared_read_acquire(&r->avail->idx) - r->last_avail);

	return n > r->size ? -EOVERFLOW : n;
}

/* The head of the i-th waiting chain, unchecked. */
static inline uint16_t guest_ring_head(const struct guest_ring *r, unsigned int i)
{
	return shared_read(&r->avail->ring[(uint16_t)(r->last_avail + i) & (r->size - 1)]);
}

/* One descriptor, copied. index < size. */
static inline void guest_ring_desc(const struct guest_ring *r, unsigned int index,
				   struct vring_desc *out)
{
	shared_copy_out(out, &r->desc[index], sizeof(*out));
}

/* Writes the element at used index idx; not visible before guest_ring_publish. */
static inline void guest_ring_put(const struct guest_ring *r, uint16_t idx, uint32_t id,
				  uint32_t len)
{
	struct vring_used_elem *e = &r->used->ring[idx & (r->size - 1)];

	shared_write(&e->id, id);
	shared_write(&e->len, len);
}

/* Pairs with the driver's acquire of used->idx. */
static inline void guest_ring_publish(struct guest_ring *r, uint16_t idx)
{
	r->used_idx = idx;
	shared_write_release(&r->used->idx, idx);
}

/* Does the driver want to hear of the elements from used index old on? ("Used Buffer
 * Notification Suppression") */
static inline bool guest_ring_wants_event(const struct guest_ring *r, uint16_t old)
{
	shared_full_barrier(); /* pairs with the driver's, between used_event and used->idx */
	if (r->event_idx)
		return vring_need_event(shared_read(guest_ring_used_event(r)), r->used_idx, old);
	return !(shared_read(&r->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

/* Asks the driver for a notification on the next chain; the caller looks once more after. */
static inline void guest_ring_want_kick(const struct guest_ring *r)
{
	if (r->event_idx)
		shared_write(guest_ring_avail_event(r), r->last_avail);
	else
		shared_write(&r->used->flags, 0);
	shared_full_barrier(); /* pairs with the driver's, between avail->idx and avail_event */
}

static inline void guest_ring_no_kick(const struct guest_ring *r)
{
	/* "Available Buffer Notification Suppression": left alone it would fire once more. */
	if (r->event_idx)
		shared_write(guest_ring_avail_event(r), ring_event_never(r->last_avail));
	else
		shared_write(&r->used->flags, VRING_USED_F_NO_NOTIFY);
}

#endif
