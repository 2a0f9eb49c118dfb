/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subcommands of xvshim share. */
#ifndef XVS_TOOLS_CMD_H
#define XVS_TOOLS_CMD_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_USAGE = 2 };

struct options {
	bool json, take, force, recent;
	unsigned int timeout; /* 0: the daemon's */
	/* of attach, as they were written; NULL: the daemon's */
	const char *addressing, *protection, *keep_pages, *keep_ms;
	const char *run_dir;
	/* of gntstress, as they were written; NULL: not given */
	const char *mix, *seed, *duration, *ops, *batch, *restart, *compare;
	bool sim, chaos, quiet;
	/* of probe and doctor */
	const char *explain, *assignable, *root;
	char **arg; /* positional */
	int narg;
};

/* Which options a command takes; --json, --run-dir and --help are for all. */
enum { OPT_TAKE = 1, OPT_FORCE = 2, OPT_TIMEOUT = 4, OPT_RECENT = 8, OPT_STRESS = 16, OPT_PROBE = 32,
       OPT_ROOT = 64, OPT_ALLOW = 128 };

struct command {
	const char *name;
	const char *args;    /* as in the usage line */
	const char *summary; /* one line */
	const char *help;    /* the rest of --help */
	unsigned int options;
	int min_args, max_args;
	int (*run)(const struct options *o);
};

/* One line to stderr; returns EXIT_FAILURE. */
int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Why this machine cannot do it, before anything else is blamed; NULL: it can. */
const char *host_obstacle(void);

/*
 * Sends one request and waits for its last line; progress goes to stderr unless json. Returns
 * the answer, the caller's to put, or NULL after a message.
 */
json_object *daemon_ask(const struct options *o, json_object *request);

json_object *request_new(const char *cmd, const struct options *o);

/* Fields of an answer, for printing; "" and 0 where there is none. */
const char *field_text(json_object *o, const char *key);
uint64_t field_number(json_object *o, const char *key);
json_object *field(json_object *o, const char *key);

/* The whole answer, indented, for --json. Returns EXIT_SUCCESS. */
int print_json(json_object *o);

int cmd_attach(const struct options *o);
int cmd_detach(const struct options *o);
int cmd_list(const struct options *o);
int cmd_status(const struct options *o);
int cmd_translate(const struct options *o);
int cmd_demo(const struct options *o);
int cmd_gntstress(const struct options *o);
int cmd_probe(const struct options *o);
int cmd_doctor(const struct options *o);
int cmd_version(const struct options *o);

#endif
