/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The main of every unit test: one Check suite, TAP for the harness, verbose on request. */
#ifndef XVS_TESTS_CHECK_MAIN_H
#define XVS_TESTS_CHECK_MAIN_H

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

/* What a test that failed left behind, such as a process that outlives all others on purpose. */
static inline void check_kill_children(void)
{
	FILE *f = fopen("/proc/thread-self/children", "re");
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1)
		kill(pid, SIGKILL);
	if (f)
		fclose(f);
}

/* Check's own four seconds are little on a busy machine. Before the first tcase_create(). */
__attribute__((constructor)) static void set_default_timeout(void)
{
	setenv("CK_DEFAULT_TIMEOUT", "60", 0);
}

static inline int check_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	srunner_run_all(runner, CK_ENV);
	check_kill_children();
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
