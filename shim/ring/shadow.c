/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ring/shadow.h"

#define SMALL_BYTES (SHADOW_SMALL * sizeof(struct vring_desc))
#define SMALL_PER_PAGE (XVS_FRAME_SIZE / SMALL_BYTES)
#define SMALL_PAGES (SHADOW_MAX / SMALL_PER_PAGE)
#define RING_PAGES 2u
#define USED_OFFSET 1024u /* behind the available ring, in the same page */

_Static_assert(SHADOW_MAX * sizeof(struct vring_desc) <= XVS_FRAME_SIZE,
	       "a descriptor table must not need neighbouring machine pages");
_Static_assert(6 + 2 * SHADOW_MAX <= USED_OFFSET, "available ring");
_Static_assert(USED_OFFSET + 6 + 8 * SHADOW_MAX <= XVS_FRAME_SIZE, "used ring");

unsigned int shadow_dma_pages(void)
{
	return RING_PAGES + SMALL_PAGES + SHADOW_BIG_TABLES;
}

static void *dma_va(const struct hv_dma *dma, unsigned int page)
{
	return (char *)dma->va + (size_t)page * XVS_FRAME_SIZE;
}

static void reset_lists(struct shadow_ring *s)
{
	for (unsigned int i = 0; i < s->size; i++) {
		s->next[i] = (uint16_t)(i + 1);
		s->count[i] = 0;
		s->table[i] = SHADOW_NO_TABLE;
	}
	s->free_head = 0;
	s->free_n = s->size;
	s->big_free_n = SHADOW_BIG_TABLES;
	for (unsigned int i = 0; i < SHADOW_BIG_TABLES; i++)
		s->big_free[i] = (uint8_t)i;
}

void shadow_init(struct shadow_ring *s, const struct hv_dma *dma, unsigned int first_page,
		 uint16_t size, bool event_idx, bool indirect)
{
	memset(s, 0, sizeof(*s));
	s->dma = dma;
	s->desc = dma_va(dma, first_page);
	s->avail = dma_va(dma, first_page + 1);
	s->used = (void *)((char *)s->avail + USED_OFFSET);
	s->desc_maddr = dma->maddr[first_page];
	s->avail_maddr = dma->maddr[first_page + 1];
	s->used_maddr = maddr_add(s->avail_maddr, USED_OFFSET);
	s->small_page = first_page + RING_PAGES;
	s->big_page = s->small_page + SMALL_PAGES;
	s->size = size;
	s->event_idx = event_idx;
	s->indirect = indirect;
	memset(s->desc, 0, XVS_FRAME_SIZE);
	memset(s->avail, 0, XVS_FRAME_SIZE);
	reset_lists(s);
}

void shadow_unreserve(struct shadow_ring *s)
{
	s->reserved_n = 0;
	s->reserved_big = 0;
}

static uint16_t take_desc(struct shadow_ring *s)
{
	uint16_t id = s->free_head;

	s->free_head = s->next[id];
	s->free_n--;
	return id;
}

static void give_desc(struct shadow_ring *s, uint16_t id)
{
	s->next[id] = s->free_head;
	s->free_head = id;
	s->free_n++;
}

/* Do two segments touch, so that one descriptor can carry both? */
static bool touches(const struct shadow_seg *a, const struct shadow_seg *b)
{
	return a->maddr.a + a->len == b->maddr.a && a->writable == b->writable;
}

static unsigned int merge_at(const struct shadow_seg *seg, unsigned int n, unsigned int i,
			     uint32_t *len)
{
	*len = seg[i].len;
	while (i + 1 < n && touches(&seg[i], &seg[i + 1])) {
		*len += seg[i + 1].len;
		i++;
	}
	return i + 1;
}

static void put_desc(struct vring_desc *d, const struct shadow_seg *seg, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	d->addr = seg->maddr.a;
	d->len = len;
	d->flags = (uint16_t)(flags | (seg->writable ? VRING_DESC_F_WRITE : 0));
	d->next = next;
}

/* Fills an indirect table; returns the number of descriptors. */
static unsigned int fill_table(struct vring_desc *table, const struct shadow_seg *seg,
			       unsigned int n)
{
	unsigned int count = 0, i = 0;
	uint32_t len;

	while (i < n) {
		unsigned int after = merge_at(seg, n, i, &len);
		uint16_t flags = after < n ? VRING_DESC_F_NEXT : 0;

		put_desc(&table[count], &seg[i], len, flags, (uint16_t)(count + 1));
		count++;
		i = after;
	}
	return count;
}

static uint16_t add_indirect(struct shadow_ring *s, const struct shadow_seg *seg, unsigned int n)
{
	uint16_t id = take_desc(s);
	struct vring_desc *table;
	maddr_t maddr;

	if (n <= SHADOW_SMALL) {
		unsigned int page = s->small_page + id / SMALL_PER_PAGE;
		unsigned int off = (unsigned int)(id % SMALL_PER_PAGE * SMALL_BYTES);

		table = (void *)((char *)dma_va(s->dma, page) + off);
		maddr = maddr_add(s->dma->maddr[page], off);
	} else {
		s->table[id] = s->big_free[--s->big_free_n];
		table = dma_va(s->dma, s->big_page + s->table[id]);
		maddr = s->dma->maddr[s->big_page + s->table[id]];
	}
	n = fill_table(table, seg, n);
	s->desc[id] = (struct vring_desc){ .addr = maddr.a,
					   .len = n * (uint32_t)sizeof(*table),
					   .flags = VRING_DESC_F_INDIRECT };
	s->count[id] = 1;
	return id;
}

static uint16_t add_direct(struct shadow_ring *s, const struct shadow_seg *seg, unsigned int n)
{
	uint16_t head = s->free_head, id;
	unsigned int count = 0, i = 0;
	uint32_t len;

	while (i < n) {
		unsigned int after = merge_at(seg, n, i, &len);
		bool more = after < n;

		id = take_desc(s);
		put_desc(&s->desc[id], &seg[i], len, more ? VRING_DESC_F_NEXT : 0, s->free_head);
		count++;
		i = after;
	}
	s->count[head] = (uint16_t)count;
	return head;
}

uint16_t shadow_put(struct shadow_ring *s, const struct shadow_seg *seg, unsigned int n)
{
	return s->indirect ? add_indirect(s, seg, n) : add_direct(s, seg, n);
}

bool shadow_publish(struct shadow_ring *s)
{
	uint16_t old = s->published_idx;
	uint16_t *avail_event = (uint16_t *)(void *)&s->used->ring[s->size];

	if (s->avail_idx == old)
		return false;
	/* pairs with the device's acquire of avail->idx */
	shared_write_release(&s->avail->idx, s->avail_idx);
	s->published_idx = s->avail_idx;
	shared_full_barrier(); /* pairs with the device's, between avail_event and avail->idx */
	if (s->event_idx)
		return vring_need_event(shared_read(avail_event), s->avail_idx, old);
	return !(shared_read(&s->used->flags) & VRING_USED_F_NO_NOTIFY);
}

/* The descriptors of a chain are found in private memory; the table is not read back. */
void shadow_release(struct shadow_ring *s, uint16_t head)
{
	uint16_t id = head, n = s->count[head];

	if (s->table[head] != SHADOW_NO_TABLE) {
		s->big_free[s->big_free_n++] = s->table[head];
		s->table[head] = SHADOW_NO_TABLE;
	}
	s->count[head] = 0;
	while (n--) {
		uint16_t next = s->next[id];

		give_desc(s, id);
		id = next;
	}
}

void shadow_want_irq(struct shadow_ring *s)
{
	if (s->event_idx)
		shared_write(&s->avail->ring[s->size], s->last_used);
	else
		shared_write(&s->avail->flags, 0);
	shared_full_barrier(); /* pairs with the device's, between used->idx and used_event */
}

void shadow_no_irq(struct shadow_ring *s)
{
	/* "Used Buffer Notification Suppression": left alone it would fire once more. */
	if (s->event_idx)
		shared_write(&s->avail->ring[s->size], ring_event_never(s->last_used));
	else
		shared_write(&s->avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}
