/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DMA memory: pages of gntalloc, which the kernel never moves, granted to this very domain. Each
 * grant is then mapped for devices, which yields the machine address, and a handle that keeps
 * the page from being freed even after this process and its mapping are gone.
 */
#include "hv/xen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xen/grant_table.h>
#include <xengnttab.h>

/* Operations that fit the scratch page. */
#define CHUNK (XVS_FRAME_SIZE / sizeof(struct hv_map_op))

_Static_assert(sizeof(struct hv_unmap_op) <= sizeof(struct hv_map_op), "chunk");

int xen_gntshr_open(struct xen_priv *x)
{
	uint32_t gref;

	x->gntshr = xengntshr_open(xen_quiet(), 0);
	if (!x->gntshr)
		return -errno;
	/* Operations must lie where the kernel never moves them: in memory of this very kind. */
	x->scratch = xengntshr_share_pages(x->gntshr, XEN_OWN_DOMID, 1, &gref, 1);
	return x->scratch ? 0 : -errno;
}

void xen_gntshr_close(struct xen_priv *x)
{
	if (x->scratch)
		xengntshr_unshare(x->gntshr, x->scratch, 1);
	if (x->gntshr)
		xengntshr_close(x->gntshr);
}

static int pin_chunk(struct xen_priv *x, const uint32_t *gref, unsigned int n, maddr_t *maddr,
		     uint32_t *handle)
{
	struct hv_map_op *ops = x->scratch;
	int rc, first = 0;

	for (unsigned int i = 0; i < n; i++)
		ops[i] = (struct hv_map_op){
			.flags = HV_MAP_DEVICE,
			.gref = gref[i],
			.domid = XEN_OWN_DOMID,
		};
	rc = xen_raw_map(x, ops, n);
	/* A handle obtained is noted whatever became of the others, so that it can be undone. */
	for (unsigned int i = 0; i < n; i++) {
		if (ops[i].status == GNTST_okay) {
			maddr[i] = ops[i].maddr;
			handle[i] = ops[i].handle;
		} else if (!first) {
			first = hv_status_errno(ops[i].status);
		}
	}
	return rc ? rc : first;
}

static int pin(struct xen_priv *x, const uint32_t *gref, struct hv_dma *dma)
{
	for (unsigned int i = 0; i < dma->npages; i += CHUNK) {
		unsigned int n = dma->npages - i < CHUNK ? dma->npages - i : CHUNK;
		int rc = pin_chunk(x, gref + i, n, dma->maddr + i, dma->handle + i);

		if (rc)
			return rc;
	}
	return 0;
}

/* A handle that Xen refuses to give up keeps its page out of use: the kernel waits for it. */
static void unpin(struct xen_priv *x, struct hv_dma *dma)
{
	struct hv_unmap_op *ops = x->scratch;
	unsigned int n = 0;

	for (unsigned int i = 0; i < dma->npages; i++) {
		if (dma->handle[i] != HV_HANDLE_NONE)
			ops[n++] = (struct hv_unmap_op){
				.maddr = dma->maddr[i],
				.handle = dma->handle[i],
			};
		if (n == CHUNK || (n && i + 1 == dma->npages)) {
			xen_raw_unmap(x, ops, n);
			n = 0;
		}
	}
}

static int alloc_arrays(struct hv_dma *dma, unsigned int npages)
{
	memset(dma, 0, sizeof(*dma));
	dma->npages = npages;
	dma->maddr = calloc(npages, sizeof(*dma->maddr));
	dma->handle = calloc(npages, sizeof(*dma->handle));
	if (!dma->maddr || !dma->handle)
		return -ENOMEM;
	for (unsigned int i = 0; i < npages; i++)
		dma->handle[i] = HV_HANDLE_NONE;
	return 0;
}

static void free_arrays(struct hv_dma *dma)
{
	free(dma->maddr);
	free(dma->handle);
	memset(dma, 0, sizeof(*dma));
}

int xen_dma_alloc(struct hv *hv, unsigned int npages, struct hv_dma *dma)
{
	struct xen_priv *x = xen_priv(hv);
	uint32_t *gref = NULL;
	int rc = -ENOMEM;

	if (!x->gntshr)
		return -EBADF;
	/* In a translated domain copies to the pages would need gfns, which nothing tells. */
	if (x->translated)
		return -EOPNOTSUPP;
	if (!npages || npages > INT32_MAX)
		return -EINVAL;
	if (alloc_arrays(dma, npages))
		goto err_arrays;
	gref = calloc(npages, sizeof(*gref));
	if (!gref)
		goto err_arrays;
	/* ENOSPC: the module's limit (xen_gntalloc.limit) is reached. */
	dma->va = xengntshr_share_pages(x->gntshr, XEN_OWN_DOMID, npages, gref, 1);
	if (!dma->va) {
		rc = -errno;
		goto err_arrays;
	}
	rc = pin(x, gref, dma);
	if (rc)
		goto err_unpin;
	free(gref);
	return 0;

err_unpin:
	unpin(x, dma);
	xengntshr_unshare(x->gntshr, dma->va, npages);
err_arrays:
	free(gref);
	free_arrays(dma);
	return rc;
}

void xen_dma_free(struct hv *hv, struct hv_dma *dma)
{
	struct xen_priv *x = xen_priv(hv);

	if (!dma->va)
		return;
	unpin(x, dma);
	xengntshr_unshare(x->gntshr, dma->va, dma->npages);
	free_arrays(dma);
}
