/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole data path on the simulation: sound guests, hostile ones, bad devices, dead workers. */
#include "check_main.h"
#include "stage.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECTOR 512
#define DISK_SECTORS 8192

static struct stage st;
static uint8_t data[64 * 1024], back[64 * 1024];

static struct journal_data *log_of(void)
{
	return st.journal.data;
}

static uint64_t stat_of(const _Atomic uint64_t *counter)
{
	return atomic_load(counter);
}

static void up(const struct check_config *dev, const struct sim_guest_config *guest)
{
	struct check_config dc = dev ? *dev : (struct check_config){ 0 };

	dc.sectors = dc.sectors ? dc.sectors : DISK_SECTORS;
	stage_up(&st, &dc, guest);
	stage_start(&st, false);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
}

/* -- sound guests -- */

static void verify_sizes(const struct check_config *dev, const struct sim_guest_config *guest)
{
	static const size_t lens[] = { 512, 1024, 4096, 8192, 12288, 65536 };

	up(dev, guest);
	for (unsigned int i = 0; i < 60; i++)
		stage_io(&st, 0, i * 128 % (DISK_SECTORS - 128), lens[i % 6], i);
	ck_assert_int_eq(sim_blk_flush(st.guest, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}

START_TEST(data_through_indirect_and_event_index)
{
	verify_sizes(NULL, NULL);
}
END_TEST

START_TEST(data_through_direct_chains)
{
	struct sim_guest_config g = {
		.no_features = 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX
	};

	verify_sizes(NULL, &g);
}
END_TEST

START_TEST(data_to_a_device_without_ring_features)
{
	struct check_config d = { .features = 1ull << VIRTIO_BLK_F_FLUSH };

	verify_sizes(&d, NULL);
}
END_TEST

START_TEST(data_out_of_order_and_late)
{
	struct check_config d = { .shuffle = true, .delay_us = 300, .suppress = true };

	verify_sizes(&d, NULL);
}
END_TEST

START_TEST(many_in_flight_on_several_queues)
{
	struct check_config d = { .num_queues = 4, .shuffle = true, .sectors = 65536 };
	struct sim_sg sg[32][8];
	unsigned int n[32];
	struct sim_blk_req *req[32];
	int err;

	up(&d, NULL);
	for (unsigned int round = 0; round < 30; round++) {
		for (unsigned int i = 0; i < 32; i++) {
			stage_fill(data, 8192, round * 32 + i);
			ck_assert_int_eq(sim_sg_alloc(st.guest, 8192, 4096, 8, sg[i], &n[i]), 0);
			ck_assert_int_eq(sim_sg_fill(st.guest, sg[i], n[i], data), 0);
			req[i] = sim_blk_submit(st.guest, i % 4, VIRTIO_BLK_T_OUT, i * 16, sg[i],
						n[i], &err);
			ck_assert_msg(req[i] != NULL, "submit: %s", strerror(-err));
		}
		for (unsigned int q = 0; q < 4; q++)
			ck_assert_int_eq(sim_blk_kick(st.guest, q), 0);
		for (unsigned int i = 0; i < 32; i++) {
			ck_assert_int_eq(sim_blk_wait(st.guest, i % 4, req[i]), VIRTIO_BLK_S_OK);
			sim_sg_free(st.guest, sg[i], n[i]);
		}
	}
	for (unsigned int i = 0; i < 32; i++) {
		stage_fill(data, 8192, 29 * 32 + i);
		ck_assert_int_eq(sim_blk_read(st.guest, i % 4, i * 16, back, 8192), 0);
		ck_assert_mem_eq(data, back, 8192);
	}
	/* what a batch costs */
	ck_assert_uint_le(stat_of(&log_of()->stats.max_batch_hypercalls), 2);
	ck_assert_uint_eq(stat_of(&log_of()->stats.map_calls),
			  stat_of(&log_of()->stats.batches));
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

/* C10: it would write its own physical addresses where grants are expected. */
START_TEST(driver_without_bit_33_is_refused)
{
	const struct sim_guest_config old = { .no_features = 1ull << VIRTIO_F_ACCESS_PLATFORM };
	const uint64_t both = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM;
	const uint8_t before = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint32_t status = 0;

	stage_up(&st, NULL, &old);
	stage_start(&st, false);
	ck_assert_int_ne(sim_guest_start(st.guest), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t features = (i & 1 ? 1ull << VIRTIO_F_VERSION_1 : 0) |
				    (i & 2 ? 1ull << VIRTIO_F_ACCESS_PLATFORM : 0);
		bool may = features == both;

		ck_assert_int_eq(sim_guest_set_status(st.guest, before, &status), 0);
		ck_assert_int_eq(sim_guest_set_features(st.guest, features), 0);
		ck_assert_int_eq(sim_guest_set_status(st.guest,
						      before | VIRTIO_CONFIG_S_FEATURES_OK, &status),
				 0);
		ck_assert_uint_eq(status & VIRTIO_CONFIG_S_FEATURES_OK,
				  may ? VIRTIO_CONFIG_S_FEATURES_OK : 0);
		ck_assert_int_eq(sim_guest_set_status(st.guest, 0, &status), 0);
	}
	stage_down(&st);
}
END_TEST

/* C5: what asks for the platform's ordering is told that it has it; what does not, is not. */
START_TEST(order_platform_is_accepted_where_it_is_offered)
{
	const uint64_t order = 1ull << VIRTIO_F_ORDER_PLATFORM;
	const struct check_config dev = {
		.features = _i ? order | 1ull << VIRTIO_F_ACCESS_PLATFORM : 0
	};

	up(&dev, NULL);
	ck_assert_uint_eq(sim_guest_features(st.guest) & order, 0); /* its rings are the daemon's */
	ck_assert_uint_eq(check_dev_driver_features(st.dev) & order, _i ? order : 0);
	stage_io(&st, 0, 0, 4096, 1);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

START_TEST(reset_and_start_again)
{
	up(NULL, NULL);
	for (unsigned int i = 0; i < 20; i++) {
		stage_io(&st, 0, 0, 4096, i);
		ck_assert_int_eq(sim_guest_reset(st.guest), 0);
		ck_assert_uint_eq(journal_live(&st.journal), 0);
		ck_assert_int_eq(sim_guest_start(st.guest), 0);
	}
	stage_down(&st);
}
END_TEST

START_TEST(config_is_limited_and_writable_only_where_it_may)
{
	uint32_t seg_max, size_max;
	uint8_t wce = 0;
	uint64_t capacity = 5;

	up(NULL, NULL);
	ck_assert_int_eq(sim_guest_config_read(st.guest, 8, &size_max, 4), 0);
	ck_assert_int_eq(sim_guest_config_read(st.guest, 12, &seg_max, 4), 0);
	ck_assert_uint_eq(size_max, 4096);
	ck_assert_uint_eq(seg_max, 62); /* (128 - 3) / 2 */
	ck_assert_int_eq(sim_guest_config_write(st.guest, 0, &capacity, 8), XVS_EINVAL);
	ck_assert_int_eq(sim_guest_config_write(st.guest, 32, &wce, 1), 0);
	check_dev_resize(st.dev, DISK_SECTORS / 2);
	for (int i = 0; i < 50 && capacity != DISK_SECTORS / 2; i++) {
		sim_guest_ctrl_event(st.guest, 100);
		ck_assert_int_eq(sim_guest_config_read(st.guest, 0, &capacity, 8), 0);
	}
	ck_assert_uint_eq(capacity, DISK_SECTORS / 2);
	stage_down(&st);
}
END_TEST

/* -- hostile guests: raw descriptors -- */

static uint64_t page_gpa(unsigned int i)
{
	static pfn_t first;

	if (!i)
		ck_assert_int_eq(sim_pages_alloc(st.machine, STAGE_GUEST, 8, &first), 0);
	return (first.n + i) << 12;
}

static struct vring_desc *raw(void)
{
	return sim_guest_ring(st.guest, 0)->desc;
}

static uint64_t expose(uint64_t gpa, uint32_t len, bool readonly)
{
	uint64_t daddr;
	uint32_t ref, n;

	ck_assert_int_eq(sim_guest_expose(st.guest, gpa, len, readonly, &daddr, &ref, &n), 0);
	return daddr;
}

static void push_and_expect_broken(uint16_t head)
{
	sim_guest_push(st.guest, 0, head);
	sim_guest_kick(st.guest, 0);
	for (int i = 0; i < 100 && !sim_guest_needs_reset(st.guest); i++)
		sim_guest_ctrl_event(st.guest, 50);
	ck_assert(sim_guest_needs_reset(st.guest));
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	ck_assert_ptr_null(check_dev_violation(st.dev));
	/* and it can be used again after a reset */
	check_dev_pause(st.dev, false);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 8, 4096, head + 1u);
}

static const char *reason(void)
{
	return log_of()->stats.reason;
}

static void expect_reason(const char *part)
{
	ck_assert_msg(strstr(reason(), part) != NULL, "reason is: %s", reason());
}

START_TEST(hazard_02_index_runs_ahead)
{
	struct sim_ring *r;

	up(NULL, NULL);
	r = sim_guest_ring(st.guest, 0);
	__atomic_store_n(&r->avail->idx, (uint16_t)(r->size + 1), __ATOMIC_RELEASE);
	sim_guest_kick(st.guest, 0);
	for (int i = 0; i < 100 && !sim_guest_needs_reset(st.guest); i++)
		sim_guest_ctrl_event(st.guest, 50);
	ck_assert(sim_guest_needs_reset(st.guest));
	expect_reason("runs ahead");
	stage_down_broken(&st);
}
END_TEST

START_TEST(hazard_03_04_05_chains)
{
	uint64_t gpa, daddr;

	up(NULL, NULL);
	push_and_expect_broken(sim_guest_ring(st.guest, 0)->size);
	expect_reason("head outside");
	raw()[0] = (struct vring_desc){ expose(page_gpa(0), 16, true), 16, VRING_DESC_F_NEXT, 0 };
	push_and_expect_broken(0);
	expect_reason("loops");
	raw()[0] = (struct vring_desc){ expose(page_gpa(0), 16, true), 17, VRING_DESC_F_INDIRECT, 0 };
	push_and_expect_broken(0);
	expect_reason("multiple of 16");
	gpa = page_gpa(0);
	daddr = expose(gpa, 4096, true);
	raw()[0] = (struct vring_desc){ daddr, 4096, VRING_DESC_F_INDIRECT, 0 };
	push_and_expect_broken(0); /* 256 entries, queue of 128 */
	expect_reason("longer than the queue");
	raw()[0] = (struct vring_desc){ XVS_DADDR_GRANT | 0xfff123000ull, 32,
					VRING_DESC_F_INDIRECT, 0 };
	push_and_expect_broken(0);
	expect_reason("cannot be read");
	stage_down_broken(&st);
}
END_TEST

START_TEST(hazard_06_07_08_buffers)
{
	uint64_t gpa, daddr;

	up(NULL, NULL);
	gpa = page_gpa(0);
	daddr = expose(gpa, 4096, false);
	raw()[0] = (struct vring_desc){ daddr, 0, 0, 0 };
	push_and_expect_broken(0);
	expect_reason("length 0");
	daddr = expose(gpa, 4096, false);
	raw()[0] = (struct vring_desc){ daddr, UINT32_MAX, 0, 0 };
	push_and_expect_broken(0);
	daddr = expose(gpa, 4096, false);
	raw()[0] = (struct vring_desc){ daddr, 5 * 4096, 0, 0 }; /* only its first page is granted */
	push_and_expect_broken(0);
	expect_reason("cannot be mapped");
	raw()[0] = (struct vring_desc){ 0x1000, 16, 0, 0 }; /* a machine address, perhaps */
	push_and_expect_broken(0);
	expect_reason("not a grant");
	stage_down_broken(&st);
}
END_TEST

START_TEST(hazard_09_14_18_directions)
{
	struct sim_ring *r;
	uint64_t gpa, daddr;

	up(NULL, NULL);
	gpa = page_gpa(0);
	daddr = expose(gpa, 4096, false);
	raw()[0] = (struct vring_desc){ daddr, 16, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1 };
	raw()[1] = (struct vring_desc){ daddr, 16, 0, 0 };
	push_and_expect_broken(0);
	expect_reason("behind a device-writable");
	daddr = expose(gpa, 4096, true);
	raw()[0] = (struct vring_desc){ daddr, 16, VRING_DESC_F_WRITE, 0 };
	push_and_expect_broken(0);
	expect_reason("read-only");
	r = sim_guest_ring(st.guest, 0);
	raw()[0] = (struct vring_desc){ r->device_addr, 16, VRING_DESC_F_WRITE, 0 };
	push_and_expect_broken(0);
	expect_reason("ring or the control page");
	raw()[0] = (struct vring_desc){
		XVS_DADDR_GRANT | (uint64_t)sim_guest_ctrl_ref(st.guest) << 12, 16, 0, 0 };
	push_and_expect_broken(0);
	expect_reason("ring or the control page");
	stage_down_broken(&st);
}
END_TEST

START_TEST(hazard_11_same_head_twice)
{
	uint64_t daddr;

	up(NULL, NULL);
	check_dev_pause(st.dev, true);
	daddr = expose(page_gpa(0), 4096, false);
	raw()[0] = (struct vring_desc){ daddr, 16, 0, 0 };
	sim_guest_push(st.guest, 0, 0);
	push_and_expect_broken(0);
	expect_reason("in flight already");
	stage_down_broken(&st);
}
END_TEST

/* -- bad devices -- */

/* The request that was under way is lost; the guest is not to wait for it for long. */
static const struct sim_guest_config impatient = { .timeout = 500 };

static void expect_device_broken(enum check_mischief what, const char *part)
{
	up(NULL, &impatient);
	check_dev_misbehave(st.dev, what, 1);
	sim_blk_write(st.guest, 0, 0, data, 4096);
	for (int i = 0; i < 100 && !sim_guest_needs_reset(st.guest); i++)
		sim_guest_ctrl_event(st.guest, 50);
	ck_assert(sim_guest_needs_reset(st.guest));
	expect_reason(part);
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 0, 4096, 3);
	stage_down_broken(&st);
}

START_TEST(hazard_33_device_returns_an_id_it_was_not_given)
{
	static const enum check_mischief what[] = { CHECK_BAD_ID, CHECK_STALE_ID, CHECK_RUNAWAY };

	expect_device_broken(what[_i], "not given");
}
END_TEST

START_TEST(hazard_34_device_returns_too_long_a_length)
{
	expect_device_broken(CHECK_LONG, "length");
}
END_TEST

START_TEST(hazard_35_device_hangs_at_reset)
{
	struct check_config d = { .reset_timeout_ms = 100 };

	up(&d, NULL);
	check_dev_pause(st.dev, true);
	raw()[0] = (struct vring_desc){ expose(page_gpa(0), 4096, false), 16, 0, 0 };
	sim_guest_push(st.guest, 0, 0);
	sim_guest_kick(st.guest, 0);
	for (int i = 0; i < 500 && !journal_live(&st.journal); i++)
		usleep(1000);
	ck_assert_uint_eq(journal_live(&st.journal), 1);
	check_dev_misbehave(st.dev, CHECK_HANG_RESET, 1);
	ck_assert_int_eq(stage_stop(&st), ETIMEDOUT);
	ck_assert_uint_eq(journal_live(&st.journal), 1); /* held */
	check_dev_misbehave(st.dev, CHECK_HANG_RESET, 0);
	stage_recover(&st);
	stage_down_broken(&st);
}
END_TEST

/* -- dead workers -- */

START_TEST(hazard_48_killed_at_every_call)
{
	static const enum sim_op ops[] = { SIM_OP_GNT_MAP, SIM_OP_GNT_UNMAP, SIM_OP_GNT_COPY,
					   SIM_OP_EVTCHN_NOTIFY };
	struct sim_sg sg[8];
	struct sim_blk_req *req;
	unsigned int n;
	int err;

	up(NULL, NULL);
	for (unsigned int i = 0; i < 24; i++) {
		bool after = i & 1;

		ck_assert_int_eq(sim_fault_kill(st.machine, ops[i / 2 % 4], 1, after), 0);
		stage_fill(data, 12288, i);
		ck_assert_int_eq(sim_sg_alloc(st.guest, 12288, 4096, 8, sg, &n), 0);
		ck_assert_int_eq(sim_sg_fill(st.guest, sg, n, data), 0);
		req = sim_blk_submit(st.guest, 0, VIRTIO_BLK_T_OUT, i * 24, sg, n, &err);
		ck_assert(req != NULL);
		ck_assert_int_eq(sim_blk_kick(st.guest, 0), 0);
		for (int w = 0; w < 2000 && sim_faults_left(st.machine) &&
				!sim_blk_done(st.guest, 0, req); w++)
			usleep(1000);
		sim_fault_clear(st.machine);
		stage_kill(&st);
		stage_start(&st, true);
		ck_assert_int_eq(sim_blk_wait(st.guest, 0, req), VIRTIO_BLK_S_OK);
		sim_sg_free(st.guest, sg, n);
		memset(back, 0, 12288);
		ck_assert_int_eq(sim_blk_read(st.guest, 0, i * 24, back, 12288), 0);
		ck_assert_mem_eq(data, back, 12288);
	}
	ck_assert_uint_ge(atomic_load(&log_of()->epoch), 24);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

START_TEST(hazard_48_killed_at_random_under_load)
{
	struct check_config d = { .shuffle = true, .delay_us = 200, .num_queues = 2 };
	struct sim_sg sg[16][4];
	unsigned int n[16];
	struct sim_blk_req *req[16];
	int err;

	up(&d, NULL);
	for (unsigned int round = 0; round < 60; round++) {
		for (unsigned int i = 0; i < 16; i++) {
			stage_fill(data, 4096, round * 16 + i);
			ck_assert_int_eq(sim_sg_alloc(st.guest, 4096, 4096, 4, sg[i], &n[i]), 0);
			ck_assert_int_eq(sim_sg_fill(st.guest, sg[i], n[i], data), 0);
			req[i] = sim_blk_submit(st.guest, i % 2, VIRTIO_BLK_T_OUT, i * 8, sg[i],
						n[i], &err);
			ck_assert(req[i] != NULL);
			if (i % 4 == 3)
				ck_assert_int_eq(sim_blk_kick(st.guest, i % 2), 0);
		}
		sim_blk_kick(st.guest, 0);
		sim_blk_kick(st.guest, 1);
		usleep(round * 97 % 1500);
		stage_kill(&st);
		stage_start(&st, true);
		for (unsigned int i = 0; i < 16; i++) {
			ck_assert_int_eq(sim_blk_wait(st.guest, i % 2, req[i]), VIRTIO_BLK_S_OK);
			sim_sg_free(st.guest, sg[i], n[i]);
		}
		for (unsigned int i = 0; i < 16; i++) {
			stage_fill(data, 4096, round * 16 + i);
			ck_assert_int_eq(sim_blk_read(st.guest, 0, i * 8, back, 4096), 0);
			ck_assert_mem_eq(data, back, 4096);
		}
	}
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

START_TEST(stopped_and_taken_up_again)
{
	up(NULL, NULL);
	for (unsigned int i = 0; i < 10; i++) {
		stage_io(&st, 0, i * 8, 4096, i);
		ck_assert_int_eq(stage_stop(&st), 0);
		stage_recover(&st);
		stage_start(&st, true);
	}
	stage_io(&st, 0, 0, 4096, 99);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

/* A device that never agreed on features must not be started, whatever the file says. */
START_TEST(hazard_49_damaged_record_of_the_driver)
{
	static const uint8_t lost[] = { VIRTIO_CONFIG_S_FEATURES_OK,
					VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK };

	up(NULL, NULL);
	for (unsigned int i = 0; i < 3; i++) {
		stage_io(&st, 0, 0, 4096, i);
		stage_kill(&st);
		if (i < 2)
			atomic_fetch_and(&log_of()->driver_status, (uint32_t)~lost[i]);
		else
			log_of()->driver_features = 0;
		stage_start(&st, true);
		ck_assert(sim_guest_needs_reset(st.guest));
		expect_reason("record is damaged");
		ck_assert_int_eq(sim_guest_reset(st.guest), 0);
		ck_assert_int_eq(sim_guest_start(st.guest), 0);
	}
	stage_io(&st, 0, 0, 4096, 99);
	stage_down(&st);
}
END_TEST

/* -- shortages -- */

START_TEST(hazard_16_40_map_runs_out_and_recovers)
{
	up(NULL, NULL);
	for (unsigned int i = 1; i < 8; i++) {
		ck_assert_int_eq(sim_fault_element(st.machine, SIM_OP_GNT_MAP, i, -13), 0);
		stage_io(&st, 0, i * 8, 8192, i);
	}
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

/* More long chains than there are long tables, and then the map fails: none may be forgotten. */
START_TEST(hazard_40_shortage_while_chains_wait_for_room)
{
	struct sim_sg sg[20][12];
	unsigned int n[20];
	struct sim_blk_req *req[20];
	int err;

	up(NULL, NULL);
	ck_assert_int_eq(sim_fault_element(st.machine, SIM_OP_GNT_MAP, 3, -13), 0);
	sim_blk_cork(st.guest, 0);
	for (unsigned int i = 0; i < 20; i++) {
		ck_assert_int_eq(sim_sg_alloc(st.guest, 12 * 4096, 4096, 12, sg[i], &n[i]), 0);
		req[i] = sim_blk_submit(st.guest, 0, VIRTIO_BLK_T_IN, 0, sg[i], n[i], &err);
		ck_assert_msg(req[i] != NULL, "submit: %s", strerror(-err));
	}
	ck_assert_int_eq(sim_blk_kick(st.guest, 0), 0);
	for (unsigned int i = 0; i < 20; i++) {
		ck_assert_int_eq(sim_blk_wait(st.guest, 0, req[i]), VIRTIO_BLK_S_OK);
		sim_sg_free(st.guest, sg[i], n[i]);
	}
	ck_assert_uint_gt(stat_of(&log_of()->stats.stalls), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

START_TEST(hazard_16_one_entry_fails_for_good)
{
	up(NULL, &impatient);
	ck_assert_int_eq(sim_fault_element(st.machine, SIM_OP_GNT_MAP, 2, -3), 0);
	sim_blk_write(st.guest, 0, 0, data, 8192);
	ck_assert(sim_guest_needs_reset(st.guest));
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	stage_down_broken(&st);
}
END_TEST

/* Nothing of it is opened then: its parts are not looked at. */
START_TEST(hazard_33_device_without_queues)
{
	static struct journal_data log;
	struct xdev dev = { .device_id = VIRTIO_ID_BLOCK, .num_queues = 0 };
	struct hv_dma dma = { .npages = 4096 };
	struct journal journal = { .data = &log };
	struct session_params p = { .dev = &dev, .dma = &dma, .journal = &journal, .name = "test" };
	struct session *s;
	char why[160] = "";

	ck_assert_int_eq(session_open(&s, &p, why, sizeof(why)), -EOPNOTSUPP);
	ck_assert_str_eq(why, "nested device has no queues");
	ck_assert_ptr_null(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session");
	TCase *sound = tcase_create("sound"), *hostile = tcase_create("hostile");
	TCase *device = tcase_create("device"), *dead = tcase_create("dead");

	tcase_set_timeout(sound, 120);
	tcase_add_test(sound, data_through_indirect_and_event_index);
	tcase_add_test(sound, data_through_direct_chains);
	tcase_add_test(sound, data_to_a_device_without_ring_features);
	tcase_add_test(sound, data_out_of_order_and_late);
	tcase_add_test(sound, many_in_flight_on_several_queues);
	tcase_add_test(sound, driver_without_bit_33_is_refused);
	tcase_add_loop_test(sound, order_platform_is_accepted_where_it_is_offered, 0, 2);
	tcase_add_test(sound, reset_and_start_again);
	tcase_add_test(sound, config_is_limited_and_writable_only_where_it_may);
	suite_add_tcase(suite, sound);

	tcase_set_timeout(hostile, 120);
	tcase_add_test(hostile, hazard_02_index_runs_ahead);
	tcase_add_test(hostile, hazard_03_04_05_chains);
	tcase_add_test(hostile, hazard_06_07_08_buffers);
	tcase_add_test(hostile, hazard_09_14_18_directions);
	tcase_add_test(hostile, hazard_11_same_head_twice);
	tcase_add_test(hostile, hazard_16_40_map_runs_out_and_recovers);
	tcase_add_test(hostile, hazard_16_one_entry_fails_for_good);
	tcase_add_test(hostile, hazard_40_shortage_while_chains_wait_for_room);
	suite_add_tcase(suite, hostile);

	tcase_set_timeout(device, 120);
	tcase_add_loop_test(device, hazard_33_device_returns_an_id_it_was_not_given, 0, 3);
	tcase_add_test(device, hazard_33_device_without_queues);
	tcase_add_test(device, hazard_34_device_returns_too_long_a_length);
	tcase_add_test(device, hazard_35_device_hangs_at_reset);
	suite_add_tcase(suite, device);

	tcase_set_timeout(dead, 240);
	tcase_add_test(dead, hazard_48_killed_at_every_call);
	tcase_add_test(dead, hazard_48_killed_at_random_under_load);
	tcase_add_test(dead, stopped_and_taken_up_again);
	tcase_add_test(dead, hazard_49_damaged_record_of_the_driver);
	suite_add_tcase(suite, dead);
	return check_main(suite);
}
