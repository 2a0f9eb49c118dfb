// SPDX-License-Identifier: GPL-2.0
/*
 * Protection "lazy": grants that stay after a buffer is unmapped, to be used again when the same
 * pages are.
 *
 * A kept run of pages is found by its first page and its length. Its pages are held by a
 * reference each, so that none of them goes to another use, or out of the guest, while the back
 * end may reach it; that is what memory pressure, age and the bound give back. Nothing can be
 * ended before the back end let go, so giving back means: out of the index, ask the back end for
 * its grants, end ours, drop the pages.
 */
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "front.h"
#include "shrink.h"

static unsigned int keep_pages = 2048;
module_param(keep_pages, uint, 0444);
MODULE_PARM_DESC(keep_pages, "lazy: most pages a device whose grants are kept (default 2048)");

static unsigned int keep_seconds = 30;
module_param(keep_seconds, uint, 0644);
MODULE_PARM_DESC(keep_seconds,
		 "lazy: end grants that were not used for so long to twice that (default 30; 0: never)");

#define XVS_KEEP_BITS 10

struct xvs_kept {
	struct hlist_node hash;
	struct list_head list; /* idle, or free */
	struct page *page;
	u32 pages;
	u32 users;
	u32 tick; /* when it was used last, in looks for old ones */
	grant_ref_t ref;
};

struct xvs_keep {
	spinlock_t lock; /* all that follows; any context */
	struct list_head idle; /* oldest first */
	struct list_head free;
	unsigned int pages;	 /* held, those being given back included */
	unsigned int idle_pages;
	u32 tick;
	bool all; /* the next look takes the young ones as well */
	DECLARE_HASHTABLE(index, XVS_KEEP_BITS);

	struct xvs_front *front;
	struct delayed_work look;
	struct list_head devices; /* under shrink_lock */
	struct xvs_kept entry[];
};

static LIST_HEAD(shrink_list);
static DEFINE_SPINLOCK(shrink_lock);

unsigned int xvs_keep_bound(void)
{
	return keep_pages;
}

static struct xvs_kept *find(struct xvs_keep *k, struct page *page, unsigned int pages)
{
	struct xvs_kept *e;

	hash_for_each_possible(k->index, e, hash, (unsigned long)page)
		if (e->page == page && e->pages == pages)
			return e;
	return NULL;
}

static void get_entry(struct xvs_keep *k, struct xvs_kept *e)
{
	if (!e->users++) {
		list_del_init(&e->list);
		k->idle_pages -= e->pages;
	}
	e->tick = k->tick;
}

/* Takes room for a new run; NULL: there is none. */
static struct xvs_kept *new_entry(struct xvs_keep *k, unsigned int pages)
{
	struct xvs_kept *e;

	if (list_empty(&k->free) || k->pages + pages > keep_pages) {
		if (!list_empty(&k->idle)) {
			k->all = true;
			mod_delayed_work(xvs_wq, &k->look, 0);
		}
		return NULL;
	}
	e = list_first_entry(&k->free, struct xvs_kept, list);
	list_del_init(&e->list);
	k->pages += pages;
	return e;
}

static void free_entry(struct xvs_keep *k, struct xvs_kept *e, unsigned int pages)
{
	unsigned long irq;

	spin_lock_irqsave(&k->lock, irq);
	list_add(&e->list, &k->free);
	k->pages -= pages;
	spin_unlock_irqrestore(&k->lock, irq);
}

static void put_pages(struct page *page, unsigned int pages)
{
	unsigned long pfn = page_to_pfn(page);

	while (pages--)
		put_page(pfn_to_page(pfn + pages));
}

/*
 * Memory without a count of its own cannot be held, and that of the slab allocator is not: its
 * neighbours would be open to the back end for as long.
 */
static bool get_pages(struct page *page, unsigned int pages)
{
	unsigned long pfn = page_to_pfn(page);
	unsigned int i;

	for (i = 0; i < pages; i++) {
		struct page *head = compound_head(pfn_to_page(pfn + i));

		if (PageSlab(head) || !get_page_unless_zero(head)) {
			put_pages(page, i);
			return false;
		}
	}
	return true;
}

/* Grants a run and enters it, in use. */
static int keep(struct xvs_keep *k, struct page *page, unsigned int pages, grant_ref_t *ref)
{
	struct xvs_front *f = k->front;
	struct xvs_kept *e;
	unsigned long irq;
	int ret;

	spin_lock_irqsave(&k->lock, irq);
	e = new_entry(k, pages);
	spin_unlock_irqrestore(&k->lock, irq);
	if (!e)
		return -ENOSPC;
	ret = get_pages(page, pages) ? 0 : -EINVAL;
	if (ret)
		goto err_entry;
	ret = xvs_grant(&f->grants, page, pages, false, ref);
	if (ret == -ENOSPC && READ_ONCE(k->idle_pages)) {
		/* What lies idle has the references that are wanted now. */
		WRITE_ONCE(k->all, true);
		mod_delayed_work(xvs_wq, &k->look, 0);
	}
	if (ret)
		goto err_pages;
	xvs_grant_set_owner(&f->grants, *ref, e);
	e->page = page;
	e->pages = pages;
	e->users = 1;
	e->ref = *ref;
	spin_lock_irqsave(&k->lock, irq);
	e->tick = k->tick;
	hash_add(k->index, &e->hash, (unsigned long)page);
	spin_unlock_irqrestore(&k->lock, irq);
	return 0;

err_pages:
	put_pages(page, pages);
err_entry:
	free_entry(k, e, pages);
	return ret;
}

int xvs_keep_map(struct xvs_front *f, struct page *page, unsigned int pages, grant_ref_t *ref)
{
	struct xvs_keep *k = f->keep;
	struct xvs_kept *e;
	unsigned long irq;

	spin_lock_irqsave(&k->lock, irq);
	e = find(k, page, pages);
	if (e) {
		get_entry(k, e);
		*ref = e->ref;
	}
	spin_unlock_irqrestore(&k->lock, irq);
	if (e)
		return 0;
	return keep(k, page, pages, ref);
}

int xvs_keep_unmap(struct xvs_front *f, grant_ref_t ref, unsigned int pages)
{
	struct xvs_keep *k = f->keep;
	struct xvs_kept *e = xvs_grant_owner(&f->grants, ref);
	unsigned long irq;
	int ret = -EINVAL;

	if (!e)
		return ret;
	spin_lock_irqsave(&k->lock, irq);
	if (e->users && e->pages == pages && e->ref == ref) {
		if (!--e->users) {
			list_add_tail(&e->list, &k->idle);
			k->idle_pages += pages;
		}
		ret = 0;
	}
	spin_unlock_irqrestore(&k->lock, irq);
	return ret;
}

/* Takes idle runs out of the index: all, or those not used since the last look but one. */
static void collect(struct xvs_keep *k, bool all, struct list_head *old)
{
	struct xvs_kept *e, *next;

	list_for_each_entry_safe(e, next, &k->idle, list) {
		if (!all && k->tick - e->tick < 2)
			continue;
		hash_del(&e->hash);
		list_move_tail(&e->list, old);
		k->idle_pages -= e->pages;
	}
}

static void put_back(struct xvs_keep *k, struct list_head *old)
{
	struct xvs_kept *e, *next;
	unsigned long irq;

	spin_lock_irqsave(&k->lock, irq);
	list_for_each_entry_safe(e, next, old, list) {
		hash_add(k->index, &e->hash, (unsigned long)e->page);
		list_move_tail(&e->list, &k->idle);
		k->idle_pages += e->pages;
	}
	spin_unlock_irqrestore(&k->lock, irq);
}

/* The back end has let go, or has gone. What it maps all the same is never used again. */
static bool end_runs(struct xvs_keep *k, struct list_head *old)
{
	struct xvs_kept *e, *next;
	bool kept = false;

	list_for_each_entry_safe(e, next, old, list) {
		unsigned int pages = e->pages;

		xvs_grant_set_owner(&k->front->grants, e->ref, NULL);
		kept |= xvs_ungrant(&k->front->grants, e->ref, pages) != 0;
		put_pages(e->page, pages);
		list_del_init(&e->list);
		free_entry(k, e, pages);
	}
	return kept;
}

static void arm(struct xvs_keep *k)
{
	unsigned int seconds = READ_ONCE(keep_seconds);

	if (seconds)
		queue_delayed_work(xvs_wq, &k->look, seconds * HZ);
}

static void look(struct work_struct *work)
{
	struct xvs_keep *k = container_of(to_delayed_work(work), struct xvs_keep, look);
	struct xvs_request req = { .op = XVS_OP_RELEASE_GRANTS };
	struct xvs_front *f = k->front;
	unsigned long irq;
	LIST_HEAD(old);

	if (xvs_broken(f))
		return; /* whoever ends the device ends these */
	if (READ_ONCE(f->stage) != XVS_LIVE) /* nobody would answer */
		return arm(k);
	spin_lock_irqsave(&k->lock, irq);
	collect(k, k->all, &old);
	k->all = false;
	k->tick++;
	spin_unlock_irqrestore(&k->lock, irq);
	if (!list_empty(&old)) {
		if (xvs_request(f, &req, NULL))
			put_back(k, &old);
		else if (end_runs(k, &old))
			xvs_break(f, XVS_BROKEN,
				  "the back end keeps a page mapped that it had to give back");
	}
	arm(k);
}

/* -- memory pressure -- */

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	unsigned long pages = 0, irq;
	struct xvs_keep *k;

	spin_lock_irqsave(&shrink_lock, irq);
	list_for_each_entry(k, &shrink_list, devices)
		pages += READ_ONCE(k->idle_pages);
	spin_unlock_irqrestore(&shrink_lock, irq);
	return pages ?: SHRINK_EMPTY;
}

/* The back end has to be asked, which takes longer than reclaim may wait. */
static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	struct xvs_keep *k;
	unsigned long irq;

	spin_lock_irqsave(&shrink_lock, irq);
	list_for_each_entry(k, &shrink_list, devices) {
		if (!READ_ONCE(k->idle_pages))
			continue;
		WRITE_ONCE(k->all, true);
		mod_delayed_work(xvs_wq, &k->look, 0);
	}
	spin_unlock_irqrestore(&shrink_lock, irq);
	return SHRINK_STOP;
}

int xvs_keep_start(void)
{
	return xvs_shrinker_start(shrink_count, shrink_scan);
}

void xvs_keep_stop(void)
{
	xvs_shrinker_stop();
}

/* -- of a device -- */

int xvs_keep_init(struct xvs_front *f)
{
	struct xvs_keep *k;
	unsigned long irq;
	unsigned int i;

	/* a run has a page at least */
	k = kvzalloc(struct_size(k, entry, keep_pages), GFP_KERNEL);
	if (!k)
		return -ENOMEM;
	spin_lock_init(&k->lock);
	INIT_LIST_HEAD(&k->idle);
	INIT_LIST_HEAD(&k->free);
	hash_init(k->index);
	INIT_DELAYED_WORK(&k->look, look);
	for (i = 0; i < keep_pages; i++)
		list_add(&k->entry[i].list, &k->free);
	k->front = f;
	f->keep = k;
	spin_lock_irqsave(&shrink_lock, irq);
	list_add(&k->devices, &shrink_list);
	spin_unlock_irqrestore(&shrink_lock, irq);
	arm(k);
	return 0;
}

/* Nothing is in use any more: the queues are gone and the device is reset, or its end is. */
void xvs_keep_drop(struct xvs_front *f)
{
	unsigned long irq;
	LIST_HEAD(old);

	if (!f->keep)
		return;
	spin_lock_irqsave(&f->keep->lock, irq);
	collect(f->keep, true, &old);
	spin_unlock_irqrestore(&f->keep->lock, irq);
	end_runs(f->keep, &old);
}

void xvs_keep_exit(struct xvs_front *f)
{
	struct xvs_keep *k = f->keep;
	unsigned long irq;

	if (!k)
		return;
	spin_lock_irqsave(&shrink_lock, irq);
	list_del(&k->devices);
	spin_unlock_irqrestore(&shrink_lock, irq);
	cancel_delayed_work_sync(&k->look);
	xvs_keep_drop(f);
	f->keep = NULL;
	kvfree(k);
}

unsigned int xvs_keep_pages(const struct xvs_front *f)
{
	return f->keep ? READ_ONCE(f->keep->pages) : 0;
}
