/* SPDX-License-Identifier: GPL-2.0-or-later */
/* docs/security.md, what happens between attach and detach: test_daemon_life.c has most of it. */
#include "check_main.h"
#include "daemon_stage.h"
#include "rests.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ATTACH                                                                                    \
	"{\"cmd\":\"attach\",\"domain\":\"guest\",\"source\":\"" STAGE_SOURCE "\",\"timeout\":20}"
#define FORCE "{\"cmd\":\"detach\",\"domain\":\"1\",\"force\":true,\"timeout\":0}"
#define BE "/local/domain/0/backend/virtio-xenbus/1/0"
#define FE "/local/domain/1/device/virtio-xenbus/0"

static void gone(void)
{
	char value[NODE_MAX + 1];

	STAGE_WAIT(30000, stage_devices() == 0);
	ck_assert(!stage_node(BE "/state", value));
	ck_assert(!shared->held);
	stage_nothing_left();
}

static void new_guest(void)
{
	sim_guest_free(stage.guest);
	stage_new_guest();
}

static void handshake(void)
{
	char why[200] = "";
	int rc;

	STAGE_WAIT(30000, stage_node_is(BE "/state", "2"));
	rc = sim_guest_handshake(stage.guest, 0, why, sizeof(why));
	ck_assert_msg(!rc, "handshake: %d %s", rc, why);
	ck_assert_int_eq(sim_guest_start(stage.guest), 0);
}

/* Requests the device has answered. */
static uint64_t completed(void)
{
	struct check_stats stats;

	check_dev_stats(stage.disk, &stats);
	return stats.completed;
}

/* The worker is killed at its first calls, before it is up; another one gets there. */
START_TEST(hazard_26_worker_gone_before_it_was_up)
{
	/* only a worker makes these, in this order */
	static const enum sim_op ops[] = { SIM_OP_HOST_MAP, SIM_OP_EVTCHN_BIND,
					   SIM_OP_EVTCHN_NOTIFY };

	for (unsigned int i = 0; i < 6; i++) {
		ck_assert_int_eq(sim_fault_kill(stage.machine, ops[i / 2], 1, i & 1), 0);
		stage_begin(ATTACH);
		handshake();
		json_object_put(stage_finish());
		ck_assert_uint_eq(sim_faults_left(stage.machine), 0);
		ck_assert_int_eq(stage_status("restarts"), 1);
		stage_io(3);
		stage_detach();
		gone();
		new_guest();
	}
}
END_TEST

/* Attach and detach chase each other, and the guest's states come when they please. */
START_TEST(hazard_26_connect_and_disconnect)
{
	static const char *const states[] = { "1", "3", "4", "5", "6", "1" };

	for (unsigned int i = 0; i < 14; i++) {
		stage_begin(ATTACH);
		STAGE_WAIT(30000, stage_node_is(BE "/state", "2"));
		for (unsigned int k = 0; k <= i % 7; k++)
			node_put(stage.hv, 0, FE, "state", states[(i + k) % 6]);
		json_object_put(stage_ask(FORCE));
		json_object_put(stage_finish());
		gone();
	}
	stage_attach();
	stage_io(3);
	stage_detach();
	gone();
}
END_TEST

static char process_state(int64_t pid)
{
	char path[64], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = '?';
	if (f)
		fclose(f);
	return state;
}

/* At one moment, so that none of them sees the other's end and resets the device for it. */
static void kill_all(void)
{
	int64_t worker = stage_status("worker");

	ck_assert_int_gt(worker, 1);
	kill(stage.keeper, SIGSTOP);
	STAGE_WAIT(30000, process_state(stage.keeper) == 'T');
	kill((pid_t)worker, SIGKILL);
	STAGE_WAIT(30000, process_state(worker) == 'Z');
	stage_kill_keeper();
}

/*
 * All of the daemon is killed with a write in flight, the device carries it out, and then the guest
 * boots again: what its new driver writes must not be overwritten by that of the old one.
 */
START_TEST(hazard_49_guest_reboots_while_nobody_serves)
{
	uint8_t old[4096], new[4096], in[4096], *disk;
	struct sim_guest *old_guest;
	struct sim_blk_req *req;
	struct sim_sg sg[4];
	uint64_t before;
	int64_t chains;
	unsigned int n;
	size_t size;
	int err;

	stage_attach();
	stage_io(3);
	memset(old, 0xaa, sizeof(old));
	memset(new, 0xbb, sizeof(new));
	disk = (uint8_t *)check_dev_disk(stage.disk, &size) + 800 * 512;
	ck_assert_int_eq(sim_sg_alloc(stage.guest, 4096, 4096, 4, sg, &n), 0);
	ck_assert_int_eq(sim_sg_fill(stage.guest, sg, n, old), 0);
	check_dev_pause(stage.disk, true);
	chains = stage_status("chains");
	req = sim_blk_submit(stage.guest, 0, VIRTIO_BLK_T_OUT, 800, sg, n, &err);
	ck_assert_ptr_nonnull(req);
	ck_assert_int_eq(sim_blk_kick(stage.guest, 0), 0);
	STAGE_WAIT(30000, stage_status("chains") == chains + 1);
	kill_all();
	before = completed();
	check_dev_pause(stage.disk, false);
	STAGE_WAIT(30000, completed() == before + 1);
	ck_assert_mem_eq(disk, old, sizeof(old));
	memcpy(disk, new, sizeof(new));
	old_guest = stage.guest;
	stage_new_guest();
	node_put(stage.hv, 0, FE, "state", "1");
	stage_start_keeper();
	handshake();
	ck_assert_int_eq(sim_blk_read(stage.guest, 0, 800, in, sizeof(in)), 0);
	ck_assert_mem_eq(in, new, sizeof(in));
	ck_assert_int_eq(stage_status("resumed"), 0);
	stage_io(3);
	stage_detach();
	gone();
	sim_guest_free(old_guest); /* nobody has a page of it any more, or this is a violation */
}
END_TEST

/* Killed before the guest came: it finds the same offers. */
START_TEST(hazard_48_keeper_killed_before_the_guest_came)
{
	stage_begin(ATTACH);
	STAGE_WAIT(30000, stage_node_is(BE "/state", "2"));
	stage_kill_keeper();
	json_object_put(stage_finish());
	stage_start_keeper();
	handshake();
	stage_io(3);
	stage_detach();
	gone();
}
END_TEST

/* What names a device cannot be read now: no keeper takes it for one that is new. */
START_TEST(hazard_48_state_file_cannot_be_read)
{
	char file[100], aside[100];
	int status = 0;

	snprintf(file, sizeof(file), "%s/dev-1-0.json", stage.run_dir);
	snprintf(aside, sizeof(aside), "%s/aside", stage.run_dir);
	stage_attach();
	stage_io(3);
	stage_kill_keeper();
	ck_assert_int_eq(rename(file, aside), 0);
	ck_assert_int_eq(symlink(file, file), 0);
	stage_fork_keeper();
	STAGE_WAIT(30000, waitpid(stage.keeper, &status, WNOHANG) == stage.keeper);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == STAGE_KEEPER_REFUSED);
	ck_assert_int_eq(rename(aside, file), 0);
	stage_start_keeper();
	stage_io(3);
	stage_detach();
	gone();
}
END_TEST

/* No descriptor for a client: the keeper waits for one, and does not turn in circles. */
START_TEST(hazard_40_no_descriptor_for_a_client)
{
	long was = limit_files_of(stage.keeper, 3);
	int fd;

	ck_assert_int_gt(was, 3);
	fd = stage_connect();
	ck_assert_int_ge(fd, 0);
	ck_assert(rests(stage.keeper));
	ck_assert_int_eq(limit_files_of(stage.keeper, was), 3);
	close(fd);
	stage_attach();
	stage_io(3);
	stage_detach();
	gone();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hazards of a device's life");
	TCase *life = tcase_create("life");

	tcase_set_timeout(life, 240);
	tcase_add_checked_fixture(life, stage_open, stage_close);
	tcase_add_test(life, hazard_26_worker_gone_before_it_was_up);
	tcase_add_test(life, hazard_26_connect_and_disconnect);
	tcase_add_test(life, hazard_48_keeper_killed_before_the_guest_came);
	tcase_add_test(life, hazard_48_state_file_cannot_be_read);
	tcase_add_test(life, hazard_40_no_descriptor_for_a_client);
	tcase_add_test(life, hazard_49_guest_reboots_while_nobody_serves);
	suite_add_tcase(suite, life);
	return check_main(suite);
}
