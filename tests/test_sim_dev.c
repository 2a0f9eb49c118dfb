/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulated guest and the checking device, with a back end of a few lines between them. */
#include "check_main.h"
#include "dev/check.h"
#include "mini_back.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACK 0
#define GUEST 5

static struct sim_machine *m;
static struct xdev *dev;
static struct sim_guest *g;
static struct mini_back *back;
static unsigned int guest_traces, dev_traces;

static void on_violation(void *arg, const char *story)
{
	(void)arg;
	(void)story;
}

static void on_guest_trace(void *arg, const struct sim_guest_trace *t)
{
	(void)arg;
	ck_assert((t->daddr & 4095) == (t->gpa & 4095));
	guest_traces++;
}

static void on_dev_trace(void *arg, const struct check_trace *t)
{
	uint16_t domid;
	pfn_t pfn;

	(void)arg;
	ck_assert_int_eq(sim_m2p(m, mfn_of(t->maddr), &domid, &pfn), 0);
	ck_assert_uint_eq(domid, GUEST);
	dev_traces++;
}

static void up(struct check_config c, struct sim_guest_config gc, enum mini_bug bug)
{
	int err = 0;

	m = sim_machine_new(NULL, &err);
	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(sim_domain_add(m, BACK, 2048, false), 0);
	ck_assert_int_eq(sim_domain_add(m, GUEST, 2048, false), 0);
	c.machine = gc.machine = m;
	c.violation = on_violation;
	gc.domid = GUEST;
	gc.backend = BACK;
	gc.timeout = gc.timeout ? gc.timeout : 5000;
	dev = check_dev_open(&c, &err);
	ck_assert_ptr_nonnull(dev);
	g = sim_guest_new(&gc, &err);
	ck_assert_ptr_nonnull(g);
	back = mini_back_start(m, BACK, GUEST, dev, sim_guest_ctrl_ref(g), sim_guest_ctrl_port(g),
			       bug);
	ck_assert_int_eq(sim_guest_start(g), 0);
}

static void down(bool clean)
{
	struct sim_audit a;
	char text[256];

	if (clean) {
		ck_assert_msg(!check_dev_violation(dev), "%s", check_dev_violation(dev));
		ck_assert_int_eq(sim_guest_reset(g), 0);
	}
	mini_back_stop(back);
	sim_guest_free(g);
	dev->ops->close(dev);
	sim_audit(m, SIM_ANY, &a);
	sim_audit_text(&a, text, sizeof(text));
	if (clean)
		ck_assert_msg(!a.device_handles && !a.host_pages && !a.dma_pages && !a.grants &&
			      !a.ports && !a.opens && !a.late_writes, "left over: %s", text);
	sim_machine_free(m);
}

static void fill(uint8_t *buf, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(i * 31 + i / 251 + seed * 17);
}

static void round_trips(unsigned int queue, int rounds)
{
	static _Thread_local uint8_t out[32768], in[32768];

	for (int i = 0; i < rounds; i++) {
		size_t len = 512u << (i % 7);
		uint64_t sector = 100u * queue + (unsigned int)i % 3;

		fill(out, len, (unsigned int)i);
		ck_assert_int_eq(sim_blk_write(g, queue, sector, out, len), 0);
		memset(in, 0, len);
		ck_assert_int_eq(sim_blk_read(g, queue, sector, in, len), 0);
		ck_assert_mem_eq(in, out, len);
	}
	ck_assert_int_eq(sim_blk_flush(g, queue), 0);
}

static const uint64_t refused[] = {
	0,
	1ull << VIRTIO_RING_F_EVENT_IDX,
};

START_TEST(test_round_trips)
{
	struct check_config c = { .trace = on_dev_trace, .seed = 7 };
	struct sim_guest_config gc = { .no_features = refused[_i], .trace = on_guest_trace };
	struct check_stats stats;

	up(c, gc, MINI_GOOD);
	round_trips(0, 50);
	check_dev_stats(dev, &stats);
	ck_assert_uint_eq(stats.requests, 101);
	ck_assert_uint_eq(stats.completed, 101);
	ck_assert_uint_gt(guest_traces, 300);
	ck_assert_uint_ge(dev_traces, guest_traces);
	down(true);
}
END_TEST

static void *one_queue(void *arg)
{
	round_trips((unsigned int)(uintptr_t)arg, 20);
	return NULL;
}

START_TEST(test_several_queues)
{
	struct check_config c = { .num_queues = 3, .shuffle = true, .delay_us = 500 };
	pthread_t t[3];

	up(c, (struct sim_guest_config){ .seed = 3 }, MINI_GOOD);
	ck_assert_uint_eq(sim_guest_queues(g), 3);
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, one_queue, (void *)i);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	down(true);
}
END_TEST

START_TEST(test_many_in_flight)
{
	struct check_config c = { .shuffle = true, .delay_us = 3000, .suppress = _i };
	struct sim_blk_req *req[16];
	struct sim_sg sg[16][4];
	unsigned int n[16];
	uint8_t data[4096], back_again[4096];
	int err = 0;

	up(c, (struct sim_guest_config){ .seed = 1 }, MINI_GOOD);
	for (int i = 0; i < 16; i++) {
		fill(data, sizeof(data), (unsigned int)i);
		ck_assert_int_eq(sim_sg_alloc(g, 4096, 3000, 4, sg[i], &n[i]), 0);
		ck_assert_int_eq(sim_sg_fill(g, sg[i], n[i], data), 0);
		req[i] = sim_blk_submit(g, 0, VIRTIO_BLK_T_OUT, (uint64_t)i * 8, sg[i], n[i],
					&err);
		ck_assert_ptr_nonnull(req[i]);
	}
	sim_blk_kick(g, 0);
	for (int i = 15; i >= 0; i--)
		ck_assert_int_eq(sim_blk_wait(g, 0, req[i]), 0);
	for (int i = 0; i < 16; i++) {
		fill(data, sizeof(data), (unsigned int)i);
		ck_assert_int_eq(sim_blk_read(g, 0, (uint64_t)i * 8, back_again, 4096), 0);
		ck_assert_mem_eq(data, back_again, 4096);
		sim_sg_free(g, sg[i], n[i]);
	}
	down(true);
}
END_TEST

/* 13: requests the disk has to refuse. */
START_TEST(test_io_errors)
{
	struct check_config c = { .sectors = 16, .readonly = _i };
	uint8_t buf[1024] = { 0 };

	up(c, (struct sim_guest_config){ 0 }, MINI_GOOD);
	ck_assert_int_eq(sim_blk_read(g, 0, 15, buf, 512), 0);
	ck_assert_int_eq(sim_blk_read(g, 0, 15, buf, 1024), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(sim_blk_read(g, 0, ~0ull, buf, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(sim_blk_read(g, 0, 0, buf, 100), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(sim_blk_write(g, 0, 0, buf, 512), _i ? VIRTIO_BLK_S_IOERR : 0);
	check_dev_misbehave(dev, CHECK_IO_ERROR, 1);
	ck_assert_int_eq(sim_blk_read(g, 0, 0, buf, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(sim_blk_read(g, 0, 0, buf, 512), 0);
	down(true);
}
END_TEST

START_TEST(test_reset_and_again)
{
	struct check_config c = { .delay_us = 100000 };
	struct sim_blk_req *req;
	struct sim_sg sg;
	unsigned int n;
	int err = 0;

	up(c, (struct sim_guest_config){ 0 }, MINI_GOOD);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(sim_sg_alloc(g, 512, 512, 1, &sg, &n), 0);
		req = sim_blk_submit(g, 0, VIRTIO_BLK_T_IN, 0, &sg, n, &err);
		ck_assert_ptr_nonnull(req);
		sim_blk_kick(g, 0);
		ck_assert_int_eq(sim_guest_reset(g), 0);
		sim_sg_free(g, &sg, n);
		ck_assert_int_eq(sim_guest_start(g), 0);
	}
	down(true);
}
END_TEST

/* 35: the device works on until it confirms the reset. */
START_TEST(test_slow_reset)
{
	struct check_config c = { .delay_us = 1, .reset_delay_ms = 30 };
	struct check_stats stats;
	struct sim_sg sg;
	unsigned int n;
	int err = 0;

	up(c, (struct sim_guest_config){ 0 }, MINI_GOOD);
	check_dev_pause(dev, true);
	sim_sg_alloc(g, 512, 512, 1, &sg, &n);
	ck_assert_ptr_nonnull(sim_blk_submit(g, 0, VIRTIO_BLK_T_IN, 0, &sg, n, &err));
	check_dev_pause(dev, false);
	sim_blk_kick(g, 0);
	usleep(1000);
	ck_assert_int_eq(sim_guest_reset(g), 0);
	check_dev_stats(dev, &stats);
	ck_assert_uint_eq(stats.completed, stats.requests);
	sim_sg_free(g, &sg, n);
	down(true);
}
END_TEST

START_TEST(test_hung_reset)
{
	/* the second one has to be confirmed in that time, on a busy machine too */
	struct check_config c = { .reset_timeout_ms = 1000 };

	up(c, (struct sim_guest_config){ 0 }, MINI_GOOD);
	check_dev_misbehave(dev, CHECK_HANG_RESET, 1);
	ck_assert_int_eq(dev->ops->reset(dev), -ETIMEDOUT);
	check_dev_misbehave(dev, CHECK_HANG_RESET, 0);
	ck_assert_int_eq(dev->ops->reset(dev), 0);
	ck_assert_int_eq(dev->ops->get_status(dev), 0);
	down(true);
}
END_TEST

START_TEST(test_config)
{
	struct virtio_blk_config c;
	uint8_t wce = 1;

	up((struct check_config){ .sectors = 777 }, (struct sim_guest_config){ 0 }, MINI_GOOD);
	ck_assert_int_eq(sim_guest_config_read(g, 0, &c, sizeof(c)), 0);
	ck_assert_uint_eq(c.capacity, 777);
	ck_assert_int_eq(sim_guest_config_write(g, offsetof(struct virtio_blk_config, wce), &wce,
						1), 0);
	ck_assert_int_eq(sim_guest_config_read(g, 0, &c, sizeof(c)), 0);
	ck_assert_uint_eq(c.wce, 1);
	ck_assert_int_eq(dev->ops->config_read(dev, 4000, &c, 4), -EINVAL);
	ck_assert(sim_guest_features(g) >> VIRTIO_F_ACCESS_PLATFORM & 1);
	check_dev_fail(dev);
	ck_assert_int_eq(sim_guest_set_features(g, 0), 0);
	ck_assert(sim_guest_needs_reset(g));
	down(true);
}
END_TEST

/* What a back end does wrong to the device, and the words it is found out with. */
static const struct {
	enum mini_bug bug;
	unsigned int delay_us;
	const char *story;
} wrong[] = {
	{ MINI_USE_PFN, 0, "" },
	{ MINI_MAP_READONLY, 0, "for reading only" },
	{ MINI_EARLY_UNMAP, 500000, "no live device-map handle" },
	{ MINI_REMAP, 500000, "mapped again meanwhile" },
	{ MINI_OWN_MEMORY, 0, "descriptor table" },
	{ MINI_WRONG_ORDER, 0, "device would write, the handle is for reading only" },
};

/* The guest gives up by itself; the device may not have come to look by then. */
static const char *wait_for_violation(void)
{
	const char *story = check_dev_violation(dev);

	for (int ms = 0; !story && ms < 20000; ms += 10) {
		usleep(10000);
		story = check_dev_violation(dev);
	}
	return story;
}

START_TEST(test_device_finds_out)
{
	struct check_config c = { .delay_us = wrong[_i].delay_us, .seed = 5 };
	struct sim_guest_config gc = { .timeout = 1000, .no_features = 0 };
	uint8_t buf[512] = { 0 };
	const char *story;

	up(c, gc, wrong[_i].bug);
	ck_assert_int_lt(sim_blk_read(g, 0, 0, buf, sizeof(buf)), 0);
	story = wait_for_violation();
	ck_assert_ptr_nonnull(story);
	ck_assert_msg(strstr(story, wrong[_i].story), "%s", story);
	down(false);
}
END_TEST

static const struct {
	enum mini_bug bug;
	const char *story;
} rude[] = {
	{ MINI_LATE_UNMAP, "still mapped" },
	{ MINI_USED_LEN, "used length" },
	{ MINI_USED_ID, "not in flight" },
};

START_TEST(test_guest_finds_out)
{
	uint8_t buf[512] = { 0 };

	up((struct check_config){ 0 }, (struct sim_guest_config){ .timeout = 20000 }, rude[_i].bug);
	ck_assert_int_eq(sim_blk_write(g, 0, 0, buf, sizeof(buf)), -EPROTO);
	ck_assert_ptr_nonnull(sim_guest_violation(g));
	ck_assert_msg(strstr(sim_guest_violation(g), rude[_i].story), "%s",
		      sim_guest_violation(g));
	ck_assert_ptr_null(check_dev_violation(dev));
	down(false);
}
END_TEST

/* 33, 34: the mischief reaches the back end; this one passes it on, and the guest sees it. */
static const enum check_mischief mischief[] = {
	CHECK_BAD_ID, CHECK_STALE_ID, CHECK_TWICE, CHECK_LONG, CHECK_LOSE,
};

START_TEST(test_mischief)
{
	uint8_t buf[512] = { 0 };
	int rc;

	up((struct check_config){ 0 }, (struct sim_guest_config){ .timeout = 200 }, MINI_GOOD);
	check_dev_misbehave(dev, mischief[_i], 1);
	rc = sim_blk_read(g, 0, 0, buf, sizeof(buf));
	/* The second of two may only come when its id is in flight again, and end that early. */
	if (!rc && mischief[_i] == CHECK_TWICE)
		rc = sim_blk_read(g, 0, 0, buf, sizeof(buf)) ? -EPROTO : 0;
	ck_assert_int_eq(rc, mischief[_i] == CHECK_LOSE ? -ETIMEDOUT : -EPROTO);
	down(false);
}
END_TEST

/* Raw access: a driver that writes its own descriptors. */
START_TEST(test_raw)
{
	struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_GET_ID };
	struct vring_used_elem e;
	struct sim_ring *ring;
	uint64_t daddr[3];
	uint32_t ref[3], n[3];
	char id[21] = "";
	uint64_t gpa;
	pfn_t pfn;

	up((struct check_config){ 0 }, (struct sim_guest_config){ 0 }, MINI_GOOD);
	ring = sim_guest_ring(g, 0);
	sim_pages_alloc(m, GUEST, 1, &pfn);
	gpa = pfn.n << 12;
	sim_mem_write(m, GUEST, gpa, &hdr, sizeof(hdr));
	ck_assert_int_eq(sim_guest_expose(g, gpa, 16, true, &daddr[0], &ref[0], &n[0]), 0);
	ck_assert_int_eq(sim_guest_expose(g, gpa + 64, 20, false, &daddr[1], &ref[1], &n[1]), 0);
	ck_assert_int_eq(sim_guest_expose(g, gpa + 99, 1, false, &daddr[2], &ref[2], &n[2]), 0);
	ring->desc[9] = (struct vring_desc){ daddr[0], 16, VRING_DESC_F_NEXT, 2 };
	ring->desc[2] = (struct vring_desc){ daddr[1], 20,
					     VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 7 };
	ring->desc[7] = (struct vring_desc){ daddr[2], 1, VRING_DESC_F_WRITE, 0 };
	sim_guest_push(g, 0, 9);
	ck_assert_int_eq(sim_guest_kick(g, 0), 0);
	ck_assert_int_eq(sim_guest_pop(g, 0, 2000, &e), 0);
	ck_assert_uint_eq(e.id, 9);
	ck_assert_uint_eq(e.len, 21);
	ck_assert_int_eq(sim_guest_pop(g, 0, 10, &e), -EAGAIN);
	sim_mem_read(m, GUEST, gpa + 64, id, 20);
	ck_assert_str_eq(id, "xvshim-check");
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(sim_grant_end(m, GUEST, ref[i], n[i]), 0);
	sim_pages_free(m, GUEST, pfn, 1);
	down(true);
}
END_TEST

START_TEST(test_net_loops)
{
	struct check_config c = { .device_id = 1 };
	struct vring_used_elem e;
	uint64_t daddr[2];
	uint32_t ref[2], n[2];
	char text[32] = "";
	pfn_t pfn;

	up(c, (struct sim_guest_config){ 0 }, MINI_GOOD);
	ck_assert_uint_eq(sim_guest_queues(g), 2);
	sim_pages_alloc(m, GUEST, 2, &pfn);
	sim_mem_write(m, GUEST, pfn.n << 12, "headroom and a packet", 22);
	ck_assert_int_eq(sim_guest_expose(g, pfn.n << 12, 22, true, &daddr[0], &ref[0], &n[0]), 0);
	ck_assert_int_eq(sim_guest_expose(g, (pfn.n + 1) << 12, 1500, false, &daddr[1], &ref[1],
					  &n[1]), 0);
	sim_guest_ring(g, 0)->desc[0] = (struct vring_desc){ daddr[1], 1500, VRING_DESC_F_WRITE,
							     0 };
	sim_guest_push(g, 0, 0);
	sim_guest_kick(g, 0);
	usleep(20000);
	sim_guest_ring(g, 1)->desc[0] = (struct vring_desc){ daddr[0], 22, 0, 0 };
	sim_guest_push(g, 1, 0);
	sim_guest_kick(g, 1);
	ck_assert_int_eq(sim_guest_pop(g, 1, 2000, &e), 0);
	ck_assert_int_eq(sim_guest_pop(g, 0, 2000, &e), 0);
	ck_assert_uint_eq(e.len, 22);
	sim_mem_read(m, GUEST, (pfn.n + 1) << 12, text, 22);
	ck_assert_str_eq(text, "headroom and a packet");
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(sim_grant_end(m, GUEST, ref[i], n[i]), 0);
	sim_pages_free(m, GUEST, pfn, 2);
	down(true);
}
END_TEST

static Suite *sim_dev_suite(void)
{
	Suite *s = suite_create("sim-dev");
	TCase *tc = tcase_create("device");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_round_trips, 0, 2);
	tcase_add_test(tc, test_several_queues);
	tcase_add_loop_test(tc, test_many_in_flight, 0, 2);
	tcase_add_loop_test(tc, test_io_errors, 0, 2);
	tcase_add_test(tc, test_reset_and_again);
	tcase_add_test(tc, test_slow_reset);
	tcase_add_test(tc, test_hung_reset);
	tcase_add_test(tc, test_config);
	tcase_add_loop_test(tc, test_device_finds_out, 0, 6);
	tcase_add_loop_test(tc, test_guest_finds_out, 0, 3);
	tcase_add_loop_test(tc, test_mischief, 0, 5);
	tcase_add_test(tc, test_raw);
	tcase_add_test(tc, test_net_loops);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return check_main(sim_dev_suite());
}
