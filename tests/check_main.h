/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The main of every unit test: one Check suite, TAP for the harness, verbose on request. */
#ifndef XVS_TESTS_CHECK_MAIN_H
#define XVS_TESTS_CHECK_MAIN_H

#include <check.h>
#include <stdlib.h>

static inline int check_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
