/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The toolstack's part of docs/protocol.md: the directories of both ends. */
#include "daemon/domain.h"
#include "daemon/jobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFLICTS 16 /* a busy store may refuse a transaction a few times over */
#define DEVICES_MAX 256

static int exists(struct hv *hv, uint32_t t, const char *dir)
{
	char path[PATH_SIZE + 8], *value;
	int rc;

	snprintf(path, sizeof(path), "%s/state", dir);
	rc = hv->ops->store_read(hv, t, path, &value);
	if (!rc)
		free(value);
	return rc == -ENOENT ? 0 : rc ? rc : 1;
}

/* The lowest number that neither end has. */
static int free_number(struct keeper *k, uint32_t t, uint16_t domid, uint32_t *devid)
{
	char be[PATH_SIZE], fe[PATH_SIZE];
	int rc;

	for (uint32_t n = 0; n < DEVICES_MAX; n++) {
		path_backend(be, k->self, domid, n);
		path_frontend(fe, domid, n);
		if (keeper_find(k, domid, n))
			continue;
		rc = exists(k->hv, t, be);
		if (!rc)
			rc = exists(k->hv, t, fe);
		if (rc < 0)
			return rc;
		if (!rc) {
			*devid = n;
			return 0;
		}
	}
	return -EMFILE;
}

static int write_backend(struct keeper *k, uint32_t t, uint16_t domid, const char *be,
			 const char *fe, const char *source, const char *const allow[4])
{
	int rc = k->hv->ops->store_grant(k->hv, t, be, k->self, domid);

	if (!rc)
		rc = node_put(k->hv, t, be, "frontend", fe);
	if (!rc)
		rc = node_put_number(k->hv, t, be, "frontend-id", domid);
	if (!rc)
		rc = node_put_number(k->hv, t, be, "online", 1);
	if (!rc)
		rc = node_put(k->hv, t, be, XVS_KEY_SOURCE, source);
	if (!rc)
		rc = nodes_write_allow(k->hv, t, be, allow);
	if (!rc)
		rc = node_put_number(k->hv, t, be, "state", XB_INITIALISING);
	return rc;
}

static int write_frontend(struct keeper *k, uint32_t t, uint16_t domid, const char *be,
			  const char *fe)
{
	int rc = k->hv->ops->store_grant(k->hv, t, fe, domid, k->self);

	if (!rc)
		rc = node_put(k->hv, t, fe, "backend", be);
	if (!rc)
		rc = node_put_number(k->hv, t, fe, "backend-id", k->self);
	if (!rc)
		rc = node_put_number(k->hv, t, fe, "state", XB_INITIALISING);
	return rc;
}

static int create_once(struct keeper *k, uint16_t domid, const char *source,
		       const char *const allow[4], uint32_t *devid)
{
	char be[PATH_SIZE], fe[PATH_SIZE];
	uint32_t t;
	int rc = k->hv->ops->store_begin(k->hv, &t);

	if (rc)
		return rc;
	rc = free_number(k, t, domid, devid);
	if (!rc) {
		path_backend(be, k->self, domid, *devid);
		path_frontend(fe, domid, *devid);
		rc = write_backend(k, t, domid, be, fe, source, allow);
	}
	if (!rc)
		rc = write_frontend(k, t, domid, be, fe);
	if (rc) {
		k->hv->ops->store_end(k->hv, t, true);
		return rc;
	}
	return k->hv->ops->store_end(k->hv, t, false);
}

int toolstack_create(struct keeper *k, uint16_t domid, const char *source,
		     const char *const allow[4], uint32_t *devid, char *why, size_t size)
{
	int rc = -EAGAIN;

	for (int i = 0; i < CONFLICTS && rc == -EAGAIN; i++)
		rc = create_once(k, domid, source, allow, devid);
	if (rc)
		snprintf(why, size, "the store refused the nodes of the device: %s", strerror(-rc));
	return rc;
}

void toolstack_remove(struct keeper *k, uint16_t domid, uint32_t devid)
{
	char be[PATH_SIZE], fe[PATH_SIZE];

	path_backend(be, k->self, domid, devid);
	path_frontend(fe, domid, devid);
	k->hv->ops->store_rm(k->hv, 0, be);
	k->hv->ops->store_rm(k->hv, 0, fe);
}

void toolstack_why_not(struct kdev *d, char *why, size_t size)
{
	char text[NODE_MAX + 1], name[64];

	domain_name(d->keeper->hv, d->domid, name, sizeof(name));
	node_get_text(d->keeper->hv, d->fe, "error", text, sizeof(text));
	if (d->error[0])
		snprintf(why, size, "%s", d->error);
	else if (text[0])
		snprintf(why, size, "domain '%s' refused the device: %s", name, text);
	else if (d->state == KD_INITWAIT && d->fe_state == XB_INITIALISING)
		snprintf(why, size,
			 "domain '%s' did not answer: load xvshim_front there "
			 "(modprobe xvshim_front)",
			 name);
	else
		snprintf(why, size, "domain '%s' stayed in state %s (device: %s)", name,
			 xb_name(d->fe_state), kdev_state_name(d->state));
}
