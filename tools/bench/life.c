/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long the daemon takes to start, and a guest to get a disk, in the simulation: no Xen, no
 * toolstack, no exec. The stage of the daemon's tests, so it runs as a test does.
 *
 * Prints "start MS" and "attach MS" for each round.
 */
#include "daemon_stage.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int rounds = 7;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* From the fork to the first answer on the control socket. */
static double start_ms(void)
{
	double begun = now_ms();
	json_object *answer;

	stage_fork_keeper();
	while (!(answer = stage_ask("{\"cmd\":\"ping\"}")))
		ck_assert_msg(now_ms() - begun < 5000, "the keeper does not answer");
	json_object_put(answer);
	return now_ms() - begun;
}

/* From the request to the first block that the guest wrote and read. */
static double attach_ms(void)
{
	double begun = now_ms();

	stage_attach();
	stage_io(1);
	return now_ms() - begun;
}

START_TEST(life)
{
	stage_open();
	ck_assert_int_eq(stage_stop_keeper(), 0);
	for (int i = 0; i < rounds; i++) {
		printf("start %.3f\n", start_ms());
		printf("attach %.3f\n", attach_ms());
		stage_detach();
		ck_assert_int_eq(stage_stop_keeper(), 0);
		sim_guest_free(stage.guest);
		stage_new_guest();
	}
	stage_close();
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("life");
	TCase *tcase = tcase_create("life");
	SRunner *runner;
	int failed;

	if (argc > 1)
		rounds = atoi(argv[1]);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, life);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	if (failed)
		srunner_print(runner, CK_NORMAL);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
