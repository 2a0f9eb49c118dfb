/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store: a flat table of full paths. Owners and readers are kept but not enforced. */
#include "hv/sim_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether path is top itself or lies below it. */
bool sim_path_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	if (!strcmp(top, "/"))
		return path[0] == '/';
	return !strncmp(path, top, n) && (!path[n] || path[n] == '/');
}

struct sim_node *sim_node_find(struct sim_shared *sh, const char *path)
{
	for (unsigned int i = 0; i < SIM_NODES; i++)
		if (sh->node[i].used && !strcmp(sh->node[i].path, path))
			return &sh->node[i];
	return NULL;
}

static uint64_t sim_gen_locked(struct sim_shared *sh)
{
	SIM_SET(sh, sh->store_gen, sh->store_gen + 1);
	return sh->store_gen;
}

/* The parent's path, or false at the top. */
static bool sim_path_up(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || !path[1])
		return false;
	if (slash == path)
		slash++;
	*slash = '\0';
	return true;
}

static int sim_node_new_locked(struct sim_shared *sh, const char *path, uint16_t owner,
			       uint16_t reader, struct sim_node **node)
{
	for (unsigned int i = 0; i < SIM_NODES; i++) {
		struct sim_node *n = &sh->node[i];

		if (n->used)
			continue;
		sim_touch(sh, n, sizeof(*n));
		n->used = true;
		n->owner = owner;
		n->reader = reader;
		n->gen = sim_gen_locked(sh);
		n->value[0] = '\0';
		snprintf(n->path, sizeof(n->path), "%s", path);
		*node = n;
		return 0;
	}
	return -ENOSPC;
}

/* A new node brings the missing ones above it, and changes the list of its parent. */
static int sim_node_make_locked(struct sim_shared *sh, const char *path, uint16_t owner,
				uint16_t reader, struct sim_node **node)
{
	char up[SIM_PATH];
	int err = sim_node_new_locked(sh, path, owner, reader, node);

	snprintf(up, sizeof(up), "%s", path);
	while (!err && sim_path_up(up)) {
		struct sim_node *parent = sim_node_find(sh, up);

		if (parent) {
			SIM_SET(sh, parent->gen, sim_gen_locked(sh));
			break;
		}
		err = sim_node_new_locked(sh, up, owner, reader, &parent);
	}
	return err;
}

/* value NULL: only make sure that it is there, and set who may read it. */
int sim_node_write_locked(struct sim_machine *m, const char *path, const char *value,
			  uint16_t owner, uint16_t reader)
{
	struct sim_shared *sh = m->sh;
	struct sim_node *n = sim_node_find(sh, path);
	int err = 0;

	if (value && strlen(value) >= SIM_VALUE)
		return -ENOSPC;
	if (!n)
		err = sim_node_make_locked(sh, path, owner, reader, &n);
	if (err)
		return err;
	sim_touch(sh, n, sizeof(*n));
	if (value) {
		snprintf(n->value, sizeof(n->value), "%s", value);
	} else {
		n->owner = owner;
		n->reader = reader;
	}
	n->gen = sim_gen_locked(sh);
	sim_watch_fire_locked(m, path, false);
	return 0;
}

int sim_node_rm_locked(struct sim_machine *m, const char *path)
{
	struct sim_shared *sh = m->sh;
	struct sim_node *parent;
	char up[SIM_PATH];

	if (!sim_node_find(sh, path))
		return -ENOENT;
	for (unsigned int i = 0; i < SIM_NODES; i++)
		if (sh->node[i].used && sim_path_below(sh->node[i].path, path))
			SIM_SET(sh, sh->node[i].used, false);
	snprintf(up, sizeof(up), "%s", path);
	parent = sim_path_up(up) ? sim_node_find(sh, up) : NULL;
	if (parent)
		SIM_SET(sh, parent->gen, sim_gen_locked(sh));
	sim_watch_fire_locked(m, path, true);
	return 0;
}

static bool sim_path_ok(const char *path)
{
	size_t n = strlen(path);

	return n && (n == 1 || path[n - 1] != '/') && !strstr(path, "//") &&
	       strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789-/_@") == n;
}

/* Relative paths mean the domain's own folder. */
static int sim_path_full(const struct sim_hv *h, const char *path, char *full)
{
	int n;

	if (!sim_path_ok(path))
		return -EINVAL;
	if (path[0] == '/')
		n = snprintf(full, SIM_PATH, "%s", path);
	else
		n = snprintf(full, SIM_PATH, "/local/domain/%u/%s", h->domid, path);
	return n < SIM_PATH ? 0 : -EINVAL;
}

static struct sim_txn *sim_txn_get(struct sim_hv *h, uint32_t t)
{
	struct sim_txn *txn = t && t <= SIM_TXNS ? &h->m->sh->txn[t - 1] : NULL;

	return txn && txn->used && txn->slot == h->slot ? txn : NULL;
}

/* What an operation on a node needs: the path in full, the transaction if there is one. */
static int sim_store_enter(struct hv *hv, enum sim_op op, uint32_t t, const char *path,
			   char *full, struct sim_txn **txn)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, op);

	if (err)
		return err;
	err = sim_path_full(h, path, full);
	*txn = t ? sim_txn_get(h, t) : NULL;
	if (!err && t && !*txn)
		err = -ENOENT;
	return err ? sim_leave(hv, op, err) : 0;
}

int sim_store_read(struct hv *hv, uint32_t t, const char *path, char **value)
{
	char full[SIM_PATH];
	struct sim_txn *txn;
	int err = sim_store_enter(hv, SIM_OP_STORE_READ, t, path, full, &txn);
	const char *text = NULL;

	if (err)
		return err;
	if (txn) {
		const struct sim_txn_node *tn = sim_txn_node(sim_of(hv)->m, txn, full);

		err = tn ? 0 : -ENOSPC;
		text = tn && tn->exists ? tn->value : NULL;
	} else {
		const struct sim_node *n = sim_node_find(sim_of(hv)->m->sh, full);

		text = n ? n->value : NULL;
	}
	if (!err)
		err = text ? 0 : -ENOENT;
	if (!err && strchr(text, SIM_STORE_NUL))
		err = -EILSEQ;
	if (!err) {
		*value = strdup(text);
		err = *value ? 0 : -ENOMEM;
	}
	return sim_leave(hv, SIM_OP_STORE_READ, err);
}

static int sim_txn_change(struct sim_machine *m, struct sim_txn *txn, const char *path,
			  const char *value, uint8_t access)
{
	struct sim_txn_node *tn = sim_txn_node(m, txn, path);

	if (!tn || (value && strlen(value) >= SIM_VALUE))
		return -ENOSPC;
	if (access == SIM_REMOVED && !tn->exists)
		return -ENOENT;
	sim_touch(m->sh, tn, sizeof(*tn));
	tn->access = access;
	tn->exists = access == SIM_WRITTEN;
	if (value)
		snprintf(tn->value, sizeof(tn->value), "%s", value);
	return 0;
}

int sim_store_write(struct hv *hv, uint32_t t, const char *path, const char *value)
{
	struct sim_hv *h = sim_of(hv);
	char full[SIM_PATH];
	struct sim_txn *txn;
	int err = sim_store_enter(hv, SIM_OP_STORE_WRITE, t, path, full, &txn);

	if (err)
		return err;
	err = txn ? sim_txn_change(h->m, txn, full, value, SIM_WRITTEN)
		  : sim_node_write_locked(h->m, full, value, h->domid, h->domid);
	return sim_leave(hv, SIM_OP_STORE_WRITE, err);
}

int sim_store_rm(struct hv *hv, uint32_t t, const char *path)
{
	struct sim_hv *h = sim_of(hv);
	char full[SIM_PATH];
	struct sim_txn *txn;
	int err = sim_store_enter(hv, SIM_OP_STORE_RM, t, path, full, &txn);

	if (err)
		return err;
	err = txn ? sim_txn_change(h->m, txn, full, NULL, SIM_REMOVED)
		  : sim_node_rm_locked(h->m, full);
	return sim_leave(hv, SIM_OP_STORE_RM, err);
}

int sim_store_grant(struct hv *hv, uint32_t t, const char *path, uint16_t owner, uint16_t reader)
{
	struct sim_machine *m = sim_of(hv)->m;
	struct sim_txn_node *tn;
	char full[SIM_PATH];
	struct sim_txn *txn;
	int err = sim_store_enter(hv, SIM_OP_STORE_GRANT, t, path, full, &txn);

	if (err)
		return err;
	if (!txn)
		return sim_leave(hv, SIM_OP_STORE_GRANT,
				 sim_node_write_locked(m, full, NULL, owner, reader));
	tn = sim_txn_node(m, txn, full);
	if (!tn)
		return sim_leave(hv, SIM_OP_STORE_GRANT, -ENOSPC);
	err = sim_txn_change(m, txn, full, tn->exists ? NULL : "", SIM_WRITTEN);
	tn->owner = owner;
	tn->reader = reader;
	return sim_leave(hv, SIM_OP_STORE_GRANT, err);
}

/* The name of a child directly below a folder, or NULL. */
static const char *sim_child(const char *path, const char *folder)
{
	size_t n = strcmp(folder, "/") ? strlen(folder) : 0;

	if (strlen(path) <= n + 1 || !sim_path_below(path, folder) || strchr(path + n + 1, '/'))
		return NULL;
	return path + n + 1;
}

/* Writes the names one after the other behind the table of pointers to them. */
static int sim_names(struct sim_shared *sh, const char *folder, char ***names, unsigned int *n)
{
	size_t bytes = 0, count = 0;
	char **table, *text;

	for (unsigned int i = 0; i < SIM_NODES; i++) {
		const char *name = sh->node[i].used ? sim_child(sh->node[i].path, folder) : NULL;

		count += name != NULL;
		bytes += name ? strlen(name) + 1 : 0;
	}
	table = malloc(count * sizeof(*table) + bytes + 1);
	if (!table)
		return -ENOMEM;
	text = (char *)(table + count);
	*n = 0;
	for (unsigned int i = 0; i < SIM_NODES; i++) {
		const char *name = sh->node[i].used ? sim_child(sh->node[i].path, folder) : NULL;

		if (!name)
			continue;
		table[(*n)++] = text;
		text = stpcpy(text, name) + 1;
	}
	*names = table;
	return 0;
}

/* In a transaction this lists what is there outside it, and notes that it was seen. */
int sim_store_list(struct hv *hv, uint32_t t, const char *path, char ***names, unsigned int *n)
{
	struct sim_machine *m = sim_of(hv)->m;
	char full[SIM_PATH];
	struct sim_txn *txn;
	int err = sim_store_enter(hv, SIM_OP_STORE_LIST, t, path, full, &txn);

	if (err)
		return err;
	if (txn && !sim_txn_node(m, txn, full))
		err = -ENOSPC;
	else if (!sim_node_find(m->sh, full))
		err = -ENOENT;
	else
		err = sim_names(m->sh, full, names, n);
	return sim_leave(hv, SIM_OP_STORE_LIST, err);
}

int sim_store_begin(struct hv *hv, uint32_t *t)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_STORE_BEGIN);

	if (err)
		return err;
	for (uint32_t i = 0; i < SIM_TXNS; i++) {
		struct sim_txn *txn = &h->m->sh->txn[i];

		if (txn->used)
			continue;
		txn->n = 0;
		txn->slot = h->slot;
		SIM_SET(h->m->sh, txn->used, true);
		*t = i + 1;
		return sim_leave(hv, SIM_OP_STORE_BEGIN, 0);
	}
	return sim_leave(hv, SIM_OP_STORE_BEGIN, -ENOSPC);
}
