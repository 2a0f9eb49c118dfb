/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a keeper that is started again makes of what it finds; and of clients that are quick. */
#include "check_main.h"
#include "daemon_stage.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BE "/local/domain/0/backend/virtio-xenbus/1/0"
#define FE "/local/domain/1/device/virtio-xenbus/0"

static char state[32];
#define STATE_IS(name) (!strcmp(stage_state(state, sizeof(state)), name))

static void all_is_gone(void)
{
	char value[NODE_MAX + 1];

	ck_assert(!stage_node(BE "/state", value));
	ck_assert(!shared->held);
	stage_nothing_left();
}

/* It had its device until now. */
static void guest_lets_go(void)
{
	stage_io(5);
	ck_assert_int_eq(sim_guest_reset(stage.guest), 0);
	node_put(stage.hv, 0, FE, "state", "6");
	STAGE_WAIT(30000, stage_devices() == 0);
	all_is_gone();
}

/* A guest may write what no string holds. It may lose its own device by that, and no other's. */
START_TEST(hazard_25_nul_in_a_node)
{
	static const char *const nodes[] = { "backend", "state", "state" };
	static const char value[] = { '4', SIM_STORE_NUL, '\0' };

	stage_attach();
	stage_io(5);
	ck_assert_int_eq(node_put(stage.hv, 0, FE, nodes[_i], value), 0);
	if (_i == 0)
		stage_io(5);
	if (_i == 2) /* it is heard, by a keeper that lives */
		STAGE_WAIT(30000, !STATE_IS("connected"));
	stage_kill_keeper();
	stage_start_keeper();
	if (_i == 0) { /* nobody asks what it says, only whether it is there */
		stage_io(5);
		stage_detach();
	} else {
		json_object_put(stage_ask("{\"cmd\":\"detach\",\"domain\":\"1\",\"timeout\":5}"));
		STAGE_WAIT(30000, stage_devices() == 0);
	}
	all_is_gone();
}
END_TEST

/* The guest went away while there was no keeper, and the domain that has its number was given a
 * device of the same number before there was one again. */
START_TEST(hazard_29_leftover_beside_another_ones)
{
	char value[NODE_MAX + 1];

	stage_attach();
	stage_io(5);
	stage_kill_keeper();
	node_put(stage.hv, 0, "/local/domain/1", "vm", "/vm/second");
	node_put(stage.hv, 0, FE, "state", "1");
	node_put(stage.hv, 0, BE, "state", "1");
	stage_start_keeper();
	STAGE_WAIT(30000, stage_node(BE "/state", value) && !strcmp(value, "2"));
	ck_assert(stage_node(FE "/backend", value));
	json_object_put(stage_ask("{\"cmd\":\"detach\",\"domain\":\"1\",\"force\":true,"
				  "\"timeout\":0}"));
	STAGE_WAIT(30000, stage_devices() == 0);
	all_is_gone();
}
END_TEST

/*
 * A detach in good order is one for the next keeper too: the guest is asked, and what it has in flight
 * is not cut off. With _i the first attempt to take the device up does not work.
 */
START_TEST(orderly_detach_outlives_the_keeper)
{
	stage_attach();
	stage_io(5);
	stage_expect("{\"cmd\":\"detach\",\"domain\":\"1\",\"timeout\":1}", false, "did not let");
	stage_kill_keeper();
	if (_i)
		sim_fault_set(stage.machine, SIM_OP_GNT_UNMAP, 1, -EAGAIN);
	stage_start_keeper();
	STAGE_WAIT(30000, STATE_IS("connected"));
	sim_fault_clear(stage.machine);
	ck_assert(stage_node_is(BE "/state", "5"));
	guest_lets_go();
}
END_TEST

/* Who waits for the guest to let go is told that it has not, and the next keeper goes on with it. */
START_TEST(detach_while_the_keeper_ends)
{
	stage_attach();
	stage_io(5);
	stage_begin("{\"cmd\":\"detach\",\"domain\":\"1\",\"timeout\":60}");
	STAGE_WAIT(30000, stage_node_is(BE "/state", "5"));
	ck_assert_int_eq(stage_stop_keeper(), 0);
	stage_finish_expecting(false, "goes on with this");
	stage_start_keeper();
	STAGE_WAIT(30000, STATE_IS("connected"));
	guest_lets_go();
}
END_TEST

/* An attach fails when xvshimd is stopped, and leaves as little as one that fails otherwise. */
START_TEST(attach_while_the_keeper_ends)
{
	stage_begin("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"" STAGE_SOURCE
		    "\",\"timeout\":60}");
	STAGE_WAIT(30000, stage_node_is(BE "/state", "2"));
	ck_assert_int_eq(stage_stop_keeper(), 0);
	stage_finish_expecting(false, "taken back when");
	stage_start_keeper();
	STAGE_WAIT(30000, stage_devices() == 0);
	all_is_gone();
}
END_TEST

/* What an attach that came to nothing left is taken back by the next keeper, too. The driver that the
 * guest has for it never starts. */
START_TEST(attach_that_failed_is_not_taken_up)
{
	char value[NODE_MAX + 1], why[200];

	stage_begin("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"" STAGE_SOURCE
		    "\",\"timeout\":2}");
	STAGE_WAIT(30000, stage_node(FE "/state", value));
	ck_assert_int_eq(sim_guest_handshake(stage.guest, 0, why, sizeof(why)), 0);
	STAGE_WAIT(30000, stage_node_is(BE "/online", "0"));
	stage_kill_keeper();
	json_object_put(stage_finish());
	stage_start_keeper();
	STAGE_WAIT(30000, STATE_IS("connected"));
	ck_assert(stage_node_is(BE "/state", "5"));
	node_put(stage.hv, 0, FE, "state", "6");
	STAGE_WAIT(30000, stage_devices() == 0);
	all_is_gone();
}
END_TEST

/* Who detached a device hears that its old driver has not got it again. */
START_TEST(not_given_back)
{
	shared->sticks = true;
	stage_attach();
	stage_begin("{\"cmd\":\"detach\",\"domain\":\"1\"}");
	STAGE_WAIT(30000, stage_node_is(BE "/state", "5"));
	ck_assert_int_eq(sim_guest_reset(stage.guest), 0);
	node_put(stage.hv, 0, FE, "state", "6");
	stage_finish_expecting(false, "detached, but the driver does not take it");
	all_is_gone();
	stage_expect("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"" STAGE_SOURCE
		     "\",\"timeout\":1}", false, "; the driver does not");
	STAGE_WAIT(30000, stage_devices() == 0);
	all_is_gone();
}
END_TEST

/* Both lines come at once, and the first takes its time. */
START_TEST(request_behind_another)
{
	static const char both[] = "{\"cmd\":\"detach\",\"domain\":\"1\",\"timeout\":1}\n"
				   "{\"cmd\":\"ping\"}\n";
	char *line = NULL;
	unsigned int answers = 0;
	size_t size = 0;
	FILE *from;
	int fd;

	stage_attach();
	fd = stage_connect();
	ck_assert_int_eq(send(fd, both, sizeof(both) - 1, MSG_NOSIGNAL), sizeof(both) - 1);
	from = fdopen(fd, "r");
	while (answers < 2 && getline(&line, &size, from) > 0)
		answers += strstr(line, "\"ok\"") != NULL;
	ck_assert_uint_eq(answers, 2);
	free(line);
	fclose(from);
	guest_lets_go();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon, again");
	TCase *tc = tcase_create("again");

	tcase_add_checked_fixture(tc, stage_open, stage_close);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, hazard_25_nul_in_a_node, 0, 3);
	tcase_add_test(tc, hazard_29_leftover_beside_another_ones);
	tcase_add_loop_test(tc, orderly_detach_outlives_the_keeper, 0, 2);
	tcase_add_test(tc, detach_while_the_keeper_ends);
	tcase_add_test(tc, attach_while_the_keeper_ends);
	tcase_add_test(tc, attach_that_failed_is_not_taken_up);
	tcase_add_test(tc, not_given_back);
	tcase_add_test(tc, request_behind_another);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
