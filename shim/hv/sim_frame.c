/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine frames: who owns one, who holds it, and what becomes of it afterwards. */
#include "hv/sim_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

uint8_t *sim_frame_va(struct sim_machine *m, uint32_t frame)
{
	return m->ram + ((size_t)frame << XVS_FRAME_SHIFT);
}

/* SIM_NONE if there is no such frame. */
uint32_t sim_frame_of(struct sim_machine *m, mfn_t mfn)
{
	if (mfn.n < SIM_MFN_BASE || mfn.n - SIM_MFN_BASE >= m->sh->config.frames)
		return SIM_NONE;
	return (uint32_t)(mfn.n - SIM_MFN_BASE);
}

bool sim_frame_poison_ok(struct sim_machine *m, uint32_t frame)
{
	const uint8_t *va = sim_frame_va(m, frame);

	return va[0] == SIM_POISON && !memcmp(va, va + 1, XVS_FRAME_SIZE - 1);
}

/* The oldest of the frames that were freed before; only taken when no fresh one is left. */
static uint32_t sim_unquarantine_locked(struct sim_machine *m, uint32_t pfn)
{
	struct sim_shared *sh = m->sh;
	uint32_t first = sh->first_quarantine, second = (first + 1) % SIM_FRAMES, frame;

	if (!sh->nquarantine)
		return SIM_NONE;
	frame = sh->quarantine[first];
	if (sim_mfn(frame).n == pfn && sh->nquarantine > 1) {
		SIM_SET(sh, sh->quarantine[first], sh->quarantine[second]);
		SIM_SET(sh, sh->quarantine[second], frame);
		frame = sh->quarantine[first];
	}
	SIM_SET(sh, sh->first_quarantine, (sh->first_quarantine + 1) % SIM_FRAMES);
	SIM_SET(sh, sh->nquarantine, sh->nquarantine - 1);
	if (!sim_frame_poison_ok(m, frame))
		SIM_SET(sh, sh->late_writes, sh->late_writes + 1);
	return frame;
}

static bool sim_frame_suits(const struct sim_dom *d, uint32_t pfn, uint32_t frame)
{
	if (sim_mfn(frame).n == pfn)
		return false;
	return !pfn || d->p2m[pfn - 1] == SIM_NONE ||
	       (frame != d->p2m[pfn - 1] + 1 && frame + 1 != d->p2m[pfn - 1]);
}

static uint32_t sim_pick_locked(struct sim_shared *sh, const struct sim_dom *d, uint32_t pfn)
{
	uint32_t pick = 0, frame;

	for (int try = 0; try < 64; try++) {
		pick = (uint32_t)(sim_random_locked(sh) % sh->nfree);
		if (sim_frame_suits(d, pfn, sh->free[pick]))
			break;
	}
	frame = sh->free[pick];
	SIM_SET(sh, sh->free[pick], sh->free[sh->nfree - 1]);
	SIM_SET(sh, sh->nfree, sh->nfree - 1);
	return frame;
}

/* A zeroed frame for page pfn of d, or SIM_NONE. */
uint32_t sim_frame_alloc_locked(struct sim_machine *m, struct sim_dom *d, uint32_t pfn)
{
	struct sim_shared *sh = m->sh;
	struct sim_frame *f;
	uint32_t frame;

	frame = sh->nfree ? sim_pick_locked(sh, d, pfn) : sim_unquarantine_locked(m, pfn);
	if (frame == SIM_NONE)
		return frame;
	f = &sh->frame[frame];
	sim_touch(sh, f, sizeof(*f));
	*f = (struct sim_frame){ .state = SIM_FRAME_RAM, .owner = d->domid, .pfn = pfn,
				 .gen = f->gen + 1 };
	SIM_SET(sh, d->frames, d->frames + 1);
	memset(sim_frame_va(m, frame), 0, XVS_FRAME_SIZE);
	return frame;
}

static void sim_frame_free_locked(struct sim_machine *m, uint32_t frame)
{
	struct sim_shared *sh = m->sh;
	struct sim_frame *f = &sh->frame[frame];
	struct sim_dom *d = sim_dom_get(sh, f->owner);
	uint32_t at = (sh->first_quarantine + sh->nquarantine) % SIM_FRAMES;

	SIM_SET(sh, f->state, SIM_FRAME_POISON);
	SIM_SET(sh, sh->quarantine[at], frame);
	SIM_SET(sh, sh->nquarantine, sh->nquarantine + 1);
	memset(sim_frame_va(m, frame), SIM_POISON, XVS_FRAME_SIZE);
	if (!d)
		return;
	SIM_SET(sh, d->frames, d->frames - 1);
	sim_dom_settle_locked(sh, d);
}

/* The owner gave it up. It is free when nobody else holds it. */
void sim_frame_drop_locked(struct sim_machine *m, uint32_t frame)
{
	struct sim_frame *f = &m->sh->frame[frame];

	SIM_SET(m->sh, f->state, SIM_FRAME_ZOMBIE);
	if (!f->refs)
		sim_frame_free_locked(m, frame);
}

/* A device may use a page that is held for it. Which foreign maps are for devices, Xen does not
 * know either: each holds its page. */
static bool sim_track_pins(const struct sim_track *t)
{
	return t->kind == SIM_TRACK_DEVICE || t->kind == SIM_TRACK_FOREIGN;
}

void sim_frame_get_locked(struct sim_machine *m, uint32_t frame, const struct sim_track *t)
{
	struct sim_frame *f = &m->sh->frame[frame];

	sim_touch(m->sh, f, sizeof(*f));
	f->refs++;
	if (!sim_track_pins(t))
		return;
	if (t->write)
		f->dev_w++;
	else
		f->dev_r++;
}

void sim_frame_put_locked(struct sim_machine *m, uint32_t frame, const struct sim_track *t)
{
	struct sim_frame *f = &m->sh->frame[frame];

	sim_touch(m->sh, f, sizeof(*f));
	f->refs--;
	if (sim_track_pins(t)) {
		if (t->write)
			f->dev_w--;
		else
			f->dev_r--;
		if (!f->dev_w && !f->dev_r)
			f->gen++;
	}
	if (f->refs)
		return;
	if (f->state == SIM_FRAME_ZOMBIE)
		sim_frame_free_locked(m, frame);
	else if (f->dma == SIM_DMA_ORPHAN)
		sim_dma_reclaim_locked(m, frame);
}

static const char *sim_reach_why(const struct sim_frame *f, uint16_t domid, bool write,
				 enum sim_reach what)
{
	if (f->state == SIM_FRAME_FREE || f->state == SIM_FRAME_POISON)
		return "frame is free";
	if (!f->dev_r && !f->dev_w)
		return f->owner == domid ? "frame of the back end is no DMA memory"
					 : "no live device-map handle for the frame";
	if (write && !f->dev_w)
		return "device would write, the handle is for reading only";
	if (what == SIM_REACH_DMA && (f->owner != domid || f->dma == SIM_DMA_NO))
		return "not in DMA memory of the back end";
	return NULL;
}

int sim_device_reach(struct sim_machine *m, uint16_t domid, maddr_t maddr, uint64_t len,
		     bool write, enum sim_reach what, uint32_t *gen, char *why, size_t size)
{
	uint64_t end = maddr.a + len;
	const char *words = len && end > maddr.a ? NULL : "empty or overflowing range";

	sim_lock(m);
	for (uint64_t mfn = maddr.a >> XVS_FRAME_SHIFT; !words && mfn << XVS_FRAME_SHIFT < end;
	     mfn++) {
		uint32_t frame = sim_frame_of(m, (mfn_t){ mfn });

		if (frame == SIM_NONE) {
			words = "no such frame";
			break;
		}
		words = sim_reach_why(&m->sh->frame[frame], domid, write, what);
		if (gen)
			*gen++ = m->sh->frame[frame].gen;
	}
	sim_unlock(m);
	if (!words)
		return 0;
	snprintf(why, size, "%s", words);
	return -EFAULT;
}

void *sim_maddr_va(struct sim_machine *m, maddr_t maddr, uint64_t len)
{
	uint64_t base = (uint64_t)SIM_MFN_BASE << XVS_FRAME_SHIFT;
	uint64_t size = (uint64_t)m->sh->config.frames << XVS_FRAME_SHIFT;

	if (maddr.a < base || maddr.a - base > size || len > size - (maddr.a - base))
		return NULL;
	return m->ram + (maddr.a - base);
}
