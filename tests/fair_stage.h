/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two daemons on one simulated machine, each in a back end domain of its own and with two guests: a
 * victim, which reads from its disk without end, and a neighbour. One neighbour is to storm, the
 * other is innocent and idle, so that the second victim says what the machine itself was able to do in
 * the same moments.
 */
#ifndef XVS_TESTS_FAIR_STAGE_H
#define XVS_TESTS_FAIR_STAGE_H

#include "daemon/keeper.h"
#include "dev/check.h"
#include "hv/sim.h"
#include "sim/guest.h"

#include <stdatomic.h>

enum fair_side { STORMED, SPARED, SIDES };

struct fair_guest {
	uint16_t domid;
	struct sim_guest *guest;
	struct xdev *disk;
	struct journal journal; /* to look at what its first worker counts, without asking anybody */
};

struct fair_daemon {
	uint16_t domid;
	pid_t keeper;
	char run_dir[64];
	struct fair_guest victim, neighbour;
};

struct fair {
	struct sim_machine *machine;
	struct hv *hv; /* of the stormed side's back end, for looking */
	struct fair_daemon side[SIDES];
};

extern struct fair fair;

void fair_up(void);   /* all are connected */
void fair_down(void); /* and nothing is left */

/* ms until the daemon of this side answered a request on its control socket. */
double fair_ask(enum fair_side side);
/* Private memory of the keeper and its workers, KiB. */
long fair_memory(enum fair_side side);

/* What a victim did in one window of time. */
#define FAIR_SAMPLES 20000
struct fair_window {
	uint64_t requests;
	double begun, took; /* us */
	unsigned int n;
	float us[FAIR_SAMPLES]; /* from submission to completion */
};
/* The victims read; what they do is counted in these, or nowhere. */
void fair_begin(void);
void fair_count(struct fair_window *stormed, struct fair_window *spared);
void fair_end(void);
double fair_p99(struct fair_window *w);

#endif
