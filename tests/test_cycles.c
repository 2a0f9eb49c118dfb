/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device lives and dies many times, each time in another way, and what everybody holds is what it
 * was at the beginning: grants, handles, pages, event channels, watches, transactions, descriptors,
 * the keeper's memory.
 *
 *   CYCLES=10000 ./test_cycles    so many lives
 *   CYCLES_SEED=n                 the same choices again
 */
#include "check_main.h"
#include "daemon_stage.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CYCLES 220
#define WAIT 60000
#define ATTACH_FOR(seconds)                                                                       \
	"{\"cmd\":\"attach\",\"domain\":\"guest\",\"source\":\"" STAGE_SOURCE "\",\"timeout\":" seconds "}"
#define ATTACH ATTACH_FOR("60")
#define FORCE "{\"cmd\":\"detach\",\"domain\":\"guest\",\"force\":true,\"timeout\":0}"
/* KiB. The allocator of a sanitizer takes memory by larger pieces, and gives none back. */
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
#define MEMORY_SLACK 2048
#else
#define MEMORY_SLACK 256
#endif

static uint64_t rng;

/* Otherwise what is freed is held back, and memory tells nothing. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=0:thread_local_quarantine_size_kb=0";
}

static uint32_t any(uint32_t below)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(rng >> 33) % below;
}

static void new_guest(void)
{
	sim_guest_free(stage.guest);
	stage_new_guest();
}

/* The domain has its name and its identity; both are new each time. */
static void introduce(void)
{
	static unsigned int boots;
	char dir[40], vm[40];

	snprintf(dir, sizeof(dir), "/local/domain/%u", stage_domid);
	snprintf(vm, sizeof(vm), "/vm/boot-%u", ++boots);
	ck_assert_int_eq(node_put(stage.hv, 0, dir, "vm", vm), 0);
	ck_assert_int_eq(node_put(stage.hv, 0, dir, "name", "guest"), 0);
}

static void handshake(void)
{
	char why[200] = "";
	int rc;

	STAGE_WAIT(WAIT, stage_node_is(stage_path(true, "/state"), "2"));
	rc = sim_guest_handshake(stage.guest, 0, why, sizeof(why));
	ck_assert_msg(!rc, "handshake: %d %s", rc, why);
	ck_assert_int_eq(sim_guest_start(stage.guest), 0);
}

static pid_t worker_pid(void)
{
	int64_t pid = 0;

	STAGE_WAIT(WAIT, (pid = stage_status("worker")) > 1);
	return (pid_t)pid;
}

static void force_off(void)
{
	json_object_put(stage_ask(FORCE));
	STAGE_WAIT(WAIT, stage_devices() == 0);
}

/* A state that was written when the device had gone made its directory anew. */
static void sweep(void)
{
	char devices[60];

	snprintf(devices, sizeof(devices), "/local/domain/%u/device/virtio-xenbus", stage_domid);
	stage.hv->ops->store_rm(stage.hv, 0, devices);
}

/* A read that the device has taken and does not complete. */
static void in_flight(void)
{
	struct sim_sg sg[4];
	unsigned int n;
	int err;

	check_dev_pause(stage.disk, true);
	ck_assert_int_eq(sim_sg_alloc(stage.guest, 4096, 4096, 4, sg, &n), 0);
	ck_assert_ptr_nonnull(sim_blk_submit(stage.guest, 0, VIRTIO_BLK_T_IN, 0, sg, n, &err));
	ck_assert_int_eq(sim_blk_kick(stage.guest, 0), 0);
	STAGE_WAIT(WAIT, stage_status("inflight") == 1);
	/* the front end is given up with it, and that gives its memory back */
	sim_sg_free(stage.guest, sg, n);
}

/* -- lives: nothing is attached before and after -- */

static void plain(void)
{
	stage_attach();
	stage_io(2);
	stage_detach();
}

/* The guest's driver is unbound and bound again, or its module unloaded and loaded. */
static void rebound(void)
{
	stage_attach();
	stage_io(1);
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_int_eq(sim_guest_reset(stage.guest), 0);
		ck_assert_int_eq(sim_guest_goodbye(stage.guest, 0), 0);
		STAGE_WAIT(WAIT, stage_node_is(stage_path(true, "/state"), "6"));
		new_guest();
		node_put(stage.hv, 0, stage_path(false, ""), "state", "1");
		handshake();
		stage_io(1);
	}
	stage_detach();
}

static void flapping(void)
{
	static const char *const states[] = { "1", "3", "4", "5", "6", "2", "x", "" };

	stage_begin(ATTACH);
	STAGE_WAIT(WAIT, stage_node_is(stage_path(true, "/state"), "2"));
	for (unsigned int i = any(12); i; i--)
		node_put(stage.hv, 0, stage_path(false, ""), "state", states[any(8)]);
	force_off();
	json_object_put(stage_finish());
	sweep();
}

static void detached_while_attaching(void)
{
	stage_begin(ATTACH_FOR("2")); /* it may even come last, and then nobody answers it */
	usleep(any(3000)); /* the moment: nothing is waited for */
	json_object_put(stage_ask(FORCE));
	/* It may have come before there was anything. */
	STAGE_WAIT(WAIT, stage_devices() == 0 || stage_node_is(stage_path(true, "/state"), "2"));
	force_off();
	json_object_put(stage_finish());
	force_off();
}

static void worker_killed(void)
{
	stage_attach();
	stage_io(1);
	kill(worker_pid(), SIGKILL);
	stage_io(1);
	stage_detach();
}

static void keeper_killed(void)
{
	stage_attach();
	stage_io(1);
	stage_kill_keeper();
	stage_start_keeper();
	stage_io(1);
	stage_detach();
}

static void restarted(void)
{
	stage_attach();
	stage_io(1);
	ck_assert_int_eq(stage_stop_keeper(), 0);
	stage_start_keeper();
	stage_io(1);
	stage_detach();
}

/* The keeper ends while a command is under way, at any moment of it, and another one begins. One that
 * is killed while it attaches may leave memory of its own pinned: test_daemon_life.c has that. */
static void another_keeper(bool kill)
{
	usleep(any(4000));
	if (kill)
		stage_kill_keeper();
	else
		ck_assert_int_eq(stage_stop_keeper(), 0);
	json_object_put(stage_finish());
	stage_start_keeper();
}

static void ended_while_attaching(void)
{
	stage_begin(ATTACH);
	another_keeper(false);
	force_off();
}

/* The guest has its disk until it lets go of it. */
static void ended_while_detaching(void)
{
	stage_attach();
	stage_begin("{\"cmd\":\"detach\",\"domain\":\"guest\",\"timeout\":60}");
	another_keeper(any(2));
	stage_io(1);
	ck_assert_int_eq(sim_guest_reset(stage.guest), 0);
	node_put(stage.hv, 0, stage_path(false, ""), "state", "6");
	force_off();
}

/* The domain is gone with a request in flight; the next has its number, or another one. */
static void rebooted(void)
{
	char dir[40];

	stage_attach();
	in_flight();
	snprintf(dir, sizeof(dir), "/local/domain/%u", stage_domid);
	ck_assert_int_eq(sim_domain_kill(stage.machine, stage_domid), 0);
	stage.hv->ops->store_rm(stage.hv, 0, dir);
	STAGE_WAIT(WAIT, stage_devices() == 0);
	check_dev_pause(stage.disk, false);
	sim_guest_free(stage.guest);
	if (any(2))
		stage_domid = (uint16_t)(stage_domid % 5 + 1);
	ck_assert_int_eq(sim_domain_add(stage.machine, stage_domid, 4000, false), 0);
	introduce();
	stage_new_guest();
}

/* The guest stands still while its worker dies and its device answers. */
static void paused(void)
{
	uint8_t data[4096];

	stage_attach();
	stage_io(1);
	ck_assert_int_eq(stage.hv->ops->dom_pause(stage.hv, stage_domid, true), 0);
	kill(worker_pid(), SIGKILL);
	STAGE_WAIT(WAIT, stage_status("epoch") == 2 && stage_status("worker") > 1);
	ck_assert_int_eq(stage.hv->ops->dom_pause(stage.hv, stage_domid, false), 0);
	ck_assert_int_eq(sim_blk_read(stage.guest, 0, 0, data, sizeof(data)), 0);
	stage_detach();
}

static void taken_while_in_use(void)
{
	stage_attach();
	in_flight();
	force_off();
	check_dev_pause(stage.disk, false);
	new_guest();
}

/* The outer hypervisor takes the device away, and brings it back later. */
static void unplugged(void)
{
	stage_attach();
	in_flight();
	shared->unplugged = true;
	check_dev_unplug(stage.disk, true);
	check_dev_pause(stage.disk, false);
	STAGE_WAIT(WAIT, stage_status("failed") == 1);
	ck_assert(!sim_guest_needs_reset(stage.guest));
	stage_expect("{\"cmd\":\"ping\"}", true, NULL);
	force_off();
	check_dev_unplug(stage.disk, false);
	shared->unplugged = false;
	new_guest();
}

/* Whatever comes, in any order; only that it all ends is asked for. */
static void anything(void)
{
	static const char *const states[] = { "1", "3", "4", "5", "6", "2", "x", "" };
	bool pending = false;
	char value[NODE_MAX + 1], why[200];
	int64_t pid;

	for (unsigned int i = any(14) + 2; i; i--) {
		switch (any(12)) {
		case 0:
		case 1:
		case 2:
			if (pending)
				json_object_put(stage_finish());
			stage_begin(ATTACH_FOR("1"));
			pending = true;
			break;
		case 3:
			json_object_put(stage_ask("{\"cmd\":\"detach\",\"domain\":\"guest\",\"timeout\":0}"));
			break;
		case 4:
			json_object_put(stage_ask(FORCE));
			break;
		case 5:
			if (stage_node(stage_path(false, "/state"), value))
				node_put(stage.hv, 0, stage_path(false, ""), "state",
					 states[any(8)]);
			break;
		case 6:
			pid = stage_devices() ? stage_status("worker") : 0;
			if (pid > 1)
				kill((pid_t)pid, SIGKILL);
			break;
		case 7:
			ck_assert_int_eq(stage_stop_keeper(), 0);
			stage_start_keeper();
			break;
		case 8:
			shared->unplugged = any(2);
			check_dev_unplug(stage.disk, shared->unplugged);
			break;
		case 9:
		case 10:
			if (stage_node_is(stage_path(true, "/state"), "2") &&
			    !sim_guest_handshake(stage.guest, 0, why, sizeof(why)) && any(4))
				sim_guest_start(stage.guest);
			break;
		default:
			usleep(any(8000));
		}
	}
	check_dev_unplug(stage.disk, false);
	shared->unplugged = false;
	force_off();
	if (pending)
		json_object_put(stage_finish());
	force_off();
	sweep();
}

static const struct life {
	const char *name;
	void (*run)(void);
	bool ends_keeper;
} lives[] = {
	{ "plain", plain, false },
	{ "rebound", rebound, false },
	{ "flapping", flapping, false },
	{ "detached while attaching", detached_while_attaching, false },
	{ "worker killed", worker_killed, false },
	{ "keeper killed", keeper_killed, true },
	{ "restarted", restarted, true },
	{ "ended while attaching", ended_while_attaching, true },
	{ "ended while detaching", ended_while_detaching, true },
	{ "rebooted", rebooted, false },
	{ "paused", paused, false },
	{ "taken while in use", taken_while_in_use, false },
	{ "unplugged", unplugged, false },
	{ "anything", anything, true },
};
#define LIVES (sizeof(lives) / sizeof(lives[0]))

/* -- what is held -- */

static unsigned int descriptors(pid_t pid)
{
	char path[40];
	unsigned int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Private memory in use, KiB: what is shared is the machine. */
static long memory(pid_t pid)
{
	char path[40], line[128];
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) && sscanf(line, "RssAnon: %ld", &kib) != 1)
		;
	fclose(f);
	return kib;
}

static unsigned int files_left(void)
{
	struct dirent *entry;
	unsigned int n = 0;
	DIR *dir = opendir(stage.run_dir);

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		n += !strncmp(entry->d_name, "dev-", 4);
	closedir(dir);
	return n;
}

struct held {
	struct sim_audit audit;
	unsigned int keeper, test, files;
};

static void count(struct held *h)
{
	memset(h, 0, sizeof(*h)); /* it is compared with its padding */
	sim_audit(stage.machine, SIM_ANY, &h->audit);
	h->keeper = descriptors(stage.keeper);
	h->test = descriptors(getpid());
	h->files = files_left();
}

/* The keeper needs a moment to see that its last client went: the fewest in a while. */
static void count_at_rest(struct held *h)
{
	struct held now;

	count(h);
	for (int i = 0; i < 50; i++) {
		usleep(2000);
		count(&now);
		if (now.keeper < h->keeper)
			*h = now;
	}
}

static bool as_before(const struct held *before)
{
	struct held now;

	count(&now);
	return !memcmp(&now, before, sizeof(now));
}

static void compare(const struct held *before, const char *life, unsigned int n)
{
	char was[300], is[300];
	struct held now;

	for (int i = 0; i < 1000 && !as_before(before); i++)
		usleep(5000);
	count(&now);
	sim_audit_text(&before->audit, was, sizeof(was));
	sim_audit_text(&now.audit, is, sizeof(is));
	ck_assert_msg(!memcmp(&now, before, sizeof(now)),
		      "after life %u (%s)\nbefore: %s, descriptors %u and %u, files %u\n"
		      "now:    %s, descriptors %u and %u, files %u", n, life, was, before->keeper,
		      before->test, before->files, is, now.keeper, now.test, now.files);
}

static unsigned int number(const char *name, unsigned int fallback)
{
	const char *text = getenv(name);

	return text ? (unsigned int)strtoul(text, NULL, 10) : fallback;
}

/* In its second half the keeper stays the same, and its memory has to. */
START_TEST(hazard_26_29_many_lives)
{
	unsigned int cycles = number("CYCLES", CYCLES), seed = number("CYCLES_SEED", 0);
	unsigned int ran[LIVES] = { 0 };
	long memory_before = 0, memory_after;
	struct held before;

	seed = seed ? seed : (unsigned int)time(NULL);
	rng = seed;
	introduce();
	plain();
	new_guest();
	count_at_rest(&before);
	for (unsigned int i = 0; i < cycles; i++) {
		unsigned int pick = i < LIVES ? i : any(LIVES);

		if (i >= cycles / 2 && lives[pick].ends_keeper)
			pick = 0;
		if (i == cycles / 2 + cycles / 10)
			memory_before = memory(stage.keeper);
		if (getenv("STAGE_LOG"))
			fprintf(stderr, "life %u, seed %u: %s\n", i, seed, lives[pick].name);
		lives[pick].run();
		new_guest();
		ran[pick]++;
		ck_assert_msg(!check_dev_violation(stage.disk), "life %u (%s), seed %u: %s", i,
			      lives[pick].name, seed, check_dev_violation(stage.disk));
		if (i < LIVES || i % 16 == 0 || i == cycles - 1)
			compare(&before, lives[pick].name, i);
	}
	memory_after = memory(stage.keeper);
	printf("seed %u, %u lives:", seed, cycles);
	for (unsigned int i = 0; i < LIVES; i++)
		printf(" %s %u%s", lives[i].name, ran[i], i + 1 < LIVES ? "," : "\n");
	printf("keeper: %ld KiB, %u lives later %ld KiB\n", memory_before, cycles - cycles / 2 - cycles / 10,
	       memory_after);
	ck_assert_int_le(memory_after, memory_before + MEMORY_SLACK);
}
END_TEST

static void set_up(void)
{
	stage_guest_ms = WAIT;
	stage_reset_ms = 2000;
	stage_set();
	stage.restart_limit = 1000000;
	stage_start_keeper();
	setvbuf(stdout, NULL, _IOLBF, 0);
}

int main(void)
{
	Suite *suite = suite_create("many lives");
	TCase *tc = tcase_create("cycles");

	tcase_set_timeout(tc, 7200);
	tcase_add_checked_fixture(tc, set_up, stage_close);
	tcase_add_test(tc, hazard_26_29_many_lives);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
