/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Grants the guest leaves in place between requests, where the protection allows the back end to
 * keep pages (docs/protocol.md, "Protection"). They are ended after the back end was asked to
 * give them back, or after a reset; a page still mapped then is a violation.
 */
#include "sim/guest_priv.h"

#include <errno.h>

static struct sim_kept *find(struct sim_guest *g, pfn_t pfn, uint32_t n)
{
	for (unsigned int i = 0; i < g->kept_n; i++)
		if (g->kept[i].pfn.n == pfn.n && g->kept[i].n == n)
			return &g->kept[i];
	return NULL;
}

static int add(struct sim_guest *g, pfn_t pfn, uint32_t n, struct sim_kept **out)
{
	struct sim_kept *k = &g->kept[g->kept_n];
	int err;

	if (g->kept_n == GUEST_KEPT)
		return -ENOSPC;
	err = sim_grant_range(g->cfg.machine, g->cfg.domid, pfn, n, g->cfg.backend, false, &k->ref);
	if (err)
		return err;
	k->pfn = pfn;
	k->n = n;
	k->users = 0;
	g->kept_n++;
	*out = k;
	return 0;
}

int guest_keep(struct sim_guest *g, uint64_t gpa, uint32_t len, uint64_t *daddr,
	       struct sim_range *range)
{
	pfn_t pfn = { gpa >> XVS_FRAME_SHIFT };
	uint64_t last = (gpa + len - 1) >> XVS_FRAME_SHIFT;
	uint32_t n = (uint32_t)(last - pfn.n + 1);
	struct sim_kept *k;
	int err = 0;

	pthread_mutex_lock(&g->keep_lock);
	k = find(g, pfn, n);
	if (!k)
		err = add(g, pfn, n, &k);
	if (!err) {
		k->users++;
		*range = (struct sim_range){ .ref = k->ref, .n = n, .kept = true };
		*daddr = XVS_DADDR_GRANT | XVS_DADDR_KEEP |
			 (uint64_t)k->ref << XVS_DADDR_GREF_SHIFT | (gpa & XVS_FRAME_MASK);
	}
	pthread_mutex_unlock(&g->keep_lock);
	return err;
}

void guest_unkeep(struct sim_guest *g, const struct sim_range *range)
{
	pthread_mutex_lock(&g->keep_lock);
	for (unsigned int i = 0; i < g->kept_n; i++)
		if (g->kept[i].ref == range->ref)
			g->kept[i].users--;
	pthread_mutex_unlock(&g->keep_lock);
}

void guest_keep_end(struct sim_guest *g, bool all)
{
	pthread_mutex_lock(&g->keep_lock);
	for (unsigned int i = g->kept_n; i--;) {
		struct sim_kept *k = &g->kept[i];

		if (k->users && !all)
			continue;
		guest_hide(g, k->ref, k->n);
		*k = g->kept[--g->kept_n];
	}
	pthread_mutex_unlock(&g->keep_lock);
}

int sim_guest_release(struct sim_guest *g)
{
	struct xvs_request req = { .op = XVS_OP_RELEASE_GRANTS };
	int err = sim_guest_request(g, &req);

	if (!err)
		guest_keep_end(g, false);
	return err;
}

unsigned int sim_guest_kept(struct sim_guest *g)
{
	unsigned int n;

	pthread_mutex_lock(&g->keep_lock);
	n = g->kept_n;
	pthread_mutex_unlock(&g->keep_lock);
	return n;
}
