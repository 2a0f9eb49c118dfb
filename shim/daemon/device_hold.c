/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What addressing p2m asks of the keeper: a holder for each worker, which ends when the device
 * confirmed its reset.
 */
#include "daemon/keeper.h"

#include "daemon/holder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int connect_or_start(struct kdev *d, const char *path, struct hold_client *c)
{
	const struct holder_params params = { .ops = d->keeper->ops, .domid = d->domid,
					      .name = d->name, .path = path,
					      .simulated = d->keeper->simulated,
					      .drop_fd = d->keeper->lock_fd };
	int rc = holder_connect(path, c);

	if (rc == -ECONNREFUSED)
		unlink(path);
	else if (rc != -ENOENT)
		return rc;
	rc = holder_start(&params);
	return rc ? rc : holder_connect(path, c);
}

int kdev_start_holder(struct kdev *d)
{
	char path[RUN_PATH_SIZE];
	struct hold_client c;
	int rc;

	if (d->nodes.addressing != XVS_ADDRESSING_P2M)
		return 0;
	keeper_path(d->keeper, path, d, "hold");
	rc = connect_or_start(d, path, &c);
	if (rc)
		return rc;
	rc = c.reply.domid == d->domid ? holder_serve(&c, &d->hold_fd) : -EINVAL;
	holder_disconnect(&c);
	return rc;
}

void kdev_close_hold_fd(struct kdev *d)
{
	if (d->hold_fd >= 0)
		close(d->hold_fd);
	d->hold_fd = -1;
}

int kdev_end_holder(struct kdev *d, char *why, size_t size)
{
	char path[RUN_PATH_SIZE];
	struct hold_client c;
	unsigned int held;
	int rc;

	keeper_path(d->keeper, path, d, "hold");
	rc = holder_connect(path, &c);
	if (rc == -ENOENT)
		return 0;
	if (rc == -ECONNREFUSED) {
		log_line(LOG_ERROR, "%s: its holder died before the device was reset", d->name);
		unlink(path);
		return 0;
	}
	held = rc ? 0 : c.reply.held;
	if (!rc)
		rc = holder_end(&c, path);
	if (rc) {
		holder_disconnect(&c);
		snprintf(why, size, "its holder does not end: %s", strerror(-rc));
		return rc;
	}
	if (held)
		log_line(LOG_INFO, "%s: device reset, then %u pages let go", d->name, held);
	return 0;
}
