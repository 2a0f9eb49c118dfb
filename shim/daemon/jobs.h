/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attach and detach: the requests that take their time. */
#ifndef XVS_DAEMON_JOBS_H
#define XVS_DAEMON_JOBS_H

#include "daemon/control.h"

void job_attach(struct keeper *k, struct client *c, json_object *request);
void job_detach(struct keeper *k, struct client *c, json_object *request);

/* Looks at every job; called at the end of each turn. */
void jobs_step(struct keeper *k);
/* The client went away: what it began to attach is undone. */
void jobs_client_gone(struct keeper *k, struct client *c);
/* The device with this generation goes, but its source stays without the driver it had. */
void jobs_not_given_back(struct keeper *k, uint64_t generation, const char *why);
/* The keeper stops. */
void jobs_cancel(struct keeper *k);

/* toolstack.c: makes the directories of both ends in one transaction. allow: as
 * nodes_write_allow() takes it. */
int toolstack_create(struct keeper *k, uint16_t domid, const char *source,
		     const char *const allow[4], uint32_t *devid, char *why, size_t size);
/* And takes them back. Where that fails, the device is found there as any toolstack's. */
void toolstack_remove(struct keeper *k, uint16_t domid, uint32_t devid);
/* What the guest's driver needs to know, or what it said. */
void toolstack_why_not(struct kdev *d, char *why, size_t size);

/* The device a person named: a domain, and a source where it has several. */
struct kdev *device_named(struct keeper *k, json_object *request, char *why, size_t size);

#endif
