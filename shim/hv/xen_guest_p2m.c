/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A PV guest's own p2m, found as this domain's is (xen_p2m.c). Here everything on the way is the
 * guest's to write, so nothing is believed: the walk has four steps whatever it meets, each table
 * is mapped as a frame of that guest, which Xen checks, and no number leads outside an array.
 */
#include "hv/xen.h"
#include "util/shared.h"

#include <errno.h>
#include <stdlib.h>

#if defined(__x86_64__)

#define LEAVES_MAX 16384u /* mapped at once; each is a mapping of its own, of which there are 65530 */

struct guest_p2m {
	struct hv_p2m p2m;
	const shared_info_t *shared;
	uint64_t generation;
	size_t nr_leaves;
	unsigned int n;
	uint32_t mapped[LEAVES_MAX];
};

static struct guest_p2m *guest_of(struct hv_p2m *p2m)
{
	return (struct guest_p2m *)p2m;
}

static void drop_leaves(struct xen_priv *x, struct guest_p2m *g)
{
	for (unsigned int i = 0; i < g->n; i++) {
		xen_unmap_frame(x, g->p2m.leaf[g->mapped[i]]);
		g->p2m.leaf[g->mapped[i]] = NULL;
	}
	g->n = 0;
}

/* Begins anew: no leaf is mapped, and the guest is as large as it says now. */
static int renew(struct xen_priv *x, struct guest_p2m *g, uint64_t generation)
{
	uint64_t npfns = shared_read(&g->shared->arch.max_pfn);
	const uint64_t **leaf;
	size_t n;

	npfns = npfns < HV_P2M_MAX_PFNS ? npfns : HV_P2M_MAX_PFNS;
	n = (npfns + HV_P2M_LEAF - 1) / HV_P2M_LEAF;
	drop_leaves(x, g);
	if (n != g->nr_leaves || !g->p2m.leaf) {
		leaf = calloc(n ? n : 1, sizeof(*leaf));
		if (!leaf)
			return -ENOMEM;
		free(g->p2m.leaf);
		g->p2m.leaf = leaf;
		g->nr_leaves = n;
	}
	g->p2m.npfns = npfns;
	g->generation = generation;
	return 0;
}

static int read_generation(const struct guest_p2m *g, uint64_t *generation)
{
	*generation = shared_read_acquire(&g->shared->arch.p2m_generation);
	return *generation & 1 ? -EAGAIN : 0;
}

/* What the guest names is not its own, or this domain is short of something. */
static int map_error(int rc)
{
	return rc == -ENOMEM || rc == -EAGAIN || rc == -ENXIO ? rc : -EFAULT;
}

int xen_guest_p2m_open(struct hv *hv, uint16_t domid, struct hv_p2m **p2m)
{
	struct xen_priv *x = xen_priv(hv);
	struct guest_p2m *g;
	uint64_t frame;
	int rc;

	if (!x->fmem)
		return -EBADF;
	rc = xen_guest_shared_info(domid, &frame);
	if (rc)
		return rc;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->p2m.domid = domid;
	g->shared = xen_map_frame(x, domid, frame, &rc);
	if (rc)
		goto err_free;
	/* A kernel that has none, or does not say where: it cannot be served. */
	rc = shared_read(&g->shared->arch.p2m_cr3) ? 0 : -EOPNOTSUPP;
	if (!rc)
		rc = renew(x, g, 1); /* no generation yet: the first sync looks */
	if (rc)
		goto err_unmap;
	*p2m = &g->p2m;
	return 0;

err_unmap:
	xen_unmap_frame(x, g->shared);
err_free:
	free(g->p2m.leaf);
	free(g);
	return rc;
}

void xen_guest_p2m_close(struct hv *hv, struct hv_p2m *p2m)
{
	struct xen_priv *x = xen_priv(hv);
	struct guest_p2m *g = guest_of(p2m);

	drop_leaves(x, g);
	xen_unmap_frame(x, g->shared);
	free(g->p2m.leaf);
	free(g);
}

int xen_guest_p2m_sync(struct hv *hv, struct hv_p2m *p2m)
{
	struct guest_p2m *g = guest_of(p2m);
	uint64_t now;
	int rc = read_generation(g, &now);

	if (rc || now == g->generation)
		return rc;
	rc = renew(xen_priv(hv), g, now);
	return rc ? rc : 1;
}

int xen_guest_p2m_leaf(struct hv *hv, struct hv_p2m *p2m, uint64_t leaf)
{
	struct xen_priv *x = xen_priv(hv);
	struct guest_p2m *g = guest_of(p2m);
	uint64_t frame;
	int rc;

	if (leaf >= g->nr_leaves)
		return -ERANGE;
	if (p2m->leaf[leaf])
		return 0;
	if (g->n == LEAVES_MAX)
		drop_leaves(x, g);
	rc = xen_p2m_leaf_frame(x, p2m->domid, g->shared, leaf, &frame);
	if (rc)
		return map_error(rc);
	p2m->leaf[leaf] = xen_map_frame(x, p2m->domid, frame, &rc);
	if (rc)
		return map_error(rc);
	g->mapped[g->n++] = (uint32_t)leaf;
	return 0;
}

#else /* every other architecture has translated domains only */

int xen_guest_p2m_open(struct hv *hv, uint16_t domid, struct hv_p2m **p2m)
{
	(void)hv;
	(void)domid;
	(void)p2m;
	return -EOPNOTSUPP;
}

void xen_guest_p2m_close(struct hv *hv, struct hv_p2m *p2m)
{
	(void)hv;
	(void)p2m;
}

int xen_guest_p2m_sync(struct hv *hv, struct hv_p2m *p2m)
{
	(void)hv;
	(void)p2m;
	return -EOPNOTSUPP;
}

int xen_guest_p2m_leaf(struct hv *hv, struct hv_p2m *p2m, uint64_t leaf)
{
	(void)hv;
	(void)p2m;
	(void)leaf;
	return -EOPNOTSUPP;
}

#endif
