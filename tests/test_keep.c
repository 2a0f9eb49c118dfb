/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages that stay mapped between requests: data, bounds, age, release, and what a guest may not. */
#include "check_main.h"
#include "stage.h"

#include "mem/kept.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DISK_SECTORS 8192

static struct stage st;
static uint8_t data[64 * 1024];

static struct session_stats *stats(void)
{
	return &st.journal.data->stats;
}

static void up(const struct sim_guest_config *guest, unsigned int pages, unsigned int ms)
{
	struct check_config d = { .sectors = DISK_SECTORS, .num_queues = 2 };
	struct sim_guest_config g = guest ? *guest : (struct sim_guest_config){ 0 };

	if (!g.protection)
		g.protection = XVS_PROTECTION_LAZY;
	stage_up(&st, &d, &g);
	if (pages)
		st.keep_pages = pages;
	st.keep_ms = ms;
	stage_start(&st, false);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
}

static void down(void)
{
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	stage_down(&st);
}

/* -- what a sound guest sees -- */

START_TEST(data_and_fewer_hypercalls)
{
	static const enum xvs_protection word[] = { XVS_PROTECTION_POOL, XVS_PROTECTION_LAZY,
						    XVS_PROTECTION_ADAPTIVE };
	struct sim_guest_config g = { .protection = word[_i] };

	up(&g, 0, 0);
	stage_some_io(&st, DISK_SECTORS, 150);
	ck_assert_uint_gt(atomic_load(&stats()->keep_hits) + atomic_load(&stats()->table_reads), 0);
	ck_assert_uint_gt(atomic_load(&stats()->keep_added), 0);
	ck_assert_uint_lt(atomic_load(&stats()->unmap_pages), atomic_load(&stats()->map_pages));
	ck_assert_uint_gt(journal_live(&st.journal), 0);
	down();
}
END_TEST

START_TEST(data_through_direct_chains)
{
	struct sim_guest_config g = {
		.no_features = 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX
	};

	up(&g, 0, 0);
	stage_some_io(&st, DISK_SECTORS, 60);
	ck_assert_uint_eq(atomic_load(&stats()->table_reads), 0);
	down();
}
END_TEST

START_TEST(all_is_given_back_on_request)
{
	up(NULL, 0, 0);
	for (unsigned int i = 0; i < 10; i++) {
		stage_some_io(&st, DISK_SECTORS, 20);
		ck_assert_uint_gt(sim_guest_kept(st.guest), 0);
		ck_assert_uint_gt(journal_live(&st.journal), 0);
		ck_assert_int_eq(sim_guest_release(st.guest), 0);
		ck_assert_uint_eq(sim_guest_kept(st.guest), 0);
		ck_assert_uint_eq(journal_live(&st.journal), 0);
		ck_assert_uint_eq(atomic_load(&stats()->kept), 0);
	}
	down();
}
END_TEST

/* The device sits on some requests; what they use stays, and all the rest goes. */
START_TEST(release_spares_what_is_in_flight)
{
	struct sim_sg sg[8][4];
	unsigned int n[8];
	struct sim_blk_req *req[8];
	int err;

	up(NULL, 0, 0);
	stage_some_io(&st, DISK_SECTORS, 20);
	check_dev_pause(st.dev, true);
	for (unsigned int i = 0; i < 8; i++) {
		ck_assert_int_eq(sim_sg_alloc(st.guest, 4096, 4096, 4, sg[i], &n[i]), 0);
		stage_fill(data, 4096, i);
		ck_assert_int_eq(sim_sg_fill(st.guest, sg[i], n[i], data), 0);
		req[i] = sim_blk_submit(st.guest, 0, VIRTIO_BLK_T_OUT, i * 8, sg[i], n[i], &err);
		ck_assert(req[i] != NULL);
	}
	ck_assert_int_eq(sim_blk_kick(st.guest, 0), 0);
	for (int i = 0; i < 5000 && atomic_load(&stats()->inflight) < 8; i++)
		usleep(1000);
	ck_assert_uint_eq(atomic_load(&stats()->inflight), 8);
	ck_assert_int_eq(sim_guest_release(st.guest), 0);
	ck_assert_uint_gt(journal_live(&st.journal), 8);
	ck_assert_uint_gt(sim_guest_kept(st.guest), 0);
	check_dev_pause(st.dev, false);
	for (unsigned int i = 0; i < 8; i++) {
		ck_assert_int_eq(sim_blk_wait(st.guest, 0, req[i]), VIRTIO_BLK_S_OK);
		sim_sg_free(st.guest, sg[i], n[i]);
	}
	ck_assert_int_eq(sim_guest_release(st.guest), 0);
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	down();
}
END_TEST

START_TEST(hazard_20_bound_is_kept)
{
	static const unsigned int bounds[] = { 1, 7, 64 };

	up(NULL, bounds[_i], 0);
	for (unsigned int i = 0; i < 20; i++) {
		stage_some_io(&st, DISK_SECTORS, 10);
		ck_assert_uint_le(atomic_load(&stats()->kept), bounds[_i]);
	}
	ck_assert_uint_gt(atomic_load(&stats()->keep_dropped), 0);
	down();
}
END_TEST

START_TEST(old_ones_go)
{
	up(NULL, 0, 20);
	stage_some_io(&st, DISK_SECTORS, 20);
	ck_assert_uint_gt(atomic_load(&stats()->keep_added), 0);
	for (int i = 0; i < 10000 && atomic_load(&stats()->kept); i++)
		usleep(1000);
	ck_assert_uint_eq(atomic_load(&stats()->kept), 0);
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	stage_some_io(&st, DISK_SECTORS, 20);
	down();
}
END_TEST

/* -- faults -- */

START_TEST(hazard_20_48_killed_with_pages_kept)
{
	up(NULL, 0, 0);
	for (unsigned int i = 0; i < 20; i++) {
		stage_some_io(&st, DISK_SECTORS, 6);
		stage_kill(&st);
		ck_assert_uint_eq(journal_live(&st.journal), 0);
		stage_start(&st, true);
	}
	down();
}
END_TEST

START_TEST(hazard_16_40_map_runs_out_and_recovers)
{
	up(NULL, 0, 0);
	for (unsigned int i = 1; i < 8; i++) {
		ck_assert_int_eq(sim_fault_element(st.machine, SIM_OP_GNT_MAP, i, -13), 0);
		stage_some_io(&st, DISK_SECTORS, 4);
	}
	ck_assert_uint_gt(atomic_load(&stats()->keep_added), 0);
	down();
}
END_TEST

/* -- hostile guests: raw descriptors -- */

static uint64_t grant(bool readonly, uint32_t *ref)
{
	pfn_t pfn;

	ck_assert_int_eq(sim_pages_alloc(st.machine, STAGE_GUEST, 1, &pfn), 0);
	ck_assert_int_eq(sim_grant_range(st.machine, STAGE_GUEST, pfn, 1, STAGE_BACK, readonly, ref),
			 0);
	return XVS_DADDR_GRANT | XVS_DADDR_KEEP | (uint64_t)*ref << XVS_DADDR_GREF_SHIFT;
}

static void push(uint64_t daddr, uint32_t len, uint16_t flags)
{
	sim_guest_ring(st.guest, 0)->desc[0] = (struct vring_desc){ daddr, len, flags, 0 };
	sim_guest_push(st.guest, 0, 0);
	sim_guest_kick(st.guest, 0);
}

static void expect_broken(const char *part)
{
	for (int i = 0; i < 100 && !sim_guest_needs_reset(st.guest); i++)
		sim_guest_ctrl_event(st.guest, 50);
	ck_assert(sim_guest_needs_reset(st.guest));
	ck_assert_msg(strstr(stats()->reason, part) != NULL, "reason is: %s", stats()->reason);
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	ck_assert_ptr_null(check_dev_violation(st.dev));
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 8, 4096, 77);
	stage_down_broken(&st);
}

START_TEST(hazard_07_keep_bit_in_strict)
{
	struct sim_guest_config g = { .protection = XVS_PROTECTION_STRICT };
	uint32_t ref;

	up(&g, 0, 0);
	push(grant(false, &ref), 16, 0);
	expect_broken("not a grant");
}
END_TEST

START_TEST(hazard_18_kept_though_granted_readonly)
{
	uint32_t ref;

	up(NULL, 0, 0);
	push(grant(true, &ref), 16, 0);
	expect_broken("cannot be mapped");
}
END_TEST

START_TEST(hazard_16_kept_though_never_granted)
{
	up(NULL, 0, 0);
	stage_some_io(&st, DISK_SECTORS, 5);
	push(XVS_DADDR_GRANT | XVS_DADDR_KEEP | 0xffff000ull, 16, VRING_DESC_F_WRITE);
	expect_broken("cannot be mapped");
}
END_TEST

/* Beyond what the index of kept pages has room for: as one that goes with its request. */
START_TEST(reference_too_large_to_be_kept)
{
	up(NULL, 0, 0);
	push(XVS_DADDR_GRANT | XVS_DADDR_KEEP | (KEPT_REFS - 1ull) << XVS_DADDR_GREF_SHIFT, 8192,
	     VRING_DESC_F_WRITE);
	expect_broken("cannot be mapped");
}
END_TEST

/* A table in a kept page that the device may write as well. */
START_TEST(hazard_14_writable_buffer_in_its_own_kept_table)
{
	struct vring_desc table = { .len = 64, .flags = VRING_DESC_F_WRITE };
	uint32_t ref;
	pfn_t pfn;
	void *va;

	up(NULL, 0, 0);
	ck_assert_int_eq(sim_pages_alloc(st.machine, STAGE_GUEST, 1, &pfn), 0);
	ck_assert_int_eq(sim_grant_range(st.machine, STAGE_GUEST, pfn, 1, STAGE_BACK, false, &ref), 0);
	va = sim_pages_map(st.machine, STAGE_GUEST, pfn, 1);
	table.addr = XVS_DADDR_GRANT | XVS_DADDR_KEEP | (uint64_t)ref << XVS_DADDR_GREF_SHIFT;
	memcpy(va, &table, sizeof(table));
	sim_pages_unmap(va, 1);
	push(table.addr, sizeof(table), VRING_DESC_F_INDIRECT);
	expect_broken("its own indirect table");
}
END_TEST

/* A status byte right behind the table, in one page: copied buffers come to lie like that. */
START_TEST(writable_buffer_beside_its_table)
{
	struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_IN };
	struct vring_desc table[3];
	struct vring_used_elem e;
	uint64_t base;
	uint32_t ref;
	uint8_t *va;
	pfn_t pfn;

	up(NULL, 0, 0);
	ck_assert_int_eq(sim_pages_alloc(st.machine, STAGE_GUEST, 1, &pfn), 0);
	ck_assert_int_eq(sim_grant_range(st.machine, STAGE_GUEST, pfn, 1, STAGE_BACK, false, &ref), 0);
	va = sim_pages_map(st.machine, STAGE_GUEST, pfn, 1);
	base = XVS_DADDR_GRANT | XVS_DADDR_KEEP | (uint64_t)ref << XVS_DADDR_GREF_SHIFT;
	table[0] = (struct vring_desc){ base + 1024, sizeof(hdr), VRING_DESC_F_NEXT, 1 };
	table[1] = (struct vring_desc){ base + 2048, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2 };
	table[2] = (struct vring_desc){ base + sizeof(table), 1, VRING_DESC_F_WRITE, 0 };
	memcpy(va, table, sizeof(table));
	memcpy(va + 1024, &hdr, sizeof(hdr));
	va[sizeof(table)] = 0xff;
	push(base, sizeof(table), VRING_DESC_F_INDIRECT);
	ck_assert_int_eq(sim_guest_pop(st.guest, 0, 5000, &e), 0);
	ck_assert_uint_eq(va[sizeof(table)], VIRTIO_BLK_S_OK);
	ck_assert_uint_gt(atomic_load(&stats()->table_reads), 0);
	sim_pages_unmap(va, 1);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down_broken(&st);
}
END_TEST

/*
 * The same two pages in one request after the other: the first maps them, the others find them, and
 * the device gets the same frames.
 */
START_TEST(kept_page_is_found_again)
{
	struct virtio_blk_outhdr hdr = { 0 };
	struct vring_desc *d;
	uint64_t base, maps = 0;
	uint32_t ref;
	uint8_t *va;
	pfn_t pfn;

	up(NULL, 0, 0);
	d = sim_guest_ring(st.guest, 0)->desc;
	ck_assert_int_eq(sim_pages_alloc(st.machine, STAGE_GUEST, 2, &pfn), 0);
	ck_assert_int_eq(sim_grant_range(st.machine, STAGE_GUEST, pfn, 2, STAGE_BACK, false, &ref), 0);
	va = sim_pages_map(st.machine, STAGE_GUEST, pfn, 2);
	base = XVS_DADDR_GRANT | XVS_DADDR_KEEP | (uint64_t)ref << XVS_DADDR_GREF_SHIFT;
	for (unsigned int i = 0; i < 6; i++) {
		struct vring_used_elem e;
		bool in = i % 2; /* what was written comes back */

		hdr.type = in ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
		hdr.sector = i / 2;
		memcpy(va, &hdr, sizeof(hdr));
		if (in)
			memset(va + 4096 - 256, 0, 512);
		else
			stage_fill(va + 4096 - 256, 512, i);
		d[0] = (struct vring_desc){ base, sizeof(hdr), VRING_DESC_F_NEXT, 1 };
		d[1] = (struct vring_desc){ base + 4096 - 256, 512, /* over the edge */
					    VRING_DESC_F_NEXT | (in ? VRING_DESC_F_WRITE : 0), 2 };
		d[2] = (struct vring_desc){ base + 64, 1, VRING_DESC_F_WRITE, 0 };
		va[64] = 0xff;
		sim_guest_push(st.guest, 0, 0);
		sim_guest_kick(st.guest, 0);
		ck_assert_int_eq(sim_guest_pop(st.guest, 0, 30000, &e), 0);
		ck_assert_uint_eq(va[64], VIRTIO_BLK_S_OK);
		stage_fill(data, 512, i - in);
		ck_assert_mem_eq(va + 4096 - 256, data, 512);
		if (!i)
			maps = atomic_load(&stats()->map_pages);
		ck_assert_uint_eq(atomic_load(&stats()->map_pages), maps);
		/* four pieces of pages: the two that were mapped for the first, then all */
		ck_assert_uint_eq(atomic_load(&stats()->keep_hits), 4 * i);
	}
	ck_assert_uint_eq(maps, 2);
	sim_pages_unmap(va, 2);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down_broken(&st);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("keep");
	TCase *sound = tcase_create("sound"), *bad = tcase_create("bad");

	tcase_set_timeout(sound, 120);
	tcase_add_loop_test(sound, data_and_fewer_hypercalls, 0, 3);
	tcase_add_test(sound, data_through_direct_chains);
	tcase_add_test(sound, all_is_given_back_on_request);
	tcase_add_test(sound, release_spares_what_is_in_flight);
	tcase_add_loop_test(sound, hazard_20_bound_is_kept, 0, 3);
	tcase_add_test(sound, old_ones_go);
	tcase_add_test(sound, kept_page_is_found_again);
	tcase_add_test(sound, hazard_20_48_killed_with_pages_kept);
	tcase_add_test(sound, hazard_16_40_map_runs_out_and_recovers);
	suite_add_tcase(suite, sound);

	tcase_set_timeout(bad, 60);
	tcase_add_test(bad, hazard_07_keep_bit_in_strict);
	tcase_add_test(bad, hazard_16_kept_though_never_granted);
	tcase_add_test(bad, hazard_18_kept_though_granted_readonly);
	tcase_add_test(bad, writable_buffer_beside_its_table);
	tcase_add_test(bad, reference_too_large_to_be_kept);
	tcase_add_test(bad, hazard_14_writable_buffer_in_its_own_kept_table);
	suite_add_tcase(suite, bad);
	return check_main(suite);
}
