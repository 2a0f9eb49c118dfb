/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stage of `xvshim demo`: a simulated machine with a guest, a disk that takes machine
 * addresses only, and between them the session that xvshimd would run.
 */
#ifndef XVS_TOOLS_DEMO_H
#define XVS_TOOLS_DEMO_H

#include "dev/check.h"
#include "hv/sim.h"
#include "mem/journal.h"
#include "sim/guest.h"

#include <pthread.h>

enum { DEMO_DOM0 = 0, DEMO_GUEST = 1, DEMO_TRACE = 64 };

struct demo {
	struct sim_machine *machine;
	struct xdev *disk;
	struct sim_guest *guest;
	struct journal journal;
	pthread_t thread;
	bool running;
	int stop[2];
	char why[200]; /* what went wrong first */

	/* The session's thread says when it serves; ready 1, or -1 with why. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int ready, ended;

	/* Each descriptor as the guest wrote it, and each address as the disk saw it. */
	struct sim_guest_trace wrote[DEMO_TRACE];
	struct check_trace saw[DEMO_TRACE];
	unsigned int nwrote, nsaw;
};

/* 0, or -1 with d->why. demo_end() in either case; it finds out whether anything was left. */
int demo_begin(struct demo *d);
int demo_end(struct demo *d);

/* From now on descriptors are kept, from the first. */
void demo_trace_again(struct demo *d);

#endif
