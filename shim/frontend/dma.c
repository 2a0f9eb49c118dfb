// SPDX-License-Identifier: GPL-2.0
/*
 * DMA operations of the XenBus device: a DMA address is a grant (docs/protocol.md,
 * "Addressing grant").
 *
 * The virtio core maps through the parent of the virtio device in every Xen domain, so these
 * are what virtio drivers reach. Everything may be called in any context except alloc and free.
 *
 * What becomes of a buffer is the protection's: a grant that goes with it, a copy in the pool, or
 * a grant that stays.
 */
#include <linux/dma-map-ops.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>

#include "front.h"

static unsigned int max_mapping_kib = 64;
module_param(max_mapping_kib, uint, 0444);
MODULE_PARM_DESC(max_mapping_kib, "Longest single buffer told to drivers, KiB (default 64)");

static unsigned int refs_per_entry = 8;
module_param(refs_per_entry, uint, 0444);
MODULE_PARM_DESC(refs_per_entry, "Grant references a queue entry (default 8)");

static unsigned int max_refs = 8192;
module_param(max_refs, uint, 0444);
MODULE_PARM_DESC(max_refs, "Most grant references a device (default 8192)");

static unsigned int pool_kib;
module_param(pool_kib, uint, 0444);
MODULE_PARM_DESC(pool_kib, "KiB a device for copied buffers (default 2048, or 8192 in pool)");

static unsigned int copy_bytes = 4096;
module_param(copy_bytes, uint, 0644);
MODULE_PARM_DESC(copy_bytes, "adaptive: longest buffer that is copied (default 4096)");

static unsigned int copy_run = 8;
module_param(copy_run, uint, 0644);
MODULE_PARM_DESC(copy_run, "adaptive: most pages of one request that are copied (default 8)");

#define XVS_LAZY_COPY 512 /* lazy: headers and the like share their pages with other things */

static struct xvs_front *front_of(struct device *dev)
{
	return dev_get_drvdata(dev);
}

static unsigned int pages_of(unsigned long offset, size_t size)
{
	return DIV_ROUND_UP((size_t)offset_in_page(offset) + size, PAGE_SIZE);
}

grant_ref_t xvs_dma_ref(dma_addr_t addr)
{
	return (addr >> XVS_DADDR_GREF_SHIFT) & XVS_DADDR_GREF_MASK;
}

static dma_addr_t address(grant_ref_t ref, unsigned long offset)
{
	return XVS_DADDR_GRANT | (u64)ref << XVS_DADDR_GREF_SHIFT | offset_in_page(offset);
}

/* A grant of its own, which goes with the buffer. */
static dma_addr_t map(struct xvs_front *f, struct page *page, unsigned long offset, size_t size,
		      bool readonly)
{
	unsigned int pages = pages_of(offset, size);
	grant_ref_t ref;

	if (!xvs_may_map(f) || !size || size > (size_t)xvs_grants_run() * PAGE_SIZE)
		return DMA_MAPPING_ERROR;
	page = pfn_to_page(page_to_pfn(page) + (offset >> PAGE_SHIFT));
	if (xvs_grant(&f->grants, page, pages, readonly, &ref))
		return DMA_MAPPING_ERROR;
	return address(ref, offset);
}

static int unmap_kept(struct xvs_front *f, dma_addr_t addr, size_t size,
		      enum dma_data_direction dir, unsigned long attrs)
{
	if (xvs_pool_has(&f->pool, addr))
		return xvs_pool_unmap(&f->pool, addr, size, dir, attrs);
	return f->keep ? xvs_keep_unmap(f, xvs_dma_ref(addr), pages_of(addr, size)) : -EINVAL;
}

static void unmap(struct xvs_front *f, dma_addr_t addr, size_t size, enum dma_data_direction dir,
		  unsigned long attrs)
{
	int ret = -EINVAL;

	if ((addr & XVS_DADDR_GRANT) && !(addr & XVS_DADDR_RESERVED & ~XVS_DADDR_KEEP) &&
	    size <= (size_t)xvs_grants_run() * PAGE_SIZE) {
		if (addr & XVS_DADDR_KEEP)
			ret = unmap_kept(f, addr, size, dir, attrs);
		else
			ret = xvs_ungrant(&f->grants, xvs_dma_ref(addr), pages_of(addr, size));
	}
	if (ret == -EBUSY)
		xvs_break(f, XVS_BROKEN, "the back end keeps a page mapped that it had to give back");
	else if (ret)
		xvs_break(f, XVS_BROKEN, "an address to unmap was never mapped");
}

/*
 * adaptive: a copy costs by the byte; a grant hardly more for many pages than for one, since the
 * back end maps those of a batch with one hypercall. So requests of many pages are granted. What
 * belongs to one request is not told here: whole pages in a row are taken for one, what is shorter
 * (headers, status, tables) for what lies between two, and a request is expected to be as long as
 * the one before. Queues that map at the same time may mislead each other, which costs time only.
 */
static bool copy_pays(struct xvs_front *f, size_t size)
{
	unsigned int run = READ_ONCE(f->run), most = READ_ONCE(copy_run);

	if (size < PAGE_SIZE) {
		if (run) {
			WRITE_ONCE(f->last_run, run);
			WRITE_ONCE(f->run, 0);
		}
		return size <= READ_ONCE(copy_bytes);
	}
	run += size / PAGE_SIZE;
	WRITE_ONCE(f->run, run);
	return size <= READ_ONCE(copy_bytes) && run <= most && READ_ONCE(f->last_run) <= most;
}

/* Is it to be copied? Memory of the slab allocator is not kept, so lazy copies what fits. */
static bool to_copy(struct xvs_front *f, struct page *page, size_t size)
{
	const struct xvs_mode *mode = f->agreed.mode;

	if (!mode->copies)
		return false;
	if (mode->copies_all)
		return true;
	if (!mode->keeps)
		return copy_pays(f, size);
	return size <= XVS_LAZY_COPY || (size <= PAGE_SIZE && PageSlab(compound_head(page)));
}

/* A buffer of a driver, as the protection wants it. */
static dma_addr_t map_buffer(struct xvs_front *f, struct page *page, unsigned long offset,
			     size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	const struct xvs_mode *mode = f->agreed.mode;
	dma_addr_t addr;
	grant_ref_t ref;

	if (xvs_broken(f) || !size || size > (size_t)xvs_grants_run() * PAGE_SIZE)
		return DMA_MAPPING_ERROR;
	page = pfn_to_page(page_to_pfn(page) + (offset >> PAGE_SHIFT));
	offset = offset_in_page(offset);
	if (to_copy(f, page, size)) {
		addr = xvs_pool_map(&f->pool, page_address(page) + offset, size, attrs);
		if (addr != DMA_MAPPING_ERROR || mode->copies_all)
			return addr;
	}
	if (mode->keeps && !xvs_keep_map(f, page, pages_of(offset, size), &ref))
		return address(ref, offset) | XVS_DADDR_KEEP;
	return map(f, page, offset, size, dir == DMA_TO_DEVICE);
}

static dma_addr_t xvs_map_page(struct device *dev, struct page *page, unsigned long offset,
			       size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	return map_buffer(front_of(dev), page, offset, size, dir, attrs);
}

static void xvs_unmap_page(struct device *dev, dma_addr_t addr, size_t size,
			   enum dma_data_direction dir, unsigned long attrs)
{
	unmap(front_of(dev), addr, size, dir, attrs);
}

static void xvs_unmap_sg(struct device *dev, struct scatterlist *sg, int nents,
			 enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *s;
	int i;

	for_each_sg(sg, s, nents, i)
		unmap(front_of(dev), sg_dma_address(s), sg_dma_len(s), dir, attrs);
}

static int xvs_map_sg(struct device *dev, struct scatterlist *sg, int nents,
		      enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *s;
	int i;

	for_each_sg(sg, s, nents, i) {
		s->dma_address = map_buffer(front_of(dev), sg_page(s), s->offset, s->length, dir,
					    attrs);
		if (s->dma_address == DMA_MAPPING_ERROR)
			goto err_unmap;
		sg_dma_len(s) = s->length;
	}
	return nents;

err_unmap:
	xvs_unmap_sg(dev, sg, i, dir, attrs | DMA_ATTR_SKIP_CPU_SYNC);
	return -ENOMEM;
}

/* Only copies have two sides that could differ. */
static void sync(struct device *dev, dma_addr_t addr, size_t size, bool to_device)
{
	if (addr & XVS_DADDR_KEEP)
		xvs_pool_sync(&front_of(dev)->pool, addr, size, to_device);
}

static void xvs_sync_for_cpu(struct device *dev, dma_addr_t addr, size_t size,
			     enum dma_data_direction dir)
{
	if (dir != DMA_TO_DEVICE)
		sync(dev, addr, size, false);
}

static void xvs_sync_for_device(struct device *dev, dma_addr_t addr, size_t size,
				enum dma_data_direction dir)
{
	if (dir != DMA_FROM_DEVICE)
		sync(dev, addr, size, true);
}

static void xvs_sync_sg_for_cpu(struct device *dev, struct scatterlist *sg, int nents,
				enum dma_data_direction dir)
{
	struct scatterlist *s;
	int i;

	for_each_sg(sg, s, nents, i)
		xvs_sync_for_cpu(dev, sg_dma_address(s), sg_dma_len(s), dir);
}

static void xvs_sync_sg_for_device(struct device *dev, struct scatterlist *sg, int nents,
				   enum dma_data_direction dir)
{
	struct scatterlist *s;
	int i;

	for_each_sg(sg, s, nents, i)
		xvs_sync_for_device(dev, sg_dma_address(s), sg_dma_len(s), dir);
}

/*
 * Memory both sides use at once, rings first of all: granted for as long as it is there, never
 * copied. Zeroed whatever the caller asks for: the back end sees the whole pages.
 */
static void *xvs_alloc(struct device *dev, size_t size, dma_addr_t *addr, gfp_t gfp,
		       unsigned long attrs)
{
	void *va;

	size = PAGE_ALIGN(size);
	va = alloc_pages_exact(size, (gfp & ~__GFP_COMP) | __GFP_ZERO);
	if (!va)
		return NULL;
	*addr = map(front_of(dev), virt_to_page(va), 0, size, false);
	if (*addr != DMA_MAPPING_ERROR)
		return va;
	free_pages_exact(va, size);
	return NULL;
}

/* A page still mapped is held by xvs_ungrant() and outlives the free. */
static void xvs_free(struct device *dev, size_t size, void *va, dma_addr_t addr,
		     unsigned long attrs)
{
	size = PAGE_ALIGN(size);
	unmap(front_of(dev), addr, size, DMA_BIDIRECTIONAL, 0);
	free_pages_exact(va, size);
}

static struct page *xvs_alloc_pages(struct device *dev, size_t size, dma_addr_t *addr,
				    enum dma_data_direction dir, gfp_t gfp)
{
	void *va = xvs_alloc(dev, size, addr, gfp, 0);

	return va ? virt_to_page(va) : NULL;
}

static void xvs_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t addr,
			   enum dma_data_direction dir)
{
	xvs_free(dev, size, page_address(page), addr, 0);
}

static int xvs_dma_supported(struct device *dev, u64 mask)
{
	return mask == DMA_BIT_MASK(64); /* bit 63 is the mark of a grant */
}

/*
 * One buffer may become one machine descriptor a page on its way to the nested device; drivers
 * that ask are kept to what leaves room in the queue.
 */
size_t xvs_max_mapping(struct device *dev)
{
	size_t most = (size_t)(xvs_grants_run() / 2) * PAGE_SIZE;

	return clamp_t(size_t, (size_t)max_mapping_kib * 1024, PAGE_SIZE, most);
}

const struct dma_map_ops xvs_dma_ops = {
	.alloc = xvs_alloc,
	.free = xvs_free,
	.XVS_DMA_ALLOC_PAGES = xvs_alloc_pages,
	.free_pages = xvs_free_pages,
	.map_page = xvs_map_page,
	.unmap_page = xvs_unmap_page,
	.map_sg = xvs_map_sg,
	.unmap_sg = xvs_unmap_sg,
	.sync_single_for_cpu = xvs_sync_for_cpu,
	.sync_single_for_device = xvs_sync_for_device,
	.sync_sg_for_cpu = xvs_sync_sg_for_cpu,
	.sync_sg_for_device = xvs_sync_sg_for_device,
	.dma_supported = xvs_dma_supported,
	.max_mapping_size = xvs_max_mapping,
};

static unsigned int refs_wanted(const struct xvs_front *f)
{
	u64 want = f->agreed.mode->keeps ? xvs_keep_bound() : 0;
	int i;

	for (i = 0; i < XVS_MAX_QUEUES; i++)
		want += (u64)f->queue[i].size_max * refs_per_entry;
	return clamp_t(u64, want, xvs_grants_run(), max(max_refs, xvs_grants_run()));
}

static unsigned int pool_wanted(const struct xvs_mode *mode)
{
	if (!mode->copies)
		return 0;
	return pool_kib ?: mode->copies_all ? 8192 : 2048;
}

static int setup_memory(struct xvs_front *f)
{
	domid_t domid = f->xbdev->otherend_id;
	int ret;

	if (xvs_is_p2m(f))
		return 0;
	ret = xvs_grants_init(&f->grants, domid, refs_wanted(f));
	if (ret)
		return ret;
	ret = xvs_pool_init(&f->pool, domid, pool_wanted(f->agreed.mode));
	if (!ret && f->agreed.mode->keeps)
		ret = xvs_keep_init(f);
	if (!ret)
		return 0;
	xvs_pool_exit(&f->pool);
	xvs_grants_exit(&f->grants);
	return ret;
}

void xvs_dma_take(struct xvs_front *f)
{
	set_dma_ops(&f->xbdev->dev, xvs_is_p2m(f) ? &xvs_p2m_ops : &xvs_dma_ops);
}

int xvs_dma_setup(struct xvs_front *f)
{
	struct device *dev = &f->xbdev->dev;
	int ret;

	ret = setup_memory(f);
	if (ret)
		return ret;
	xvs_dma_take(f);
	dev->dma_parms = &f->dma_parms;
	f->dma_parms.max_segment_size = xvs_max_mapping(dev);
	f->dma_parms.segment_boundary_mask = ULONG_MAX;
	dev->dma_mask = &dev->coherent_dma_mask;
	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (ret)
		xvs_dma_teardown(f);
	return ret;
}

void xvs_dma_teardown(struct xvs_front *f)
{
	struct device *dev = &f->xbdev->dev;

	set_dma_ops(dev, NULL);
	dev->dma_parms = NULL;
	dev->dma_mask = NULL;
	xvs_keep_exit(f);
	xvs_pool_exit(&f->pool);
	xvs_grants_exit(&f->grants);
}

/* The grants went with the old domain; nothing is mapped, and the queues are gone. */
void xvs_dma_restore(struct xvs_front *f)
{
	xvs_grants_restore(&f->grants, f->xbdev->otherend_id);
	xvs_keep_drop(f);
	xvs_pool_restore(&f->pool, f->grants.domid);
}
