/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that holds the pages a device may reach, for a guest that names them by pfn. Grants
 * mapped for a device belong to the domain and outlive every process; mappings of foreign frames end
 * with theirs. So one process a device does nothing but map and unmap, has nothing that could
 * fail, and outlives worker and keeper: it ends when a keeper says that the device confirmed its
 * reset, and at no other time.
 *
 * It listens on a socket in the run directory, for the keeper of the day, who hands it a socket of
 * each worker. A worker can ask it for pages of its guest and for nothing else.
 */
#ifndef XVS_DAEMON_HOLDER_H
#define XVS_DAEMON_HOLDER_H

#include "mem/hold.h"

#include <stdbool.h>

struct holder_params {
	const struct hv_ops *ops;
	uint16_t domid;
	const char *name; /* of the device, for the next keeper to compare */
	const char *path; /* of the socket; must not be there */
	bool simulated;   /* as the keeper's */
	int drop_fd;      /* what it must not keep open of a simulation, or -1 */
};

/* Starts one. Returns when it listens; what it could not open holder_connect() tells. */
int holder_start(const struct holder_params *params);

/*
 * Connects as its keeper, instead of the one before, and asks who it is (c->reply). -ENOENT: there
 * is none; -ECONNREFUSED: there was one, which died: nothing is held any more; others: it could not
 * begin, or this process is short of something. After an error c->fd is -1.
 */
int holder_connect(const char *path, struct hold_client *c);
void holder_disconnect(struct hold_client *c);

/* A socket for a worker; the worker before loses its own. The caller's to close. */
int holder_serve(struct hold_client *c, int *fd);

/* The device confirmed its reset: everything is let go, and it ends. Then the client is disconnected
 * and the socket removed. */
int holder_end(struct hold_client *c, const char *path);

#endif
