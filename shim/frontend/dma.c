// SPDX-License-Identifier: GPL-2.0
/*
 * DMA operations of the XenBus device: a DMA address is a grant (docs/protocol.md,
 * "Addressing grant").
 *
 * The virtio core maps through the parent of the virtio device in every Xen domain, so these
 * are what virtio drivers reach. Everything may be called in any context except alloc and free.
 * No sync operations: both sides use the same cached memory.
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

static dma_addr_t map(struct xvs_front *f, struct page *page, unsigned long offset, size_t size,
		      bool readonly)
{
	unsigned int pages = pages_of(offset, size);
	grant_ref_t ref;

	if (xvs_broken(f) || !size || size > (size_t)xvs_grants_run() * PAGE_SIZE)
		return DMA_MAPPING_ERROR;
	page = pfn_to_page(page_to_pfn(page) + (offset >> PAGE_SHIFT));
	if (xvs_grant(&f->grants, page, pages, readonly, &ref))
		return DMA_MAPPING_ERROR;
	return XVS_DADDR_GRANT | (u64)ref << XVS_DADDR_GREF_SHIFT | offset_in_page(offset);
}

static void unmap(struct xvs_front *f, dma_addr_t addr, size_t size)
{
	int ret = -EINVAL;

	if ((addr & XVS_DADDR_GRANT) && !(addr & XVS_DADDR_RESERVED) &&
	    size <= (size_t)xvs_grants_run() * PAGE_SIZE)
		ret = xvs_ungrant(&f->grants, xvs_dma_ref(addr), pages_of(addr, size));
	if (ret == -EBUSY)
		xvs_break(f, XVS_BROKEN, "the back end keeps a page mapped that it had to give back");
	else if (ret)
		xvs_break(f, XVS_BROKEN, "an address to unmap was never mapped");
}

static dma_addr_t strict_map_page(struct device *dev, struct page *page, unsigned long offset,
				  size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	return map(front_of(dev), page, offset, size, dir == DMA_TO_DEVICE);
}

static void strict_unmap_page(struct device *dev, dma_addr_t addr, size_t size,
			      enum dma_data_direction dir, unsigned long attrs)
{
	unmap(front_of(dev), addr, size);
}

static void strict_unmap_sg(struct device *dev, struct scatterlist *sg, int nents,
			    enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *s;
	int i;

	for_each_sg(sg, s, nents, i)
		unmap(front_of(dev), sg_dma_address(s), sg_dma_len(s));
}

static int strict_map_sg(struct device *dev, struct scatterlist *sg, int nents,
			 enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *s;
	int i;

	for_each_sg(sg, s, nents, i) {
		s->dma_address = map(front_of(dev), sg_page(s), s->offset, s->length,
				     dir == DMA_TO_DEVICE);
		if (s->dma_address == DMA_MAPPING_ERROR)
			goto err_unmap;
		sg_dma_len(s) = s->length;
	}
	return nents;

err_unmap:
	strict_unmap_sg(dev, sg, i, dir, attrs);
	return -ENOMEM;
}

/* Zeroed whatever the caller asks for: the back end sees the whole pages. */
static void *strict_alloc(struct device *dev, size_t size, dma_addr_t *addr, gfp_t gfp,
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
static void strict_free(struct device *dev, size_t size, void *va, dma_addr_t addr,
			unsigned long attrs)
{
	size = PAGE_ALIGN(size);
	unmap(front_of(dev), addr, size);
	free_pages_exact(va, size);
}

static struct page *strict_alloc_pages(struct device *dev, size_t size, dma_addr_t *addr,
				       enum dma_data_direction dir, gfp_t gfp)
{
	void *va = strict_alloc(dev, size, addr, gfp, 0);

	return va ? virt_to_page(va) : NULL;
}

static void strict_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t addr,
			      enum dma_data_direction dir)
{
	strict_free(dev, size, page_address(page), addr, 0);
}

static int strict_supported(struct device *dev, u64 mask)
{
	return mask == DMA_BIT_MASK(64); /* bit 63 is the mark of a grant */
}

/*
 * One buffer may become one machine descriptor a page on its way to the nested device; drivers
 * that ask are kept to what leaves room in the queue.
 */
static size_t strict_max_mapping(struct device *dev)
{
	size_t most = (size_t)(xvs_grants_run() / 2) * PAGE_SIZE;

	return clamp_t(size_t, (size_t)max_mapping_kib * 1024, PAGE_SIZE, most);
}

const struct dma_map_ops xvs_strict_dma_ops = {
	.alloc = strict_alloc,
	.free = strict_free,
	.XVS_DMA_ALLOC_PAGES = strict_alloc_pages,
	.free_pages = strict_free_pages,
	.map_page = strict_map_page,
	.unmap_page = strict_unmap_page,
	.map_sg = strict_map_sg,
	.unmap_sg = strict_unmap_sg,
	.dma_supported = strict_supported,
	.max_mapping_size = strict_max_mapping,
};

static unsigned int refs_wanted(const struct xvs_front *f)
{
	u64 want = 0;
	int i;

	for (i = 0; i < XVS_MAX_QUEUES; i++)
		want += (u64)f->queue[i].size_max * refs_per_entry;
	return clamp_t(u64, want, xvs_grants_run(), max(max_refs, xvs_grants_run()));
}

int xvs_dma_setup(struct xvs_front *f)
{
	struct device *dev = &f->xbdev->dev;
	int ret;

	ret = xvs_grants_init(&f->grants, f->xbdev->otherend_id, refs_wanted(f));
	if (ret)
		return ret;
	set_dma_ops(dev, f->agreed.mode->ops);
	dev->dma_parms = &f->dma_parms;
	f->dma_parms.max_segment_size = strict_max_mapping(dev);
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
	xvs_grants_exit(&f->grants);
}
