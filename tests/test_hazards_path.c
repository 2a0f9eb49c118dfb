/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * docs/security.md, the data path as a whole: error paths, rubbish, grants, and what a dead worker
 * left.
 */
#include "check_main.h"
#include "hostile.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define DISK_SECTORS 8192

static struct stage st;
static uint8_t data[STAGE_IO_MAX], back[STAGE_IO_MAX];

static const struct session_stats *stats(void)
{
	return &st.journal.data->stats;
}

static uint64_t count(const _Atomic uint64_t *counter)
{
	return atomic_load(counter);
}

static void up(const struct check_config *dev, const struct sim_guest_config *guest)
{
	struct check_config d = dev ? *dev : (struct check_config){ 0 };

	d.sectors = DISK_SECTORS;
	stage_up(&st, &d, guest);
	stage_start(&st, false);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
}

static bool worker_lives(void)
{
	return waitpid(st.worker, NULL, WNOHANG) == 0;
}

static struct vring_desc *desc(void)
{
	return hostile_desc(&st);
}

/* -- 15: error paths give back what they took -- */

/* Every call of the set-up of queues that can fail, by itself: refused, and then it works. */
START_TEST(hazard_15_queue_setup_fails_at_each_call)
{
	static const enum sim_op ops[] = { SIM_OP_HOST_MAP, SIM_OP_EVTCHN_BIND };
	struct check_config d = { .num_queues = 2 };
	struct sim_audit before, after;
	unsigned int refused = 0;

	up(&d, NULL);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	sim_audit(st.machine, STAGE_BACK, &before);
	for (unsigned int op = 0; op < 2; op++) {
		for (uint64_t nth = 1; ; nth++) {
			int rc;

			ck_assert_int_eq(sim_fault_set(st.machine, ops[op], nth, -ENOMEM), 0);
			rc = sim_guest_start(st.guest);
			if (!rc)
				break;
			refused++;
			ck_assert(worker_lives());
			ck_assert_int_eq(sim_guest_reset(st.guest), 0);
			sim_audit(st.machine, STAGE_BACK, &after);
			ck_assert_uint_eq(after.host_pages, before.host_pages);
			ck_assert_uint_eq(after.ports, before.ports);
		}
		sim_fault_clear(st.machine);
		stage_io(&st, 1, 0, 8192, op);
		ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	}
	ck_assert_uint_eq(refused, 2 * 3 + 2); /* three parts of each ring, one port */
	stage_down(&st);
}
END_TEST

/* A session that cannot begin leaves nothing. */
START_TEST(hazard_15_session_fails_to_open)
{
	static const enum sim_op ops[] = { SIM_OP_HOST_MAP, SIM_OP_EVTCHN_BIND };
	struct sim_audit before, after;
	struct session_params p;
	struct session *s;
	char why[160];
	int err;

	stage_up(&st, NULL, NULL);
	p = (struct session_params){
		.dev = st.dev, .dma = &st.dma, .journal = &st.journal, .domid = STAGE_GUEST,
		.ctrl_ref = sim_guest_ctrl_ref(st.guest),
		.ctrl_port = sim_guest_ctrl_port(st.guest),
		.addressing = st.addressing, .protection = st.protection, .holder_fd = -1,
		.keep_pages = st.keep_pages, .name = "test",
	};
	p.hv = sim_hv_open(st.machine, STAGE_BACK, HV_CAP_GRANT | HV_CAP_EVTCHN, &err);
	ck_assert_ptr_nonnull(p.hv);
	sim_audit(st.machine, SIM_ANY, &before);
	for (unsigned int i = 0; i < 4; i++) {
		struct session_params bad = p;

		if (i < 2)
			sim_fault_set(st.machine, ops[i], 1, -ENOMEM);
		else if (i == 2)
			bad.ctrl_ref = 0xfff0;
		else
			bad.ctrl_port = 77;
		why[0] = '\0';
		ck_assert_int_lt(session_open(&s, &bad, why, sizeof(why)), 0);
		ck_assert_int_ne(why[0], 0);
		ck_assert_ptr_null(s);
		sim_audit(st.machine, SIM_ANY, &after);
		ck_assert_mem_eq(&before, &after, sizeof(after));
	}
	hv_close(p.hv);
	stage_down(&st);
}
END_TEST

/* -- 17: nothing a guest writes ends the worker -- */

static uint64_t seed;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % below;
}

/* Half of it makes sense, or nothing would get past the first check. */
static struct vring_desc random_desc(const uint64_t *daddr, unsigned int n)
{
	static const uint32_t len[] = { 1, 16, 16, 32, 48, 512, 512, 4096, 8192, 0, 17, UINT32_MAX };
	static const uint16_t flags[] = { 0, 0, WRITE, WRITE, NEXT, NEXT | WRITE,
					  VRING_DESC_F_INDIRECT };
	struct vring_desc d = { .addr = daddr[rnd(n)] + rnd(2) * rnd(4096),
				.len = len[rnd(12)],
				.flags = rnd(16) ? flags[rnd(7)] : (uint16_t)rnd(0x10000),
				.next = (uint16_t)(rnd(8) ? rnd(128) : rnd(0x10000)) };

	if (!rnd(16))
		d.addr = (uint64_t)rnd(UINT32_MAX) << 32 | rnd(UINT32_MAX);
	return d;
}

static void random_ring(const uint64_t *daddr, unsigned int n, uint64_t table_gpa)
{
	struct sim_ring *r = sim_guest_ring(st.guest, 0);
	struct vring_desc d;

	for (unsigned int i = 0; i < r->size; i++)
		desc()[i] = random_desc(daddr, n);
	for (unsigned int i = 0; i < 8; i++) {
		d = random_desc(daddr, n);
		sim_mem_write(st.machine, STAGE_GUEST, table_gpa + i * sizeof(d), &d, sizeof(d));
	}
	for (unsigned int i = rnd(3) + 1; i; i--)
		sim_guest_push(st.guest, 0, (uint16_t)(rnd(16) ? rnd(r->size) : rnd(0x10000)));
	sim_guest_kick(st.guest, 0);
}

/* All came back, or the device is broken. */
static bool settled(void)
{
	struct sim_ring *r = sim_guest_ring(st.guest, 0);

	return sim_guest_needs_reset(st.guest) ||
	       __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->avail->idx;
}

START_TEST(hazard_17_rubbish_in_rings)
{
	uint64_t gpa, table, daddr[6];
	unsigned int broken = 0, served = 0;

	seed = (uint64_t)_i + 1;
	up(NULL, NULL);
	gpa = hostile_pages(&st, 4);
	table = hostile_pages(&st, 1);
	for (unsigned int round = 0; round < 120; round++) {
		struct sim_ring *r = sim_guest_ring(st.guest, 0);

		if (!round || sim_guest_needs_reset(st.guest)) {
			broken += round != 0;
			ck_assert_int_eq(sim_guest_reset(st.guest), 0);
			ck_assert_uint_eq(journal_live(&st.journal), 0);
			ck_assert_int_eq(sim_guest_start(st.guest), 0);
			r = sim_guest_ring(st.guest, 0);
		}
		if (!round) {
			daddr[0] = hostile_expose(&st, gpa, 2 * 4096, false);
			daddr[1] = hostile_expose(&st, gpa + 2 * 4096, 4096, true);
			daddr[2] = hostile_expose(&st, table, 128, true);
		}
		daddr[3] = daddr[0] + 4096;
		daddr[4] = r->device_addr;
		daddr[5] = XVS_DADDR_GRANT | (uint64_t)sim_guest_ctrl_ref(st.guest) << 12;
		random_ring(daddr, round % 8 ? 4 : 6, table);
		for (int i = 0; i < 30000 && !settled(); i++)
			usleep(1000);
		ck_assert(settled());
		ck_assert(worker_lives());
		ck_assert_ptr_null(check_dev_violation(st.dev));
		served += !sim_guest_needs_reset(st.guest);
	}
	/* both were tried */
	ck_assert_uint_gt(broken, 5);
	ck_assert_uint_gt(served, 5);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 8, 4096, 1);
	stage_down_broken(&st);
}
END_TEST

static void random_request(void)
{
	static const uint32_t status[] = { 0, 1, 3, 11, 15, 0x40, 0x80, 0x1ff, UINT32_MAX };
	struct xvs_request req = { .op = rnd(10) ? rnd(8) : rnd(UINT32_MAX) };
	int rc;

	for (unsigned int i = 0; i < sizeof(req.u.raw); i++)
		req.u.raw[i] = (uint8_t)(rnd(4) ? 0 : rnd(256));
	if (req.op == XVS_OP_SET_DEVICE_STATUS && rnd(8))
		req.u.status = status[rnd(9)];
	if (req.op == XVS_OP_SET_DRIVER_FEATURES && rnd(4))
		req.u.features = sim_guest_ctrl(st.guest)->info.device_features;
	if (req.op == XVS_OP_SET_VQUEUE && rnd(4))
		req.u.index = rnd(3);
	rc = sim_guest_request(st.guest, &req);
	ck_assert_int_ne(rc, -ETIMEDOUT);
}

/* Up to where queues are set up. */
static void negotiate(void)
{
	ck_assert_int_eq(sim_guest_set_status(st.guest, 0, NULL), 0);
	ck_assert_int_eq(sim_guest_set_status(st.guest, 3, NULL), 0);
	ck_assert_int_eq(sim_guest_set_features(st.guest,
						sim_guest_ctrl(st.guest)->info.device_features), 0);
	ck_assert_int_eq(sim_guest_set_status(st.guest, 11, NULL), 0);
}

static void random_entry(struct xvs_queue *e, const uint64_t *daddr)
{
	e->size = (uint16_t)(rnd(2) ? 1u << rnd(11) : rnd(256));
	e->evtchn = rnd(8) ? sim_guest_ring(st.guest, 0)->port : rnd(UINT32_MAX);
	e->desc_addr = daddr[rnd(8) ? 0 : rnd(4)] + rnd(2) * rnd(256) * 16;
	e->driver_addr = daddr[rnd(8) ? 0 : rnd(4)] + rnd(2) * rnd(4096);
	e->device_addr = daddr[rnd(8) ? 0 : rnd(4)] + rnd(2) * rnd(1024) * 4;
}

/* An entry of rubbish; what is taken all the same is a ring that can be. */
static unsigned int random_queue(unsigned int index, const uint64_t *daddr)
{
	struct xvs_request req = { .op = XVS_OP_SET_VQUEUE, .u.index = index };
	struct xvs_queue *e = &sim_guest_ctrl(st.guest)->queue[index];
	int rc;

	random_entry(e, daddr);
	rc = sim_guest_request(st.guest, &req);
	ck_assert_int_ne(rc, -ETIMEDOUT);
	if (rc)
		return 0;
	ck_assert(e->size && !(e->size & (e->size - 1)) && e->size <= e->size_max);
	ck_assert(e->desc_addr % 16 == 0 && e->driver_addr % 2 == 0 && e->device_addr % 4 == 0);
	ck_assert_uint_ge(e->device_addr, XVS_DADDR_GRANT);
	return 1;
}

START_TEST(hazard_17_rubbish_in_the_control_page)
{
	struct check_config d = { .num_queues = 2 };
	uint64_t gpa, daddr[4];
	unsigned int taken = 0;

	seed = (uint64_t)_i + 1;
	up(&d, NULL);
	gpa = hostile_pages(&st, 4);
	daddr[0] = hostile_expose(&st, gpa, 3 * 4096, false);
	daddr[1] = hostile_expose(&st, gpa + 3 * 4096, 4096, true);
	daddr[2] = XVS_DADDR_GRANT | (uint64_t)sim_guest_ctrl_ref(st.guest) << 12;
	daddr[3] = 0x1000;
	for (unsigned int round = 0; round < 160; round++) {
		if (round % 4 == 0) {
			negotiate();
			taken += random_queue(rnd(2), daddr);
		}
		random_entry(&sim_guest_ctrl(st.guest)->queue[rnd(3)], daddr);
		random_request();
		ck_assert(worker_lives());
		ck_assert_ptr_null(check_dev_violation(st.dev));
	}
	ck_assert_uint_gt(taken, 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 1, 8, 4096, 1);
	stage_down_broken(&st);
}
END_TEST

/* -- 19, 21: grants -- */

START_TEST(hazard_19_revoked_while_in_use)
{
	uint64_t gpa, daddr;
	uint32_t ref;

	up(NULL, NULL);
	gpa = hostile_pages(&st, 1);
	daddr = hostile_expose(&st, gpa, 16, false);
	ref = (uint32_t)(daddr >> XVS_DADDR_GREF_SHIFT);
	check_dev_pause(st.dev, true);
	desc()[0] = (struct vring_desc){ daddr, 16, WRITE, 0 };
	hostile_submit(&st, 0);
	/* neither revoked nor given away: it stays what the device was told */
	ck_assert_int_eq(sim_grant_end(st.machine, STAGE_GUEST, ref, 1), -EBUSY);
	ck_assert_int_eq(sim_page_table(st.machine, STAGE_GUEST, (pfn_t){ gpa >> 12 }, true), -EBUSY);
	check_dev_pause(st.dev, false);
	ck_assert_int_eq(sim_guest_pop(st.guest, 0, 30000, &(struct vring_used_elem){ 0 }), 0);
	/* and no longer than that */
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	ck_assert_int_eq(sim_grant_end(st.machine, STAGE_GUEST, ref, 1), 0);
	sim_guest_push(st.guest, 0, 0);
	sim_guest_kick(st.guest, 0);
	hostile_expect_broken(&st, 0, "cannot be mapped");
	stage_down_broken(&st);
}
END_TEST

/* How Xen counts the uses of the grants at daddr[]: none, reading, writing. */
static void expect_use(const uint64_t *daddr, const char *use)
{
	for (unsigned int i = 0; use[i]; i++) {
		uint32_t ref = (uint32_t)(daddr[i] >> XVS_DADDR_GREF_SHIFT);
		bool reading, writing;

		ck_assert_int_eq(sim_grant_in_use(st.machine, STAGE_GUEST, ref, &reading,
						  &writing), 0);
		ck_assert_int_eq(reading, use[i] != '-');
		ck_assert_int_eq(writing, use[i] == 'w');
	}
}

/* What was mapped to be read is unmapped so, what to be written likewise, and nothing stays. */
START_TEST(hazard_21_unmapped_as_it_was_mapped)
{
	uint64_t gpa, daddr[4];

	up(NULL, NULL);
	gpa = hostile_pages(&st, 4);
	for (unsigned int i = 0; i < 4; i++)
		daddr[i] = hostile_expose(&st, gpa + i * 4096, 4096, i == 0);
	check_dev_pause(st.dev, true);
	/* the second and the last page in both directions at once */
	desc()[0] = (struct vring_desc){ daddr[0], 16, NEXT, 1 };
	desc()[1] = (struct vring_desc){ daddr[1], 16, NEXT, 2 };
	desc()[2] = (struct vring_desc){ daddr[2], 512, NEXT | WRITE, 3 };
	desc()[3] = (struct vring_desc){ daddr[3], 16, WRITE, 0 };
	desc()[4] = (struct vring_desc){ daddr[3] + 64, 16, NEXT, 5 };
	desc()[5] = (struct vring_desc){ daddr[1] + 64, 16, WRITE, 0 };
	hostile_submit(&st, 0);
	expect_use(daddr, "rrww");
	hostile_submit(&st, 4);
	expect_use(daddr, "rwww");
	check_dev_pause(st.dev, false);
	for (unsigned int i = 0; i < 2; i++)
		ck_assert_int_eq(sim_guest_pop(st.guest, 0, 30000,
					       &(struct vring_used_elem){ 0 }), 0);
	expect_use(daddr, "----");
	ck_assert_uint_eq(atomic_load(&st.journal.data->leaked), 0);
	ck_assert_uint_eq(count(&stats()->map_pages), count(&stats()->unmap_pages));
	stage_down_broken(&st);
}
END_TEST

/* -- 24: what a save or a migration has to find -- */

/* The driver resets with a read in the device: nothing of it reaches the guest's memory after. */
START_TEST(hazard_24_reset_ends_all_dma)
{
	struct sim_audit before, after;
	uint64_t gpa, daddr;

	up(NULL, NULL);
	gpa = hostile_pages(&st, 1);
	daddr = hostile_expose(&st, gpa, 4096, false);
	memset(data, 0, 4096);
	*(uint32_t *)(void *)data = VIRTIO_BLK_T_IN;
	sim_mem_write(st.machine, STAGE_GUEST, gpa, data, 4096);
	stage_fill(data + 4096, 512, 9);
	memset(back, 0xee, sizeof(back));
	check_dev_pause(st.dev, true);
	desc()[0] = (struct vring_desc){ daddr, 16, NEXT, 1 };
	desc()[1] = (struct vring_desc){ daddr + 1024, 513, WRITE, 0 };
	hostile_submit(&st, 0);
	sim_audit(st.machine, STAGE_BACK, &before);
	ck_assert_uint_gt(before.device_handles, 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	sim_audit(st.machine, STAGE_BACK, &after);
	ck_assert_uint_eq(after.device_handles, 0);
	ck_assert_uint_eq(after.host_pages, 1); /* the control page */
	check_dev_pause(st.dev, false);
	/* the device has done other work since, so it is past what it had */
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 8, 4096, 1);
	sim_mem_read(st.machine, STAGE_GUEST, gpa, back, 4096);
	ck_assert_mem_eq(back, data, 4096);
	stage_down_broken(&st);
}
END_TEST

/* -- 49: what a dead worker left is not believed either -- */

/* A write is in flight when the worker dies, and what is written down of it goes wrong. */
static void kill_with_a_chain(void)
{
	uint64_t gpa = hostile_pages(&st, 1), daddr = hostile_expose(&st, gpa, 4096, false);

	memset(data, 0, 4096);
	*(uint32_t *)(void *)data = VIRTIO_BLK_T_IN;
	sim_mem_write(st.machine, STAGE_GUEST, gpa, data, 4096);
	check_dev_pause(st.dev, true);
	desc()[0] = (struct vring_desc){ daddr, 16, NEXT, 1 };
	desc()[1] = (struct vring_desc){ daddr + 1024, 513, WRITE, 0 };
	hostile_submit(&st, 0);
	stage_kill(&st);
	check_dev_pause(st.dev, false);
}

static void spoil(unsigned int how)
{
	struct journal_queue *q = &st.journal.data->queue[0];
	struct sim_ring *r = sim_guest_ring(st.guest, 0);
	uint32_t used = atomic_load(&q->used) & 0xffff;

	switch (how) {
	case 0: /* more to publish than there is room for */
		atomic_store(&q->used, 0xffffu << 16 | used);
		break;
	case 1: /* a head outside the table */
		q->pub[0].id = r->size;
		atomic_store(&q->used, 1u << 16 | used);
		break;
	case 2: /* an index that is not the one in the ring */
		atomic_store(&q->used, 1u << 16 | ((used + 77) & 0xffff));
		break;
	case 3:
		q->size = (uint16_t)(r->size / 2);
		break;
	case 4: /* the guest's doing: another ring in its place */
		sim_guest_ctrl(st.guest)->queue[0].size = (uint16_t)(r->size / 2);
		break;
	case 5:
		sim_guest_ctrl(st.guest)->queue[0].desc_addr = 0x1000;
		break;
	case 6: /* and the chain in flight */
		desc()[0].next = 999;
		break;
	default:
		desc()[1].addr = r->device_addr;
		break;
	}
}

START_TEST(hazard_49_what_was_left_is_validated)
{
	up(NULL, NULL);
	stage_io(&st, 0, 8, 4096, 1);
	kill_with_a_chain();
	spoil((unsigned int)_i);
	stage_start(&st, true);
	hostile_wait_broken(&st, 0, _i < 6 ? "changed while nobody" : "");
	ck_assert(worker_lives());
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	ck_assert_ptr_null(check_dev_violation(st.dev));
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 8, 4096, 2);
	stage_down_broken(&st);
}
END_TEST

/* Operations that are said to lie outside the DMA memory: nothing is unmapped on such a word. */
START_TEST(hazard_49_operations_are_validated)
{
	struct journal_data *d;
	uint32_t map, unmap;

	up(NULL, NULL);
	d = st.journal.data;
	map = d->map_page;
	unmap = d->unmap_page;
	kill_with_a_chain();
	for (unsigned int i = 0; i < 2; i++) {
		*(i ? &d->map_page : &d->unmap_page) = st.dma.npages - 1;
		ck_assert_int_eq(journal_recover(&st.journal, st.hv, &st.dma), -EINVAL);
		*(i ? &d->map_page : &d->unmap_page) = UINT32_MAX;
		ck_assert_int_eq(journal_recover(&st.journal, st.hv, &st.dma), -EINVAL);
		ck_assert_int_eq(journal_recover(&st.journal, st.hv, NULL), -EINVAL);
		d->map_page = map;
		d->unmap_page = unmap;
	}
	ck_assert_int_eq(journal_recover(&st.journal, st.hv, &st.dma), 0);
	stage_start(&st, true);
	ck_assert_int_eq(sim_guest_pop(st.guest, 0, 30000, &(struct vring_used_elem){ 0 }), 0);
	stage_down_broken(&st);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hazards of the path");
	TCase *tc = tcase_create("path");

	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, hazard_15_queue_setup_fails_at_each_call);
	tcase_add_test(tc, hazard_15_session_fails_to_open);
	tcase_add_loop_test(tc, hazard_17_rubbish_in_rings, 0, 3);
	tcase_add_loop_test(tc, hazard_17_rubbish_in_the_control_page, 0, 3);
	tcase_add_test(tc, hazard_19_revoked_while_in_use);
	tcase_add_test(tc, hazard_21_unmapped_as_it_was_mapped);
	tcase_add_test(tc, hazard_24_reset_ends_all_dma);
	tcase_add_loop_test(tc, hazard_49_what_was_left_is_validated, 0, 8);
	tcase_add_test(tc, hazard_49_operations_are_validated);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
