// SPDX-License-Identifier: GPL-2.0
/*
 * DMA operations in addressing p2m: a DMA address is the guest's own pseudo-physical address
 * (docs/protocol.md, "Addressing p2m"), and nothing is shared or taken back page by page. The
 * back end finds the frames in this domain's p2m and holds them while a device may use them.
 *
 * So this is for guests that trust their back end with all their memory; it has to be asked for.
 */
#include <linux/dma-map-ops.h>
#include <linux/mm.h>

#include "front.h"

static dma_addr_t map(struct device *dev, phys_addr_t addr, size_t size)
{
	struct xvs_front *f = dev_get_drvdata(dev);

	if (!xvs_may_map(f) || !size || (addr + size - 1) >> XVS_P2M_BITS)
		return DMA_MAPPING_ERROR;
	return addr;
}

static dma_addr_t xvs_p2m_map_page(struct device *dev, struct page *page, unsigned long offset,
				   size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	return map(dev, page_to_phys(page) + offset, size);
}

/* Nothing was taken, so there is nothing to give back; DMA-API debugging wants the functions. */
static void xvs_p2m_unmap_page(struct device *dev, dma_addr_t addr, size_t size,
			       enum dma_data_direction dir, unsigned long attrs)
{
}

static void xvs_p2m_unmap_sg(struct device *dev, struct scatterlist *sg, int nents,
			     enum dma_data_direction dir, unsigned long attrs)
{
}

static int xvs_p2m_map_sg(struct device *dev, struct scatterlist *sg, int nents,
			  enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *s;
	int i;

	for_each_sg(sg, s, nents, i) {
		s->dma_address = map(dev, sg_phys(s), s->length);
		if (s->dma_address == DMA_MAPPING_ERROR)
			return -ENOMEM;
		sg_dma_len(s) = s->length;
	}
	return nents;
}

static void *xvs_p2m_alloc(struct device *dev, size_t size, dma_addr_t *addr, gfp_t gfp,
			   unsigned long attrs)
{
	void *va;

	size = PAGE_ALIGN(size);
	va = alloc_pages_exact(size, (gfp & ~__GFP_COMP) | __GFP_ZERO);
	if (!va)
		return NULL;
	*addr = map(dev, virt_to_phys(va), size);
	if (*addr != DMA_MAPPING_ERROR)
		return va;
	free_pages_exact(va, size);
	return NULL;
}

static void xvs_p2m_free(struct device *dev, size_t size, void *va, dma_addr_t addr,
			 unsigned long attrs)
{
	free_pages_exact(va, PAGE_ALIGN(size));
}

static struct page *xvs_p2m_alloc_pages(struct device *dev, size_t size, dma_addr_t *addr,
					enum dma_data_direction dir, gfp_t gfp)
{
	void *va = xvs_p2m_alloc(dev, size, addr, gfp, 0);

	return va ? virt_to_page(va) : NULL;
}

static void xvs_p2m_free_pages(struct device *dev, size_t size, struct page *page,
			       dma_addr_t addr, enum dma_data_direction dir)
{
	xvs_p2m_free(dev, size, page_address(page), addr, 0);
}

static int xvs_p2m_supported(struct device *dev, u64 mask)
{
	return mask >= DMA_BIT_MASK(XVS_P2M_BITS);
}

const struct dma_map_ops xvs_p2m_ops = {
	.alloc = xvs_p2m_alloc,
	.free = xvs_p2m_free,
	.XVS_DMA_ALLOC_PAGES = xvs_p2m_alloc_pages,
	.free_pages = xvs_p2m_free_pages,
	.map_page = xvs_p2m_map_page,
	.unmap_page = xvs_p2m_unmap_page,
	.map_sg = xvs_p2m_map_sg,
	.unmap_sg = xvs_p2m_unmap_sg,
	.dma_supported = xvs_p2m_supported,
	.max_mapping_size = xvs_max_mapping,
};
