/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulated front end in the store, and a back end in a process of its own. */
#include "check_main.h"
#include "dev/check.h"
#include "mini_back.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACK 0
#define GUEST 5
#define FRONT_PATH "/local/domain/5/device/virtio-xenbus/0/"
#define BACK_PATH "/local/domain/0/backend/virtio-xenbus/5/0/"

static struct sim_machine *m;
static struct sim_guest *g;
static struct xdev *dev;

static void setup(void)
{
	struct sim_guest_config gc = { .domid = GUEST, .backend = BACK, .timeout = 2000 };
	struct check_config c = { .delay_us = 1 };
	int err = 0;

	m = sim_machine_new(NULL, &err);
	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(sim_domain_add(m, BACK, 1024, false), 0);
	ck_assert_int_eq(sim_domain_add(m, GUEST, 1024, true), 0);
	c.machine = gc.machine = m;
	g = sim_guest_new(&gc, &err);
	ck_assert_ptr_nonnull(g);
	dev = check_dev_open(&c, &err);
	ck_assert_ptr_nonnull(dev);
}

static void teardown(void)
{
	struct sim_audit a;

	dev->ops->close(dev);
	sim_guest_free(g);
	sim_audit(m, SIM_ANY, &a);
	ck_assert_uint_eq(a.opens + a.watches + a.transactions + a.host_pages, 0);
	sim_machine_free(m);
}

static void on_event(void *arg, const char *path, const char *token)
{
	(void)path;
	(void)token;
	++*(int *)arg;
}

/* Waits until the front end is in a state, as a keeper would: by its watch. */
static void await_front(struct hv *hv, const char *state)
{
	struct pollfd pfd = { .fd = hv->ops->store_fd(hv), .events = POLLIN };
	int events = 0;
	char *text;

	for (;;) {
		bool there;

		if (hv->ops->store_read(hv, 0, FRONT_PATH "state", &text))
			abort();
		there = !strcmp(text, state);
		free(text);
		if (there)
			return;
		if (poll(&pfd, 1, 5000) != 1)
			abort();
		hv->ops->store_dispatch(hv, on_event, &events);
	}
}

static void say(struct hv *hv, const char *key, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), BACK_PATH "%s", key);
	if (hv->ops->store_write(hv, 0, path, value))
		abort();
}

static unsigned int number(struct hv *hv, const char *path)
{
	unsigned int n;
	char *text;

	if (hv->ops->store_read(hv, 0, path, &text))
		abort();
	n = (unsigned int)strtoul(text, NULL, 10);
	free(text);
	return n;
}

/* The back end's half of docs/protocol.md, "States"; arg: what it offers for addressing. */
static void *keeper(void *arg)
{
	int err = 0;
	struct hv *hv = sim_hv_open(m, BACK, HV_CAP_STORE, &err);
	struct mini_back *b = NULL;

	if (!hv || hv->ops->store_watch(hv, FRONT_PATH "state", "front"))
		abort();
	say(hv, "versions", "1");
	say(hv, "device-id", "2");
	say(hv, "addressing-offered", arg);
	say(hv, "protection-offered", "strict");
	say(hv, "state", "2");
	if (!strcmp(arg, "p2m"))
		goto out;
	await_front(hv, "3");
	b = mini_back_start(m, BACK, GUEST, dev, number(hv, FRONT_PATH "ctrl-ref"),
			    number(hv, FRONT_PATH "event-channel"), MINI_GOOD);
	say(hv, "state", "4");
	await_front(hv, "5");
	say(hv, "state", "5");
	await_front(hv, "6");
	mini_back_stop(b);
	say(hv, "state", "6");
out:
	hv_close(hv);
	return NULL;
}

START_TEST(test_handshake)
{
	uint8_t out[3000 / 512 * 512], in[sizeof(out)];
	char why[128] = "";
	pthread_t t;

	ck_assert_int_eq(sim_toolstack_attach(m, GUEST, BACK, 0, "pci:0000:00:04.0"), 0);
	pthread_create(&t, NULL, keeper, (void *)(uintptr_t)"grant");
	ck_assert_msg(!sim_guest_handshake(g, 0, why, sizeof(why)), "%s", why);
	ck_assert_int_eq(sim_guest_start(g), 0);
	memset(out, 0x3c, sizeof(out));
	ck_assert_int_eq(sim_blk_write(g, 0, 3, out, sizeof(out)), 0);
	ck_assert_int_eq(sim_blk_read(g, 0, 3, in, sizeof(in)), 0);
	ck_assert_mem_eq(in, out, sizeof(in));
	ck_assert_int_eq(sim_guest_reset(g), 0);
	ck_assert_int_eq(sim_guest_goodbye(g, 0), 0);
	pthread_join(t, NULL);
	ck_assert_int_eq(sim_toolstack_remove(m, GUEST, BACK, 0), 0);
}
END_TEST

START_TEST(test_nothing_in_common)
{
	char why[128] = "";
	pthread_t t;

	ck_assert_int_eq(sim_toolstack_attach(m, GUEST, BACK, 0, "pci:0000:00:04.0"), 0);
	pthread_create(&t, NULL, keeper, (void *)(uintptr_t)"p2m");
	ck_assert_int_eq(sim_guest_handshake(g, 0, why, sizeof(why)), -EPROTO);
	ck_assert_ptr_nonnull(strstr(why, "no common"));
	pthread_join(t, NULL);
}
END_TEST

START_TEST(test_refused)
{
	int err = 0;
	struct hv *hv = sim_hv_open(m, BACK, HV_CAP_STORE, &err);
	char why[128] = "";

	ck_assert_int_eq(sim_toolstack_attach(m, GUEST, BACK, 0, "pci:0000:00:04.0"), 0);
	say(hv, "error", "no such device");
	say(hv, "state", "5");
	ck_assert_int_eq(sim_guest_handshake(g, 0, why, sizeof(why)), -ECONNREFUSED);
	ck_assert_str_eq(why, "no such device");
	ck_assert_int_eq(sim_toolstack_detach(m, GUEST, BACK, 0), 0);
	ck_assert_uint_eq(number(hv, BACK_PATH "online"), 0);
	hv_close(hv);
}
END_TEST

/* 32: the store refuses for a while. */
START_TEST(test_attach_conflict)
{
	sim_fault_set(m, SIM_OP_STORE_END, 1, -EAGAIN);
	ck_assert_int_eq(sim_toolstack_attach(m, GUEST, BACK, 0, "pci:0000:00:04.0"), 0);
	sim_fault_set(m, SIM_OP_STORE_WRITE, 3, -ENOSPC);
	ck_assert_int_lt(sim_toolstack_attach(m, GUEST, BACK, 1, "pci:0000:00:05.0"), 0);
}
END_TEST

/* 50: the process that serves is killed while the device works; what it holds must stay. */
START_TEST(test_killed_with_dma_live)
{
	struct sim_blk_req *req;
	struct check_stats stats;
	struct sim_audit a;
	struct sim_sg sg;
	unsigned int n;
	int err = 0;
	pid_t pid = fork();

	if (!pid)
		mini_back_serve(m, BACK, GUEST, dev, sim_guest_ctrl_ref(g),
				sim_guest_ctrl_port(g));
	ck_assert_int_eq(sim_guest_start(g), 0);
	check_dev_pause(dev, true);
	ck_assert_int_eq(sim_sg_alloc(g, 512, 512, 1, &sg, &n), 0);
	req = sim_blk_submit(g, 0, VIRTIO_BLK_T_IN, 0, &sg, n, &err);
	ck_assert_ptr_nonnull(req);
	sim_blk_kick(g, 0);
	do {
		usleep(1000);
		check_dev_stats(dev, &stats);
	} while (!stats.notifies);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	sim_audit(m, BACK, &a);
	ck_assert_uint_ge(a.device_handles, 3);
	ck_assert_uint_gt(a.dma_pages, 0);
	ck_assert_uint_eq(a.host_pages + a.ports + a.opens, 0);
	/* All it needs is pinned still: this would be a violation otherwise. */
	check_dev_pause(dev, false);
	do {
		usleep(1000);
		check_dev_stats(dev, &stats);
	} while (!stats.completed);
	ck_assert_int_eq(dev->ops->reset(dev), 0);
	ck_assert(!sim_blk_done(g, 0, req));
}
END_TEST

static Suite *sim_bus_suite(void)
{
	Suite *s = suite_create("sim-bus");
	TCase *tc = tcase_create("bus");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_handshake);
	tcase_add_test(tc, test_nothing_in_common);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_attach_conflict);
	tcase_add_test(tc, test_killed_with_dma_live);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return check_main(sim_bus_suite());
}
