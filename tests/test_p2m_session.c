/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device served in addressing p2m: data, ballooning, what a guest may not, and dead workers. */
#include "check_main.h"
#include "stage.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DISK_SECTORS 8192
#define GUEST_PAGES 8192u

static struct stage st;
static uint64_t page; /* a page of the guest for raw descriptors */

static struct session_stats *stats(void)
{
	return &st.journal.data->stats;
}

static void up_with(uint64_t no_features)
{
	struct check_config d = { .sectors = DISK_SECTORS, .num_queues = 2 };
	struct sim_guest_config g = { .addressing = XVS_ADDRESSING_P2M,
				      .no_features = no_features };
	pfn_t first;

	stage_up(&st, &d, &g);
	stage_start(&st, false);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	ck_assert_int_eq(sim_pages_alloc(st.machine, STAGE_GUEST, 8, &first), 0);
	page = first.n;
}

static void up(void)
{
	up_with(0);
}

/* Pages that the guest could not make page tables of. */
static unsigned int not_the_guests(void)
{
	unsigned int n = 0;

	for (uint64_t i = 0; i < GUEST_PAGES; i++) {
		if (!sim_page_table(st.machine, STAGE_GUEST, (pfn_t){ i }, true))
			sim_page_table(st.machine, STAGE_GUEST, (pfn_t){ i }, false);
		else
			n++;
	}
	return n;
}

/* The same pages again, as a file system's would be. */
static void write_again(unsigned int times)
{
	struct sim_sg sg[4];
	unsigned int n;
	int err;

	ck_assert_int_eq(sim_sg_alloc(st.guest, 8192, 4096, 4, sg, &n), 0);
	for (unsigned int i = 0; i < times; i++) {
		struct sim_blk_req *req;

		req = sim_blk_submit(st.guest, 0, VIRTIO_BLK_T_OUT, 0, sg, n, &err);
		ck_assert_ptr_nonnull(req);
		ck_assert_int_eq(sim_blk_kick(st.guest, 0), 0);
		ck_assert_int_eq(sim_blk_wait(st.guest, 0, req), VIRTIO_BLK_S_OK);
	}
	sim_sg_free(st.guest, sg, n);
}

START_TEST(data_and_nothing_kept_writable)
{
	unsigned int own;

	up_with(_i ? 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |
			     1ull << VIRTIO_F_ACCESS_PLATFORM :
		     0);
	own = not_the_guests(); /* used rings, which the worker itself writes */
	ck_assert_uint_gt(own, 0);
	for (unsigned int i = 0; i < 10; i++) {
		stage_io(&st, i % 2, i * 16, 8192, i);
		ck_assert_uint_eq(not_the_guests(), own);
	}
	stage_some_io(&st, DISK_SECTORS, 150);
	write_again(10);
	ck_assert_uint_gt(atomic_load(&stats()->keep_hits), 0);
	ck_assert_uint_gt(atomic_load(&stats()->p2m_requests), 0);
	ck_assert_uint_eq(atomic_load(&stats()->table_reads) > 0, !_i);
	ck_assert_uint_eq(atomic_load(&stats()->copy_calls), 0);
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	ck_assert_uint_eq(not_the_guests(), own);
	ck_assert_uint_eq(atomic_load(&stats()->broken), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_uint_eq(not_the_guests(), 0);
	ck_assert_uint_eq(atomic_load(&stats()->kept), 0);
	stage_down(&st);
}
END_TEST

/* 22: every page the guest does not use just now goes out and in again, between requests. */
START_TEST(hazard_22_balloon)
{
	struct sim_audit a;

	up();
	for (unsigned int round = 0; round < 20; round++) {
		stage_some_io(&st, DISK_SECTORS, 20);
		for (uint64_t i = 0; i < GUEST_PAGES; i++) {
			pfn_t pfn;

			/* one that nobody has allocated */
			if (sim_pages_alloc(st.machine, STAGE_GUEST, 1, &pfn))
				break;
			if (i % 8 == round % 8) {
				ck_assert_int_eq(sim_balloon_out(st.machine, STAGE_GUEST, pfn), 0);
				ck_assert_int_eq(sim_balloon_in(st.machine, STAGE_GUEST, pfn), 0);
			}
			sim_pages_free(st.machine, STAGE_GUEST, pfn, 1);
		}
	}
	sim_audit(st.machine, SIM_ANY, &a);
	ck_assert_uint_eq(a.late_writes, 0);
	ck_assert_uint_gt(atomic_load(&stats()->p2m_stale), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

static uint64_t guest_frames(struct hv *hv)
{
	struct hv_dominfo info;

	ck_assert_int_eq(hv->ops->dom_info(hv, STAGE_GUEST, &info), 0);
	return info.nr_pages;
}

/* Frames that the guest gave away are let go of within a moment, also when nothing happens. */
START_TEST(hazard_22_idle_pins_of_pages_given_away_go)
{
	struct sim_blk_req *req;
	struct sim_sg sg[4];
	uint64_t pages;
	unsigned int n;
	struct hv *hv;
	int err;

	up();
	hv = sim_hv_open(st.machine, STAGE_BACK, HV_CAP_DOMAIN, &err);
	ck_assert_int_eq(sim_sg_alloc(st.guest, 8192, 4096, 4, sg, &n), 0);
	req = sim_blk_submit(st.guest, 0, VIRTIO_BLK_T_OUT, 0, sg, n, &err);
	ck_assert_int_eq(sim_blk_kick(st.guest, 0), 0);
	ck_assert_int_eq(sim_blk_wait(st.guest, 0, req), VIRTIO_BLK_S_OK);
	pages = guest_frames(hv);
	ck_assert_int_eq(sim_balloon_out(st.machine, STAGE_GUEST, (pfn_t){ sg[0].gpa >> 12 }), 0);
	ck_assert_uint_eq(guest_frames(hv), pages); /* held, by one who does not look all the time */
	for (int i = 0; i < 500 && guest_frames(hv) == pages; i++)
		usleep(10000);
	ck_assert_uint_eq(guest_frames(hv), pages - 1);
	hv_close(hv);
	ck_assert_int_eq(sim_balloon_in(st.machine, STAGE_GUEST, (pfn_t){ sg[0].gpa >> 12 }), 0);
	sim_sg_free(st.guest, sg, n);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

static struct vring_desc *raw(void)
{
	return sim_guest_ring(st.guest, 0)->desc;
}

static void expect_broken(const char *reason, const _Atomic uint64_t *counter)
{
	uint64_t before = counter ? atomic_load(counter) : 0;

	sim_guest_push(st.guest, 0, 0);
	sim_guest_kick(st.guest, 0);
	for (int i = 0; i < 100 && !sim_guest_needs_reset(st.guest); i++)
		sim_guest_ctrl_event(st.guest, 50);
	ck_assert(sim_guest_needs_reset(st.guest));
	ck_assert_msg(strstr(stats()->reason, reason) != NULL, "reason is: %s", stats()->reason);
	if (counter)
		ck_assert_uint_eq(atomic_load(counter), before + 1);
	ck_assert_ptr_null(check_dev_violation(st.dev));
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 8, 4096, 1);
}

/* A request of one page that the guest does not have, as data, as a table, both ways. */
static void bad_page(uint64_t daddr, const char *reason, const _Atomic uint64_t *counter)
{
	raw()[0] = (struct vring_desc){ daddr, 512, 0, 0 };
	expect_broken(reason, counter);
	raw()[0] = (struct vring_desc){ daddr, 512, VRING_DESC_F_WRITE, 0 };
	expect_broken(reason, counter);
	raw()[0] = (struct vring_desc){ daddr, 32, VRING_DESC_F_INDIRECT, 0 };
	expect_broken(reason, counter);
}

/* 08, 22, 23: nothing but the guest's own pages, and each refusal has its name. */
START_TEST(hazard_23_not_the_guests_own)
{
	struct session_stats *s;
	uint64_t p;
	mfn_t other;

	up();
	s = stats();
	bad_page((uint64_t)GUEST_PAGES << 12, "beyond", &s->p2m_beyond);
	bad_page(1ull << 39, "beyond", &s->p2m_beyond);
	bad_page(1ull << 40, "beyond", &s->p2m_beyond);
	bad_page(XVS_DADDR_GRANT | 8 << 12, "beyond", &s->p2m_beyond); /* not guessed from bit 63 */
	bad_page(UINT64_MAX - 256, "beyond", &s->p2m_beyond);
	p = page;
	ck_assert_int_eq(sim_balloon_out(st.machine, STAGE_GUEST, (pfn_t){ p }), 0);
	bad_page(p << 12, "no memory", &s->p2m_absent);
	ck_assert_int_eq(sim_p2m(st.machine, STAGE_BACK, (pfn_t){ 2000 }, &other), 0);
	memset(sim_maddr_va(st.machine, maddr_of(other, 0), 4096), 0x77, 4096);
	sim_p2m_write(st.machine, STAGE_GUEST, (pfn_t){ p }, other.n);
	bad_page(p << 12, "refused by Xen", &s->p2m_refused);
	sim_p2m_write(st.machine, STAGE_GUEST, (pfn_t){ p }, other.n | HV_P2M_FOREIGN);
	bad_page(p << 12, "no memory", &s->p2m_absent);
	for (unsigned int i = 0; i < 4096; i++)
		ck_assert_uint_eq(((uint8_t *)sim_maddr_va(st.machine, maddr_of(other, 0),
							   4096))[i], 0x77);
	/* the second page of a buffer counts as much as the first */
	sim_p2m_write(st.machine, STAGE_GUEST, (pfn_t){ p }, SIM_P2M_INVALID);
	ck_assert_int_eq(sim_balloon_in(st.machine, STAGE_GUEST, (pfn_t){ p }), 0);
	ck_assert_int_eq(sim_balloon_out(st.machine, STAGE_GUEST, (pfn_t){ p + 1 }), 0);
	raw()[0] = (struct vring_desc){ p << 12, 4097, 0, 0 };
	expect_broken("no memory", &s->p2m_absent);
	/* a page table may be read by the device, never written */
	ck_assert_int_eq(sim_page_table(st.machine, STAGE_GUEST, (pfn_t){ p + 2 }, true), 0);
	raw()[0] = (struct vring_desc){ (p + 2) << 12, 512, VRING_DESC_F_WRITE, 0 };
	expect_broken("refused by Xen", &s->p2m_refused);
	/* and the rings, and lengths */
	raw()[0] = (struct vring_desc){ sim_guest_ring(st.guest, 0)->device_addr, 16,
					VRING_DESC_F_WRITE, 0 };
	expect_broken("lies in a ring", NULL);
	raw()[0] = (struct vring_desc){ (p + 2) << 12, 0, 0, 0 };
	expect_broken("length 0", NULL);
	raw()[0] = (struct vring_desc){ ((p + 2) << 12) + 4, 32, VRING_DESC_F_INDIRECT, 0 };
	expect_broken("not aligned", NULL);
	stage_down_broken(&st);
}
END_TEST

/* Rings that are not the guest's memory are refused, and the device is as it was. */
START_TEST(hazard_23_rings_must_be_the_guests)
{
	struct xvs_request req = { .op = XVS_OP_SET_VQUEUE };
	struct xvs_queue *q;
	uint64_t was;

	up();
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(sim_guest_set_status(st.guest, 3, NULL), 0);
	ck_assert_int_eq(sim_guest_set_features(st.guest, 1ull << VIRTIO_F_VERSION_1), 0);
	ck_assert_int_eq(sim_guest_set_status(st.guest, 11, NULL), 0);
	q = &sim_guest_ctrl(st.guest)->queue[0];
	was = q->device_addr;
	q->device_addr = (uint64_t)GUEST_PAGES << 12;
	ck_assert_int_eq(sim_guest_request(st.guest, &req), XVS_EINVAL);
	ck_assert_uint_eq(atomic_load(&stats()->p2m_beyond), 1);
	ck_assert_int_eq(sim_balloon_out(st.machine, STAGE_GUEST, (pfn_t){ page }), 0);
	q->device_addr = page << 12;
	ck_assert_int_eq(sim_guest_request(st.guest, &req), XVS_EINVAL);
	ck_assert_uint_eq(atomic_load(&stats()->p2m_absent), 1);
	q->device_addr = was;
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_some_io(&st, DISK_SECTORS, 10);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

/* 48, 50: killed with requests in the device: what it may write stays, then all goes on. */
START_TEST(hazard_50_worker_killed)
{
	struct sim_sg sg[8][4];
	struct sim_blk_req *req[8];
	unsigned int n[8];
	int err;

	up();
	stage_some_io(&st, DISK_SECTORS, 20);
	for (unsigned int round = 0; round < 5; round++) {
		check_dev_pause(st.dev, true);
		for (unsigned int i = 0; i < 8; i++) {
			ck_assert_int_eq(sim_sg_alloc(st.guest, 4096, 4096, 4, sg[i], &n[i]), 0);
			req[i] = sim_blk_submit(st.guest, 0, VIRTIO_BLK_T_IN, i * 8, sg[i], n[i],
						&err);
			ck_assert_ptr_nonnull(req[i]);
		}
		ck_assert_int_eq(sim_blk_kick(st.guest, 0), 0);
		for (int i = 0; i < 5000 && atomic_load(&stats()->inflight) < 8; i++)
			usleep(1000);
		ck_assert_uint_eq(atomic_load(&stats()->inflight), 8);
		stage_kill(&st);
		ck_assert_uint_ge(st.held, 8);
		check_dev_pause(st.dev, false);
		stage_start(&st, true);
		for (unsigned int i = 0; i < 8; i++) {
			ck_assert_int_eq(sim_blk_wait(st.guest, 0, req[i]), VIRTIO_BLK_S_OK);
			sim_sg_free(st.guest, sg[i], n[i]);
		}
		stage_some_io(&st, DISK_SECTORS, 10);
	}
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

/* 40: the map fails now and then; requests wait, none is lost. */
START_TEST(hazard_40_shortage)
{
	up();
	for (unsigned int i = 0; i < 40; i++) {
		if (i % 2)
			sim_fault_set(st.machine, SIM_OP_FOREIGN_MAP, 1 + i % 3, -ENOMEM);
		else
			sim_fault_element(st.machine, SIM_OP_FOREIGN_MAP, 1 + i % 3, -ENOMEM);
		if (i % 5 == 0) {
			sim_p2m_reshape(st.machine, STAGE_GUEST);
			sim_p2m_reshape(st.machine, STAGE_GUEST);
		}
		stage_io(&st, i % 2, i * 16, 8192, i);
	}
	sim_fault_clear(st.machine);
	ck_assert_uint_eq(atomic_load(&stats()->broken), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("p2m-session");
	TCase *tc = tcase_create("p2m");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, data_and_nothing_kept_writable, 0, 2);
	tcase_add_test(tc, hazard_22_balloon);
	tcase_add_test(tc, hazard_22_idle_pins_of_pages_given_away_go);
	tcase_add_test(tc, hazard_23_not_the_guests_own);
	tcase_add_test(tc, hazard_23_rings_must_be_the_guests);
	tcase_add_test(tc, hazard_50_worker_killed);
	tcase_add_test(tc, hazard_40_shortage);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
