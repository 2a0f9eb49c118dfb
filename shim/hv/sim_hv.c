/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A handle on the machine, and what becomes of its things when it or its process goes. */
#include "hv/sim_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sim_machine *sim_used;
static uint16_t sim_used_domid;

void sim_machine_use(struct sim_machine *m, uint16_t domid)
{
	sim_used = m;
	sim_used_domid = domid;
}

/*
 * A process says that it lives by a record lock on one byte a slot: the kernel takes it away
 * with the process, and no child inherits it.
 */
static int sim_slot_mark(struct sim_machine *m, uint16_t slot, short type)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1 };

	return fcntl(m->memfd, F_SETLK, &fl) ? -errno : 0;
}

static bool sim_slot_alive(struct sim_machine *m, uint16_t slot)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1 };

	if (m->sh->slot[slot].pid == getpid())
		return true;
	return fcntl(m->memfd, F_GETLK, &fl) || fl.l_type != F_UNLCK;
}

/* mine: its mappings are in this process. Grant handles for a device stay. */
void sim_slot_release_locked(struct sim_machine *m, uint16_t slot, bool mine)
{
	sim_maps_release_locked(m, slot, mine);
	sim_ports_release_locked(m, slot);
	sim_watches_release_locked(m, slot);
	sim_txns_release_locked(m, slot);
	sim_dma_orphan_locked(m, slot);
	SIM_SET(m->sh, m->sh->slot[slot].used, false);
}

void sim_reap_locked(struct sim_machine *m)
{
	for (uint16_t slot = 0; slot < SIM_SLOTS; slot++)
		if (m->sh->slot[slot].used && !sim_slot_alive(m, slot))
			sim_slot_release_locked(m, slot, false);
}

void sim_reap(struct sim_machine *m)
{
	sim_lock(m);
	sim_reap_locked(m);
	sim_unlock(m);
}

static int sim_slot_take_locked(struct sim_hv *h)
{
	struct sim_shared *sh = h->m->sh;

	for (uint16_t i = 0; i < SIM_SLOTS; i++) {
		struct sim_slot *s = &sh->slot[i];
		int err;

		if (s->used)
			continue;
		err = sim_slot_mark(h->m, i, F_WRLCK);
		if (err)
			return err;
		s->domid = h->domid;
		s->pid = getpid();
		s->nready = s->first_ready = s->nevents = s->first_event = 0;
		s->ran_over = false;
		SIM_SET(sh, s->used, true);
		h->slot = i;
		return 0;
	}
	return -EMFILE;
}

static int sim_open(struct hv *hv, unsigned int caps)
{
	struct sim_hv *h = hv->priv;
	int err;

	if (!h) {
		if (!sim_used)
			return -ENODEV;
		h = calloc(1, sizeof(*h));
		if (!h)
			return -ENOMEM;
		h->m = sim_used;
		h->domid = sim_used_domid;
		hv->priv = h;
	}
	h->slot = SIM_SLOTS;
	hv->caps = caps;
	err = sim_enter(hv, SIM_OP_OPEN);
	if (!err) {
		sim_reap_locked(h->m);
		err = sim_dom_live(h->m->sh, h->domid) ? sim_slot_take_locked(h) : -ENODEV;
		err = sim_leave(hv, SIM_OP_OPEN, err);
	}
	if (err) {
		free(h);
		hv->priv = NULL;
	}
	return err;
}

static void sim_close(struct hv *hv)
{
	struct sim_hv *h = hv->priv;

	if (!h)
		return;
	sim_lock(h->m);
	if (h->m->sh->slot[h->slot].pid == getpid()) {
		sim_slot_release_locked(h->m, h->slot, true);
		sim_slot_mark(h->m, h->slot, F_UNLCK);
	}
	sim_unlock(h->m);
	free(h);
	hv->priv = NULL;
}

/* Its words for "somebody waits" and "this process lives". */
static void sim_needs(unsigned int caps, struct hv_needs *needs)
{
	(void)caps;
	needs->call[needs->nr_call++] = SYS_futex;
	needs->call[needs->nr_call++] = SYS_fcntl;
}

static int sim_restrict_to(struct hv *hv, uint16_t domid)
{
	struct sim_hv *h = sim_of(hv);

	if (h->restricted && h->only != domid)
		return -EINVAL;
	h->restricted = true;
	h->only = domid;
	return 0;
}

static int sim_dom_info(struct hv *hv, uint16_t domid, struct hv_dominfo *info)
{
	int err = sim_enter(hv, SIM_OP_DOM_INFO);
	const struct sim_dom *d;

	if (err)
		return err;
	d = sim_dom_get(sim_of(hv)->m->sh, domid);
	if (d)
		*info = (struct hv_dominfo){ .domid = domid, .dying = d->state != SIM_DOM_LIVE,
					     .hvm = d->hvm, .nr_pages = d->frames };
	return sim_leave(hv, SIM_OP_DOM_INFO, d ? 0 : -ESRCH);
}

/* Counted and no more: a guest of the simulation is a thread of the test. */
static int sim_dom_pause(struct hv *hv, uint16_t domid, bool pause)
{
	int err = sim_enter(hv, SIM_OP_DOM_PAUSE);
	struct sim_shared *sh;
	struct sim_dom *d;

	if (err)
		return err;
	sh = sim_of(hv)->m->sh;
	d = sim_dom_get(sh, domid);
	if (!d)
		err = -ESRCH;
	else if (!pause && !d->paused)
		err = -EINVAL;
	else
		SIM_SET(sh, d->paused, d->paused + (pause ? 1 : -1u));
	return sim_leave(hv, SIM_OP_DOM_PAUSE, err);
}

/* A machine without an IOMMU. */
static int sim_machine_facts(struct hv *hv, struct hv_machine *machine)
{
	int err = sim_enter(hv, SIM_OP_MACHINE);

	if (err)
		return err;
	*machine = (struct hv_machine){ .iommu_known = true };
	machine->max_mfn = sim_of(hv)->m->sh->config.frames;
	return sim_leave(hv, SIM_OP_MACHINE, 0);
}

static int sim_version(struct hv *hv, char *text, size_t size)
{
	int err = sim_enter(hv, SIM_OP_VERSION);

	if (err)
		return err;
	snprintf(text, size, "simulation");
	return sim_leave(hv, SIM_OP_VERSION, 0);
}

static const struct hv_ops sim_hv_ops = {
	.name = "sim",
	.open = sim_open,
	.close = sim_close,
	.needs = sim_needs,
	.restrict_to = sim_restrict_to,
	.gnt_map = sim_gnt_map,
	.gnt_unmap = sim_gnt_unmap,
	.gnt_copy = sim_gnt_copy,
	.host_map = sim_host_map,
	.host_unmap = sim_host_unmap,
	.dma_alloc = sim_dma_alloc,
	.dma_free = sim_dma_free,
	.self_pfn = sim_self_pfn,
	.self_p2m = sim_self_p2m,
	.self_map = sim_self_map,
	.self_unmap = sim_self_unmap,
	.foreign_map = sim_foreign_map,
	.foreign_unmap = sim_foreign_unmap,
	.p2m_open = sim_p2m_open,
	.p2m_close = sim_p2m_close,
	.p2m_sync = sim_p2m_sync,
	.p2m_leaf = sim_p2m_leaf,
	.evtchn_fd = sim_hv_evtchn_fd,
	.evtchn_bind = sim_hv_evtchn_bind,
	.evtchn_unbind = sim_hv_evtchn_unbind,
	.evtchn_notify = sim_hv_evtchn_notify,
	.evtchn_pending = sim_hv_evtchn_pending,
	.evtchn_unmask = sim_hv_evtchn_unmask,
	.store_fd = sim_store_fd,
	.store_dispatch = sim_store_dispatch,
	.store_watch = sim_store_watch,
	.store_unwatch = sim_store_unwatch,
	.store_begin = sim_store_begin,
	.store_end = sim_store_end,
	.store_read = sim_store_read,
	.store_write = sim_store_write,
	.store_rm = sim_store_rm,
	.store_list = sim_store_list,
	.store_grant = sim_store_grant,
	.dom_info = sim_dom_info,
	.dom_pause = sim_dom_pause,
	.version = sim_version,
	.machine = sim_machine_facts,
};

const struct hv_ops *hv_sim(void)
{
	return &sim_hv_ops;
}

struct hv *sim_hv_open(struct sim_machine *m, uint16_t domid, unsigned int caps, int *err)
{
	struct hv *hv = calloc(1, sizeof(*hv));
	struct sim_hv *h = calloc(1, sizeof(*h));
	int rc = -ENOMEM;

	if (!hv || !h) {
		free(h);
		goto err_free;
	}
	h->m = m;
	h->domid = domid;
	hv->ops = &sim_hv_ops;
	hv->priv = h;
	rc = hv->ops->open(hv, caps);
	if (!rc)
		return hv;
err_free:
	free(hv);
	if (err)
		*err = rc;
	return NULL;
}
