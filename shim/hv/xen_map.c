/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mapping frames into this process: own machine frames, and another domain's. */
#include "hv/xen.h"

#include <errno.h>
#include <sys/mman.h>
#include <xenforeignmemory.h>

/* Arrays of ours are handed to the library as they are. */
_Static_assert(sizeof(mfn_t) == sizeof(xen_pfn_t), "mfn_t");
_Static_assert(sizeof(gfn_t) == sizeof(xen_pfn_t), "gfn_t");

int xen_fmem_open(struct xen_priv *x)
{
	x->fmem = xenforeignmemory_open(xen_quiet(), 0);
	return x->fmem ? 0 : -errno;
}

void xen_fmem_close(struct xen_priv *x)
{
	if (x->fmem)
		xenforeignmemory_close(x->fmem);
}

static int prot_of(bool writable)
{
	return writable ? PROT_READ | PROT_WRITE : PROT_READ;
}

int xen_self_map(struct hv *hv, const mfn_t *mfn, unsigned int n, bool writable, void **va)
{
	struct xen_priv *x = xen_priv(hv);

	if (!x->fmem)
		return -EBADF;
	if (x->translated)
		return -EOPNOTSUPP;
	/* Xen refuses a domain that calls itself foreign by number; DOMID_SELF it takes. */
	*va = xenforeignmemory_map(x->fmem, DOMID_SELF, prot_of(writable), n,
				   (const xen_pfn_t *)mfn, NULL);
	return *va ? 0 : -errno;
}

int xen_foreign_map(struct hv *hv, uint16_t domid, const gfn_t *gfn, unsigned int n,
		    bool writable, void **va, int *err)
{
	struct xen_priv *x = xen_priv(hv);

	if (!x->fmem)
		return -EBADF;
	*va = xenforeignmemory_map(x->fmem, domid, prot_of(writable), n,
				   (const xen_pfn_t *)gfn, err);
	if (!*va)
		return -errno;
	/* Documented as positive, seen as negative. */
	for (unsigned int i = 0; i < n; i++)
		err[i] = err[i] > 0 ? -err[i] : err[i];
	return 0;
}

int xen_unmap(struct hv *hv, void *va, unsigned int n)
{
	struct xen_priv *x = xen_priv(hv);

	if (!x->fmem)
		return -EBADF;
	return xenforeignmemory_unmap(x->fmem, va, n) ? -errno : 0;
}

const void *xen_map_frame(struct xen_priv *x, uint16_t domid, uint64_t mfn, int *err)
{
	xen_pfn_t frame = mfn;
	void *va = xenforeignmemory_map(x->fmem, domid, PROT_READ, 1, &frame, NULL);

	*err = va ? 0 : -errno;
	return va;
}

void xen_unmap_frame(struct xen_priv *x, const void *va)
{
	xenforeignmemory_unmap(x->fmem, (void *)va, 1);
}
