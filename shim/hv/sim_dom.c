/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains and their own view of memory. */
#include "hv/sim_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct sim_dom *sim_dom_get(struct sim_shared *sh, uint16_t domid)
{
	for (unsigned int i = 0; i < SIM_DOMS; i++)
		if (sh->dom[i].state != SIM_DOM_NONE && sh->dom[i].domid == domid)
			return &sh->dom[i];
	return NULL;
}

/* One whose memory can still be had. */
struct sim_dom *sim_dom_live(struct sim_shared *sh, uint16_t domid)
{
	struct sim_dom *d = sim_dom_get(sh, domid);

	return d && d->state != SIM_DOM_DYING ? d : NULL;
}

/* A dead domain is gone with its last page and the last page it held of others. */
void sim_dom_settle_locked(struct sim_shared *sh, struct sim_dom *d)
{
	if (d->state == SIM_DOM_DYING && !d->frames)
		SIM_SET(sh, d->state, SIM_DOM_NONE);
}

static struct sim_dom *sim_dom_slot(struct sim_shared *sh)
{
	for (unsigned int i = 0; i < SIM_DOMS; i++)
		if (sh->dom[i].state == SIM_DOM_NONE)
			return &sh->dom[i];
	return NULL;
}

static int sim_dom_populate_locked(struct sim_machine *m, struct sim_dom *d, uint32_t npages)
{
	for (uint32_t pfn = 0; pfn < npages; pfn++) {
		uint32_t frame = sim_frame_alloc_locked(m, d, pfn);

		if (frame == SIM_NONE)
			return -ENOMEM;
		d->p2m[pfn] = frame;
		sim_list_set_locked(m, d, pfn);
		sim_commit(m->sh);
	}
	return 0;
}

static void sim_dom_depopulate_locked(struct sim_machine *m, struct sim_dom *d)
{
	SIM_SET(m->sh, d->state, SIM_DOM_DYING);
	for (uint32_t pfn = 0; pfn < SIM_PAGES; pfn++) {
		uint32_t frame = d->p2m[pfn];

		if (frame == SIM_NONE)
			continue;
		SIM_SET(m->sh, d->p2m[pfn], SIM_NONE);
		sim_frame_drop_locked(m, frame);
		sim_commit(m->sh);
	}
	sim_dom_settle_locked(m->sh, d);
}

static int sim_dom_add_locked(struct sim_machine *m, uint16_t domid, uint32_t npages, bool hvm)
{
	struct sim_dom *d = sim_dom_slot(m->sh);
	int err;

	if (sim_dom_get(m->sh, domid))
		return -EEXIST;
	if (!d)
		return -ENOSPC;
	memset(d, 0, sizeof(*d));
	memset(d->p2m, 0xff, sizeof(d->p2m));
	d->domid = domid;
	d->hvm = hvm;
	d->npages = npages;
	d->list_pfns = npages;
	d->next_ref = SIM_FIRST_REF;
	/* An empty domain, until it has its pages, must not settle away. */
	d->state = SIM_DOM_LIVE;
	err = sim_dom_populate_locked(m, d, npages);
	if (err)
		sim_dom_depopulate_locked(m, d);
	return err;
}

int sim_domain_add(struct sim_machine *m, uint16_t domid, uint32_t npages, bool hvm)
{
	char path[SIM_PATH], text[16];
	int err;

	if (!npages || npages > SIM_PAGES || domid >= HV_DOMID_SELF)
		return -EINVAL;
	sim_lock(m);
	err = sim_dom_add_locked(m, domid, npages, hvm);
	if (!err) {
		snprintf(path, sizeof(path), "/local/domain/%u/domid", domid);
		snprintf(text, sizeof(text), "%u", domid);
		err = sim_node_write_locked(m, path, text, 0, domid);
		sim_watch_fire_locked(m, "@introduceDomain", false);
	}
	sim_unlock(m);
	return err;
}

int sim_domain_shutdown(struct sim_machine *m, uint16_t domid)
{
	struct sim_dom *d;
	int err = -ESRCH;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	if (d) {
		SIM_SET(m->sh, d->state, SIM_DOM_SHUTDOWN);
		sim_watch_fire_locked(m, "@releaseDomain", false);
		err = 0;
	}
	sim_unlock(m);
	return err;
}

static void sim_dom_kill_locked(struct sim_machine *m, struct sim_dom *d)
{
	for (uint32_t port = 0; port < SIM_PORTS; port++)
		if (d->port[port].state != SIM_PORT_FREE)
			sim_port_close_locked(m, d, port, true);
	for (uint32_t i = 0; i < SIM_TRACKS; i++)
		if (d->track[i].kind != SIM_TRACK_NONE)
			sim_track_drop_locked(m, d, i);
	memset(d->gnt, 0, sizeof(d->gnt));
	sim_commit(m->sh);
	sim_dom_depopulate_locked(m, d);
	sim_watch_fire_locked(m, "@releaseDomain", false);
}

int sim_domain_kill(struct sim_machine *m, uint16_t domid)
{
	struct sim_dom *d;
	int err = -ESRCH;

	sim_lock(m);
	sim_reap_locked(m);
	d = sim_dom_live(m->sh, domid);
	if (d) {
		sim_dom_kill_locked(m, d);
		err = 0;
	}
	sim_unlock(m);
	return err;
}

static bool sim_run_free(const struct sim_dom *d, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (d->taken[first + i] || d->p2m[first + i] == SIM_NONE)
			return false;
	return true;
}

int sim_pages_alloc_locked(struct sim_shared *sh, struct sim_dom *d, uint32_t n, uint32_t *first)
{
	uint32_t span;

	if (!n || n > d->npages)
		return -ENOMEM;
	span = d->npages - n + 1;
	for (uint32_t i = 0; i < span; i++) {
		uint32_t pfn = (d->next_page + i) % span;

		if (!sim_run_free(d, pfn, n))
			continue;
		sim_touch(sh, &d->taken[pfn], n);
		memset(&d->taken[pfn], 1, n);
		SIM_SET(sh, d->next_page, pfn + n);
		*first = pfn;
		return 0;
	}
	return -ENOMEM;
}

int sim_pages_alloc(struct sim_machine *m, uint16_t domid, uint32_t n, pfn_t *first)
{
	struct sim_dom *d;
	uint32_t pfn = 0;
	int err = -ESRCH;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	if (d)
		err = sim_pages_alloc_locked(m->sh, d, n, &pfn);
	sim_unlock(m);
	first->n = pfn;
	return err;
}

void sim_pages_free(struct sim_machine *m, uint16_t domid, pfn_t first, uint32_t n)
{
	struct sim_dom *d;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	for (uint32_t i = 0; d && i < n && first.n + i < d->npages; i++)
		SIM_SET(m->sh, d->taken[first.n + i], 0);
	sim_unlock(m);
}

int sim_balloon_out(struct sim_machine *m, uint16_t domid, pfn_t pfn)
{
	struct sim_dom *d;
	int err = -ENOENT;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	if (d && pfn.n < d->npages && d->p2m[pfn.n] != SIM_NONE) {
		uint32_t frame = d->p2m[pfn.n];

		SIM_SET(m->sh, d->p2m[pfn.n], SIM_NONE);
		sim_list_set_locked(m, d, (uint32_t)pfn.n);
		sim_frame_drop_locked(m, frame);
		err = 0;
	}
	sim_unlock(m);
	return err;
}

int sim_balloon_in(struct sim_machine *m, uint16_t domid, pfn_t pfn)
{
	struct sim_dom *d;
	uint32_t frame;
	int err = -ENOENT;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	if (d && pfn.n < d->npages && d->p2m[pfn.n] == SIM_NONE) {
		frame = sim_frame_alloc_locked(m, d, (uint32_t)pfn.n);
		err = frame == SIM_NONE ? -ENOMEM : 0;
		if (!err) {
			SIM_SET(m->sh, d->p2m[pfn.n], frame);
			sim_list_set_locked(m, d, (uint32_t)pfn.n);
		}
	}
	sim_unlock(m);
	return err;
}

static uint32_t sim_frame_at(struct sim_machine *m, uint16_t domid, uint64_t pfn)
{
	struct sim_dom *d = sim_dom_live(m->sh, domid);

	return d && pfn < d->npages ? d->p2m[pfn] : SIM_NONE;
}

int sim_p2m(struct sim_machine *m, uint16_t domid, pfn_t pfn, mfn_t *mfn)
{
	uint32_t frame;

	sim_lock(m);
	frame = sim_frame_at(m, domid, pfn.n);
	sim_unlock(m);
	if (frame == SIM_NONE)
		return -ENOENT;
	*mfn = sim_mfn(frame);
	return 0;
}

int sim_m2p(struct sim_machine *m, mfn_t mfn, uint16_t *domid, pfn_t *pfn)
{
	uint32_t frame = sim_frame_of(m, mfn);
	int err = -ENOENT;

	if (frame == SIM_NONE)
		return err;
	sim_lock(m);
	if (m->sh->frame[frame].state == SIM_FRAME_RAM) {
		*domid = m->sh->frame[frame].owner;
		pfn->n = m->sh->frame[frame].pfn;
		err = 0;
	}
	sim_unlock(m);
	return err;
}

/* Copies between a buffer and a domain's memory, a page at a time. */
static int sim_mem_copy(struct sim_machine *m, uint16_t domid, uint64_t gpa, uint8_t *buf,
			size_t len, bool write)
{
	while (len) {
		uint32_t off = gpa & XVS_FRAME_MASK;
		size_t n = XVS_FRAME_SIZE - off;
		uint32_t frame;

		if (n > len)
			n = len;
		sim_lock(m);
		frame = sim_frame_at(m, domid, gpa >> XVS_FRAME_SHIFT);
		sim_unlock(m);
		if (frame == SIM_NONE)
			return -EFAULT;
		if (write)
			memcpy(sim_frame_va(m, frame) + off, buf, n);
		else
			memcpy(buf, sim_frame_va(m, frame) + off, n);
		gpa += n;
		buf += n;
		len -= n;
	}
	return 0;
}

int sim_mem_read(struct sim_machine *m, uint16_t domid, uint64_t gpa, void *buf, size_t len)
{
	return sim_mem_copy(m, domid, gpa, buf, len, false);
}

int sim_mem_write(struct sim_machine *m, uint16_t domid, uint64_t gpa, const void *buf, size_t len)
{
	return sim_mem_copy(m, domid, gpa, (uint8_t *)(uintptr_t)buf, len, true);
}

void *sim_pages_map(struct sim_machine *m, uint16_t domid, pfn_t first, uint32_t n)
{
	uint32_t *frame = calloc(n, sizeof(*frame));
	bool hole = !frame;
	void *va = NULL;

	sim_lock(m);
	for (uint32_t i = 0; !hole && i < n; i++) {
		frame[i] = sim_frame_at(m, domid, first.n + i);
		hole = frame[i] == SIM_NONE;
	}
	sim_unlock(m);
	if (!hole)
		va = sim_view(m, frame, n, true);
	free(frame);
	return va;
}

void sim_pages_unmap(void *va, uint32_t n)
{
	munmap(va, (size_t)n << XVS_FRAME_SHIFT);
}
