/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The p2m that a PV guest publishes, from both sides. */
#include "hv/sim_priv.h"

#include <errno.h>
#include <stdlib.h>

/* What a handle has seen of it. */
struct sim_p2m_view {
	struct hv_p2m p2m;
	uint64_t generation;
	size_t nr_leaves;
};

uint64_t *sim_list(struct sim_machine *m, const struct sim_dom *d)
{
	return m->lists + (size_t)(d - m->sh->dom) * SIM_LIST;
}

/* As a kernel does that takes or gives a page: what was said of the pfn before is forgotten. */
void sim_list_set_locked(struct sim_machine *m, struct sim_dom *d, uint32_t pfn)
{
	uint64_t *entry = &sim_list(m, d)[pfn];

	if (!d->hvm)
		SIM_SET(m->sh, *entry,
			d->p2m[pfn] == SIM_NONE ? SIM_P2M_INVALID : sim_mfn(d->p2m[pfn]).n);
}

int sim_p2m_write(struct sim_machine *m, uint16_t domid, pfn_t pfn, uint64_t entry)
{
	struct sim_dom *d;
	int err = -EINVAL;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	if (d && pfn.n < SIM_LIST) {
		sim_list(m, d)[pfn.n] = entry;
		err = 0;
	}
	sim_unlock(m);
	return err;
}

static int sim_p2m_change(struct sim_machine *m, uint16_t domid, uint64_t npfns,
			  unsigned int steps)
{
	struct sim_dom *d;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	if (d) {
		d->list_generation += steps;
		d->list_pfns = npfns ? npfns : d->list_pfns;
	}
	sim_unlock(m);
	return d ? 0 : -ESRCH;
}

int sim_p2m_resize(struct sim_machine *m, uint16_t domid, uint64_t npfns)
{
	return sim_p2m_change(m, domid, npfns, 2);
}

int sim_p2m_reshape(struct sim_machine *m, uint16_t domid)
{
	return sim_p2m_change(m, domid, 0, 1);
}

int sim_page_table(struct sim_machine *m, uint16_t domid, pfn_t pfn, bool table)
{
	struct sim_dom *d;
	struct sim_frame *f;
	int err = -ENOENT;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	if (d && pfn.n < d->npages && d->p2m[pfn.n] != SIM_NONE) {
		f = &m->sh->frame[d->p2m[pfn.n]];
		err = table && f->dev_w ? -EBUSY : 0;
		if (!err)
			SIM_SET(m->sh, f->table, table);
	}
	sim_unlock(m);
	return err;
}

/* -- the back end's side -- */

static struct sim_p2m_view *sim_view_of(struct hv_p2m *p2m)
{
	return (struct sim_p2m_view *)p2m;
}

static int sim_view_renew_locked(struct sim_p2m_view *v, const struct sim_dom *d)
{
	uint64_t npfns = d->list_pfns < SIM_LIST ? d->list_pfns : SIM_LIST;
	size_t n = (npfns + HV_P2M_LEAF - 1) / HV_P2M_LEAF;
	const uint64_t **leaf = calloc(n ? n : 1, sizeof(*leaf));

	if (!leaf)
		return -ENOMEM;
	free(v->p2m.leaf);
	v->p2m.leaf = leaf;
	v->p2m.npfns = npfns;
	v->nr_leaves = n;
	v->generation = d->list_generation;
	return 0;
}

int sim_p2m_open(struct hv *hv, uint16_t domid, struct hv_p2m **p2m)
{
	int err = sim_enter(hv, SIM_OP_P2M_OPEN);
	struct sim_p2m_view *v = NULL;
	const struct sim_dom *d;

	if (err)
		return err;
	d = sim_dom_live(sim_of(hv)->m->sh, domid);
	err = !d ? -ESRCH : d->hvm ? -EOPNOTSUPP : 0;
	if (!err) {
		v = calloc(1, sizeof(*v));
		err = v ? sim_view_renew_locked(v, d) : -ENOMEM;
	}
	if (err) {
		free(v);
		return sim_leave(hv, SIM_OP_P2M_OPEN, err);
	}
	v->p2m.domid = domid;
	*p2m = &v->p2m;
	return sim_leave(hv, SIM_OP_P2M_OPEN, 0);
}

void sim_p2m_close(struct hv *hv, struct hv_p2m *p2m)
{
	(void)hv;
	free(p2m->leaf);
	free(sim_view_of(p2m));
}

int sim_p2m_sync(struct hv *hv, struct hv_p2m *p2m)
{
	int err = sim_enter(hv, SIM_OP_P2M_SYNC);
	struct sim_p2m_view *v = sim_view_of(p2m);
	const struct sim_dom *d;

	if (err)
		return err;
	d = sim_dom_live(sim_of(hv)->m->sh, p2m->domid);
	if (!d)
		err = -ESRCH;
	else if (d->list_generation & 1)
		err = -EAGAIN;
	else if (d->list_generation != v->generation)
		err = sim_view_renew_locked(v, d);
	else
		return sim_leave(hv, SIM_OP_P2M_SYNC, 0);
	return sim_leave(hv, SIM_OP_P2M_SYNC, err ? err : 1);
}

int sim_p2m_leaf(struct hv *hv, struct hv_p2m *p2m, uint64_t leaf)
{
	int err = sim_enter(hv, SIM_OP_P2M_LEAF);
	struct sim_p2m_view *v = sim_view_of(p2m);
	const struct sim_dom *d;

	if (err)
		return err;
	d = sim_dom_live(sim_of(hv)->m->sh, p2m->domid);
	if (!d)
		err = -ESRCH;
	else if (leaf >= v->nr_leaves)
		err = -ERANGE;
	else
		p2m->leaf[leaf] = sim_list(sim_of(hv)->m, d) + leaf * HV_P2M_LEAF;
	return sim_leave(hv, SIM_OP_P2M_LEAF, err);
}
