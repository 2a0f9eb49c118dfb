/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Grant tables: what a guest gives, and the pages held on the strength of it. */
#include "hv/sim_priv.h"

#include <errno.h>
#include <string.h>

static bool sim_refs_free(const struct sim_dom *d, uint32_t ref, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (d->gnt[ref + i].used)
			return false;
	return true;
}

static uint32_t sim_refs_find(const struct sim_shared *sh, const struct sim_dom *d, uint32_t n)
{
	uint32_t room = sh->config.max_grants, span;

	if (room < SIM_FIRST_REF + n)
		return SIM_NONE;
	span = room - SIM_FIRST_REF - n + 1;
	for (uint32_t i = 0; i < span; i++) {
		uint32_t ref = SIM_FIRST_REF + (d->next_ref - SIM_FIRST_REF + i) % span;

		if (sim_refs_free(d, ref, n))
			return ref;
	}
	return SIM_NONE;
}

int sim_grant_locked(struct sim_shared *sh, struct sim_dom *d, uint32_t pfn, uint32_t n,
		     uint16_t to, bool readonly, uint32_t *ref)
{
	uint32_t first = n ? sim_refs_find(sh, d, n) : SIM_NONE;

	if (first == SIM_NONE)
		return -ENOSPC;
	for (uint32_t i = 0; i < n; i++)
		if (pfn + i >= d->npages || d->p2m[pfn + i] == SIM_NONE)
			return -EFAULT;
	sim_touch(sh, &d->gnt[first], n * sizeof(d->gnt[0]));
	for (uint32_t i = 0; i < n; i++)
		d->gnt[first + i] = (struct sim_gnt){ .used = true, .readonly = readonly,
						      .to = to, .frame = d->p2m[pfn + i] };
	/* A gap now and then, so that nobody takes references for granted to be dense. */
	SIM_SET(sh, d->next_ref, first + n + (uint32_t)(sim_random_locked(sh) % 3));
	*ref = first;
	return 0;
}

int sim_grant_range(struct sim_machine *m, uint16_t domid, pfn_t first, uint32_t n, uint16_t to,
		    bool readonly, uint32_t *ref)
{
	struct sim_dom *d;
	int err = -ESRCH;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	if (d && n <= SIM_GRANTS && first.n < d->npages)
		err = sim_grant_locked(m->sh, d, (uint32_t)first.n, n, to, readonly, ref);
	else if (d)
		err = -EFAULT;
	sim_unlock(m);
	return err;
}

int sim_grant(struct sim_machine *m, uint16_t domid, pfn_t pfn, uint16_t to, bool readonly,
	      uint32_t *ref)
{
	return sim_grant_range(m, domid, pfn, 1, to, readonly, ref);
}

static struct sim_gnt *sim_gnt_get(struct sim_shared *sh, struct sim_dom *d, uint32_t ref)
{
	if (ref < SIM_FIRST_REF || ref >= sh->config.max_grants)
		return NULL;
	return &d->gnt[ref];
}

static int sim_grant_end_locked(struct sim_shared *sh, struct sim_dom *d, uint32_t ref,
				uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct sim_gnt *g = sim_gnt_get(sh, d, ref + i);

		if (!g || !g->used)
			return -EINVAL;
		if (g->readers || g->writers)
			return -EBUSY;
	}
	sim_touch(sh, &d->gnt[ref], n * sizeof(d->gnt[0]));
	memset(&d->gnt[ref], 0, n * sizeof(d->gnt[0]));
	return 0;
}

int sim_grant_end(struct sim_machine *m, uint16_t domid, uint32_t ref, uint32_t n)
{
	struct sim_dom *d;
	int err = -ESRCH;

	sim_lock(m);
	sim_reap_locked(m);
	d = sim_dom_live(m->sh, domid);
	if (d)
		err = sim_grant_end_locked(m->sh, d, ref, n);
	sim_unlock(m);
	return err;
}

int sim_grant_in_use(struct sim_machine *m, uint16_t domid, uint32_t ref, bool *reading,
		     bool *writing)
{
	const struct sim_gnt *g = NULL;
	struct sim_dom *d;

	sim_lock(m);
	sim_reap_locked(m);
	d = sim_dom_live(m->sh, domid);
	if (d)
		g = sim_gnt_get(m->sh, d, ref);
	if (g && g->used) {
		*reading = g->readers || g->writers;
		*writing = g->writers;
	} else {
		g = NULL;
	}
	sim_unlock(m);
	return g ? 0 : -ENOENT;
}

/* Any free handle, the one after the last first, so that a stale one is not soon valid again. */
int sim_track_add_locked(struct sim_machine *m, struct sim_dom *holder,
			 const struct sim_track *t, uint32_t *handle)
{
	bool counts = t->kind == SIM_TRACK_DEVICE || t->kind == SIM_TRACK_HOST;
	struct sim_shared *sh = m->sh;

	if (counts && holder->tracks >= sh->config.max_handles)
		return -ENOSPC;
	for (uint32_t i = 0; i < SIM_TRACKS; i++) {
		uint32_t h = (holder->next_track + i) % SIM_TRACKS;

		if (holder->track[h].kind != SIM_TRACK_NONE)
			continue;
		sim_touch(sh, &holder->track[h], sizeof(*t));
		holder->track[h] = *t;
		SIM_SET(sh, holder->next_track, h + 1);
		SIM_SET(sh, holder->tracks, holder->tracks + counts);
		sim_frame_get_locked(m, t->frame, t);
		*handle = h;
		return 0;
	}
	return -ENOSPC;
}

static void sim_gnt_count_locked(struct sim_shared *sh, struct sim_gnt *g, bool write, int by)
{
	sim_touch(sh, g, sizeof(*g));
	if (write)
		g->writers += (uint32_t)by;
	else
		g->readers += (uint32_t)by;
}

/* Lets go of a page; the entry it came through may belong to a domain that is gone. */
void sim_track_drop_locked(struct sim_machine *m, struct sim_dom *holder, uint32_t handle)
{
	struct sim_shared *sh = m->sh;
	struct sim_track t = holder->track[handle];
	bool grant = t.kind == SIM_TRACK_DEVICE || t.kind == SIM_TRACK_HOST;
	struct sim_dom *granter = sim_dom_get(sh, t.granter);

	SIM_SET(sh, holder->track[handle].kind, SIM_TRACK_NONE);
	SIM_SET(sh, holder->tracks, holder->tracks - grant);
	if (grant && granter && granter->state != SIM_DOM_DYING &&
	    granter->gnt[t.ref].frame == t.frame)
		sim_gnt_count_locked(sh, &granter->gnt[t.ref], t.write, -1);
	sim_frame_put_locked(m, t.frame, &t);
}

/* Whether to may use an entry like that; Xen's checks in Xen's order, and Xen's answers. */
int sim_gnt_check_locked(struct sim_shared *sh, uint16_t granter, uint32_t ref, uint16_t to,
			 bool write, struct sim_gnt **gnt)
{
	struct sim_dom *d = sim_dom_get(sh, granter);
	const struct sim_frame *f;
	struct sim_gnt *g;

	if (!d)
		return SIM_GNTST_BAD_DOMAIN;
	g = sim_gnt_get(sh, d, ref);
	if (!g)
		return SIM_GNTST_BAD_GNTREF;
	if (d->state == SIM_DOM_DYING || !g->used || g->to != to)
		return SIM_GNTST_GENERAL_ERROR;
	if (write && g->readonly && !sim_plant_due_locked(sh, SIM_PLANT_RO_AS_RW))
		return SIM_GNTST_GENERAL_ERROR;
	f = &sh->frame[g->frame];
	if (f->owner != d->domid || f->state != SIM_FRAME_RAM)
		return SIM_GNTST_GENERAL_ERROR;
	*gnt = g;
	return SIM_GNTST_OKAY;
}

/* Holds the page of a reference. want says kind, direction and owner of the map. */
int sim_track_grant_locked(struct sim_machine *m, struct sim_dom *holder, uint16_t granter,
			   uint32_t ref, struct sim_track want, uint32_t *handle)
{
	struct sim_gnt *g = NULL;
	int rc;

	rc = sim_gnt_check_locked(m->sh, granter, ref, holder->domid, want.write, &g);
	if (rc)
		return rc;
	if (!want.write && want.kind == SIM_TRACK_DEVICE)
		want.write = sim_plant_due_locked(m->sh, SIM_PLANT_RO_AS_RW);
	want.granter = granter;
	want.ref = ref;
	want.frame = g->frame;
	if (sim_track_add_locked(m, holder, &want, handle))
		return SIM_GNTST_NO_SPACE;
	sim_gnt_count_locked(m->sh, g, want.write, 1);
	return SIM_GNTST_OKAY;
}
