/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon while the store, Xen, the device and the C library fail it: see faults.h. Whatever
 * fails once, the keeper lives or says why it does not, a command that did not work says why, the
 * next one works, and a detach leaves nothing.
 */
#include "check_main.h"
#include "daemon_stage.h"
#include "faults.h"

#include <dirent.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BE "/local/domain/0/backend/virtio-xenbus/1/0"
#define FE "/local/domain/1/device/virtio-xenbus/0"
#define TRIES 8
#define IO_TRIES 20
/* Nothing takes so long but what never comes, beside many busy processes too. */
#define GUEST_MS 4000
#define WAIT_MS 60000
#define RUN_SECONDS 300

static const char *const scenarios[] = { "daemon", "daemon-p2m", NULL };

/* Until a condition holds, or for so long that it never will. */
#define WAIT_FOR(what, condition)                                                                  \
	do {                                                                                       \
		for (int ms_ = 0; !(condition); ms_ += 5) {                                        \
			if (ms_ >= WAIT_MS)                                                        \
				faults_failed("not in time: " what);                               \
			usleep(5000);                                                              \
		}                                                                                  \
	} while (0)

/* -- the keeper -- */

static void in_keeper(void)
{
	faults_inside = true;
}

static bool stopping; /* it said so: what failed made it end */

/* It is there, or it ended in order. */
static bool keeper_lives(void)
{
	int status;

	if (stage.keeper && waitpid(stage.keeper, &status, WNOHANG) == stage.keeper) {
		stage.keeper = 0;
		if (WIFSIGNALED(status))
			faults_failed("the keeper died of signal %d", WTERMSIG(status));
		if (WEXITSTATUS(status) == STAGE_KEEPER_SILENT)
			faults_failed("the keeper did not begin and said no reason");
		if (WEXITSTATUS(status) > STAGE_KEEPER_REFUSED)
			faults_failed("the keeper ended with %d", WEXITSTATUS(status));
	}
	return stage.keeper != 0;
}

static bool answers(void)
{
	int fd = stage_connect();

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* As a service manager does. */
static void have_keeper(void)
{
	if (stopping)
		WAIT_FOR("the end of a keeper that stops", !keeper_lives());
	stopping = false;
	for (unsigned int i = 0; !keeper_lives() || !answers(); i++) {
		if (i > TRIES)
			faults_failed("no keeper stays");
		if (!keeper_lives())
			stage_fork_keeper();
		WAIT_FOR("a keeper that answers", !keeper_lives() || answers());
	}
}

/* -- commands -- */

/* Its text, where it did not work; and that there is one. */
static bool worked(json_object *answer)
{
	json_object *ok = NULL, *error = NULL;
	bool rc;

	/* Dropped, for want of memory or because the keeper ended. */
	if (!answer)
		return false;
	json_object_object_get_ex(answer, "ok", &ok);
	json_object_object_get_ex(answer, "error", &error);
	rc = json_object_get_boolean(ok);
	if (!rc && (!error || !json_object_get_string_len(error)))
		faults_failed("refused without a reason: %s", json_object_to_json_string(answer));
	if (!rc) {
		fprintf(stderr, "refused: %s\n", json_object_get_string(error));
		stopping = strstr(json_object_get_string(error), "is stopping");
	}
	json_object_put(answer);
	return rc;
}

static _Atomic bool asking;
static pthread_t asker;
static json_object *reply;

static void *ask_thread(void *request)
{
	reply = stage_ask(request);
	asking = false;
	return NULL;
}

static void ask(const char *request)
{
	asking = true;
	if (pthread_create(&asker, NULL, ask_thread, (void *)(uintptr_t)request))
		faults_failed("no thread");
}

static bool asked(void)
{
	pthread_join(asker, NULL);
	return worked(reply);
}

static bool node_is(const char *path, const char *value)
{
	return stage_node_is(path, value);
}

static void new_guest(void)
{
	sim_guest_free(stage.guest);
	stage_new_guest();
}

/* The guest's part of an attach: 0, or it was refused. */
static int take_part(void)
{
	char value[NODE_MAX + 1], why[200] = "";
	int rc;

	WAIT_FOR("nodes of the device, or an answer", !asking || stage_node(FE "/state", value));
	if (!asking && !stage_node(FE "/state", value))
		return -ENOENT;
	rc = sim_guest_handshake(stage.guest, 0, why, sizeof(why));
	if (rc == -ECONNREFUSED || rc == -ETIMEDOUT)
		fprintf(stderr, "handshake: %s\n", why);
	return rc ? rc : sim_guest_start(stage.guest);
}

static int devices(void)
{
	int n;

	have_keeper();
	n = stage_devices();
	return n;
}

static void detach_by_force(void)
{
	for (unsigned int i = 0; devices() != 0; i++) {
		if (i > TRIES)
			faults_failed("no detach by force works");
		ask("{\"cmd\":\"detach\",\"domain\":\"1\",\"force\":true,\"timeout\":0}");
		if (asked())
			continue;
		/* A reset that was not confirmed is tried again in a while. */
		for (int ms = 0; ms < 1000 && devices() != 0; ms += 20)
			usleep(20000);
	}
}

static void attach(void)
{
	for (unsigned int i = 0; i < TRIES; i++) {
		int rc;

		have_keeper();
		ask("{\"cmd\":\"attach\",\"domain\":\"guest\",\"source\":\"" STAGE_SOURCE
		    "\",\"timeout\":20}");
		rc = take_part();
		if (asked() && !rc)
			return;
		/* One that was cut off takes itself back; not so if its keeper ended meanwhile. */
		have_keeper();
		detach_by_force();
		new_guest();
	}
	faults_failed("no attach works");
}

/* The device was closed under the guest. It may be, if it says why. */
static bool lost(void)
{
	char value[NODE_MAX + 1] = "";

	have_keeper();
	if (!node_is(BE "/state", "5") && !node_is(BE "/state", "6"))
		return false;
	WAIT_FOR("a reason of a closed device", stage_node(BE "/error", value) && value[0]);
	fprintf(stderr, "lost: %s\n", value);
	return true;
}

static void detach(void);

/* As a driver that waits with a limit: then it resets its device and does it again. */
static void io(unsigned int s)
{
	uint8_t out[8192], in[8192];
	int rc = -EIO;

	for (unsigned int i = 0; rc && i < IO_TRIES; i++) {
		if (i && lost()) {
			detach();
			new_guest();
			attach();
		} else if (i) {
			rc = sim_guest_reset(stage.guest);
			rc = rc ? rc : sim_guest_start(stage.guest);
			if (rc)
				continue;
		}
		memset(out, (int)s, sizeof(out));
		memset(in, 0, sizeof(in));
		rc = sim_blk_write(stage.guest, 0, s * 16, out, sizeof(out));
		if (!rc)
			rc = sim_blk_read(stage.guest, 0, s * 16, in, sizeof(in));
		if (!rc && memcmp(in, out, sizeof(in)))
			faults_failed("other data came back");
	}
	if (rc)
		faults_failed("requests fail: %d, %s", rc, sim_guest_violation(stage.guest));
}

static void detach(void)
{
	for (unsigned int i = 0; i < TRIES; i++) {
		have_keeper();
		ask("{\"cmd\":\"detach\",\"domain\":\"1\",\"timeout\":20}");
		WAIT_FOR("Closing, or an answer", !asking || node_is(BE "/state", "5"));
		if (node_is(BE "/state", "5")) {
			int rc = sim_guest_reset(stage.guest);

			if (rc && rc != -ETIMEDOUT)
				faults_failed("reset: %d, %s", rc,
					      sim_guest_violation(stage.guest));
			if (!rc)
				node_put(stage.hv, 0, FE, "state", "6");
		}
		asked();
		if (devices() == 0)
			return;
	}
	faults_failed("no detach works");
}

static void kill_worker(void)
{
	int64_t pid = -1;

	WAIT_FOR("a worker", (have_keeper(), pid = stage_status("worker")) > 1);
	kill((pid_t)pid, SIGKILL);
}

static void kill_keeper(void)
{
	if (!keeper_lives())
		return;
	kill(stage.keeper, SIGKILL);
	waitpid(stage.keeper, NULL, 0);
	stage.keeper = 0;
	have_keeper();
}

/* -- a run -- */

static void nothing_left(void)
{
	DIR *dir = opendir(stage.run_dir);
	struct dirent *entry;
	struct sim_audit a;
	char text[300];

	while (dir && (entry = readdir(dir)))
		if (!strncmp(entry->d_name, "dev-", 4))
			faults_failed("left: %s", entry->d_name);
	closedir(dir);
	if (shared->held)
		faults_failed("the source was not given back");
	sim_audit(stage.machine, 0, &a);
	sim_audit_text(&a, text, sizeof(text));
	if (a.device_handles || a.host_pages || a.foreign_pages || a.self_pages || a.dma_pages ||
	    a.ports || a.transactions || a.late_writes)
		faults_failed("left: %s", text);
	if (stage_node(BE "/state", (char[NODE_MAX + 1]){ 0 }) ||
	    stage_node(FE "/state", (char[NODE_MAX + 1]){ 0 }))
		faults_failed("nodes are left");
}

static void run(unsigned int scenario)
{
	stage_p2m = scenario == 1;
	stage_reset_ms = WAIT_MS;
	stage_guest_ms = GUEST_MS;
	stage_set();
	stage_device = faults_dev(stage.disk);
	stage_in_keeper = in_keeper;
	/* The disk's thread rests, see stage_start_keeper(). */
	usleep(20000);
	sim_fault_spare(stage.machine, getpid());
	faults_begin(stage.machine);
	attach();
	io(1);
	kill_worker();
	io(2);
	kill_keeper();
	io(3);
	detach();
	faults_end(stage.machine);
	new_guest();
	attach();
	io(4);
	detach();
	/* A map that the keeper could not undo, a transaction it could not end: they go with it. */
	if (!faults_has(FAULT_CALL, SIM_OP_SELF_UNMAP) && !faults_has(FAULT_CALL, SIM_OP_STORE_END))
		nothing_left();
	if (stage_stop_keeper())
		faults_failed("the keeper did not stop in order");
	nothing_left();
	stage_close();
	/* Workers of the keeper that was killed, and holders: all of them have ended or are about to. */
	while (wait(NULL) > 0)
		;
}

/* The data path has its own test. */
static bool wanted(const struct fault *f)
{
	if (f->kind == FAULT_CALL)
		return f->op < SIM_OP_EVTCHN_FD ? f->op != SIM_OP_GNT_COPY :
						  f->op >= SIM_OP_STORE_FD;
	return f->kind == FAULT_SYS || (f->kind == FAULT_DEV && !f->op);
}

static const char *const mended[] = {
	/* No socket for a word to the holder: another descriptor was closed in its place. */
	"daemon-p2m/sys:socket:16:-24/call:store_read:10:-5",
	NULL,
};

static const struct fault_world world = { .scenario = scenarios, .run = run, .mended = mended,
					  .wanted = wanted, .seconds = RUN_SECONDS, .lanes = 4 };

START_TEST(each_single_fault)
{
	ck_assert_uint_eq(faults_single(&world, 2), 0);
}
END_TEST

START_TEST(random_double_faults)
{
	ck_assert_uint_eq(faults_double(&world, 10), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("faults-daemon");
	TCase *tc = tcase_create("daemon");

	tcase_set_timeout(tc, 0);
	tcase_add_test(tc, each_single_fault);
	tcase_add_test(tc, random_double_faults);
	suite_add_tcase(s, tc);
	return check_main(s);
}
