/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device and the store: what the keeper writes there, what it reads of both ends, and the steps
 * that follow from it.
 */
#include "daemon/keeper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The uuid path that the toolstack gave the domain. A domain number may be used again; this
 * is not (hazard 29).
 */
int kdev_domain_identity(struct hv *hv, uint16_t domid, char *identity, size_t size)
{
	char dir[PATH_SIZE], value[NODE_MAX + 1];
	int rc;

	snprintf(dir, sizeof(dir), "/local/domain/%u", domid);
	rc = node_get(hv, dir, "vm", value);
	if (rc)
		value[0] = '\0';
	snprintf(identity, size, "%.*s", (int)size - 1, value);
	return rc == -ENOENT || rc == -EMSGSIZE ? 0 : rc;
}

static int sync_error(struct kdev *d)
{
	struct hv *hv = d->keeper->hv;
	char path[PATH_SIZE + 8];
	int rc;

	if (!strcmp(d->error, d->error_written))
		return 0;
	if (d->error[0]) {
		rc = node_put(hv, 0, d->be, "error", d->error);
	} else {
		snprintf(path, sizeof(path), "%s/error", d->be);
		rc = hv->ops->store_rm(hv, 0, path);
		if (rc == -ENOENT)
			rc = 0;
	}
	if (!rc)
		memcpy(d->error_written, d->error, sizeof(d->error_written));
	return rc;
}

/* The state last: whoever sees it finds everything else in place. */
int kdev_sync(struct kdev *d)
{
	struct hv *hv = d->keeper->hv;
	int rc = sync_error(d);

	if (!rc && d->xb == XB_INITWAIT && !d->offers_written) {
		rc = nodes_write_offers(hv, d->be, d->device_id,
					d->decision.offered_addressing,
					d->decision.offered_protection);
		d->offers_written = !rc;
	}
	if (!rc && d->xb != d->xb_written) {
		rc = node_put_number(hv, 0, d->be, "state", d->xb);
		if (!rc)
			d->xb_written = d->xb;
	}
	return rc;
}

static int remove_tree(struct hv *hv, const char *path)
{
	int rc = hv->ops->store_rm(hv, 0, path);

	return rc == -ENOENT ? 0 : rc;
}

/*
 * A guest's directory below the back ends', once its last device went. In a transaction: another
 * toolstack may be about to put a device there. A failure harms nobody.
 */
void node_remove_empty(struct hv *hv, const char *dir)
{
	char **names = NULL;
	unsigned int n = 0;
	uint32_t t;
	int rc;

	if (hv->ops->store_begin(hv, &t))
		return;
	rc = hv->ops->store_list(hv, t, dir, &names, &n);
	if (!rc && !n)
		rc = hv->ops->store_rm(hv, t, dir);
	free(names);
	hv->ops->store_end(hv, t, rc || n);
}

/*
 * Has the number gone to another domain, to which a toolstack has given a device of this number? It
 * writes both directories at once, and the front end's went with the domain that had it.
 */
static int is_another_ones(struct kdev *d)
{
	char value[NODE_MAX + 1];
	int rc;

	if (!d->domain_gone || keeper_domain_gone(d->keeper, d->domid))
		return 0;
	rc = node_get(d->keeper->hv, d->fe, "backend", value);
	if (rc == -ENOENT)
		return 0;
	return rc && !node_is_malformed(rc) ? rc : 1;
}

/* The front end's go with the domain, and are this device's only while its number is. */
int kdev_remove_nodes(struct kdev *d)
{
	struct hv *hv = d->keeper->hv;
	char parent[PATH_SIZE];
	int rc = is_another_ones(d);

	if (rc < 0)
		return rc;
	if (rc) {
		d->keeper->rescan = true; /* to be found once this one has gone */
		keeper_kick(d->keeper);
		return 0;
	}
	if (!d->domain_gone)
		rc = remove_tree(hv, d->fe);
	if (!rc)
		rc = remove_tree(hv, d->be);
	if (rc)
		return rc;
	snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(d->be, '/') - d->be), d->be);
	node_remove_empty(hv, parent);
	return 0;
}

/* -- evaluation: what both ends say, and what follows -- */

static void on_new(struct kdev *d)
{
	if (kdev_open(d)) {
		kdev_want(d, GOAL_FAIL);
		return;
	}
	d->adopted = false;
	if (d->fe_state == XB_INITIALISING || d->fe_state == XB_UNKNOWN) {
		d->xb = XB_INITWAIT;
		kdev_set_state(d, KD_INITWAIT);
	} else {
		/* It believes in a connection that nobody remembers: begin again. */
		d->xb = d->fe_state == XB_CLOSED ? XB_CLOSED : XB_CLOSING;
		kdev_set_state(d, KD_CLOSED);
	}
	log_line(LOG_INFO, "%s: %s is open, virtio type %u", d->name, d->src.text, d->device_id);
}

static void on_initwait(struct kdev *d)
{
	char why[200];
	int rc;

	if (d->fe_state == XB_CLOSING || d->fe_state == XB_CLOSED) {
		d->xb = XB_CLOSED;
		kdev_set_state(d, KD_CLOSED);
		return;
	}
	if (d->fe_state == XB_CONNECTED) {
		kdev_refuse(d, "the front end is Connected before the back end is");
		return;
	}
	if (d->fe_state != XB_INITIALISED || d->xb_written != XB_INITWAIT)
		return;
	rc = nodes_read_frontend(d->keeper->hv, d->fe, &d->nodes, why, sizeof(why));
	if (!rc)
		rc = kdev_decide_pick(d, why, sizeof(why));
	if (node_is_malformed(rc) || rc == -ENOENT)
		kdev_refuse(d, why);
	else if (rc)
		kdev_store_refused(d, rc);
	else
		kdev_start_worker(d, false);
}

static void on_serving(struct kdev *d)
{
	if (d->fe_state != XB_INITIALISED && d->fe_state != XB_CONNECTED)
		kdev_want(d, GOAL_CLOSE);
}

static void on_closed(struct kdev *d)
{
	if (d->fe_state == XB_INITIALISING) {
		d->error[0] = '\0';
		d->offers_written = false;
		d->xb = XB_INITWAIT;
		kdev_set_state(d, KD_INITWAIT);
	} else if (d->fe_state == XB_CLOSING) {
		d->xb = XB_CLOSING;
	} else if (d->fe_state == XB_CLOSED || d->fe_state == XB_UNKNOWN) {
		d->xb = XB_CLOSED;
	}
}

/*
 * The toolstack wants it gone. The front end goes first, if there is one that holds anything;
 * it needs the session for that. true: nothing else to look at.
 */
static bool on_offline(struct kdev *d)
{
	bool taking_over = d->state == KD_RECOVER && (d->served || d->adopted) &&
			   d->goal == GOAL_RESUME;
	bool serving = d->state == KD_STARTING || d->state == KD_CONNECTED || taking_over;

	if (d->goal == GOAL_QUIT) /* the next keeper goes on with it, as it is */
		return true;
	if (!serving || d->fe_state == XB_CLOSED || d->fe_state == XB_UNKNOWN) {
		kdev_want(d, GOAL_REMOVE);
		return true;
	}
	if (d->state == KD_CONNECTED)
		d->xb = XB_CLOSING;
	return false;
}

static void step(struct kdev *d)
{
	if (!d->online && on_offline(d))
		return;
	switch (d->state) {
	case KD_NEW:
		on_new(d);
		break;
	case KD_INITWAIT:
		on_initwait(d);
		break;
	case KD_STARTING:
	case KD_CONNECTED:
		on_serving(d);
		break;
	case KD_CLOSED:
		on_closed(d);
		break;
	case KD_FAILED:
		if (d->fe_state == XB_CLOSED || d->fe_state == XB_UNKNOWN)
			d->xb = XB_CLOSED;
		break;
	case KD_STOPPING:
	case KD_RECOVER:
	case KD_GONE:
		break;
	}
}

/* Both ends as the store has them. 0, or what the store said. */
static int look(struct kdev *d, bool *be_gone)
{
	struct hv *hv = d->keeper->hv;
	uint64_t online = 1;
	int rc = node_get_number(hv, d->be, "online", 1, &online);

	*be_gone = rc == -ENOENT;
	if (rc && rc != -ENOENT && !node_is_malformed(rc))
		return rc;
	if (!rc)
		d->online = online && !d->forced;
	rc = node_get_state(hv, d->fe, &d->fe_state);
	if (node_is_malformed(rc)) {
		if (d->state == KD_INITWAIT || d->state == KD_STARTING || d->state == KD_CONNECTED)
			kdev_refuse(d, "the front end's node 'state' is malformed");
		d->fe_state = XB_CLOSED;
		rc = 0;
	}
	return rc;
}

/* Too many events of one guest wait, so that the others get their turn (hazards 27, 38). */
static bool take_token(struct kdev *d)
{
	ev_tstamp now = ev_now(d->keeper->loop);
	double gained = (now - d->refilled) * KDEV_TOKENS / 2;

	if (gained >= 1) {
		gained += d->tokens;
		d->tokens = gained > KDEV_TOKENS ? KDEV_TOKENS : (unsigned int)gained;
		d->refilled = now;
	}
	if (d->tokens) {
		d->tokens--;
		return true;
	}
	if (!ev_is_active(&d->retry))
		kdev_arm(d, &d->retry, 0.2);
	return false;
}

/*
 * Its end may be heard of when another domain has the number: without a worker nothing keeps that
 * from being free (hazard 29). One that had no identity when the device was opened cannot be told
 * from another. 0, or what the store said.
 */
static int look_at_domain(struct kdev *d)
{
	char identity[sizeof(d->identity)];
	int rc = 0;

	if (keeper_domain_gone(d->keeper, d->domid)) {
		d->domain_gone = true;
	} else if (d->identity[0] && !d->domain_gone) {
		rc = kdev_domain_identity(d->keeper->hv, d->domid, identity, sizeof(identity));
		d->domain_gone = !rc && strcmp(identity, d->identity);
	}
	return rc;
}

void kdev_evaluate(struct kdev *d)
{
	bool be_gone;
	int rc;

	d->dirty = false;
	if (d->state == KD_GONE || !take_token(d))
		return;
	rc = look_at_domain(d);
	if (d->domain_gone) {
		kdev_want(d, GOAL_REMOVE);
		return;
	}
	if (!rc)
		rc = look(d, &be_gone);
	if (rc) {
		kdev_store_refused(d, rc);
		return;
	}
	if (be_gone) {
		kdev_want(d, GOAL_REMOVE);
		return;
	}
	step(d);
	if (d->state != KD_GONE)
		kdev_sync_store(d);
}
