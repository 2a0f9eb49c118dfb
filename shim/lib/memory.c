/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory for a device, and the machine addresses of memory that is there already. */
#include "lib/internal.h"

#include <errno.h>
#include <stdlib.h>

/* What an address of a page is, one at a time. */
typedef int page_fn(void *arg, uint64_t page, uint64_t *maddr);

/* Joins pages for as long as their machine addresses go on. */
static int join(page_fn *fn, void *arg, uint64_t from, size_t len, uint64_t *maddr,
		size_t *contiguous)
{
	size_t part = XVS_FRAME_SIZE - (from & XVS_FRAME_MASK), done;
	uint64_t next;
	int rc = fn(arg, from >> XVS_FRAME_SHIFT, maddr);

	if (rc)
		return rc;
	*maddr += from & XVS_FRAME_MASK;
	for (done = part < len ? part : len; done < len; done += part) {
		part = len - done < XVS_FRAME_SIZE ? len - done : XVS_FRAME_SIZE;
		rc = fn(arg, (from + done) >> XVS_FRAME_SHIFT, &next);
		/* What comes before a page that has no address is right all the same. */
		if (rc || next != *maddr + done)
			break;
	}
	if (contiguous)
		*contiguous = done;
	else if (done < len)
		return rc ? rc : -EXDEV;
	return 0;
}

int xvs_dma_alloc(struct xvs *xvs, size_t size, struct xvs_dma **dma)
{
	size_t npages = size / XVS_FRAME_SIZE + (size % XVS_FRAME_SIZE != 0);
	struct xvs_dma *d;
	int rc;

	if (!xvs || !(xvs->parts & XVS_MEMORY) || !dma || !npages || npages > INT32_MAX)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->xvs = xvs;
	rc = xvs->hv->ops->dma_alloc(xvs->hv, (unsigned int)npages, &d->pages);
	if (rc) {
		free(d);
		return rc;
	}
	*dma = d;
	return 0;
}

void xvs_dma_free(struct xvs_dma *dma)
{
	if (!dma)
		return;
	dma->xvs->hv->ops->dma_free(dma->xvs->hv, &dma->pages);
	free(dma);
}

void *xvs_dma_va(const struct xvs_dma *dma)
{
	return dma->pages.va;
}

size_t xvs_dma_size(const struct xvs_dma *dma)
{
	return (size_t)dma->pages.npages * XVS_FRAME_SIZE;
}

static int dma_page(void *arg, uint64_t page, uint64_t *maddr)
{
	const struct xvs_dma *dma = arg;

	*maddr = dma->pages.maddr[page].a;
	return 0;
}

int xvs_dma_maddr(const struct xvs_dma *dma, size_t offset, size_t len, uint64_t *maddr,
		  size_t *contiguous)
{
	size_t size;

	if (!dma || !maddr || !len)
		return -EINVAL;
	size = xvs_dma_size(dma);
	if (offset >= size || len > size - offset)
		return -ERANGE;
	return join(dma_page, (void *)dma, offset, len, maddr, contiguous);
}

unsigned int xvs_dma_pins(const struct xvs_dma *dma, struct xvs_grant *pin, unsigned int n)
{
	const struct hv_dma *pages = &dma->pages;

	for (unsigned int i = 0; i < n && i < pages->npages; i++)
		pin[i] = (struct xvs_grant){
			.handle = pages->handle[i],
			.maddr = pages->maddr[i].a,
		};
	return pages->npages;
}

int xvs_translate_pfn(struct xvs *xvs, uint64_t pfn, uint64_t *maddr)
{
	mfn_t mfn;
	int rc;

	if (!xvs || !(xvs->parts & XVS_OWN) || !maddr)
		return -EINVAL;
	rc = xvs->hv->ops->self_p2m(xvs->hv, (pfn_t){ pfn }, &mfn);
	if (rc)
		return rc;
	*maddr = maddr_of(mfn, 0).a;
	return 0;
}

static int own_page(void *arg, uint64_t page, uint64_t *maddr)
{
	struct xvs *xvs = arg;
	pfn_t pfn;
	int rc = xvs->hv->ops->self_pfn(xvs->hv, (const void *)(uintptr_t)(page << XVS_FRAME_SHIFT),
					&pfn);

	if (rc)
		return rc;
	return xvs_translate_pfn(xvs, pfn.n, maddr);
}

int xvs_translate(struct xvs *xvs, const void *va, size_t len, uint64_t *maddr,
		  size_t *contiguous)
{
	if (!xvs || !(xvs->parts & XVS_OWN) || !maddr || !len)
		return -EINVAL;
	if (len - 1 > UINTPTR_MAX - (uintptr_t)va)
		return -EFAULT;
	return join(own_page, xvs, (uintptr_t)va, len, maddr, contiguous);
}
