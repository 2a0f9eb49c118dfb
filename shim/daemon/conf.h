/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings of the keeper: defaults, then the file, then the command line. */
#ifndef XVS_DAEMON_CONF_H
#define XVS_DAEMON_CONF_H

#include "daemon/allow.h"
#include "util/log.h"

#include <stddef.h>

/* The build says where this installation has them. */
#ifdef XVS_CONF
#define CONF_FILE XVS_CONF
#else
#define CONF_FILE "/etc/xvshim/xvshim.conf"
#endif
#ifdef XVS_RUN_DIR
#define CONF_RUN_DIR XVS_RUN_DIR
#else
#define CONF_RUN_DIR "/run/xvshim"
#endif

/* A nested device that bypasses the IOMMU is about to be assigned to a guest directly. */
enum guard_mode { GUARD_OFF, GUARD_WARN, GUARD_ENFORCE };

struct conf {
	char run_dir[72]; /* a socket's path has 108 bytes */
	unsigned int poll_us;
	enum log_level log_level;
	unsigned int attach_timeout; /* seconds */
	unsigned int detach_timeout;
	enum guard_mode guard;
	unsigned int restart_limit; /* new workers a device may get within ten seconds */
	struct allow allow; /* of devices whose nodes say nothing */
};

void conf_defaults(struct conf *conf);

/* One setting. -EINVAL and a line in why. */
int conf_set(struct conf *conf, const char *key, const char *value, char *why, size_t size);

/*
 * Lines `key = value`, empty lines and lines that begin with #. A missing file is no error
 * unless must_exist. On an error conf is unchanged and why has a line with the line number.
 */
int conf_read(struct conf *conf, const char *path, int must_exist, char *why, size_t size);

#endif
