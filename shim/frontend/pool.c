// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that are granted once, and buffers copied into them: what the back end can reach of a
 * copied buffer is the copy.
 *
 * A pool is a few chunks of consecutive references. Buffers take slots of a chunk; one that is
 * shorter than a page does not cross into the next. Short ones have pages of their own: indirect
 * tables are among them, and the back end maps each page that it reads a table from. Nothing here
 * allocates memory or sleeps after xvs_pool_init().
 */
#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <xen/page.h>

#include "front.h"

#define XVS_CHUNK_PAGES 512u
#define XVS_SLOT_BYTES 256u
#define XVS_SLOTS_PAGE (PAGE_SIZE / XVS_SLOT_BYTES)
#define XVS_CHUNK_SLOTS (XVS_CHUNK_PAGES * XVS_SLOTS_PAGE)
#define XVS_SMALL_SLOTS (64 * XVS_SLOTS_PAGE) /* for what is shorter than a page */

struct xvs_bounce {
	void *buffer; /* whose copy this is */
	u32 size;     /* bytes; 0: no copy begins here */
};

struct xvs_chunk {
	spinlock_t lock; /* the bitmap and the hint; any context */
	void *va;
	grant_ref_t first;
	unsigned int hint[2]; /* short buffers, others */
	struct xvs_bounce *bounce; /* a slot each */
	DECLARE_BITMAP(used, XVS_CHUNK_SLOTS);
};

static void *slot_va(const struct xvs_chunk *c, unsigned int at)
{
	return c->va + at * XVS_SLOT_BYTES;
}

/* Read-write: kept grants are, and both directions use the pages in turn. */
static void chunk_grant(struct xvs_chunk *c, domid_t domid)
{
	unsigned int i;

	for (i = 0; i < XVS_CHUNK_PAGES; i++)
		gnttab_grant_foreign_access_ref(
			c->first + i, domid,
			pfn_to_gfn(page_to_pfn(vmalloc_to_page(c->va + i * PAGE_SIZE))), false);
}

/* A page the back end still maps stays with its reference until it does not. */
static void chunk_end(struct xvs_chunk *c)
{
	unsigned int i;

	for (i = 0; i < XVS_CHUNK_PAGES; i++) {
		struct page *page = vmalloc_to_page(c->va + i * PAGE_SIZE);

		get_page(page);
		gnttab_end_foreign_access(c->first + i, page);
	}
}

static void chunk_free(struct xvs_chunk *c)
{
	if (!c)
		return;
	kvfree(c->bounce);
	vfree(c->va);
	kvfree(c);
}

static struct xvs_chunk *chunk_new(domid_t domid)
{
	struct xvs_chunk *c = kvzalloc(sizeof(*c), GFP_KERNEL);

	if (!c)
		return NULL;
	spin_lock_init(&c->lock);
	c->va = vzalloc(XVS_CHUNK_PAGES * PAGE_SIZE);
	c->bounce = kvcalloc(XVS_CHUNK_SLOTS, sizeof(*c->bounce), GFP_KERNEL);
	if (!c->va || !c->bounce || gnttab_alloc_grant_reference_seq(XVS_CHUNK_PAGES, &c->first)) {
		chunk_free(c);
		return NULL;
	}
	chunk_grant(c, domid);
	return c;
}

/* Fewer chunks than wanted will do. */
int xvs_pool_init(struct xvs_pool *p, domid_t domid, unsigned int kib)
{
	unsigned int want = DIV_ROUND_UP(kib * 1024ul, XVS_CHUNK_PAGES * PAGE_SIZE);

	memset(p, 0, sizeof(*p));
	for (; p->chunks < min_t(unsigned int, want, XVS_POOL_CHUNKS); p->chunks++) {
		p->chunk[p->chunks] = chunk_new(domid);
		if (!p->chunk[p->chunks])
			break;
	}
	return p->chunks || !want ? 0 : -ENOMEM;
}

void xvs_pool_exit(struct xvs_pool *p)
{
	while (p->chunks) {
		struct xvs_chunk *c = p->chunk[--p->chunks];

		chunk_end(c);
		chunk_free(c);
	}
}

/* After a restore the grants are gone; nothing is mapped. */
void xvs_pool_restore(struct xvs_pool *p, domid_t domid)
{
	unsigned int i;

	for (i = 0; i < p->chunks; i++)
		chunk_grant(p->chunk[i], domid);
}

static int chunk_take(struct xvs_chunk *c, unsigned int slots)
{
	const bool large = slots >= XVS_SLOTS_PAGE;
	unsigned long mask = large ? XVS_SLOTS_PAGE - 1 : roundup_pow_of_two(slots) - 1;
	unsigned long first = large ? XVS_SMALL_SLOTS : 0;
	unsigned long end = large ? XVS_CHUNK_SLOTS : XVS_SMALL_SLOTS;
	unsigned long at, irq;

	spin_lock_irqsave(&c->lock, irq);
	at = bitmap_find_next_zero_area(c->used, end, max_t(unsigned long, first, c->hint[large]),
					slots, mask);
	if (at >= end)
		at = bitmap_find_next_zero_area(c->used, end, first, slots, mask);
	if (at < end) {
		bitmap_set(c->used, at, slots);
		c->hint[large] = at + slots;
	}
	spin_unlock_irqrestore(&c->lock, irq);
	return at < end ? at : -ENOSPC;
}

static void chunk_give(struct xvs_chunk *c, unsigned int at, unsigned int slots)
{
	unsigned long irq;

	spin_lock_irqsave(&c->lock, irq);
	bitmap_clear(c->used, at, slots);
	/* what was used last is in the cache still */
	c->hint[slots >= XVS_SLOTS_PAGE] = at;
	spin_unlock_irqrestore(&c->lock, irq);
}

/*
 * The copy begins with the buffer's bytes whatever the direction: what the device leaves
 * unwritten goes back as it was, and not as somebody else's old data.
 */
dma_addr_t xvs_pool_map(struct xvs_pool *p, void *buffer, size_t size, unsigned long attrs)
{
	unsigned int slots = DIV_ROUND_UP(size, XVS_SLOT_BYTES);
	unsigned int i, byte;
	struct xvs_chunk *c;
	int at = -ENOSPC;

	for (i = 0; i < p->chunks && at < 0; i++) {
		c = p->chunk[i];
		at = chunk_take(c, slots);
	}
	if (at < 0) {
		atomic_long_inc(&p->full);
		return DMA_MAPPING_ERROR;
	}
	if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC))
		memcpy(slot_va(c, at), buffer, size);
	c->bounce[at].buffer = buffer;
	WRITE_ONCE(c->bounce[at].size, size);
	byte = at * XVS_SLOT_BYTES;
	return XVS_DADDR_GRANT | XVS_DADDR_KEEP |
	       (u64)(c->first + byte / PAGE_SIZE) << XVS_DADDR_GREF_SHIFT | offset_in_page(byte);
}

static struct xvs_chunk *chunk_of(struct xvs_pool *p, dma_addr_t addr, unsigned int *byte)
{
	grant_ref_t ref = xvs_dma_ref(addr);
	unsigned int i;

	for (i = 0; i < p->chunks; i++) {
		struct xvs_chunk *c = p->chunk[i];

		if (ref < c->first || ref - c->first >= XVS_CHUNK_PAGES)
			continue;
		*byte = (ref - c->first) * PAGE_SIZE + offset_in_page(addr);
		return c;
	}
	return NULL;
}

bool xvs_pool_has(struct xvs_pool *p, dma_addr_t addr)
{
	unsigned int byte;

	return chunk_of(p, addr, &byte);
}

int xvs_pool_unmap(struct xvs_pool *p, dma_addr_t addr, size_t size, enum dma_data_direction dir,
		   unsigned long attrs)
{
	unsigned int byte, at;
	struct xvs_chunk *c = chunk_of(p, addr, &byte);
	void *buffer;

	if (!c || byte % XVS_SLOT_BYTES || !size)
		return -EINVAL;
	at = byte / XVS_SLOT_BYTES;
	buffer = c->bounce[at].buffer;
	if (cmpxchg(&c->bounce[at].size, size, 0) != size)
		return -EINVAL;
	if (dir != DMA_TO_DEVICE && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
		memcpy(buffer, slot_va(c, at), size);
	chunk_give(c, at, DIV_ROUND_UP(size, XVS_SLOT_BYTES));
	return 0;
}

/* Where in which copy does a part of a mapping lie? NULL: in none. */
static struct xvs_bounce *find_bounce(struct xvs_pool *p, dma_addr_t addr, size_t size,
				      unsigned int *byte, unsigned int *offset, void **va)
{
	struct xvs_chunk *c = chunk_of(p, addr, byte);
	unsigned int at;

	if (!c)
		return NULL;
	*va = c->va + *byte;
	for (at = *byte / XVS_SLOT_BYTES;; at--) {
		u32 len = READ_ONCE(c->bounce[at].size);

		*offset = *byte - at * XVS_SLOT_BYTES;
		if (len)
			return *offset < len && size <= len - *offset ? &c->bounce[at] : NULL;
		if (!at)
			return NULL;
	}
}

/* Brings one side up to date in the middle of a mapping's life. */
void xvs_pool_sync(struct xvs_pool *p, dma_addr_t addr, size_t size, bool to_device)
{
	unsigned int byte, offset;
	struct xvs_bounce *b;
	void *va;

	b = find_bounce(p, addr, size, &byte, &offset, &va);
	if (!b)
		return;
	if (to_device)
		memcpy(va, b->buffer + offset, size);
	else
		memcpy(b->buffer + offset, va, size);
}
