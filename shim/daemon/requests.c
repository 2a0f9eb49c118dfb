/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/control.h"
#include "daemon/domain.h"
#include "daemon/jobs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

const char *request_string(json_object *request, const char *key)
{
	json_object *v;

	if (!json_object_object_get_ex(request, key, &v) ||
	    !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

unsigned int request_number(json_object *request, const char *key, unsigned int max,
			    unsigned int fallback)
{
	json_object *v;
	int64_t n;

	if (!json_object_object_get_ex(request, key, &v) || !json_object_is_type(v, json_type_int))
		return fallback;
	n = json_object_get_int64(v);
	return n >= 0 && n <= max ? (unsigned int)n : fallback;
}

bool request_flag(json_object *request, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(request, key, &v) &&
	       json_object_is_type(v, json_type_boolean) && json_object_get_boolean(v);
}

/* -1: any domain; -2: there is none of that name. */
static int wanted_domain(struct keeper *k, json_object *request, char *why, size_t size)
{
	const char *name = request_string(request, "domain");
	uint64_t number;
	uint16_t domid;

	if (!name)
		return -1;
	if (!parse_number(name, 0x7fef, &number)) /* may be dead with its pages still held */
		return (int)number;
	return domain_resolve(k->hv, name, &domid, why, size) ? -2 : domid;
}

/* The full form of the source a person named; empty: any. */
static int wanted_source(json_object *request, char source[SOURCE_MAX], char *why, size_t size)
{
	const char *text = request_string(request, "source");
	struct source src;
	int rc;

	source[0] = '\0';
	if (!text)
		return 0;
	rc = source_init(&src, text, why, size);
	if (!rc)
		snprintf(source, SOURCE_MAX, "%s", src.text);
	return rc;
}

static bool matches(const struct kdev *d, int domid, const char *source)
{
	return (domid < 0 || d->domid == domid) && (!*source || !strcmp(d->src.text, source));
}

struct kdev *device_named(struct keeper *k, json_object *request, char *why, size_t size)
{
	char source[SOURCE_MAX];
	struct kdev *found = NULL;
	int domid = wanted_domain(k, request, why, size);

	if (domid == -2 || wanted_source(request, source, why, size))
		return NULL;
	for (struct kdev *d = k->devices; d; d = d->hh.next) {
		if (!matches(d, domid, source))
			continue;
		if (found) {
			snprintf(why, size, "domain %d has several devices: say which, %s or %s",
				 domid, found->src.text, d->src.text);
			return NULL;
		}
		found = d;
	}
	if (!found && *source)
		snprintf(why, size, "%s is not attached to domain %d (xvshim list)", source, domid);
	else if (!found)
		snprintf(why, size, "domain %d has no device (xvshim list)", domid);
	return found;
}

static json_object *report_matching(struct keeper *k, int domid, const char *source,
				    json_object *(*report)(struct kdev *d))
{
	json_object *list = object_new_list();

	for (struct kdev *d = k->devices; d; d = d->hh.next)
		if (matches(d, domid, source))
			object_append(list, report(d));
	return list;
}

static json_object *report_short(struct kdev *d)
{
	return report_device(d, false);
}

static json_object *report_long(struct kdev *d)
{
	return report_device(d, true);
}

static void answer_devices(struct keeper *k, struct client *c, json_object *request,
			   json_object *(*report)(struct kdev *d))
{
	char why[200], source[SOURCE_MAX];
	json_object *answer, *list;
	int domid = wanted_domain(k, request, why, sizeof(why));

	if (domid == -2 || wanted_source(request, source, why, sizeof(why))) {
		client_fail(c, why);
		return;
	}
	list = report_matching(k, domid, source, report);
	if ((domid >= 0 || *source) && !json_object_array_length(list)) {
		json_object_put(list);
		client_fail(c, *source ? "that device is not attached (xvshim list)" :
					 "that domain has no device (xvshim list)");
		return;
	}
	answer = object_new();
	if (report == report_long)
		object_add(answer, "daemon", report_daemon(k));
	object_add(answer, "devices", list);
	client_ok(c, answer);
}

static void do_ping(struct keeper *k, struct client *c, json_object *request)
{
	json_object *answer = object_new();

	(void)k;
	(void)request;
	object_add(answer, "version", json_object_new_string(PACKAGE_VERSION));
	object_add(answer, "pid", json_object_new_int(getpid()));
	client_ok(c, answer);
}

static void do_list(struct keeper *k, struct client *c, json_object *request)
{
	answer_devices(k, c, request, report_short);
}

static void do_status(struct keeper *k, struct client *c, json_object *request)
{
	answer_devices(k, c, request, report_long);
}

static void do_trace(struct keeper *k, struct client *c, json_object *request)
{
	answer_devices(k, c, request, report_trace);
}

void request_handle(struct keeper *k, struct client *c, json_object *request)
{
	static const struct {
		const char *name;
		void (*run)(struct keeper *k, struct client *c, json_object *request);
	} commands[] = {
		{ "ping", do_ping },	 { "list", do_list },	  { "status", do_status },
		{ "trace", do_trace },	 { "attach", job_attach }, { "detach", job_detach },
	};
	const char *name = request_string(request, "cmd");

	for (size_t i = 0; name && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(name, commands[i].name)) {
			commands[i].run(k, c, request);
			return;
		}
	}
	client_fail(c, "the request has no 'cmd' that this xvshimd knows");
}
