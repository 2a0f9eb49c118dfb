/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon from attach to detach on a simulated machine: keeper, workers, store, control
 * socket are the real ones, each in its process.
 */
#include "check_main.h"
#include "daemon/holder.h"
#include "daemon_stage.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ATTACH "{\"cmd\":\"attach\",\"domain\":\"guest\",\"source\":\"" STAGE_SOURCE "\"}"
#define BE "/local/domain/0/backend/virtio-xenbus/1/0"
#define FE "/local/domain/1/device/virtio-xenbus/0"

static char state[32];
#define STATE_IS(name) (!strcmp(stage_state(state, sizeof(state)), name))

static void kill_worker(void)
{
	int64_t pid = stage_status("worker");

	ck_assert_int_gt(pid, 1);
	kill((pid_t)pid, SIGKILL);
}

static int files_of_devices(void)
{
	DIR *dir = opendir(stage.run_dir);
	struct dirent *entry;
	int n = 0;

	while ((entry = readdir(dir)))
		n += !strncmp(entry->d_name, "dev-", 4);
	closedir(dir);
	return n;
}

static void all_is_gone(void)
{
	char value[NODE_MAX + 1];

	ck_assert(!stage_node(BE "/state", value));
	ck_assert(!stage_node("/local/domain/0/backend/virtio-xenbus/1", value));
	ck_assert_int_eq(files_of_devices(), 0);
	ck_assert(!shared->held);
	stage_nothing_left();
}

START_TEST(attach_use_detach)
{
	char value[NODE_MAX + 1];

	for (int i = 0; i < 5; i++) {
		stage_attach();
		stage_io(20);
		ck_assert_int_eq(stage_devices(), 1);
		ck_assert_int_le(stage_status("max_batch_hypercalls"), 2);
		ck_assert(stage_node_is(BE "/state", "4"));
		stage_detach();
		ck_assert_int_eq(stage_devices(), 0);
		ck_assert(!stage_node(FE "/state", value));
		all_is_gone();
		sim_guest_free(stage.guest);
		stage_new_guest();
	}
	ck_assert_uint_eq(shared->released, 5);
}
END_TEST

START_TEST(attach_is_refused)
{
	stage_expect("{\"cmd\":\"attach\",\"domain\":\"nobody\",\"source\":\"sim:disk\"}", false,
		     "no domain 'nobody'");
	stage_expect("{\"cmd\":\"attach\",\"domain\":\"77\",\"source\":\"sim:disk\"}", false,
		     "no domain '77'");
	stage_expect("{\"cmd\":\"attach\",\"domain\":\"0\",\"source\":\"sim:disk\"}", false,
		     "the one that xvshimd runs in");
	stage_expect("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"pci:zz\"}", false,
		     "not a PCI address");
	stage_expect("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"pci:ffff:ff:1f.7\"}", false,
		     "ffff:ff:1f.7");
	stage_expect("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"usb:1\"}", false,
		     "names no source");
	stage_expect("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"sim:other\"}", false,
		     "no such device");
	shared->device_id = 5;
	stage_expect(ATTACH, false, "lists of page frames");
	ck_assert_uint_eq(shared->taken, 0);
	ck_assert_int_eq(stage_devices(), 0);
	all_is_gone();
	shared->device_id = 2;
	stage_attach();
	stage_expect(ATTACH, false, "already given to domain 1");
	stage_detach();
	all_is_gone();
}
END_TEST

START_TEST(silent_guest)
{
	char value[NODE_MAX + 1];

	stage_expect("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"sim:disk\","
		     "\"timeout\":1}",
		     false,
		     "modprobe xvshim_front");
	ck_assert_int_eq(stage_devices(), 0);
	ck_assert(!stage_node(FE "/state", value));
	all_is_gone();
	ck_assert_uint_eq(shared->taken, 1);
}
END_TEST

START_TEST(hazard_26_interrupted_attach)
{
	int fd = stage_connect();

	dprintf(fd, ATTACH "\n");
	STAGE_WAIT(3000, stage_node_is(BE "/state", "2"));
	close(fd);
	STAGE_WAIT(3000, stage_devices() == 0);
	all_is_gone();
}
END_TEST

static void put_pick(const char *ctrl_ref, const char *addressing, const char *protection)
{
	node_put(stage.hv, 0, FE, "version", "1");
	node_put(stage.hv, 0, FE, "ctrl-ref", ctrl_ref);
	node_put(stage.hv, 0, FE, "event-channel", "1");
	node_put(stage.hv, 0, FE, "addressing", addressing);
	node_put(stage.hv, 0, FE, "protection", protection);
	node_put(stage.hv, 0, FE, "state", "3");
}

static void put_nodes(const char *ctrl_ref)
{
	put_pick(ctrl_ref, "grant", "strict");
}

START_TEST(hazard_25_attach_says_why)
{
	stage_begin("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"sim:disk\",\"timeout\":5}");
	STAGE_WAIT(3000, stage_node_is(BE "/state", "2"));
	put_nodes("99999999999999999999");
	stage_finish_expecting(false, "ctrl-ref");
	STAGE_WAIT(3000, stage_devices() == 0);
	all_is_gone();
}
END_TEST

/* The reason is written, the device goes to Closing, and a better front end may come. */
START_TEST(hazard_25_refused_then_served)
{
	static const char *const bad[] = { "-1", "", "4000000000", "7" };
	char value[NODE_MAX + 1], why[200];

	ck_assert_int_eq(sim_toolstack_attach(stage.machine, 1, 0, 0, STAGE_SOURCE), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		STAGE_WAIT(3000, stage_node_is(BE "/state", "2"));
		ck_assert(!stage_node(BE "/error", value));
		put_nodes(bad[i]);
		STAGE_WAIT(3000, stage_node_is(BE "/state", "5"));
		ck_assert(stage_node(BE "/error", value));
		node_put(stage.hv, 0, FE, "state", "6");
		STAGE_WAIT(3000, stage_node_is(BE "/state", "6"));
		stage_nothing_mapped();
		node_put(stage.hv, 0, FE, "state", "1");
	}
	STAGE_WAIT(3000, stage_node_is(BE "/state", "2"));
	ck_assert_int_eq(sim_guest_handshake(stage.guest, 0, why, sizeof(why)), 0);
	ck_assert_int_eq(sim_guest_start(stage.guest), 0);
	stage_io(3);
	node_put(stage.hv, 0, FE, "state", "rubbish");
	STAGE_WAIT(3000, stage_node_is(BE "/state", "6"));
	stage_nothing_mapped();
	ck_assert_int_eq(sim_toolstack_remove(stage.machine, 1, 0, 0), 0);
	STAGE_WAIT(3000, stage_devices() == 0);
	all_is_gone();
	sim_guest_free(stage.guest);
	stage.guest = NULL;
}
END_TEST

/* Known words, none of them offered: each is refused with the policy's own sentence. */
START_TEST(hazard_25_picks_what_is_not_offered)
{
	static const struct {
		const char *addressing, *protection, *why;
	} bad[] = {
		{ "p2m", "strict",
		  "addressing: the guest picked p2m, which it is not offered: the administrator has "
		  "not allowed p2m for this guest" },
		{ "grant", "lazy",
		  "protection: the guest picked one that the administrator has not allowed for it" },
		{ "p2m", "lazy", "addressing: the guest picked p2m" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		stage_begin("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"sim:disk\","
			    "\"timeout\":5,\"protection\":\"strict,pool\"}");
		STAGE_WAIT(3000, stage_node_is(BE "/state", "2"));
		ck_assert(stage_node_is(BE "/protection-offered", "strict,pool"));
		put_pick("8", bad[i].addressing, bad[i].protection);
		stage_finish_expecting(false, bad[i].why);
		STAGE_WAIT(3000, stage_devices() == 0);
	}
	all_is_gone();
}
END_TEST

START_TEST(hazard_26_guest_comes_again)
{
	char why[200];

	stage_attach();
	stage_io(3);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(sim_guest_reset(stage.guest), 0);
		ck_assert_int_eq(sim_guest_goodbye(stage.guest, 0), 0);
		STAGE_WAIT(2000, stage_node_is(BE "/state", "6"));
		stage_nothing_mapped();
		sim_guest_free(stage.guest);
		stage_new_guest();
		node_put(stage.hv, 0, FE, "state", "1");
		STAGE_WAIT(2000, stage_node_is(BE "/state", "2"));
		ck_assert_int_eq(sim_guest_handshake(stage.guest, 0, why, sizeof(why)), 0);
		ck_assert_int_eq(sim_guest_start(stage.guest), 0);
		stage_io(3);
	}
	ck_assert_uint_eq(shared->taken, 1);
	stage_detach();
	all_is_gone();
}
END_TEST

START_TEST(hazard_48_worker_killed)
{
	stage_attach();
	for (int i = 0; i < 4; i++) {
		stage_io(5);
		kill_worker();
		stage_io(5); /* waits: the guest sees a pause */
		ck_assert_int_eq(stage_status("epoch"), i + 2);
	}
	ck_assert_int_eq(stage_status("restarts"), 4);
	stage_detach();
	all_is_gone();
}
END_TEST

START_TEST(worker_dies_again_and_again)
{
	stage_attach();
	for (int i = 0; i < 6; i++) {
		STAGE_WAIT(3000, stage_status("worker") > 1);
		kill_worker();
		STAGE_WAIT(3000, stage_status("restarts") == i + 1);
	}
	STAGE_WAIT(3000, STATE_IS("failed"));
	ck_assert(stage_node_is(BE "/state", "6")); /* nobody serves: no Closing */
	ck_assert_uint_eq(shared->released, 1);
	stage_nothing_left();
	node_put(stage.hv, 0, FE, "state", "6");
	STAGE_WAIT(3000, stage_node_is(BE "/state", "6"));
	stage_expect("{\"cmd\":\"detach\",\"domain\":\"1\"}", true, NULL);
	all_is_gone();
}
END_TEST

START_TEST(keeper_stopped_and_started)
{
	stage_attach();
	stage_io(5);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(stage_stop_keeper(), 0);
		ck_assert(stage_node_is(BE "/state", "4"));
		stage_nothing_left();
		stage_start_keeper();
		stage_io(5);
	}
	ck_assert_int_eq(stage_status("epoch"), 4);
	stage_detach();
	all_is_gone();
}
END_TEST

START_TEST(hazard_48_keeper_killed)
{
	stage_attach();
	stage_io(5);
	for (int i = 0; i < 3; i++) {
		stage_kill_keeper();
		stage_start_keeper();
		stage_io(5);
	}
	stage_detach();
	all_is_gone();
}
END_TEST

/*
 * Wherever it is killed between attach and its undoing, the next keeper leaves nothing behind.
 * Only calls that no other process makes here, for the fault hits whoever comes first.
 */
START_TEST(hazard_48_keeper_killed_anywhere)
{
	static const enum sim_op ops[] = { SIM_OP_DOM_INFO,  SIM_OP_STORE_LIST, SIM_OP_STORE_RM,
					   SIM_OP_STORE_END, SIM_OP_STORE_GRANT,
					   SIM_OP_STORE_UNWATCH };
	int deaths = 0;

	for (int i = 0; i < 24; i++) {
		sim_fault_kill(stage.machine, ops[i % 6], (uint64_t)(i / 12 + 1), i / 6 % 2);
		json_object_put(stage_ask("{\"cmd\":\"attach\",\"domain\":\"1\","
					  "\"source\":\"sim:disk\",\"timeout\":1}"));
		if (stage_keeper_died()) {
			deaths++;
			sim_fault_clear(stage.machine);
			stage_start_keeper();
			json_object_put(stage_ask("{\"cmd\":\"detach\",\"domain\":\"1\","
						  "\"force\":true,\"timeout\":0}"));
		}
		sim_fault_clear(stage.machine);
		STAGE_WAIT(5000, stage_devices() == 0);
		all_is_gone();
	}
	ck_assert_int_gt(deaths, 5);
}
END_TEST

/* The guest went away while there was no keeper. */
START_TEST(hazard_29_leftover_of_another_domain)
{
	stage_attach();
	stage_io(5);
	stage_kill_keeper();
	/* Same number, another domain; or the same guest, made anew. */
	stage.hv->ops->store_rm(stage.hv, 0, FE);
	if (!_i)
		node_put(stage.hv, 0, "/local/domain/1", "vm", "/vm/second");
	stage_start_keeper();
	STAGE_WAIT(3000, stage_devices() == 0);
	all_is_gone();
}
END_TEST

/* The keeper hears of the end when another domain has the number, and does not take it for the old
 * one. There is no worker, whose mapping would keep the number from being free. */
START_TEST(hazard_29_number_reused_unheard)
{
	stage_attach();
	stage_io(5);
	ck_assert_int_eq(sim_guest_reset(stage.guest), 0);
	ck_assert_int_eq(sim_guest_goodbye(stage.guest, 0), 0);
	STAGE_WAIT(3000, STATE_IS("closed"));
	kill(stage.keeper, SIGSTOP);
	ck_assert_int_eq(sim_domain_kill(stage.machine, 1), 0);
	stage.hv->ops->store_rm(stage.hv, 0, "/local/domain/1");
	sim_guest_free(stage.guest);
	stage.guest = NULL;
	ck_assert_int_eq(sim_domain_add(stage.machine, 1, 4000, false), 0);
	node_put(stage.hv, 0, "/local/domain/1", "name", "guest");
	node_put(stage.hv, 0, "/local/domain/1", "vm", "/vm/second");
	kill(stage.keeper, SIGCONT);
	STAGE_WAIT(5000, stage_devices() == 0);
	all_is_gone();
	stage_new_guest();
	stage_attach();
	stage_io(5);
	stage_detach();
	all_is_gone();
}
END_TEST

START_TEST(hazard_31_guest_dies)
{
	struct sim_audit audit;
	struct timespec a, b;

	stage_attach();
	stage_io(5);
	clock_gettime(CLOCK_MONOTONIC, &a);
	ck_assert_int_eq(sim_domain_kill(stage.machine, 1), 0);
	STAGE_WAIT(5000, stage_devices() == 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	ck_assert_int_lt((int)(b.tv_sec - a.tv_sec), 3);
	sim_audit(stage.machine, SIM_ANY, &audit);
	ck_assert_uint_eq(audit.zombies, 0);
	all_is_gone();
	sim_guest_free(stage.guest);
	stage.guest = NULL;
}
END_TEST

START_TEST(hazard_35_reset_not_confirmed)
{
	stage_attach();
	stage_io(5);
	check_dev_misbehave(stage.disk, CHECK_HANG_RESET, 1000);
	stage_begin("{\"cmd\":\"detach\",\"domain\":\"1\",\"force\":true,\"timeout\":2}");
	json_object_put(stage_finish());
	ck_assert(STATE_IS("recovering"));
	ck_assert_uint_eq(shared->released, 0);
	check_dev_misbehave(stage.disk, CHECK_HANG_RESET, 0);
	STAGE_WAIT(8000, stage_devices() == 0);
	all_is_gone();
}
END_TEST

START_TEST(hazard_30_detach_twice_and_force)
{
	stage_attach();
	/* The guest does not answer. */
	stage_expect("{\"cmd\":\"detach\",\"domain\":\"1\",\"timeout\":1}", false, "--force");
	ck_assert(stage_node_is(BE "/state", "5"));
	stage_begin("{\"cmd\":\"detach\",\"domain\":\"1\",\"force\":true,\"timeout\":1}");
	json_object_put(stage_ask("{\"cmd\":\"detach\",\"domain\":\"1\",\"force\":true}"));
	json_object_put(stage_finish());
	STAGE_WAIT(3000, stage_devices() == 0);
	stage_expect("{\"cmd\":\"detach\",\"domain\":\"1\"}", false, "no device");
	all_is_gone();
}
END_TEST

/* Its driver would wait for what it asked for, and so nobody could take the device from it. */
START_TEST(hazard_30_force_ends_requests_in_flight)
{
	struct sim_blk_req *req;
	struct sim_sg sg[4];
	unsigned int n;
	int err;

	stage_attach();
	check_dev_pause(stage.disk, true);
	ck_assert_int_eq(sim_sg_alloc(stage.guest, 4096, 4096, 4, sg, &n), 0);
	req = sim_blk_submit(stage.guest, 0, VIRTIO_BLK_T_IN, 0, sg, n, &err);
	ck_assert_ptr_nonnull(req);
	ck_assert_int_eq(sim_blk_kick(stage.guest, 0), 0);
	STAGE_WAIT(5000, stage_status("inflight") == 1);
	stage_begin("{\"cmd\":\"detach\",\"domain\":\"1\",\"force\":true,\"timeout\":600}");
	ck_assert_int_eq(sim_blk_wait(stage.guest, 0, req), VIRTIO_BLK_S_IOERR);
	sim_sg_free(stage.guest, sg, n);
	/* A successor does not serve it again. */
	kill_worker();
	STAGE_WAIT(5000, stage_status("epoch") == 2 && STATE_IS("connected"));
	ck_assert_int_eq(sim_blk_flush(stage.guest, 0), VIRTIO_BLK_S_IOERR);
	ck_assert(stage_node_is(BE "/state", "5"));
	ck_assert_int_eq(sim_guest_reset(stage.guest), 0);
	ck_assert_int_ne(sim_guest_start(stage.guest), 0);
	ck_assert_int_eq(sim_guest_reset(stage.guest), 0);
	node_put(stage.hv, 0, FE, "state", "6");
	stage_finish_expecting(true, NULL);
	check_dev_pause(stage.disk, false);
	all_is_gone();
}
END_TEST

START_TEST(hazard_27_flood_of_events)
{
	struct timespec a, b;

	stage_attach();
	for (int i = 0; i < 2000; i++)
		node_put(stage.hv, 0, FE, "state", "4");
	clock_gettime(CLOCK_MONOTONIC, &a);
	stage_expect("{\"cmd\":\"ping\"}", true, NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	ck_assert_int_lt((int)(b.tv_sec - a.tv_sec), 2);
	stage_io(3);
	stage_detach();
	all_is_gone();
}
END_TEST

START_TEST(hazard_32_store_refuses)
{
	static const enum sim_op ops[] = { SIM_OP_STORE_WRITE, SIM_OP_STORE_READ, SIM_OP_STORE_RM,
					   SIM_OP_DMA_ALLOC, SIM_OP_STORE_LIST };
	char value[NODE_MAX + 1], why[200];

	for (size_t op = 0; op < sizeof(ops) / sizeof(ops[0]); op++) {
		for (uint64_t nth = 1; nth < 12; nth += 2) {
			sim_fault_set(stage.machine, ops[op], nth, -EAGAIN);
			stage_begin("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"sim:disk\","
				    "\"timeout\":3}");
			for (int i = 0; i < 100 && !stage_node(BE "/versions", value); i++)
				usleep(10000);
			if (!sim_guest_handshake(stage.guest, 0, why, sizeof(why)))
				sim_guest_start(stage.guest);
			json_object_put(stage_finish());
			sim_fault_clear(stage.machine);
			json_object_put(stage_ask("{\"cmd\":\"detach\",\"domain\":\"1\","
						  "\"force\":true,\"timeout\":0}"));
			STAGE_WAIT(6000, stage_devices() == 0);
			all_is_gone();
			sim_guest_free(stage.guest);
			stage_new_guest();
		}
	}
}
END_TEST

START_TEST(strange_clients)
{
	static const char *const lines[] = { "", "x", "[]", "{}", "{\"cmd\":1}",
					     "{\"cmd\":\"dance\"}",
					     "{\"cmd\":\"attach\"}", "{\"cmd\":\"detach\"}",
					     "{\"cmd\":\"attach\",\"domain\":{},\"source\":[]}" };
	char junk[8192];
	int fds[40], fd;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		stage_expect(lines[i], false, "");
	memset(junk, 'x', sizeof(junk));
	fd = stage_connect();
	ck_assert_int_gt(send(fd, junk, sizeof(junk), MSG_NOSIGNAL), 0);
	STAGE_WAIT(2000, recv(fd, junk, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET);
	close(fd);
	for (size_t i = 0; i < 40; i++)
		fds[i] = stage_connect();
	for (size_t i = 0; i < 40; i++)
		close(fds[i]);
	STAGE_WAIT(2000, stage_devices() == 0);
	/* One that asks and never reads. */
	fd = stage_connect();
	for (int i = 0; i < 20000; i++)
		if (send(fd, "{\"cmd\":\"status\"}\n", 17, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
	stage_expect("{\"cmd\":\"ping\"}", true, NULL);
	close(fd);
}
END_TEST

START_TEST(only_one_keeper)
{
	struct conf conf;
	struct keeper k;
	char why[300] = "";

	conf_defaults(&conf);
	memcpy(conf.run_dir, stage.run_dir, sizeof(stage.run_dir));
	sim_machine_use(stage.machine, 0);
	ck_assert_int_ne(keeper_open(&k, &conf, hv_sim(), why, sizeof(why)), 0);
	ck_assert_ptr_nonnull(strstr(why, "another xvshimd"));
	stage_expect("{\"cmd\":\"ping\"}", true, NULL);
}
END_TEST

static void stage_open_p2m(void)
{
	stage_p2m = true;
	stage_open();
}

static bool device_has(const char *field, const char *value)
{
	json_object *answer = stage_ask("{\"cmd\":\"status\"}"), *list, *v;
	bool is = json_object_object_get_ex(answer, "devices", &list) &&
		  json_object_object_get_ex(json_object_array_get_idx(list, 0), field, &v) &&
		  !strcmp(json_object_get_string(v), value);

	json_object_put(answer);
	return is;
}

/* Not to a device that may be behind an IOMMU, and then p2m alone is none at all. */
START_TEST(p2m_is_offered_only_where_it_can_be_done)
{
	stage_begin("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"sim:disk\","
		    "\"addressing\":\"grant,p2m\"}");
	STAGE_WAIT(3000, stage_node_is(BE "/state", "2"));
	ck_assert(stage_node_is(BE "/addressing-offered", "grant"));
	ck_assert(device_has("addressing_allowed", "grant,p2m"));
	ck_assert(device_has("addressing_offered", "grant"));
	ck_assert(device_has("p2m_reason", "the device is behind an IOMMU (it offers bit 33), which "
					   "knows of granted pages only"));
	stage_expect("{\"cmd\":\"detach\",\"domain\":\"1\",\"force\":true}", true, NULL);
	json_object_put(stage_finish());
	stage_expect("{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"sim:disk\","
		     "\"addressing\":\"p2m\"}",
		     false, "no addressing but p2m is allowed, and the device is behind an IOMMU");
	all_is_gone();
}
END_TEST

static unsigned int foreign_pages(void)
{
	struct sim_audit a;

	sim_audit(stage.machine, 0, &a);
	return a.foreign_pages;
}

static pid_t holder_pid(void)
{
	struct hold_client c;
	char path[96];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/dev-1-0.hold", stage.run_dir);
	ck_assert_int_eq(holder_connect(path, &c), 0);
	pid = c.reply.pid;
	holder_disconnect(&c);
	return pid;
}

/* 50: all of the daemon is killed with a request in the device: its pages stay until the next
 * keeper has reset it. */
START_TEST(hazard_50_holder_has_the_pages)
{
	struct sim_blk_req *req;
	struct sim_sg sg[4];
	unsigned int n;
	int err;

	stage_attach();
	ck_assert(device_has("addressing", "p2m"));
	ck_assert_int_eq(sim_sg_alloc(stage.guest, 4096, 4096, 4, sg, &n), 0);
	check_dev_pause(stage.disk, true);
	req = sim_blk_submit(stage.guest, 0, VIRTIO_BLK_T_IN, 0, sg, n, &err);
	ck_assert_int_eq(sim_blk_kick(stage.guest, 0), 0);
	STAGE_WAIT(3000, stage_status("inflight") == 1);
	/* The worker too, and at once: one that still runs when its keeper's socket is closed resets
	 * the device in good order and lets go of the pages. */
	ck_assert_int_eq(kill((pid_t)stage_status("worker"), SIGSTOP), 0);
	stage_kill_keeper();
	STAGE_WAIT(3000, (sim_reap(stage.machine), foreign_pages() >= n));
	ck_assert_int_gt(holder_pid(), 1);
	check_dev_pause(stage.disk, false); /* it writes now: the checking device looks where to */
	usleep(20000);
	ck_assert_ptr_null(check_dev_violation(stage.disk));
	stage_start_keeper();
	ck_assert_int_eq(sim_blk_wait(stage.guest, 0, req), VIRTIO_BLK_S_OK);
	sim_sg_free(stage.guest, sg, n);
	stage_io(5);
	stage_detach();
	all_is_gone();
}
END_TEST

/* Nothing is known then but that the device has to be reset; the guest sees a pause. */
START_TEST(holder_killed)
{
	stage_attach();
	for (int i = 0; i < 3; i++) {
		stage_io(5);
		kill(holder_pid(), SIGKILL);
		if (i) /* noticed also by a worker that has nothing to ask */
			STAGE_WAIT(3000, stage_status("epoch") == i + 2);
		stage_io(5);
	}
	stage_detach();
	all_is_gone();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon life");
	TCase *p2m = tcase_create("p2m");
	TCase *life = tcase_create("life");

	tcase_set_timeout(life, 120);
	tcase_add_checked_fixture(life, stage_open, stage_close);
	tcase_add_test(life, attach_use_detach);
	tcase_add_test(life, attach_is_refused);
	tcase_add_test(life, silent_guest);
	tcase_add_test(life, hazard_26_interrupted_attach);
	tcase_add_test(life, hazard_25_attach_says_why);
	tcase_add_test(life, hazard_25_refused_then_served);
	tcase_add_test(life, hazard_25_picks_what_is_not_offered);
	tcase_add_test(life, hazard_26_guest_comes_again);
	tcase_add_test(life, hazard_48_worker_killed);
	tcase_add_test(life, worker_dies_again_and_again);
	tcase_add_test(life, keeper_stopped_and_started);
	tcase_add_test(life, hazard_48_keeper_killed);
	tcase_add_test(life, hazard_48_keeper_killed_anywhere);
	tcase_add_loop_test(life, hazard_29_leftover_of_another_domain, 0, 2);
	tcase_add_test(life, hazard_29_number_reused_unheard);
	tcase_add_test(life, hazard_31_guest_dies);
	tcase_add_test(life, hazard_35_reset_not_confirmed);
	tcase_add_test(life, hazard_30_detach_twice_and_force);
	tcase_add_test(life, hazard_30_force_ends_requests_in_flight);
	tcase_add_test(life, hazard_27_flood_of_events);
	tcase_add_test(life, hazard_32_store_refuses);
	tcase_add_test(life, strange_clients);
	tcase_add_test(life, only_one_keeper);
	tcase_add_test(life, p2m_is_offered_only_where_it_can_be_done);
	suite_add_tcase(suite, life);

	/* The same lives with pages that a holder has. */
	tcase_add_checked_fixture(p2m, stage_open_p2m, stage_close);
	tcase_set_timeout(p2m, 120);
	tcase_add_test(p2m, attach_use_detach);
	tcase_add_test(p2m, hazard_26_guest_comes_again);
	tcase_add_test(p2m, hazard_48_worker_killed);
	tcase_add_test(p2m, worker_dies_again_and_again);
	tcase_add_test(p2m, keeper_stopped_and_started);
	tcase_add_test(p2m, hazard_48_keeper_killed);
	tcase_add_test(p2m, hazard_31_guest_dies);
	tcase_add_test(p2m, hazard_35_reset_not_confirmed);
	tcase_add_test(p2m, hazard_30_detach_twice_and_force);
	tcase_add_test(p2m, hazard_30_force_ends_requests_in_flight);
	tcase_add_test(p2m, hazard_50_holder_has_the_pages);
	tcase_add_test(p2m, holder_killed);
	suite_add_tcase(suite, p2m);
	return check_main(suite);
}
