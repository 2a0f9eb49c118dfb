/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The grant operations of a back end that leave no host mapping: map, unmap, copy. */
#include "hv/sim_priv.h"
#include "util/shared.h"

#include <errno.h>

static uint32_t sim_map_frame(const struct sim_dom *d, uint16_t map, uint32_t index)
{
	for (uint32_t i = 0; i < SIM_TRACKS; i++)
		if (d->track[i].kind == SIM_TRACK_SELF && d->track[i].map == map &&
		    d->track[i].index == index)
			return d->track[i].frame;
	return SIM_NONE;
}

/* The frame under an address of this process, from dma_alloc or self_map. */
static uint32_t sim_own_frame(struct sim_hv *h, uintptr_t va)
{
	struct sim_shared *sh = h->m->sh;
	uintptr_t page = (va - (uintptr_t)h->m->window) >> XVS_FRAME_SHIFT;

	if (va >= (uintptr_t)h->m->window && page < SIM_WINDOW)
		return sh->window[page] ? sh->window[page] - 1 : SIM_NONE;
	for (uint16_t i = 0; i < SIM_MAPS; i++) {
		const struct sim_map *map = &sh->map[i];
		uintptr_t start = (uintptr_t)map->va;

		if (map->used && map->kind == SIM_TRACK_SELF && map->slot == h->slot &&
		    va >= start && (va - start) >> XVS_FRAME_SHIFT < map->n)
			return sim_map_frame(sim_dom_get(sh, h->domid), i,
					     (uint32_t)((va - start) >> XVS_FRAME_SHIFT));
	}
	return SIM_NONE;
}

/*
 * The same bytes where every process of the machine has them, which is what lets a half-done
 * write be taken back. NULL for memory that is not from dma_alloc: the contract forbids it.
 */
uint8_t *sim_ram_alias(struct sim_hv *h, const void *va, size_t len)
{
	uintptr_t a = (uintptr_t)va;
	uint32_t frame = sim_own_frame(h, a);

	if (frame == SIM_NONE || (a & XVS_FRAME_MASK) + len > XVS_FRAME_SIZE)
		return NULL;
	return sim_frame_va(h->m, frame) + (a & XVS_FRAME_MASK);
}

static bool sim_ops_ok(struct sim_hv *h, const void *ops, size_t len)
{
	uintptr_t first = (uintptr_t)ops, end = first + len;

	for (uintptr_t a = first; a < end; a = (a | XVS_FRAME_MASK) + 1)
		if (sim_own_frame(h, a) == SIM_NONE)
			return false;
	return true;
}

/* Writes one field of an operation such that it can be taken back. */
#define SIM_OUT(h, field, val)                                                                     \
	do {                                                                                       \
		uint8_t *alias_ = sim_ram_alias((h), &(field), sizeof(field));                     \
		if (alias_)                                                                        \
			sim_touch((h)->m->sh, alias_, sizeof(field));                              \
		(field) = (val);                                                                   \
	} while (0)

static int sim_map_one(struct sim_hv *h, struct sim_dom *d, struct hv_map_op *op)
{
	struct sim_track want = { .kind = SIM_TRACK_DEVICE, .slot = SIM_SLOTS };
	uint16_t granter = op->domid == HV_DOMID_SELF ? d->domid : op->domid;
	uint32_t handle = HV_HANDLE_NONE;
	int rc;

	if (!(op->flags & HV_MAP_DEVICE) || op->flags & ~(HV_MAP_DEVICE | HV_MAP_READONLY))
		return SIM_GNTST_BAD_GNTREF;
	want.write = !(op->flags & HV_MAP_READONLY);
	rc = sim_track_grant_locked(h->m, d, granter, op->gref, want, &handle);
	if (rc)
		return rc;
	SIM_OUT(h, op->handle, handle);
	SIM_OUT(h, op->maddr,
		maddr_of(sim_mfn(sim_plant_frame_locked(h->m->sh, d->track[handle].frame)), 0));
	return SIM_GNTST_OKAY;
}

int sim_gnt_map(struct hv *hv, struct hv_map_op *ops, unsigned int n)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_GNT_MAP);
	struct sim_dom *d;

	if (err)
		return err;
	d = sim_dom_live(h->m->sh, h->domid);
	if (!d || !sim_ops_ok(h, ops, n * sizeof(*ops)))
		return sim_leave(hv, SIM_OP_GNT_MAP, -EFAULT);
	hv->counters.map_calls++;
	for (unsigned int i = 0; i < n; i++) {
		int status = sim_element_fault_locked(h->m->sh, SIM_OP_GNT_MAP);

		if (!status)
			status = sim_map_one(h, d, &ops[i]);
		if (!status)
			hv->counters.map_pages++;
		SIM_OUT(h, ops[i].status, (int16_t)status);
		/* One element is one step: it is on record, or it did not happen. */
		sim_commit(h->m->sh);
	}
	return sim_leave(hv, SIM_OP_GNT_MAP, 0);
}

static int sim_unmap_one(struct sim_hv *h, struct sim_dom *d, const struct hv_unmap_op *op)
{
	if (op->handle >= SIM_TRACKS || d->track[op->handle].kind != SIM_TRACK_DEVICE)
		return SIM_GNTST_BAD_HANDLE;
	/* Xen as well says okay to this one, and unmaps nothing. */
	if (!op->maddr.a)
		return SIM_GNTST_OKAY;
	if (op->maddr.a != maddr_of(sim_mfn(d->track[op->handle].frame), 0).a)
		return SIM_GNTST_GENERAL_ERROR;
	if (!sim_plant_due_locked(h->m->sh, SIM_PLANT_LEAK_HANDLE))
		sim_track_drop_locked(h->m, d, op->handle);
	return SIM_GNTST_OKAY;
}

int sim_gnt_unmap(struct hv *hv, struct hv_unmap_op *ops, unsigned int n)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_GNT_UNMAP);
	struct sim_dom *d;

	if (err)
		return err;
	d = sim_dom_live(h->m->sh, h->domid);
	if (!d || !sim_ops_ok(h, ops, n * sizeof(*ops)))
		return sim_leave(hv, SIM_OP_GNT_UNMAP, -EFAULT);
	hv->counters.unmap_calls++;
	for (unsigned int i = 0; i < n; i++) {
		int status = sim_element_fault_locked(h->m->sh, SIM_OP_GNT_UNMAP);

		if (!status)
			status = sim_unmap_one(h, d, &ops[i]);
		if (!status)
			hv->counters.unmap_pages++;
		SIM_OUT(h, ops[i].status, (int16_t)status);
		sim_commit(h->m->sh);
	}
	return sim_leave(hv, SIM_OP_GNT_UNMAP, 0);
}

/* One end of a copy: its bytes. The lock keeps them there until they are copied. */
static int sim_copy_end(struct sim_machine *m, uint16_t self, const struct hv_copy_end *end,
			uint16_t len, bool gref, bool write, uint8_t **va)
{
	uint16_t domid = end->domid == HV_DOMID_SELF ? self : end->domid;
	struct sim_gnt *g = NULL;
	uint32_t frame;
	int rc;

	if (end->offset >= XVS_FRAME_SIZE || end->offset + len > XVS_FRAME_SIZE)
		return SIM_GNTST_BAD_COPY_ARG;
	if (gref) {
		rc = sim_gnt_check_locked(m->sh, domid, (uint32_t)end->frame, self, write, &g);
		if (rc)
			return rc;
		frame = sim_plant_frame_locked(m->sh, g->frame);
	} else {
		if (domid != self)
			return SIM_GNTST_PERMISSION_DENIED;
		frame = sim_frame_of(m, (mfn_t){ end->frame });
		if (frame == SIM_NONE || m->sh->frame[frame].state != SIM_FRAME_RAM ||
		    m->sh->frame[frame].owner != domid)
			return SIM_GNTST_BAD_PAGE;
	}
	*va = sim_frame_va(m, frame) + end->offset;
	return SIM_GNTST_OKAY;
}

static int sim_copy_one(struct sim_machine *m, uint16_t self, const struct hv_copy_op *op)
{
	uint8_t *src = NULL, *dst = NULL;
	int rc;

	if (op->flags & ~(HV_COPY_SOURCE_GREF | HV_COPY_DEST_GREF))
		return SIM_GNTST_GENERAL_ERROR;
	rc = sim_copy_end(m, self, &op->source, op->len, op->flags & HV_COPY_SOURCE_GREF, false,
			  &src);
	if (!rc)
		rc = sim_copy_end(m, self, &op->dest, op->len, op->flags & HV_COPY_DEST_GREF,
				  true, &dst);
	if (!rc)
		shared_copy(dst, src, op->len); /* the guest may write meanwhile */
	return rc;
}

int sim_gnt_copy(struct hv *hv, struct hv_copy_op *ops, unsigned int n)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_GNT_COPY);
	struct sim_dom *d;

	if (err)
		return err;
	d = sim_dom_live(h->m->sh, h->domid);
	if (!d || !sim_ops_ok(h, ops, n * sizeof(*ops)))
		return sim_leave(hv, SIM_OP_GNT_COPY, -EFAULT);
	hv->counters.copy_calls++;
	for (unsigned int i = 0; i < n; i++) {
		int status = sim_element_fault_locked(h->m->sh, SIM_OP_GNT_COPY);

		if (!status)
			status = sim_copy_one(h->m, d->domid, &ops[i]);
		if (!status) {
			hv->counters.copy_ops++;
			hv->counters.copy_bytes += ops[i].len;
		}
		SIM_OUT(h, ops[i].status, (int16_t)status);
		sim_commit(h->m->sh);
	}
	return sim_leave(hv, SIM_OP_GNT_COPY, 0);
}
