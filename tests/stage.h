/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine of the simulation with a guest, a checking device and a worker *process* between
 * them, so that a test can kill the worker as the kernel would.
 */
#ifndef XVS_TESTS_STAGE_H
#define XVS_TESTS_STAGE_H

#include "dev/check.h"
#include "hv/sim.h"
#include "mem/journal.h"
#include "session/session.h"
#include "sim/guest.h"

#include <sys/types.h>

#define STAGE_BACK 0
#define STAGE_GUEST 3

struct stage {
	struct sim_machine *machine;
	struct sim_guest *guest;
	struct xdev *dev;
	struct hv *hv; /* of the keeper's part */
	struct hv_dma dma;
	struct journal journal;
	pid_t worker;
	int stop_fd; /* closing it stops the worker */
	/* of the next worker; addressing and protection are the guest's */
	enum xvs_addressing addressing;
	enum xvs_protection protection;
	unsigned int keep_pages, keep_ms;
	char dir[32], hold[40]; /* in p2m: where the holder listens */
	unsigned int held;      /* pages the last one held when its worker was killed */
	struct sim_audit before;
};

/* Options; NULL: none. Fields that name the machine are filled in. */
void stage_up(struct stage *st, const struct check_config *dev,
	      const struct sim_guest_config *guest);
/* The worker is up when this returns. */
void stage_start(struct stage *st, bool resume);
/* Stops it cleanly; the result of session_run as exit status. */
int stage_stop(struct stage *st);
/* SIGKILL; or waits for a death that was planned. Then device reset and journal recovery. */
void stage_kill(struct stage *st);
void stage_recover(struct stage *st);
/* Takes everything down and checks that nothing is held and nobody complained. */
void stage_down(struct stage *st);
/* The same where the guest or the device is meant to have complained. */
void stage_down_broken(struct stage *st);

/* Bytes that tell the seed and the place. */
void stage_fill(uint8_t *p, size_t n, unsigned int seed);
/* Writes len bytes, at most STAGE_IO_MAX, reads them back and compares. */
#define STAGE_IO_MAX 65536u
void stage_io(struct stage *st, unsigned int queue, uint64_t sector, size_t len, unsigned int seed);
/* The same in several sizes, on two queues in turn, over a disk of `sectors`. */
void stage_some_io(struct stage *st, uint64_t sectors, unsigned int rounds);

#endif
