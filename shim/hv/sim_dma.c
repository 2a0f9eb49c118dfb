/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DMA memory: pages of the back end's own domain, granted to itself and pinned by a device
 * map. The pins outlive the process, and the pages outlive it with them.
 *
 * All processes keep one range of addresses for it, so that memory of a parent lies in its
 * children where it was, and never where a child puts some of its own.
 */
#include "hv/sim_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint32_t sim_window_find(const struct sim_shared *sh, uint32_t n)
{
	uint32_t run = 0;

	for (uint32_t i = 0; i < SIM_WINDOW; i++) {
		run = sh->window[i] ? 0 : run + 1;
		if (run == n)
			return i + 1 - n;
	}
	return SIM_NONE;
}

/* Frees a page of DMA memory whose last pin is gone. */
void sim_dma_reclaim_locked(struct sim_machine *m, uint32_t frame)
{
	struct sim_shared *sh = m->sh;
	struct sim_frame *f = &sh->frame[frame];
	struct sim_dom *d = sim_dom_get(sh, f->owner);

	SIM_SET(sh, f->dma, SIM_DMA_NO);
	if (!d)
		return;
	sim_touch(sh, &d->gnt[f->dma_ref], sizeof(d->gnt[0]));
	memset(&d->gnt[f->dma_ref], 0, sizeof(d->gnt[0]));
	SIM_SET(sh, d->taken[f->pfn], 0);
	for (uint32_t i = 0; i < SIM_WINDOW; i++)
		if (sh->window[i] == frame + 1)
			SIM_SET(sh, sh->window[i], 0);
}

/* The handle is closed, or its process gone, and the memory was not given back. */
void sim_dma_orphan_locked(struct sim_machine *m, uint16_t slot)
{
	struct sim_shared *sh = m->sh;

	for (uint32_t i = 0; i < SIM_WINDOW; i++) {
		struct sim_frame *f;

		if (!sh->window[i])
			continue;
		f = &sh->frame[sh->window[i] - 1];
		if (f->dma != SIM_DMA_LIVE || f->dma_slot != slot)
			continue;
		SIM_SET(sh, f->dma, SIM_DMA_ORPHAN);
		if (!f->refs)
			sim_dma_reclaim_locked(m, sh->window[i] - 1);
	}
}

static int sim_dma_page_locked(struct sim_hv *h, struct sim_dom *d, uint32_t *frame,
			       uint32_t *handle)
{
	struct sim_track want = { .kind = SIM_TRACK_DEVICE, .write = true, .slot = SIM_SLOTS };
	struct sim_shared *sh = h->m->sh;
	uint32_t pfn, ref;
	struct sim_frame *f;
	int err;

	err = sim_pages_alloc_locked(sh, d, 1, &pfn);
	if (err)
		return err;
	err = sim_grant_locked(sh, d, pfn, 1, d->domid, false, &ref);
	if (!err)
		err = hv_status_errno((int16_t)sim_track_grant_locked(h->m, d, d->domid, ref,
								      want, handle));
	if (err)
		return err;
	*frame = d->p2m[pfn];
	f = &sh->frame[*frame];
	sim_touch(sh, f, sizeof(*f));
	f->dma = SIM_DMA_LIVE;
	f->dma_ref = ref;
	f->dma_slot = h->slot;
	return 0;
}

static void *sim_window_va(struct sim_machine *m, uint32_t page)
{
	return m->window + ((size_t)page << XVS_FRAME_SHIFT);
}

static int sim_dma_place_locked(struct sim_machine *m, uint32_t page, uint32_t frame)
{
	memset(sim_frame_va(m, frame), 0, XVS_FRAME_SIZE);
	SIM_SET(m->sh, m->sh->window[page], frame + 1);
	if (mmap(sim_window_va(m, page), XVS_FRAME_SIZE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, m->memfd,
		 (off_t)frame << XVS_FRAME_SHIFT) == MAP_FAILED)
		return -errno;
	return 0;
}

static void sim_window_clear(struct sim_machine *m, uint32_t page, uint32_t n)
{
	void *at = mmap(sim_window_va(m, page), (size_t)n << XVS_FRAME_SHIFT, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	/* Replacing a mapping of our own by an empty one takes no memory that could lack. */
	if (at == MAP_FAILED)
		abort();
}

/* Takes the pins away; the pages follow unless somebody else holds them. */
static void sim_dma_release_locked(struct sim_hv *h, struct sim_dom *d, const struct hv_dma *dma)
{
	struct sim_shared *sh = h->m->sh;

	for (uint32_t i = 0; i < dma->npages; i++) {
		uint32_t frame = sim_frame_of(h->m, mfn_of(dma->maddr[i]));
		uint32_t handle = dma->handle[i];

		if (frame == SIM_NONE || sh->frame[frame].dma != SIM_DMA_LIVE ||
		    sh->frame[frame].owner != d->domid)
			continue;
		SIM_SET(sh, sh->frame[frame].dma, SIM_DMA_ORPHAN);
		if (handle < SIM_TRACKS && d->track[handle].kind == SIM_TRACK_DEVICE &&
		    d->track[handle].frame == frame)
			sim_track_drop_locked(h->m, d, handle);
		else if (!sh->frame[frame].refs)
			sim_dma_reclaim_locked(h->m, frame);
		sim_commit(sh);
	}
}

static int sim_dma_fill_locked(struct sim_hv *h, struct sim_dom *d, struct hv_dma *dma)
{
	uint32_t page = sim_window_find(h->m->sh, dma->npages), n = dma->npages;
	int err = page == SIM_NONE ? -ENOMEM : 0;

	if (err)
		return err;
	for (dma->npages = 0; dma->npages < n; dma->npages++) {
		uint32_t i = dma->npages, frame = 0;

		err = sim_dma_page_locked(h, d, &frame, &dma->handle[i]);
		if (err)
			break;
		dma->maddr[i] = maddr_of(sim_mfn(frame), 0);
		err = sim_dma_place_locked(h->m, page + i, frame);
		if (err)
			break;
	}
	dma->va = sim_window_va(h->m, page);
	if (!err)
		return 0;
	sim_dma_release_locked(h, d, dma);
	sim_window_clear(h->m, page, n);
	return err;
}

int sim_dma_alloc(struct hv *hv, unsigned int npages, struct hv_dma *dma)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_DMA_ALLOC);
	struct sim_dom *d;

	if (err)
		return err;
	memset(dma, 0, sizeof(*dma));
	d = sim_dom_live(h->m->sh, h->domid);
	if (!d || !npages || npages > SIM_WINDOW)
		return sim_leave(hv, SIM_OP_DMA_ALLOC, -EINVAL);
	dma->npages = npages;
	dma->maddr = calloc(npages, sizeof(*dma->maddr));
	dma->handle = calloc(npages, sizeof(*dma->handle));
	err = dma->maddr && dma->handle ? sim_dma_fill_locked(h, d, dma) : -ENOMEM;
	if (err) {
		free(dma->maddr);
		free(dma->handle);
		memset(dma, 0, sizeof(*dma));
	}
	return sim_leave(hv, SIM_OP_DMA_ALLOC, err);
}

void sim_dma_free(struct hv *hv, struct hv_dma *dma)
{
	struct sim_hv *h = sim_of(hv);
	struct sim_dom *d;

	if (!dma->npages || sim_enter(hv, SIM_OP_DMA_FREE))
		return;
	d = sim_dom_get(h->m->sh, h->domid);
	if (d)
		sim_dma_release_locked(h, d, dma);
	sim_window_clear(h->m, (uint32_t)(((uint8_t *)dma->va - h->m->window) >> XVS_FRAME_SHIFT),
			 dma->npages);
	free(dma->maddr);
	free(dma->handle);
	memset(dma, 0, sizeof(*dma));
	sim_leave(hv, SIM_OP_DMA_FREE, 0);
}

int sim_self_pfn(struct hv *hv, const void *va, pfn_t *pfn)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_SELF_PFN);
	uint8_t *alias;

	if (err)
		return err;
	alias = sim_ram_alias(h, va, 1);
	if (alias)
		pfn->n = h->m->sh->frame[(alias - h->m->ram) >> XVS_FRAME_SHIFT].pfn;
	return sim_leave(hv, SIM_OP_SELF_PFN, alias ? 0 : -EFAULT);
}

int sim_self_p2m(struct hv *hv, pfn_t pfn, mfn_t *mfn)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_SELF_P2M);
	struct sim_dom *d;

	if (err)
		return err;
	d = sim_dom_live(h->m->sh, h->domid);
	if (!d || pfn.n >= d->npages || d->p2m[pfn.n] == SIM_NONE)
		return sim_leave(hv, SIM_OP_SELF_P2M, -EFAULT);
	*mfn = sim_mfn(d->p2m[pfn.n]);
	return sim_leave(hv, SIM_OP_SELF_P2M, 0);
}
