/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device is taken away that a guest uses: by the outer hypervisor, or by force. */
#include "check_main.h"
#include "stage.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <unistd.h>

#define DISK_SECTORS 8192
#define REQUESTS 40u
#define PIECES 4u

static struct stage st;
static uint8_t data[8192];

static const struct sim_guest_config modes[] = {
	{ .protection = XVS_PROTECTION_STRICT },
	{ .protection = XVS_PROTECTION_STRICT,
	  .no_features = 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX },
	{ .protection = XVS_PROTECTION_LAZY },
	{ .addressing = XVS_ADDRESSING_P2M },
	{ .addressing = XVS_ADDRESSING_P2M, .no_features = 1ull << VIRTIO_RING_F_INDIRECT_DESC },
};
#define MODES (sizeof(modes) / sizeof(modes[0]))

static struct session_stats *stats(void)
{
	return &st.journal.data->stats;
}

static void up(const struct sim_guest_config *mode)
{
	const struct check_config dev = { .sectors = DISK_SECTORS, .num_queues = 2 };

	stage_up(&st, &dev, mode);
	stage_start(&st, false);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_some_io(&st, DISK_SECTORS, 20);
}

static void plug_out(void)
{
	check_dev_unplug(st.dev, true);
	check_dev_pause(st.dev, false);
}

/* For what needs a sound device, as the end of a test does. */
static void plug_in(void)
{
	check_dev_unplug(st.dev, false);
}

static void take_away(void)
{
	ck_assert_int_eq(write(st.stop_fd, "", 1), 1);
}

/* Until the worker has heard it: one that is busy serves what comes before. */
static void take_away_heard(void)
{
	uint32_t seq = atomic_load(&stats()->reason_seq);

	take_away();
	for (int i = 0; i < 5000 && atomic_load(&stats()->reason_seq) != seq + 2; i++)
		usleep(1000);
	ck_assert_uint_eq(atomic_load(&stats()->reason_seq), seq + 2);
}

static void expect_errors(void)
{
	memset(data, 0xa5, sizeof(data));
	for (unsigned int queue = 0; queue < 2; queue++) {
		ck_assert_int_eq(sim_blk_write(st.guest, queue, 0, data, sizeof(data)),
				 VIRTIO_BLK_S_IOERR);
		ck_assert_int_eq(sim_blk_read(st.guest, queue, 0, data, sizeof(data)),
				 VIRTIO_BLK_S_IOERR);
		ck_assert_int_eq(sim_blk_flush(st.guest, queue), VIRTIO_BLK_S_IOERR);
	}
}

START_TEST(requests_in_flight_and_later_ones_end_with_an_error)
{
	struct sim_blk_req *req[REQUESTS];
	struct sim_sg sg[REQUESTS][PIECES];
	unsigned int n[REQUESTS];
	bool by_force = _i >= (int)MODES;
	int err;

	up(&modes[_i % MODES]);
	check_dev_pause(st.dev, true);
	for (unsigned int i = 0; i < REQUESTS; i++) {
		ck_assert_int_eq(sim_sg_alloc(st.guest, sizeof(data), 4096, PIECES, sg[i], &n[i]), 0);
		req[i] = sim_blk_submit(st.guest, i % 2,
					i % 3 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
					i * 16ull, sg[i], n[i], &err);
		if (!req[i]) { /* direct chains fill the ring sooner */
			ck_assert_int_eq(err, -ENOSPC);
			sim_sg_free(st.guest, sg[i], n[i]);
			continue;
		}
		sim_blk_kick(st.guest, i % 2);
	}
	for (int i = 0; i < 500 && atomic_load(&stats()->inflight) < 10; i++)
		usleep(10000);
	ck_assert_uint_ge(atomic_load(&stats()->inflight), 10);
	if (by_force)
		take_away();
	else
		plug_out();
	for (unsigned int i = 0; i < REQUESTS; i++) {
		if (!req[i])
			continue;
		ck_assert_int_eq(sim_blk_wait(st.guest, i % 2, req[i]), VIRTIO_BLK_S_IOERR);
		sim_sg_free(st.guest, sg[i], n[i]);
	}
	expect_errors();
	ck_assert(!sim_guest_needs_reset(st.guest));
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	ck_assert_uint_eq(atomic_load(&stats()->inflight), 0);
	ck_assert_uint_ge(atomic_load(&stats()->failed), 16);
	ck_assert_str_eq(stats()->reason, by_force ? "the nested device is taken away" :
						    "the nested device is gone");
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	check_dev_pause(st.dev, false);
	if (!by_force)
		plug_in();
	stage_down(&st);
}
END_TEST

/* What is in its place then is another one: this session leaves it alone, the next may have it. */
START_TEST(device_that_went_does_not_come_back)
{
	up(&modes[0]);
	plug_out();
	expect_errors();
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	plug_in();
	ck_assert_int_ne(sim_guest_start(st.guest), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(stage_stop(&st), 0);
	stage_start(&st, false);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 8, 4096, 1);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

/* Not even where the driver begins again. */
START_TEST(device_that_was_taken_does_not_come_back)
{
	up(&modes[0]);
	if (_i) {
		plug_out();
		take_away();
	} else {
		take_away_heard();
	}
	expect_errors();
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	if (_i)
		plug_in();
	ck_assert_int_ne(sim_guest_start(st.guest), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

START_TEST(unused_device_is_taken)
{
	up(&modes[0]);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	take_away();
	for (int i = 0; i < 100 && !sim_guest_needs_reset(st.guest); i++)
		sim_guest_ctrl_event(st.guest, 50);
	ck_assert(sim_guest_needs_reset(st.guest));
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_ne(sim_guest_start(st.guest), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

/* What it may still write stays mapped; the order is the keeper's to repeat. */
START_TEST(taken_device_that_does_not_confirm_its_reset)
{
	up(&modes[2]);
	check_dev_misbehave(st.dev, CHECK_HANG_RESET, 1000);
	take_away();
	for (int i = 0; i < 500 && !stats()->reason[0]; i++)
		usleep(10000);
	ck_assert_int_eq(stage_stop(&st), ETIMEDOUT);
	ck_assert_uint_gt(journal_live(&st.journal), 0);
	check_dev_misbehave(st.dev, CHECK_HANG_RESET, 0);
	stage_recover(&st);
	stage_start(&st, true);
	stage_io(&st, 0, 8, 4096, 1);
	take_away_heard();
	expect_errors();
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

START_TEST(unused_device_is_gone_for_its_driver)
{
	uint32_t status;

	up(&modes[0]);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	plug_out();
	for (int i = 0; i < 100 && !sim_guest_needs_reset(st.guest); i++)
		sim_guest_ctrl_event(st.guest, 50);
	ck_assert(sim_guest_needs_reset(st.guest));
	plug_in();
	ck_assert_int_eq(sim_guest_set_status(st.guest, VIRTIO_CONFIG_S_ACKNOWLEDGE, &status),
			 XVS_EBUSY);
	stage_down_broken(&st);
}
END_TEST

/* What is wrong with a request is still found. */
START_TEST(bad_request_to_a_device_that_is_gone)
{
	static const char *const reasons[] = { "no room for the status", "buffer address",
					       "lies in a ring", "cannot be written" };
	const struct sim_ring *r;
	uint64_t daddr;
	uint32_t ref, n;
	pfn_t page;

	up(&modes[0]);
	plug_out();
	expect_errors();
	r = sim_guest_ring(st.guest, 0);
	ck_assert_int_eq(sim_pages_alloc(st.machine, STAGE_GUEST, 1, &page), 0);
	ck_assert_int_eq(sim_guest_expose(st.guest, page.n << 12, 64, true, &daddr, &ref, &n), 0);
	r->desc[0] = (struct vring_desc){ daddr, 16, _i ? VRING_DESC_F_WRITE : 0, 0 };
	if (_i == 1)
		r->desc[0].addr = 1ull << 62;
	else if (_i == 2)
		r->desc[0].addr = r->device_addr;
	sim_guest_push(st.guest, 0, 0);
	sim_guest_kick(st.guest, 0);
	for (int i = 0; i < 100 && !sim_guest_needs_reset(st.guest); i++)
		sim_guest_ctrl_event(st.guest, 50);
	ck_assert(sim_guest_needs_reset(st.guest));
	ck_assert_msg(strstr(stats()->reason, reasons[_i]) != NULL, "%s", stats()->reason);
	plug_in();
	stage_down_broken(&st);
}
END_TEST

/* Shortage is not the guest's doing: the requests are answered when there is room again. */
START_TEST(errors_are_told_again_where_that_failed)
{
	static const enum sim_op op[] = { SIM_OP_GNT_COPY, SIM_OP_GNT_COPY, SIM_OP_FOREIGN_MAP };
	const unsigned int mode[] = { 1, 0, 4 };

	up(&modes[mode[_i]]);
	plug_out();
	expect_errors();
	if (_i == 2)
		ck_assert_int_eq(sim_fault_set(st.machine, op[_i], 1, -ENOMEM), 0);
	else
		ck_assert_int_eq(sim_fault_element(st.machine, op[_i], 1 + (uint64_t)_i,
						   SIM_GNTST_EAGAIN), 0);
	expect_errors();
	ck_assert_uint_eq(sim_faults_left(st.machine), 0);
	ck_assert(!sim_guest_needs_reset(st.guest));
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	plug_in();
	stage_down(&st);
}
END_TEST

/* A worker whose hypercalls fail as such ends, and its successor goes on with what is in its place. */
START_TEST(worker_that_cannot_tell_errors_is_replaced)
{
	struct sim_blk_req *req;
	struct sim_sg sg[PIECES];
	unsigned int n;
	int err;

	up(&modes[1]);
	plug_out();
	expect_errors();
	ck_assert_int_eq(sim_fault_set(st.machine, SIM_OP_GNT_COPY, 1, -EIO), 0);
	ck_assert_int_eq(sim_sg_alloc(st.guest, sizeof(data), 4096, PIECES, sg, &n), 0);
	req = sim_blk_submit(st.guest, 0, VIRTIO_BLK_T_IN, 0, sg, n, &err);
	ck_assert_ptr_nonnull(req);
	sim_blk_kick(st.guest, 0);
	for (int i = 0; i < 500 && sim_faults_left(st.machine); i++)
		usleep(10000);
	ck_assert_uint_eq(sim_faults_left(st.machine), 0);
	plug_in();
	stage_kill(&st);
	stage_start(&st, true);
	ck_assert_int_eq(sim_blk_wait(st.guest, 0, req), VIRTIO_BLK_S_OK);
	sim_sg_free(st.guest, sg, n);
	stage_io(&st, 0, 8, 4096, 1);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lost");
	TCase *tc = tcase_create("lost");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, requests_in_flight_and_later_ones_end_with_an_error, 0,
			    (int)(2 * MODES));
	tcase_add_test(tc, device_that_went_does_not_come_back);
	tcase_add_loop_test(tc, device_that_was_taken_does_not_come_back, 0, 2);
	tcase_add_test(tc, unused_device_is_taken);
	tcase_add_test(tc, taken_device_that_does_not_confirm_its_reset);
	tcase_add_test(tc, unused_device_is_gone_for_its_driver);
	tcase_add_loop_test(tc, bad_request_to_a_device_that_is_gone, 0, 4);
	tcase_add_loop_test(tc, errors_are_told_again_where_that_failed, 0, 3);
	tcase_add_test(tc, worker_that_cannot_tell_errors_is_replaced);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
