/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transactions of the store. Each keeps its own copy of the nodes it met, with the generation
 * they had, and conflicts when one of these has changed at its end.
 */
#include "hv/sim_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The node as the transaction sees it; taken over from the store at first sight. */
struct sim_txn_node *sim_txn_node(struct sim_machine *m, struct sim_txn *txn, const char *path)
{
	const struct sim_node *n = sim_node_find(m->sh, path);
	struct sim_txn_node *tn;

	for (uint32_t i = 0; i < txn->n; i++)
		if (!strcmp(txn->node[i].path, path))
			return &txn->node[i];
	if (txn->n == SIM_TXN_NODES)
		return NULL;
	tn = &txn->node[txn->n];
	tn->access = SIM_SEEN;
	tn->exists = n != NULL;
	tn->gen = n ? n->gen : 0;
	tn->owner = n ? n->owner : m->sh->slot[txn->slot].domid;
	tn->reader = n ? n->reader : tn->owner;
	snprintf(tn->path, sizeof(tn->path), "%s", path);
	snprintf(tn->value, sizeof(tn->value), "%s", n ? n->value : "");
	SIM_SET(m->sh, txn->n, txn->n + 1);
	return tn;
}

static bool sim_txn_conflicts(struct sim_shared *sh, const struct sim_txn *txn)
{
	for (uint32_t i = 0; i < txn->n; i++) {
		const struct sim_node *n = sim_node_find(sh, txn->node[i].path);

		if ((n ? n->gen : 0) != txn->node[i].gen)
			return true;
	}
	return false;
}

static int sim_txn_apply_locked(struct sim_machine *m, const struct sim_txn *txn)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < txn->n; i++) {
		const struct sim_txn_node *tn = &txn->node[i];

		if (tn->access == SIM_WRITTEN) {
			err = sim_node_write_locked(m, tn->path, tn->value, tn->owner, tn->reader);
			if (!err)
				err = sim_node_write_locked(m, tn->path, NULL, tn->owner,
							    tn->reader);
		} else if (tn->access == SIM_REMOVED) {
			/* It may have gone with its parent already. */
			sim_node_rm_locked(m, tn->path);
		}
	}
	return err;
}

int sim_store_end(struct hv *hv, uint32_t t, bool abort)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_STORE_END);
	struct sim_txn *txn;

	if (err)
		return err;
	txn = t && t <= SIM_TXNS ? &h->m->sh->txn[t - 1] : NULL;
	if (!txn || !txn->used || txn->slot != h->slot)
		return sim_leave(hv, SIM_OP_STORE_END, -ENOENT);
	if (!abort)
		err = sim_txn_conflicts(h->m->sh, txn) ? -EAGAIN : sim_txn_apply_locked(h->m, txn);
	SIM_SET(h->m->sh, txn->used, false);
	return sim_leave(hv, SIM_OP_STORE_END, err);
}

void sim_txns_release_locked(struct sim_machine *m, uint16_t slot)
{
	for (unsigned int i = 0; i < SIM_TXNS; i++)
		if (m->sh->txn[i].used && m->sh->txn[i].slot == slot)
			SIM_SET(m->sh, m->sh->txn[i].used, false);
}
