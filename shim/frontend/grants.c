// SPDX-License-Identifier: GPL-2.0
/*
 * The grant references of one device.
 *
 * The kernel's allocator takes a global lock and may grow the grant table, so references are
 * taken from it once, in blocks, and handed out from bitmaps under a lock of the device's own.
 * Nothing here allocates memory or sleeps after xvs_grants_init().
 *
 * A page that the back end keeps mapped is *held*: an extra reference to the page keeps it from
 * the page allocator and its bit stays set. xvs_grants_exit() hands what is held to the
 * kernel's list of deferred grants, which lets go of each page when the back end does.
 *
 * Limit: Xen grants whole pages. What shares a page with a buffer is open to the back end for
 * as long as the buffer is, and holding the page of a slab object does not stop the slab from
 * using the object again. Protection "pool" exists for that.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <xen/page.h>

#include "front.h"

#define XVS_BLOCK_REFS 512 /* one page of a version 1 grant table */

enum xvs_slot_state {
	XVS_SLOT_OURS, /* free, or part of a mapping */
	XVS_SLOT_HELD, /* mapped by the back end though it should not be */
	XVS_SLOT_LOST, /* went back to the kernel */
};

struct xvs_slot {
	struct page *page;
	u32 pages; /* first of a mapping: its length; else 0 */
	u32 state;
	void *owner; /* first of a mapping: whoever keeps it; NULL: it goes with its buffer */
};

struct xvs_block {
	grant_ref_t first;
	unsigned int hint;
	DECLARE_BITMAP(used, XVS_BLOCK_REFS);
	struct xvs_slot *slot;
};

unsigned int xvs_grants_run(void)
{
	return XVS_BLOCK_REFS;
}

static int block_init(struct xvs_block *b)
{
	int ret;

	b->slot = kvcalloc(XVS_BLOCK_REFS, sizeof(*b->slot), GFP_KERNEL);
	if (!b->slot)
		return -ENOMEM;
	ret = gnttab_alloc_grant_reference_seq(XVS_BLOCK_REFS, &b->first);
	if (ret)
		kvfree(b->slot);
	return ret;
}

/* Fewer blocks than wanted will do: mappings then have to wait for each other more often. */
int xvs_grants_init(struct xvs_grants *g, domid_t domid, unsigned int want)
{
	unsigned int blocks = DIV_ROUND_UP(want, XVS_BLOCK_REFS);
	int ret = 0;

	memset(g, 0, sizeof(*g));
	spin_lock_init(&g->lock);
	g->domid = domid;
	g->block = kcalloc(blocks, sizeof(*g->block), GFP_KERNEL);
	if (!g->block)
		return -ENOMEM;
	while (g->blocks < blocks) {
		ret = block_init(&g->block[g->blocks]);
		if (ret)
			break;
		g->blocks++;
	}
	if (g->blocks)
		return 0;
	kfree(g->block);
	g->block = NULL;
	return ret;
}

/*
 * Ends one grant. True: the reference may be used again. The kernel writes a line each time
 * it finds a grant in use, so that call is made up to the first failure only. After that the
 * reference goes back to the kernel instead, which is silent.
 */
static bool slot_end(struct xvs_grants *g, struct xvs_block *b, unsigned int at)
{
	struct xvs_slot *s = &b->slot[at];

	if (!READ_ONCE(g->kept)) {
		if (gnttab_end_foreign_access_ref(b->first + at))
			return true;
		WRITE_ONCE(g->kept, true);
	} else if (gnttab_try_end_foreign_access(b->first + at)) {
		s->state = XVS_SLOT_LOST;
		return false;
	}

	s->state = XVS_SLOT_HELD;
	/*
	 * The count of a compound page is its head's; put_page() finds the head by itself. The
	 * inner pages of a high-order allocation without __GFP_COMP have no count of their own
	 * and cannot be held; their reference then stays with them for ever.
	 */
	if (!get_page_unless_zero(compound_head(s->page)))
		s->page = NULL;
	return false;
}

/* Process context: the kernel allocates an entry for each grant it has to defer. */
static void slot_exit(struct xvs_grants *g, struct xvs_block *b, unsigned int at)
{
	struct xvs_slot *s = &b->slot[at];

	if (!test_bit(at, b->used) ||
	    (s->state == XVS_SLOT_OURS && slot_end(g, b, at)))
		gnttab_free_grant_reference(b->first + at);
	else if (s->state == XVS_SLOT_HELD && s->page)
		gnttab_end_foreign_access(b->first + at, s->page);
}

void xvs_grants_exit(struct xvs_grants *g)
{
	unsigned int i, at;

	for (i = 0; i < g->blocks; i++) {
		for (at = 0; at < XVS_BLOCK_REFS; at++)
			slot_exit(g, &g->block[i], at);
		kvfree(g->block[i].slot);
	}
	kfree(g->block);
	g->block = NULL;
	g->blocks = 0;
}

/* A page that was held once is let go of, if it is not mapped any more. */
static bool slot_restore(struct xvs_grants *g, struct xvs_block *b, unsigned int at)
{
	struct xvs_slot *s = &b->slot[at];
	unsigned long irq;

	if (s->state != XVS_SLOT_HELD)
		return true;
	if (!gnttab_end_foreign_access_ref(b->first + at))
		return false;
	if (s->page)
		put_page(s->page);
	s->state = XVS_SLOT_OURS;
	spin_lock_irqsave(&g->lock, irq);
	__clear_bit(at, b->used);
	spin_unlock_irqrestore(&g->lock, irq);
	return true;
}

void xvs_grants_restore(struct xvs_grants *g, domid_t domid)
{
	unsigned int i, at;

	g->domid = domid;
	WRITE_ONCE(g->kept, false);
	for (i = 0; i < g->blocks && !g->kept; i++)
		for (at = 0; at < XVS_BLOCK_REFS && !g->kept; at++)
			if (!slot_restore(g, &g->block[i], at))
				WRITE_ONCE(g->kept, true);
}

/* Next fit: a reference just ended rests as long as possible before it is used again. */
static int block_take(struct xvs_block *b, unsigned int pages)
{
	unsigned long at;

	at = bitmap_find_next_zero_area(b->used, XVS_BLOCK_REFS, b->hint, pages, 0);
	if (at >= XVS_BLOCK_REFS)
		at = bitmap_find_next_zero_area(b->used, XVS_BLOCK_REFS, 0, pages, 0);
	if (at >= XVS_BLOCK_REFS)
		return -ENOSPC;
	bitmap_set(b->used, at, pages);
	b->hint = (at + pages) % XVS_BLOCK_REFS;
	return at;
}

static struct xvs_block *take(struct xvs_grants *g, unsigned int pages, unsigned int *at)
{
	struct xvs_block *b = NULL;
	unsigned long irq;
	unsigned int i;
	int ret = -ENOSPC;

	spin_lock_irqsave(&g->lock, irq);
	for (i = 0; i < g->blocks && ret < 0; i++) {
		b = &g->block[(g->next + i) % g->blocks];
		ret = block_take(b, pages);
	}
	if (ret >= 0)
		g->next = b - g->block;
	spin_unlock_irqrestore(&g->lock, irq);

	*at = ret;
	return ret < 0 ? NULL : b;
}

int xvs_grant(struct xvs_grants *g, struct page *page, unsigned int pages, bool readonly,
	      grant_ref_t *ref)
{
	unsigned long pfn = page_to_pfn(page);
	struct xvs_block *b;
	unsigned int at, i;

	if (!pages || pages > XVS_BLOCK_REFS)
		return -EINVAL;
	b = take(g, pages, &at);
	if (!b)
		return -ENOSPC;
	/* In a PV guest neighbours in the pfn space have unrelated frames: look each up. */
	for (i = 0; i < pages; i++) {
		b->slot[at + i].page = pfn_to_page(pfn + i);
		b->slot[at + i].owner = NULL;
		gnttab_grant_foreign_access_ref(b->first + at + i, g->domid,
						pfn_to_gfn(pfn + i), readonly);
	}
	WRITE_ONCE(b->slot[at].pages, pages);
	*ref = b->first + at;
	return 0;
}

static struct xvs_block *block_of(struct xvs_grants *g, grant_ref_t ref, unsigned int pages)
{
	struct xvs_block *b;

	for (b = g->block; b < g->block + g->blocks; b++)
		if (ref >= b->first && ref - b->first < XVS_BLOCK_REFS)
			return pages <= XVS_BLOCK_REFS - (ref - b->first) ? b : NULL;
	return NULL;
}

/*
 * The core reads the addresses of an indirect table back from the table. That is granted
 * read-only, but a device-writable buffer may share its page: an address is not trusted here
 * before a mapping of that place and length is found.
 */
int xvs_ungrant(struct xvs_grants *g, grant_ref_t ref, unsigned int pages)
{
	struct xvs_block *b = block_of(g, ref, pages);
	unsigned int at, i, kept = 0;
	unsigned long irq;

	if (!b || !pages)
		return -EINVAL;
	at = ref - b->first;
	if (cmpxchg(&b->slot[at].pages, pages, 0) != pages)
		return -EINVAL;
	for (i = at; i < at + pages; i++)
		kept += !slot_end(g, b, i);

	spin_lock_irqsave(&g->lock, irq);
	if (!kept)
		bitmap_clear(b->used, at, pages);
	else
		for (i = at; i < at + pages; i++)
			if (b->slot[i].state == XVS_SLOT_OURS)
				__clear_bit(i, b->used);
	spin_unlock_irqrestore(&g->lock, irq);
	return kept ? -EBUSY : 0;
}

void xvs_grant_set_owner(struct xvs_grants *g, grant_ref_t ref, void *owner)
{
	struct xvs_block *b = block_of(g, ref, 1);

	if (b)
		WRITE_ONCE(b->slot[ref - b->first].owner, owner);
}

void *xvs_grant_owner(struct xvs_grants *g, grant_ref_t ref)
{
	struct xvs_block *b = block_of(g, ref, 1);

	return b ? READ_ONCE(b->slot[ref - b->first].owner) : NULL;
}

int xvs_grant_readonly(struct xvs_grants *g, grant_ref_t ref, unsigned int pages)
{
	struct xvs_block *b = block_of(g, ref, pages);
	unsigned int i;

	if (!b)
		return -EINVAL;
	for (i = ref - b->first; i < ref - b->first + pages; i++) {
		/* Nobody was told of this grant; who maps it all the same is up to no good. */
		if (!gnttab_end_foreign_access_ref(b->first + i))
			return -EBUSY;
		gnttab_grant_foreign_access_ref(b->first + i, g->domid,
						pfn_to_gfn(page_to_pfn(b->slot[i].page)), true);
	}
	return 0;
}
