/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Marks a check of what a guest, a device or Xen wrote: true is the way out that is never taken by
 * one that keeps the rules. `make bench` compiles a copy of the session without these checks,
 * to know their price; nothing else ever may.
 */
#ifndef XVS_UTIL_REFUSED_H
#define XVS_UTIL_REFUSED_H

#ifdef XVS_BENCH_NO_CHECKS
#define refused(condition) ((void)sizeof((condition) ? 1 : 0), 0)
#else
#define refused(condition) __builtin_expect(!!(condition), 0)
#endif

#endif
