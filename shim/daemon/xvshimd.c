/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/xvshimd.h"

#include "daemon/keeper.h"
#include "daemon/worker.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

static const char usage[] =
	"usage: xvshimd [OPTION]...\n"
	"Serves nested virtio devices to the guests of this Xen host, in the foreground.\n"
	"\n"
	"  --config FILE      settings (" CONF_FILE ")\n"
	"  --run-dir DIR      state and control socket (" CONF_RUN_DIR ")\n"
	"  --poll-us N        microseconds a worker polls before it waits for an event\n"
	"  --guard MODE       off, warn or enforce\n"
	"  --log-level LEVEL  error, warn, info or debug\n"
	"  -f, --foreground   the only way it runs; accepted for habit\n"
	"  -h, --help         this text\n"
	"  -V, --version      its version\n";

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "run-dir", required_argument, NULL, 's' },
	{ "poll-us", required_argument, NULL, 's' },
	{ "guard", required_argument, NULL, 's' },
	{ "log-level", required_argument, NULL, 's' },
	{ "foreground", no_argument, NULL, 'f' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 },
};

/* One walk over the options; the settings among them only count in the second. */
static int walk(int argc, char **argv, struct conf *conf, const char **file, char *why,
		size_t size)
{
	int c, index = 0, rc;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "fhV", options, &index)) >= 0) {
		if (c == 'h' || c == 'V') {
			fputs(c == 'h' ? usage : "xvshimd " PACKAGE_VERSION "\n", stdout);
			return 1;
		}
		if (c == '?') {
			snprintf(why, size,
				 "'%.64s' is no option, or lacks its argument: see --help",
				 argv[optind - 1]);
			return -EINVAL;
		}
		if (c == 'c')
			*file = optarg;
		rc = c == 's' && conf ? conf_set(conf, options[index].name, optarg, why, size) : 0;
		if (rc)
			return rc;
	}
	if (optind < argc) {
		snprintf(why, size, "'%.64s' is not an option: see xvshimd --help", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

int xvshimd_options(int argc, char **argv, struct conf *conf, char *why, size_t size)
{
	const char *file = NULL;
	int rc = walk(argc, argv, NULL, &file, why, size);

	conf_defaults(conf);
	if (!rc)
		rc = conf_read(conf, file ? file : CONF_FILE, file != NULL, why, size);
	if (!rc)
		rc = walk(argc, argv, conf, &file, why, size);
	return rc;
}

#define WORKER_USER "xvshim"

static void say_user(int rc)
{
	if (rc)
		log_line(LOG_WARN, "user '" WORKER_USER "' %s: workers run as nobody, where other "
				   "processes of nobody can signal them; systemd-sysusers makes it",
			 rc == -EPERM ? "is root" : "does not exist");
}

int xvshimd_main(int argc, char **argv)
{
	static struct keeper keeper;
	struct conf conf;
	char why[400] = "";
	int rc = xvshimd_options(argc, argv, &conf, why, sizeof(why)), user;

	if (rc) {
		if (rc < 0)
			fprintf(stderr, "xvshimd: %s\n", why);
		return rc < 0 ? 2 : EXIT_SUCCESS;
	}
	log_set_level(conf.log_level);
	if (!hv_xen()) {
		log_line(LOG_ERROR, "built without Xen: ./configure found no libxen-dev");
		return EXIT_FAILURE;
	}
	user = sandbox_user(WORKER_USER);
	rc = keeper_open(&keeper, &conf, hv_xen(), why, sizeof(why));
	if (rc) {
		log_line(LOG_ERROR, "%s", why);
		return EXIT_FAILURE;
	}
	say_user(user);
	log_line(LOG_INFO, "ready, %s", keeper.hv->ops->name);
	keeper_run(&keeper);
	keeper_close(&keeper);
	log_line(LOG_INFO, "stopped");
	return EXIT_SUCCESS;
}
