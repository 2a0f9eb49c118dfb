/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: one JSON object a line each way. A request names its `cmd`; it is answered
 * by any number of lines with `progress`, then by one with `ok`, and with `error` when that is
 * false. A client that does not read is dropped; nothing waits for one.
 */
#ifndef XVS_DAEMON_CONTROL_H
#define XVS_DAEMON_CONTROL_H

#include "daemon/keeper.h"
#include "daemon/object.h"

#include <json-c/json.h>

#define CONTROL_LINE 4096           /* bytes of a request */
#define CONTROL_BACKLOG (512 * 1024) /* bytes of answers a client may leave unread */
#define CONTROL_CLIENTS 16

struct client;

int control_socket_open(struct keeper *k, char *why, size_t size);
void control_socket_close(struct keeper *k);

void client_progress(struct client *c, const char *text);
/* The last line of an answer; after it the next request is read. o NULL: nothing but ok. One that
 * there was no memory for becomes a failure. */
void client_fail(struct client *c, const char *text);
void client_ok(struct client *c, json_object *o);
/* A request that goes on; client_ok or client_fail will follow. */
void client_set_busy(struct client *c);

/* requests.c: carries out one request. */
void request_handle(struct keeper *k, struct client *c, json_object *request);

/* A string of a request, or NULL; a number within 1 and max, or fallback; a flag. */
const char *request_string(json_object *request, const char *key);
unsigned int request_number(json_object *request, const char *key, unsigned int max,
			    unsigned int fallback);
bool request_flag(json_object *request, const char *key);

/* report.c: a device as JSON. */
json_object *report_device(struct kdev *d, bool counters);
json_object *report_trace(struct kdev *d);
json_object *report_daemon(struct keeper *k);

#endif
