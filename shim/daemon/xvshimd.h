/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef XVS_DAEMON_XVSHIMD_H
#define XVS_DAEMON_XVSHIMD_H

#include "daemon/conf.h"

#include <stddef.h>

/* The whole daemon; returns its exit status. */
int xvshimd_main(int argc, char **argv);

/* Reads the file, then the options over it. 0 go on, 1 done (help, version), -EINVAL. */
int xvshimd_options(int argc, char **argv, struct conf *conf, char *why, size_t size);

#endif
