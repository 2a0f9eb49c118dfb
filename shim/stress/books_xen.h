/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Xen's own count of what dom0 holds, out of the dump of the grant tables in Xen's log. */
#ifndef XVS_STRESS_BOOKS_XEN_H
#define XVS_STRESS_BOOKS_XEN_H

#include "stress/stress.h"

/* Has Xen write the dump, and reads it. */
int books_of_xen(uint16_t domid, struct stress_books *b);

/*
 * The newest dump of a log. -ENOBUFS: its beginning is gone, the log is smaller than the dump;
 * -ENODATA: there is none.
 */
int books_of_log(FILE *log, uint16_t domid, struct stress_books *b);

#endif
