/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest of test_faults.c: a driver that waits as drivers do, and checks what it gets. */
#include "faults_scene.h"

#include "sim/guest_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLICE_MS 20

static struct {
	struct sim_guest *g;
	int keeper;
	bool given_up; /* it saw that the back end keeps its pages: nothing more to be had */
} me;

static uint8_t data[20000], back[20000];

static void ask(enum ask what)
{
	uint32_t msg[3] = { what, 0, 0 };

	if (me.g) {
		msg[1] = sim_guest_ctrl_ref(me.g);
		msg[2] = sim_guest_ctrl_port(me.g);
	}
	if (send(me.keeper, msg, sizeof(msg), MSG_NOSIGNAL) != sizeof(msg) ||
	    recv(me.keeper, msg, sizeof(msg), 0) != sizeof(msg))
		_exit(EXIT_FAILURE); /* the keeper said why */
}

/* Pages that Xen does not give back are reported; anything else is a fault of the back end. */
static bool violated(void)
{
	const char *story = sim_guest_violation(me.g);

	if (!story)
		return false;
	if (!refuses_unmap() || !strstr(story, "still mapped"))
		faults_failed("guest: %s", story);
	me.given_up = true;
	return true;
}

static void check_rc(const char *what, int rc)
{
	if (rc == -ETIMEDOUT)
		faults_failed("guest: %s was not answered", what);
}

/* Brings the device up, from whatever state. */
static void up(void)
{
	int rc = -EIO;

	for (unsigned int i = 0; rc && i < TRIES && !me.given_up; i++) {
		if (i) {
			rc = sim_guest_reset(me.g);
			check_rc("a reset", rc);
			if (violated())
				return;
			if (rc)
				continue;
		}
		rc = sim_guest_start(me.g);
		check_rc("a request of the control page", rc);
	}
	if (rc && !violated())
		faults_failed("guest: the device does not start: %s", strerror(-rc));
}

/*
 * Waits as a driver does, who looks when an event comes and never else: one that is lost is a
 * request that hangs. -EIO: the device is broken.
 */
static int wait_for(unsigned int queue, struct sim_blk_req *req)
{
	struct sim_gqueue *q = &me.g->queue[queue];
	int rc;

	while (!sim_blk_done(me.g, queue, req)) {
		rc = guest_wait_used(me.g, q, SLICE_MS);
		for (unsigned int ms = SLICE_MS; rc == -ETIMEDOUT; ms += SLICE_MS) {
			if (sim_guest_needs_reset(me.g) || violated())
				return -EIO;
			if (ms > WAIT_MS)
				faults_failed("guest: a request hangs%s",
					      guest_used(me.g, q, &(struct vring_used_elem){ 0 }) ?
						      ", done but not told" :
						      "");
			rc = sim_evtchn_wait(scene.machine, scene.domid, q->ring.port, SLICE_MS);
			rc = rc > 0 ? 0 : rc ? rc : -ETIMEDOUT;
		}
		if (rc)
			return rc;
	}
	return sim_blk_wait(me.g, queue, req);
}

/* One request; again after a reset where the device broke. Its data are right in the end. */
static int io(unsigned int queue, uint32_t type, uint64_t sector, uint8_t *buf, size_t len)
{
	struct sim_sg sg[64];
	struct sim_blk_req *req;
	unsigned int n;
	int rc = sim_sg_alloc(me.g, len, 4096, 60, sg, &n);

	if (!rc && type == VIRTIO_BLK_T_OUT)
		rc = sim_sg_fill(me.g, sg, n, buf);
	if (rc)
		faults_failed("guest: no pages: %s", strerror(-rc));
	req = sim_blk_submit(me.g, queue, type, sector, sg, n, &rc);
	if (!req)
		faults_failed("guest: submit: %s", strerror(-rc));
	sim_blk_kick(me.g, queue);
	rc = wait_for(queue, req);
	if (rc == 0 && type == VIRTIO_BLK_T_IN)
		rc = sim_sg_fetch(me.g, sg, n, buf);
	if (!rc)
		sim_sg_free(me.g, sg, n);
	violated();
	return rc;
}

static void io_right(unsigned int queue, uint64_t sector, size_t len, unsigned int s)
{
	int rc = -EIO;

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(s * 131 + i * 7 + (i >> 8));
	for (unsigned int i = 0; rc && i < TRIES && !me.given_up; i++) {
		if (i)
			up();
		if (me.given_up)
			return;
		memset(back, 0, len);
		rc = io(queue, VIRTIO_BLK_T_OUT, sector, data, len);
		if (!rc)
			rc = io(queue, VIRTIO_BLK_T_IN, sector, back, len);
	}
	if (me.given_up)
		return;
	if (rc)
		faults_failed("guest: requests fail: %d", rc);
	if (memcmp(data, back, len))
		faults_failed("guest: other data came back");
}

static void some_io(unsigned int s)
{
	static const size_t lens[] = { 512, 4096, 20000 };

	for (unsigned int i = 0; i < 3 && !me.given_up; i++)
		io_right(i % QUEUES, i * 128, lens[i] & ~511u, s + i);
}

static struct {
	struct sim_blk_req *req[FLYING];
	struct sim_sg sg[FLYING][8];
	unsigned int n[FLYING];
} fly;

/* Requests that the device sits on. */
static void take_off(void)
{
	int rc;

	check_dev_pause(scene.disk, true);
	sim_blk_cork(me.g, 0);
	for (unsigned int i = 0; i < FLYING; i++) {
		rc = sim_sg_alloc(me.g, 4096, 4096, 8, fly.sg[i], &fly.n[i]);
		if (!rc)
			rc = sim_sg_fill(me.g, fly.sg[i], fly.n[i], data);
		fly.req[i] = rc ? NULL : sim_blk_submit(me.g, 0, VIRTIO_BLK_T_OUT, 1000 + i * 8,
							fly.sg[i], fly.n[i], &rc);
		if (!fly.req[i])
			faults_failed("guest: submit: %s", strerror(-rc));
	}
	sim_blk_kick(me.g, 0);
}

static void land(void)
{
	int rc = 0;

	check_dev_pause(scene.disk, false);
	for (unsigned int i = 0; i < FLYING && !rc; i++) {
		rc = wait_for(0, fly.req[i]);
		if (!rc)
			sim_sg_free(me.g, fly.sg[i], fly.n[i]);
	}
	violated();
	if (rc && !me.given_up)
		up(); /* broken: the reset takes them back */
}

static void reset(void)
{
	int rc = -EIO;

	for (unsigned int i = 0; rc && i < TRIES && !me.given_up; i++) {
		rc = sim_guest_reset(me.g);
		check_rc("a reset", rc);
		violated();
	}
	if (rc && !me.given_up)
		faults_failed("guest: reset: %s", strerror(-rc));
}

static void connect_anew(void)
{
	const struct sim_guest_config config = {
		.machine = scene.machine, .domid = scene.domid, .backend = BACK, .timeout = WAIT_MS,
		.addressing = scene.mode->addressing, .protection = scene.mode->protection,
		.no_features = scene.mode->no_features, .queue_size = 64,
	};
	int rc;

	me.g = sim_guest_new(&config, &rc);
	if (!me.g)
		faults_failed("guest: %s", strerror(-rc));
	ask(ASK_CONNECT);
	up();
}

static void disconnect(void)
{
	reset();
	ask(ASK_CLOSE);
	violated();
	sim_guest_free(me.g);
	me.g = NULL;
}

void guest_process(int keeper, bool brief)
{
	uint8_t wce = 0;

	me.keeper = keeper;
	faults_inside = false;
	connect_anew();
	some_io(1);
	if (!brief && !me.given_up) {
		check_rc("a change of the config", sim_guest_config_write(me.g, 32, &wce, 1));
		if (scene.mode->protection != XVS_PROTECTION_STRICT)
			check_rc("a release of grants", sim_guest_release(me.g));
		violated();
	}
	if (!brief && !me.given_up) {
		take_off();
		ask(ASK_KILL);
		land();
		some_io(10);
	}
	disconnect();
	me.given_up = false;
	if (!brief) {
		connect_anew();
		some_io(20);
		if (!me.given_up)
			take_off();
		ask(ASK_DIE);
	}
	_exit(EXIT_SUCCESS);
}
