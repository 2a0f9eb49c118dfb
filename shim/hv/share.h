/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages and event channels of this domain, for another one, by its user space (gntalloc, evtchn).
 * The rest of the seam is a back end's; this is the little of a front end that the stress test and
 * the hostile guest of the tests need.
 *
 * The kernel ends a grant only once the other side has let go of it, and keeps the page until
 * then; share_end() does not say which it was. What a process has shared ends with it.
 */
#ifndef XVS_HV_SHARE_H
#define XVS_HV_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct share;

/* NULL and a negative errno: -ENODEV not in a domain, -ENOENT no module xen-gntalloc. */
struct share *share_open(int *err);
void share_close(struct share *s);

/* n zeroed pages, contiguous at *va. -ENOSPC: the module's limit, or the grant table is full. */
int share_pages(struct share *s, uint16_t to, unsigned int n, bool readonly, uint32_t *ref,
		void **va);
int share_end(struct share *s, void *va, unsigned int n);

/* An unbound event channel that domain to may bind. Ports end with the process. */
int share_port(struct share *s, uint16_t to, uint32_t *port);
int share_port_close(struct share *s, uint32_t port);
int share_notify(struct share *s, uint32_t port);
/* 1: events came, of whichever port, and are taken; 0: none within ms; or a negative errno. */
int share_wait(struct share *s, unsigned int ms);

/* Writes a node of the store, below this domain's own path if it is relative; value NULL removes
 * it. */
int share_publish(struct share *s, const char *node, const char *value);
/* Reads one; what does not fit is cut off. -ENOENT. */
int share_read(struct share *s, const char *node, char *value, size_t size);

#endif
