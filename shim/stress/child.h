/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each process that the keeper forks does first. */
#ifndef XVS_STRESS_CHILD_H
#define XVS_STRESS_CHILD_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

/*
 * A child without its keeper would go on for ever, and nobody would clean up after it. ^C is
 * for the keeper, which ends the others in good order.
 */
static inline void child_begin(pid_t keeper)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(1);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
}

#endif
