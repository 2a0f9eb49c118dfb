/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The grant server on Xen, with pages of gntalloc. */
#ifndef XVS_STRESS_SERVER_XEN_H
#define XVS_STRESS_SERVER_XEN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Serves dom0 until *stop. 0, or a negative errno and one line in why. */
int server_run_xen(const _Atomic bool *stop, bool loopback, char *why, size_t size);

#endif
