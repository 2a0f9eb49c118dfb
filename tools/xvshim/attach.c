/* SPDX-License-Identifier: GPL-2.0-or-later */
/* attach, detach, version */
#include "cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <xvshim/protocol.h>

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

int cmd_attach(const struct options *o)
{
	json_object *answer = daemon_ask(o, request_new("attach", o));

	if (!answer)
		return EXIT_FAILURE;
	if (o->json)
		print_json(answer);
	else
		printf("%s is device %llu of domain %s (%llu): virtio-%s\n",
		       field_text(answer, "source"),
		       (unsigned long long)field_number(answer, "device"),
		       field_text(answer, "domain"),
		       (unsigned long long)field_number(answer, "domid"),
		       field_text(answer, "type"));
	json_object_put(answer);
	return EXIT_SUCCESS;
}

int cmd_detach(const struct options *o)
{
	json_object *answer = daemon_ask(o, request_new("detach", o));

	if (!answer)
		return EXIT_FAILURE;
	if (o->json)
		print_json(answer);
	else
		printf("detached from domain %s\n", o->arg[0]);
	json_object_put(answer);
	return EXIT_SUCCESS;
}

/* Says what the daemon is only if it runs: the version must not need one. */
int cmd_version(const struct options *o)
{
	json_object *facts = json_object_new_object(), *answer = NULL;
	char path[256];
	struct stat st;

	json_object_object_add(facts, "xvshim", json_object_new_string(PACKAGE_VERSION));
	json_object_object_add(facts, "protocol", json_object_new_int(XVS_VERSION));
	snprintf(path, sizeof(path), "%.200s/control", o->run_dir);
	if (!stat(path, &st))
		answer = daemon_ask(o, request_new("ping", o));
	if (answer)
		json_object_object_add(facts, "xvshimd",
				       json_object_new_string(field_text(answer, "version")));
	json_object_put(answer);
	if (o->json)
		print_json(facts);
	else
		printf("xvshim %s, protocol virtio-xenbus %d%s%s\n", PACKAGE_VERSION, XVS_VERSION,
		       field(facts, "xvshimd") ? ", xvshimd " : "", field_text(facts, "xvshimd"));
	json_object_put(facts);
	return EXIT_SUCCESS;
}
