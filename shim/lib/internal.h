/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library's inside, for the library itself and for the daemon, which is linked with it: what
 * the opaque types are, and a handle on a seam that is open already.
 */
#ifndef XVS_LIB_INTERNAL_H
#define XVS_LIB_INTERNAL_H

#include "hv/hv.h"

#include <xvshim/xvshim.h>

struct xvs {
	struct hv *hv;
	unsigned int parts; /* XVS_MEMORY ... */
	bool owner;        /* hv is closed with it */
	struct hv_dma ops; /* where grant operations lie; va NULL: not needed yet */
};

struct xvs_dma {
	struct xvs *xvs;
	struct hv_dma pages;
};

/* On an open seam, of Xen or of the simulation, that stays the caller's and is closed after. */
int xvs_open_hv(struct hv *hv, unsigned int parts, struct xvs **xvs);

/* The pages as the journal and the rings want them; they belong to dma. */
static inline const struct hv_dma *xvs_dma_pages(const struct xvs_dma *dma)
{
	return &dma->pages;
}

#endif
