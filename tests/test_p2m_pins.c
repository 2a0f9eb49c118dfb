/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addressing by pfn on the simulated machine: what is held, for how long, and what is refused. */
#include "mem/p2m_pins.h"
#include "sim_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct p2m_pins *p;
static struct hold_table *table;
static struct hv *p2m_hv;
static struct hv_p2m *guest_p2m;

#define HOLE 300u /* a pfn of the guest that nothing else uses */

static void open_pins(unsigned int max)
{
	int err = 0;

	p2m_hv = sim_hv_open(m, BACK, HV_CAP_P2M, &err);
	ck_assert_ptr_nonnull(p2m_hv);
	p = calloc(1, sizeof(*p));
	table = calloc(1, sizeof(*table));
	ck_assert(p && table);
	hold_table_init(table, p2m_hv, GUEST);
	ck_assert_int_eq(p2m_hv->ops->p2m_open(p2m_hv, GUEST, &guest_p2m), 0);
	ck_assert_int_eq(p2m_pins_open(p, p2m_hv, guest_p2m, &table->hold, max), 0);
}

/* All that is left must be what the device had. */
static void close_pins(void)
{
	ck_assert_int_eq(p2m_pins_release(p), 0);
	ck_assert_uint_eq(table->held, 0);
	ck_assert_uint_eq(p->held, 0);
	p2m_pins_close(p);
	p2m_hv->ops->p2m_close(p2m_hv, guest_p2m);
	hv_close(p2m_hv);
	free(p);
	free(table);
}

static pfn_t pfn(uint64_t n)
{
	return (pfn_t){ n };
}

static uint64_t mfn_now(uint64_t n)
{
	mfn_t mfn;

	ck_assert_int_eq(sim_p2m(m, GUEST, pfn(n), &mfn), 0);
	return mfn.n;
}

/* One page in a batch of its own. */
static int pin_one(uint64_t n, bool writable)
{
	int use, rc = p2m_pins_begin(p, p->now);

	if (rc)
		return rc;
	use = p2m_pins_add(p, pfn(n), writable);
	if (use < 0)
		return use;
	rc = p2m_pins_map(p);
	return rc ? rc : use;
}

static bool reach(uint64_t mfn, bool write)
{
	char why[80];

	return !sim_device_reach(m, BACK, maddr_of((mfn_t){ mfn }, 0), 1, write, SIM_REACH_ANY,
				 NULL, why, sizeof(why));
}

static void check_fault(int rc, enum p2m_fault_kind kind, uint64_t n)
{
	ck_assert_int_eq(rc, -EFAULT);
	ck_assert_int_eq(p->fault.kind, kind);
	ck_assert_uint_eq(p->fault.pfn.n, n);
	ck_assert_uint_eq(p->use_free_n, P2M_USES);
}

static unsigned int foreign_pages(void)
{
	struct sim_audit a;

	sim_audit(m, BACK, &a);
	return a.foreign_pages;
}

START_TEST(pages_are_the_guests)
{
	int use;

	open_pins(16);
	use = pin_one(5, false);
	ck_assert_int_ge(use, 0);
	ck_assert_uint_eq(mfn_of(p2m_pins_maddr(p, (uint16_t)use)).n, mfn_now(5));
	ck_assert(reach(mfn_now(5), false));
	ck_assert(!reach(mfn_now(5), true));
	ck_assert(!reach(mfn_now(6), false));
	p2m_pins_drop(p, (uint16_t)use);
	close_pins();
	ck_assert(!reach(mfn_now(5), false));
}
END_TEST

/* A second use of a page costs nothing; a batch of misses one request, and one map a page. */
START_TEST(one_request_a_batch)
{
	uint64_t maps;
	int use[8];

	open_pins(64);
	maps = sim_op_calls(m, SIM_OP_FOREIGN_MAP);
	ck_assert_int_eq(p2m_pins_begin(p, 0), 0);
	for (int i = 0; i < 8; i++) {
		use[i] = p2m_pins_add(p, pfn(10 + (uint64_t)i / 2), false); /* each twice */
		ck_assert_int_ge(use[i], 0);
	}
	ck_assert_int_eq(p2m_pins_map(p), 0);
	ck_assert_uint_eq(p->counters.changes, 1);
	ck_assert_uint_eq(sim_op_calls(m, SIM_OP_FOREIGN_MAP), maps + 4);
	ck_assert_uint_eq(foreign_pages(), 4);
	for (int i = 0; i < 8; i++)
		p2m_pins_drop(p, (uint16_t)use[i]);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	for (int i = 0; i < 4; i++)
		p2m_pins_drop(p, (uint16_t)pin_one(10 + (uint64_t)i, false));
	ck_assert_uint_eq(sim_op_calls(m, SIM_OP_FOREIGN_MAP), maps + 4);
	ck_assert_uint_eq(p->counters.changes, 1);
	ck_assert_uint_eq(p->counters.hits, 4);
	ck_assert_uint_eq(p->counters.pinned, 4);
	close_pins();
}
END_TEST

/*
 * What one chain is to be written shares a map; another chain's pages have their own. A page that
 * is in use once more stays, and no other with it.
 */
START_TEST(one_map_a_chain)
{
	uint64_t maps = sim_op_calls(m, SIM_OP_FOREIGN_MAP), unmaps;
	int use[12], again;

	open_pins(64);
	maps = sim_op_calls(m, SIM_OP_FOREIGN_MAP);
	unmaps = sim_op_calls(m, SIM_OP_FOREIGN_UNMAP);
	ck_assert_int_eq(p2m_pins_begin(p, 0), 0);
	for (int i = 0; i < 12; i++) {
		if (i % 4 == 0)
			ck_assert_uint_eq(p2m_pins_mark(p), (unsigned int)i);
		use[i] = p2m_pins_add(p, pfn(10 + (uint64_t)i), true);
		ck_assert_int_ge(use[i], 0);
	}
	ck_assert_int_eq(p2m_pins_map(p), 0);
	ck_assert_uint_eq(sim_op_calls(m, SIM_OP_FOREIGN_MAP), maps + 3);
	ck_assert_uint_eq(foreign_pages(), 12);

	again = pin_one(15, false); /* of the second chain */
	ck_assert_uint_eq(sim_op_calls(m, SIM_OP_FOREIGN_MAP), maps + 3);
	for (int i = 0; i < 8; i++)
		p2m_pins_drop(p, (uint16_t)use[i]);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert_uint_eq(sim_op_calls(m, SIM_OP_FOREIGN_MAP), maps + 4); /* 15 alone */
	ck_assert_uint_eq(sim_op_calls(m, SIM_OP_FOREIGN_UNMAP), unmaps + 2);
	ck_assert_uint_eq(foreign_pages(), 5);
	for (uint64_t n = 10; n < 18; n++)
		ck_assert_int_eq(reach(mfn_now(n), true), n == 15);
	ck_assert_int_eq(sim_page_table(m, GUEST, pfn(14), true), 0);
	ck_assert_int_eq(sim_page_table(m, GUEST, pfn(15), true), -EBUSY);

	p2m_pins_drop(p, (uint16_t)again);
	for (int i = 8; i < 12; i++)
		p2m_pins_drop(p, (uint16_t)use[i]);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert_uint_eq(foreign_pages(), 0);
	ck_assert_uint_eq(sim_op_calls(m, SIM_OP_FOREIGN_UNMAP), unmaps + 4);
	close_pins();
}
END_TEST

/* No memory for that map: the pages stay a while, and still nothing is lost or left. */
START_TEST(one_map_a_chain_short)
{
	int use[4], again;

	open_pins(64);
	ck_assert_int_eq(p2m_pins_begin(p, 0), 0);
	for (int i = 0; i < 4; i++)
		use[i] = p2m_pins_add(p, pfn(10 + (uint64_t)i), true);
	ck_assert_int_eq(p2m_pins_map(p), 0);
	again = pin_one(12, true);
	sim_fault_set(m, SIM_OP_FOREIGN_MAP, 1, -ENOMEM);
	for (int i = 0; i < 4; i++)
		p2m_pins_drop(p, (uint16_t)use[i]);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert_uint_eq(foreign_pages(), 4);
	ck_assert(reach(mfn_now(12), true));
	use[0] = pin_one(10, true); /* its slot and its page may be had anew */
	ck_assert_int_ge(use[0], 0);
	ck_assert_uint_eq(foreign_pages(), 5);
	p2m_pins_drop(p, (uint16_t)again);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert_uint_eq(foreign_pages(), 1);
	ck_assert(reach(mfn_now(10), true) && !reach(mfn_now(12), true));
	p2m_pins_drop(p, (uint16_t)use[0]);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	close_pins();
}
END_TEST

/* A page that was read into is the guest's again, also to make a page table of it. */
START_TEST(writable_ends_with_its_use)
{
	int read, write;

	open_pins(16);
	write = pin_one(7, true);
	ck_assert_int_ge(write, 0);
	ck_assert(reach(mfn_now(7), true));
	ck_assert_int_eq(sim_page_table(m, GUEST, pfn(7), true), -EBUSY);
	read = pin_one(7, false);
	ck_assert_int_ge(read, 0);
	p2m_pins_drop(p, (uint16_t)write);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert(reach(mfn_now(7), true)); /* the other use holds it */
	p2m_pins_drop(p, (uint16_t)read);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert(!reach(mfn_now(7), false));
	ck_assert_int_eq(sim_page_table(m, GUEST, pfn(7), true), 0);
	/* what is a page table may be written to a disk, but not by a device */
	read = pin_one(7, false);
	ck_assert_int_ge(read, 0);
	check_fault(({ p2m_pins_drop(p, (uint16_t)read); pin_one(7, true); }),
		    P2M_FAULT_REFUSED, 7);
	ck_assert(!reach(mfn_now(7), true));
	close_pins();
}
END_TEST

START_TEST(read_then_written)
{
	int read, write, both;

	open_pins(16);
	read = pin_one(7, false);
	write = pin_one(7, true);
	ck_assert(read >= 0 && write >= 0);
	ck_assert_uint_eq(foreign_pages(), 2);
	p2m_pins_drop(p, (uint16_t)read);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert_uint_eq(foreign_pages(), 1);
	ck_assert(reach(mfn_now(7), true));
	p2m_pins_drop(p, (uint16_t)write);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert_uint_eq(foreign_pages(), 0);
	/* in one batch: one pin that does for both */
	ck_assert_int_eq(p2m_pins_begin(p, 0), 0);
	read = p2m_pins_add(p, pfn(8), false);
	both = p2m_pins_add(p, pfn(8), true);
	ck_assert_int_eq(p2m_pins_map(p), 0);
	ck_assert_uint_eq(foreign_pages(), 1);
	ck_assert(reach(mfn_now(8), true));
	p2m_pins_drop(p, (uint16_t)read);
	p2m_pins_drop(p, (uint16_t)both);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert_uint_eq(foreign_pages(), 0);
	close_pins();
}
END_TEST

/* 22: out and in again between two uses is another frame. */
START_TEST(hazard_22_ballooned_between_uses)
{
	uint64_t before = mfn_now(HOLE);
	int use;

	open_pins(16);
	use = pin_one(HOLE, false);
	ck_assert_int_ge(use, 0);
	p2m_pins_drop(p, (uint16_t)use);
	ck_assert_int_eq(sim_balloon_out(m, GUEST, pfn(HOLE)), 0);
	check_fault(pin_one(HOLE, false), P2M_FAULT_ABSENT, HOLE);
	ck_assert_int_eq(sim_balloon_in(m, GUEST, pfn(HOLE)), 0);
	ck_assert_uint_ne(mfn_now(HOLE), before);
	use = pin_one(HOLE, false);
	ck_assert_int_ge(use, 0);
	ck_assert_uint_eq(mfn_of(p2m_pins_maddr(p, (uint16_t)use)).n, mfn_now(HOLE));
	ck_assert(!reach(before, false)); /* let go with the same request */
	ck_assert_uint_eq(p->counters.stale, 1);
	p2m_pins_drop(p, (uint16_t)use);
	close_pins();
}
END_TEST

/* 22: while the device works on it the frame goes to nobody. */
START_TEST(hazard_22_ballooned_during_use)
{
	uint64_t before = mfn_now(HOLE);
	int use, next;

	open_pins(16);
	use = pin_one(HOLE, true);
	ck_assert_int_ge(use, 0);
	ck_assert_int_eq(sim_balloon_out(m, GUEST, pfn(HOLE)), 0);
	ck_assert_int_eq(sim_balloon_in(m, GUEST, pfn(HOLE)), 0);
	ck_assert(reach(before, true));
	memset(sim_maddr_va(m, p2m_pins_maddr(p, (uint16_t)use), 4096), 0x5a, 4096);
	next = pin_one(HOLE, true);
	ck_assert_int_ge(next, 0);
	ck_assert_uint_eq(mfn_of(p2m_pins_maddr(p, (uint16_t)next)).n, mfn_now(HOLE));
	ck_assert(reach(before, true));
	ck_assert(reach(mfn_now(HOLE), true));
	p2m_pins_drop(p, (uint16_t)use);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert(!reach(before, false));
	p2m_pins_drop(p, (uint16_t)next);
	close_pins(); /* and the fixture finds no late write */
}
END_TEST

/* 23: whatever the guest writes into its table, only its own frames can come of it. */
START_TEST(hazard_23_hostile_entries)
{
	static const uint64_t refused[] = { 1, 1ull << 30, (1ull << 40) - 1, 1ull << 40,
					    (1ull << 62) - 1 };
	static const uint64_t absent[] = { 0, UINT64_MAX, 1ull << 63 | 100, 1ull << 62 | 100 };
	mfn_t own, other;

	open_pins(16);
	ck_assert_int_eq(sim_p2m(m, BACK, pfn(400), &other), 0);
	ck_assert_int_eq(sim_p2m(m, GUEST, pfn(3), &own), 0);
	sim_p2m_write(m, GUEST, pfn(HOLE), other.n);
	check_fault(pin_one(HOLE, false), P2M_FAULT_REFUSED, HOLE);
	check_fault(pin_one(HOLE, true), P2M_FAULT_REFUSED, HOLE);
	ck_assert(!reach(other.n, false));
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		sim_p2m_write(m, GUEST, pfn(HOLE), refused[i]);
		check_fault(pin_one(HOLE, false), P2M_FAULT_REFUSED, HOLE);
	}
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
		sim_p2m_write(m, GUEST, pfn(HOLE), absent[i]);
		check_fault(pin_one(HOLE, false), P2M_FAULT_ABSENT, HOLE);
	}
	check_fault(pin_one(512, false), P2M_FAULT_BEYOND, 512);
	check_fault(pin_one(1ull << 52, true), P2M_FAULT_BEYOND, 1ull << 52);
	check_fault(pin_one(UINT64_MAX, true), P2M_FAULT_BEYOND, UINT64_MAX);
	ck_assert_uint_eq(foreign_pages(), 0);
	/* two names for one frame of its own: that is its own affair */
	sim_p2m_write(m, GUEST, pfn(HOLE), own.n);
	p2m_pins_drop(p, (uint16_t)pin_one(3, true));
	p2m_pins_drop(p, (uint16_t)pin_one(HOLE, true));
	close_pins();
}
END_TEST

/* A batch with one bad page holds nothing that it did not hold before. */
START_TEST(all_or_nothing)
{
	mfn_t other;

	open_pins(16);
	ck_assert_int_eq(sim_p2m(m, BACK, pfn(400), &other), 0);
	sim_p2m_write(m, GUEST, pfn(HOLE), other.n);
	ck_assert_int_eq(p2m_pins_begin(p, 0), 0);
	ck_assert_int_ge(p2m_pins_add(p, pfn(1), true), 0);
	ck_assert_int_ge(p2m_pins_add(p, pfn(HOLE), false), 0);
	ck_assert_int_ge(p2m_pins_add(p, pfn(2), true), 0);
	check_fault(p2m_pins_map(p), P2M_FAULT_REFUSED, HOLE);
	ck_assert_int_eq(p2m_pins_flush(p), 0);
	ck_assert_uint_eq(foreign_pages(), 0);
	ck_assert_uint_eq(p->free_n, 16);
	close_pins();
}
END_TEST

/* What the batch began with stays, what came after n goes. */
START_TEST(undo_takes_back)
{
	int first;

	open_pins(4);
	ck_assert_int_eq(p2m_pins_begin(p, 0), 0);
	first = p2m_pins_add(p, pfn(1), false);
	ck_assert_int_ge(p2m_pins_add(p, pfn(2), false), 0);
	ck_assert_int_ge(p2m_pins_add(p, pfn(1), false), 0);
	ck_assert_int_ge(p2m_pins_add(p, pfn(3), true), 0);
	ck_assert_int_ge(p2m_pins_add(p, pfn(4), true), 0);
	ck_assert_int_eq(p2m_pins_add(p, pfn(5), true), -ENOSPC);
	p2m_pins_undo(p, 1);
	ck_assert_uint_eq(p->free_n, 3);
	ck_assert_int_eq(p2m_pins_map(p), 0);
	ck_assert_uint_eq(foreign_pages(), 1);
	ck_assert(reach(mfn_now(1), false));
	p2m_pins_drop(p, (uint16_t)first);
	close_pins();
}
END_TEST

/* 40: more pages than places: idle ones give way, used ones never. */
START_TEST(hazard_40_eviction)
{
	int use[4], rc;

	open_pins(4);
	for (uint64_t i = 0; i < 4; i++) {
		ck_assert_int_eq(p2m_pins_begin(p, (uint32_t)i), 0);
		use[i] = pin_one(20 + i, false);
		ck_assert_int_ge(use[i], 0);
	}
	ck_assert_int_eq(pin_one(30, false), -ENOSPC);
	p2m_pins_drop(p, (uint16_t)use[2]);
	p2m_pins_drop(p, (uint16_t)use[1]);
	p->pin[p->use[use[1]].pin].seen = 0; /* the older of the two */
	rc = pin_one(30, true);
	ck_assert_int_ge(rc, 0);
	ck_assert(!reach(mfn_now(21), false));
	ck_assert(reach(mfn_now(20), false) && reach(mfn_now(22), false) &&
		  reach(mfn_now(23), false) && reach(mfn_now(30), true));
	ck_assert_uint_eq(p->counters.evicted, 1);
	ck_assert_uint_eq(foreign_pages(), 4);
	for (uint64_t i = 0; i < 300; i++) {
		int one = pin_one(i, false);

		ck_assert_int_ge(one, 0);
		p2m_pins_drop(p, (uint16_t)one);
		ck_assert_uint_le(foreign_pages(), 4);
	}
	ck_assert(reach(mfn_now(20), false) && reach(mfn_now(23), false));
	close_pins();
}
END_TEST

/* 40: injected failures of the map, whole and of one page; then it works. */
START_TEST(hazard_40_faults)
{
	int use;

	open_pins(16);
	sim_fault_set(m, SIM_OP_FOREIGN_MAP, 1, -ENOMEM);
	ck_assert_int_eq(pin_one(9, true), -ENOSPC);
	ck_assert_uint_eq(p->use_free_n, P2M_USES);
	sim_fault_element(m, SIM_OP_FOREIGN_MAP, 1, -ENOMEM);
	ck_assert_int_eq(pin_one(9, true), -ENOSPC);
	sim_fault_element(m, SIM_OP_FOREIGN_MAP, 1, -EINVAL);
	check_fault(pin_one(9, true), P2M_FAULT_REFUSED, 9);
	sim_fault_set(m, SIM_OP_P2M_LEAF, 1, -EFAULT);
	p->p2m->leaf[0] = NULL;
	check_fault(pin_one(9, true), P2M_FAULT_REFUSED, 9);
	sim_fault_set(m, SIM_OP_P2M_SYNC, 1, -ENOMEM);
	ck_assert_int_eq(pin_one(9, true), -ENOMEM);
	ck_assert_uint_eq(foreign_pages(), 0);
	ck_assert_uint_eq(p->free_n, 16);
	use = pin_one(9, true);
	ck_assert_int_ge(use, 0);
	p2m_pins_drop(p, (uint16_t)use);
	sim_fault_set(m, SIM_OP_FOREIGN_UNMAP, 1, -EIO);
	ck_assert_int_eq(p2m_pins_flush(p), -EIO);
	ck_assert_int_eq(p2m_pins_flush(p), -EIO); /* not asked again, not forgotten */
	ck_assert_int_eq(pin_one(10, true), -EIO);
	p2m_pins_close(p);
	ck_assert_int_eq(hold_table_clear(table), 0);
	p2m_hv->ops->p2m_close(p2m_hv, guest_p2m);
	hv_close(p2m_hv);
	free(p);
	free(table);
}
END_TEST

/* The guest changes the shape of its table: nothing read meanwhile is used. */
START_TEST(shape_changes)
{
	int use;

	open_pins(16);
	use = pin_one(9, false);
	ck_assert_int_ge(use, 0);
	p2m_pins_drop(p, (uint16_t)use);
	ck_assert_ptr_nonnull(p->p2m->leaf[0]);
	sim_p2m_reshape(m, GUEST);
	ck_assert_int_eq(pin_one(9, false), -EAGAIN);
	sim_p2m_reshape(m, GUEST);
	ck_assert_int_eq(p2m_pins_begin(p, 0), 0);
	ck_assert_ptr_null(p->p2m->leaf[0]);
	/* between look-up and map */
	ck_assert_int_ge(p2m_pins_add(p, pfn(10), true), 0);
	sim_p2m_reshape(m, GUEST);
	ck_assert_int_eq(p2m_pins_map(p), -EAGAIN);
	sim_p2m_reshape(m, GUEST);
	ck_assert_int_eq(p2m_pins_begin(p, 0), 0);
	ck_assert_int_ge(p2m_pins_add(p, pfn(HOLE), false), 0);
	sim_balloon_out(m, GUEST, pfn(HOLE));
	sim_balloon_in(m, GUEST, pfn(HOLE));
	ck_assert_int_lt(p2m_pins_map(p), 0);
	ck_assert_int_ge(pin_one(HOLE, false), 0);
	/* it grows and shrinks */
	sim_p2m_resize(m, GUEST, 100);
	check_fault(({ p2m_pins_release(p); pin_one(HOLE, false); }), P2M_FAULT_BEYOND, HOLE);
	sim_p2m_resize(m, GUEST, UINT64_MAX);
	ck_assert_int_ge(pin_one(HOLE, false), 0);
	ck_assert_uint_eq(p->p2m->npfns, HV_P2M_MAX_PFNS);
	close_pins();
}
END_TEST

/* Idle pins go: of pages the guest has given away at once, of others when they are old. */
START_TEST(sweep_lets_go)
{
	int busy;

	open_pins(64);
	ck_assert_int_eq(p2m_pins_begin(p, 100), 0);
	busy = pin_one(40, false);
	p2m_pins_drop(p, (uint16_t)pin_one(41, false));
	p2m_pins_drop(p, (uint16_t)pin_one(HOLE, false));
	ck_assert_int_eq(p2m_pins_sweep(p, 105, 10, 64), 0);
	ck_assert_uint_eq(foreign_pages(), 3);
	sim_balloon_out(m, GUEST, pfn(HOLE));
	ck_assert_int_eq(p2m_pins_sweep(p, 106, 10, 64), 0);
	ck_assert_uint_eq(foreign_pages(), 2);
	ck_assert_int_eq(p2m_pins_sweep(p, 111, 10, 64), 0);
	ck_assert_uint_eq(foreign_pages(), 1);
	ck_assert_uint_eq(p->counters.aged, 1);
	ck_assert(reach(mfn_now(40), false));
	ck_assert_int_eq(p2m_pins_sweep(p, 1000, 10, 64), 0);
	ck_assert(reach(mfn_now(40), false));
	p2m_pins_drop(p, (uint16_t)busy);
	close_pins();
}
END_TEST

static unsigned long resident_kib(void)
{
	unsigned long size, pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	ck_assert(f && fscanf(f, "%lu %lu", &size, &pages) == 2);
	fclose(f);
	return pages * 4;
}

/* Pages of the array and its counts, of the guest's list, of pointers to leaves. ThreadSanitizer
 * keeps books of its own of all that is touched. */
#if defined(__SANITIZE_THREAD__)
#define LARGE_KIB (64u << 10)
#else
#define LARGE_KIB 4096u /* a quarter of it on kernels with a page of zeros for all who only read */
#endif

/* A guest of 1 TiB, used here and there; and one of 4 MiB. */
START_TEST(large_and_small)
{
	const uint64_t step = HV_P2M_MAX_PFNS / 64;
	unsigned long before;

	open_pins(64);
	sim_p2m_resize(m, GUEST, HV_P2M_MAX_PFNS);
	before = resident_kib();
	for (uint64_t i = 1; i < 64; i++) {
		int use;

		sim_p2m_write(m, GUEST, pfn(i * step), mfn_now(i));
		use = pin_one(i * step, false);
		ck_assert_int_ge(use, 0);
		ck_assert_uint_eq(mfn_of(p2m_pins_maddr(p, (uint16_t)use)).n, mfn_now(i));
		p2m_pins_drop(p, (uint16_t)use);
	}
	ck_assert_uint_eq(p->cache.pages, 63);
	check_fault(pin_one(HV_P2M_MAX_PFNS, false), P2M_FAULT_BEYOND, HV_P2M_MAX_PFNS);
	check_fault(pin_one(HV_P2M_MAX_PFNS - 1, false), P2M_FAULT_ABSENT, HV_P2M_MAX_PFNS - 1);
	ck_assert_uint_lt(resident_kib() - before, LARGE_KIB);
	close_pins();
	ck_assert_int_eq(sim_domain_add(m, 9, 1024, false), 0);
	ck_assert_int_eq(sim_domain_add(m, 10, 16, true), 0);
	p2m_hv = sim_hv_open(m, BACK, HV_CAP_P2M, &(int){ 0 });
	p = calloc(1, sizeof(*p));
	table = calloc(1, sizeof(*table));
	hold_table_init(table, p2m_hv, 9);
	ck_assert_int_eq(p2m_hv->ops->p2m_open(p2m_hv, 10, &guest_p2m), -EOPNOTSUPP);
	ck_assert_int_eq(p2m_hv->ops->p2m_open(p2m_hv, 11, &guest_p2m), -ESRCH);
	ck_assert_int_eq(p2m_hv->ops->p2m_open(p2m_hv, 9, &guest_p2m), 0);
	ck_assert_int_eq(p2m_pins_open(p, p2m_hv, guest_p2m, &table->hold, 0), -EINVAL);
	ck_assert_int_eq(p2m_pins_open(p, p2m_hv, guest_p2m, &table->hold, 8), 0);
	ck_assert_int_ge(pin_one(1023, true), 0);
	check_fault(({ p2m_pins_release(p); pin_one(1024, true); }), P2M_FAULT_BEYOND, 1024);
	close_pins();
}
END_TEST

/* A caller that a guest has broken cannot talk the table into more than it may. */
START_TEST(table_checks_slots)
{
	struct hold_pin pin[2] = { { .mfn = { mfn_now(1) }, .slot = 3 },
				   { .mfn = { mfn_now(2) }, .slot = 3 } };
	uint16_t slot[2] = { 3, 3 };

	open_pins(16);
	ck_assert_int_eq(table->hold.change(&table->hold, NULL, 0, pin, 2), -EINVAL);
	ck_assert_int_eq(table->hold.change(&table->hold, slot, 1, NULL, 0), -EINVAL);
	pin[0].slot = HOLD_SLOTS;
	ck_assert_int_eq(table->hold.change(&table->hold, NULL, 0, pin, 1), -EINVAL);
	pin[0].slot = 2;
	ck_assert_int_eq(table->hold.change(&table->hold, NULL, 0, pin, 2), 0);
	ck_assert_int_eq(table->hold.change(&table->hold, NULL, 0, pin, 1), -EINVAL);
	ck_assert_int_eq(table->hold.change(&table->hold, slot, 2, NULL, 0), -EINVAL);
	ck_assert_uint_eq(table->held, 2);
	ck_assert_int_eq(table->hold.change(&table->hold, slot, 1, &pin[1], 1), 0);
	ck_assert_int_eq(table->hold.change(&table->hold, NULL, HOLD_BATCH + 1, pin, 1), -EINVAL);
	ck_assert_uint_eq(table->held, 2);
	ck_assert_int_eq(hold_table_clear(table), 0);
	close_pins();
}
END_TEST

int main(void)
{
	static const TTest **const tests[] = {
		&pages_are_the_guests, &one_request_a_batch, &writable_ends_with_its_use,
		&one_map_a_chain, &one_map_a_chain_short,
		&read_then_written, &hazard_22_ballooned_between_uses,
		&hazard_22_ballooned_during_use, &hazard_23_hostile_entries, &all_or_nothing,
		&undo_takes_back, &hazard_40_eviction, &hazard_40_faults, &shape_changes,
		&sweep_lets_go, &large_and_small, &table_checks_slots,
	};

	return sim_main("p2m-pins", tests, sizeof(tests) / sizeof(tests[0]));
}
