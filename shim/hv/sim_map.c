/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process of the back end maps for itself, and its DMA memory. */
#include "hv/sim_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int sim_view_fill(struct sim_machine *m, uint8_t *va, const uint32_t *frame, uint32_t n,
			 int prot)
{
	for (uint32_t i = 0; i < n; i++) {
		void *at = va + ((size_t)i << XVS_FRAME_SHIFT);

		if (frame[i] == SIM_NONE)
			continue;
		if (mmap(at, XVS_FRAME_SIZE, prot, MAP_SHARED | MAP_FIXED, m->memfd,
			 (off_t)frame[i] << XVS_FRAME_SHIFT) == MAP_FAILED)
			return -errno;
	}
	return 0;
}

/* Scattered frames as one range; a page of no frame faults when it is touched. */
void *sim_view(struct sim_machine *m, const uint32_t *frame, uint32_t n, bool writable)
{
	size_t size = (size_t)n << XVS_FRAME_SHIFT;
	void *va = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (va == MAP_FAILED)
		return NULL;
	if (!sim_view_fill(m, va, frame, n, writable ? PROT_READ | PROT_WRITE : PROT_READ))
		return va;
	munmap(va, size);
	return NULL;
}

static uint16_t sim_map_new_locked(struct sim_hv *h, uint8_t kind, uint32_t n)
{
	struct sim_shared *sh = h->m->sh;

	for (uint16_t i = 0; i < SIM_MAPS; i++) {
		if (sh->map[i].used)
			continue;
		sim_touch(sh, &sh->map[i], sizeof(sh->map[i]));
		sh->map[i] = (struct sim_map){ .used = true, .kind = kind, .slot = h->slot,
					       .domid = h->domid, .n = n };
		return i;
	}
	return SIM_MAPS;
}

static void sim_map_drop_locked(struct sim_machine *m, uint16_t id)
{
	struct sim_shared *sh = m->sh;
	struct sim_dom *d = sim_dom_get(sh, sh->map[id].domid);

	for (uint32_t i = 0; d && i < SIM_TRACKS; i++)
		if (d->track[i].kind == sh->map[id].kind && d->track[i].map == id)
			sim_track_drop_locked(m, d, i);
	SIM_SET(sh, sh->map[id].used, false);
}

/* Everything a handle maps. Only its own process has the addresses. */
void sim_maps_release_locked(struct sim_machine *m, uint16_t slot, bool mine)
{
	for (uint16_t i = 0; i < SIM_MAPS; i++) {
		struct sim_map *map = &m->sh->map[i];

		if (!map->used || map->slot != slot)
			continue;
		if (mine && map->va)
			munmap(map->va, (size_t)map->n << XVS_FRAME_SHIFT);
		sim_map_drop_locked(m, i);
	}
}

/* A whole map that begins at va and has at most n pages. Maps may lie side by side, and be
 * unmapped in one go. */
static int sim_unmap_one_locked(struct sim_hv *h, uint8_t kind, void *va, uint32_t *n)
{
	for (uint16_t i = 0; i < SIM_MAPS; i++) {
		const struct sim_map *map = &h->m->sh->map[i];

		if (!map->used || map->slot != h->slot || map->kind != kind || map->va != va ||
		    map->n > *n || (map->n < *n && kind != SIM_TRACK_FOREIGN))
			continue;
		*n = map->n;
		munmap(va, (size_t)map->n << XVS_FRAME_SHIFT);
		sim_map_drop_locked(h->m, i);
		return 0;
	}
	return -EINVAL;
}

static int sim_unmap_view(struct hv *hv, enum sim_op op, uint8_t kind, void *va, uint32_t n)
{
	int err = sim_enter(hv, op);
	uint8_t *at = va;

	if (err)
		return err;
	err = n ? 0 : -EINVAL;
	for (uint32_t left = n, some; !err && left; left -= some) {
		some = left;
		err = sim_unmap_one_locked(sim_of(hv), kind, at, &some);
		at += (size_t)some << XVS_FRAME_SHIFT;
	}
	return sim_leave(hv, op, err);
}

/* What is to be mapped: by reference, by machine frame, or by another domain's frame. */
struct sim_want {
	uint8_t kind;
	bool write;
	uint16_t domid;
	const uint32_t *gref;
	const uint64_t *frame; /* gfn or mfn */
	int *err;
};

/* A page by number. PV: that of the machine; HVM: the guest's own. */
static int sim_want_frame(struct sim_machine *m, const struct sim_want *w, uint32_t i,
			  uint32_t *frame)
{
	struct sim_dom *d = sim_dom_live(m->sh, w->domid);
	uint64_t n = w->frame[i];

	if (!d)
		return -ESRCH;
	if (d->hvm && w->kind == SIM_TRACK_FOREIGN)
		*frame = n < d->npages ? d->p2m[n] : SIM_NONE;
	else
		*frame = sim_frame_of(m, (mfn_t){ n });
	if (*frame == SIM_NONE || m->sh->frame[*frame].owner != w->domid ||
	    m->sh->frame[*frame].state != SIM_FRAME_RAM ||
	    (w->write && m->sh->frame[*frame].table))
		return -EINVAL;
	return 0;
}

static int sim_want_one(struct sim_hv *h, struct sim_dom *d, const struct sim_want *w,
			struct sim_track t, uint32_t i, uint32_t *frame)
{
	uint32_t handle = 0;
	int err;

	t.index = i;
	if (w->gref) {
		err = hv_status_errno((int16_t)sim_track_grant_locked(h->m, d, w->domid,
								      w->gref[i], t, &handle));
		if (!err)
			*frame = sim_plant_frame_locked(h->m->sh, d->track[handle].frame);
		return err;
	}
	err = w->kind == SIM_TRACK_FOREIGN
		      ? sim_element_fault_locked(h->m->sh, SIM_OP_FOREIGN_MAP)
		      : 0;
	if (!err)
		err = sim_want_frame(h->m, w, i, &t.frame);
	if (!err)
		err = sim_track_add_locked(h->m, d, &t, &handle);
	*frame = err ? SIM_NONE : t.frame;
	return err;
}

static int sim_want_all(struct sim_hv *h, const struct sim_want *w, uint16_t id, uint32_t n,
			uint32_t *frame)
{
	struct sim_dom *d = sim_dom_live(h->m->sh, h->domid);
	struct sim_track t = { .kind = w->kind, .write = w->write, .slot = h->slot, .map = id,
			       .granter = w->domid };
	int err = d ? 0 : -ESRCH;

	if ((w->kind == SIM_TRACK_FOREIGN || w->kind == SIM_TRACK_SELF) && h->restricted &&
	    w->domid != h->only)
		return -EPERM;
	for (uint32_t i = 0; !err && i < n; i++) {
		err = sim_want_one(h, d, w, t, i, &frame[i]);
		if (w->err) {
			w->err[i] = err;
			err = 0;
		}
	}
	return err;
}

static int sim_map_view(struct hv *hv, enum sim_op op, const struct sim_want *w, uint32_t n,
			void **va)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, op);
	uint32_t *frame = NULL;
	uint16_t id = SIM_MAPS;

	if (err)
		return err;
	err = n && n <= SIM_PAGES ? 0 : -EINVAL;
	if (err)
		goto out;
	frame = calloc(n, sizeof(*frame));
	id = sim_map_new_locked(h, w->kind, n);
	err = frame && id < SIM_MAPS ? sim_want_all(h, w, id, n, frame) : -ENOMEM;
	if (err)
		goto out;
	*va = sim_view(h->m, frame, n,
		       w->write || sim_plant_due_locked(h->m->sh, SIM_PLANT_RO_AS_RW));
	if (*va)
		SIM_SET(h->m->sh, h->m->sh->map[id].va, *va);
	else
		err = -ENOMEM;
out:
	if (err && id < SIM_MAPS)
		sim_map_drop_locked(h->m, id);
	free(frame);
	return sim_leave(hv, op, err);
}

int sim_host_map(struct hv *hv, uint16_t domid, const uint32_t *gref, unsigned int n,
		 bool writable, void **va)
{
	struct sim_want w = { .kind = SIM_TRACK_HOST, .write = writable, .gref = gref };

	w.domid = domid == HV_DOMID_SELF ? sim_of(hv)->domid : domid;
	return sim_map_view(hv, SIM_OP_HOST_MAP, &w, n, va);
}

int sim_host_unmap(struct hv *hv, void *va, unsigned int n)
{
	return sim_unmap_view(hv, SIM_OP_HOST_UNMAP, SIM_TRACK_HOST, va, n);
}

int sim_self_map(struct hv *hv, const mfn_t *mfn, unsigned int n, bool writable, void **va)
{
	struct sim_want w = { .kind = SIM_TRACK_SELF, .write = writable, .frame = &mfn->n,
			      .domid = sim_of(hv)->domid };

	return sim_map_view(hv, SIM_OP_SELF_MAP, &w, n, va);
}

int sim_self_unmap(struct hv *hv, void *va, unsigned int n)
{
	return sim_unmap_view(hv, SIM_OP_SELF_UNMAP, SIM_TRACK_SELF, va, n);
}

int sim_foreign_map(struct hv *hv, uint16_t domid, const gfn_t *gfn, unsigned int n,
		    bool writable, void **va, int *err)
{
	struct sim_want w = { .kind = SIM_TRACK_FOREIGN, .write = writable, .frame = &gfn->n,
			      .domid = domid, .err = err };

	return sim_map_view(hv, SIM_OP_FOREIGN_MAP, &w, n, va);
}

int sim_foreign_unmap(struct hv *hv, void *va, unsigned int n)
{
	return sim_unmap_view(hv, SIM_OP_FOREIGN_UNMAP, SIM_TRACK_FOREIGN, va, n);
}
