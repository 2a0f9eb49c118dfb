/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages held by pfn when something runs out, fails, or changes in between. */
#include "mem/p2m_pins.h"
#include "sim_fixture.h"

#include <errno.h>
#include <stdlib.h>

static struct p2m_pins *pp;
static struct hold_table *table;
static struct hv *p2m_hv;
static struct hv_p2m *guest_p2m;

/* A holder in between: it fails, or the guest acts while it works. */
static struct {
	struct hold hold;
	int error;
	void (*after)(void);
} between;

static int change_between(struct hold *h, const uint16_t *unpin, unsigned int nr_unpin,
			  struct hold_pin *pin, unsigned int nr_pin)
{
	int rc = between.error;

	(void)h;
	if (!rc)
		rc = table->hold.change(&table->hold, unpin, nr_unpin, pin, nr_pin);
	if (between.after)
		between.after();
	return rc;
}

static void pins_setup(void)
{
	int err;

	setup();
	p2m_hv = sim_hv_open(m, BACK, HV_CAP_P2M, &err);
	ck_assert_ptr_nonnull(p2m_hv);
	pp = calloc(1, sizeof(*pp));
	table = calloc(1, sizeof(*table));
	ck_assert(pp && table);
	hold_table_init(table, p2m_hv, GUEST);
	between.hold.change = change_between;
	between.error = 0;
	between.after = NULL;
	ck_assert_int_eq(p2m_hv->ops->p2m_open(p2m_hv, GUEST, &guest_p2m), 0);
	ck_assert_int_eq(p2m_pins_open(pp, p2m_hv, guest_p2m, &between.hold, 0), -EINVAL);
	ck_assert_int_eq(p2m_pins_open(pp, p2m_hv, guest_p2m, &between.hold, HOLD_SLOTS + 1),
			 -EINVAL);
	ck_assert_int_eq(p2m_pins_open(pp, p2m_hv, guest_p2m, &between.hold, HOLD_SLOTS), 0);
	ck_assert_int_eq(p2m_pins_begin(pp, 0), 0);
}

static void pins_teardown(void)
{
	p2m_pins_close(pp);
	ck_assert_int_eq(hold_table_clear(table), 0);
	p2m_hv->ops->p2m_close(p2m_hv, guest_p2m);
	hv_close(p2m_hv);
	free(pp);
	free(table);
	teardown();
}

static int add(uint64_t pfn, bool writable)
{
	return p2m_pins_add(pp, (pfn_t){ pfn }, writable);
}

START_TEST(uses_run_out)
{
	unsigned int uses = 0;
	int rc;

	while ((rc = add(5 + uses % 400, false)) >= 0)
		uses++;
	ck_assert_int_eq(rc, -EAGAIN); /* the batch is full */
	ck_assert_uint_eq(uses, HOLD_BATCH);
	ck_assert_int_eq(p2m_pins_map(pp), 0);
	while (uses < P2M_USES) {
		for (unsigned int i = 0; i < HOLD_BATCH; i++, uses++)
			ck_assert_int_ge(add(5 + i % 400, false), 0);
		ck_assert_int_eq(p2m_pins_map(pp), 0);
	}
	ck_assert_int_eq(add(5, false), -ENOSPC); /* completions give some back */
	ck_assert_uint_eq(table->held, 400);
	ck_assert_int_eq(p2m_pins_release(pp), 0);
	ck_assert_uint_eq(table->held, 0);
	ck_assert_int_ge(add(5, false), 0);
	p2m_pins_undo(pp, 0);
}
END_TEST

/* What Xen or this domain is short of is no fault of the guest's; what it refuses is. */
START_TEST(failures_are_told_apart)
{
	static const int error[][2] = { { -ENOMEM, 0 }, { -EAGAIN, 0 }, { -ENOSPC, 0 },
					{ -ENOMEM, -EPERM }, { -EPERM, -ENOMEM }, { -EPERM, -EPERM } };
	const int *e = error[_i];

	for (unsigned int i = 0; i < 4; i++)
		ck_assert_int_ge(add(10 + i, false), 0);
	sim_fault_element(m, SIM_OP_FOREIGN_MAP, 2, e[0]);
	if (e[1])
		sim_fault_element(m, SIM_OP_FOREIGN_MAP, 3, e[1]);
	ck_assert_int_eq(p2m_pins_map(pp), _i < 3 ? -ENOSPC : -EFAULT);
	if (_i >= 3) {
		ck_assert_int_eq(pp->fault.kind, P2M_FAULT_REFUSED);
		ck_assert_uint_eq(pp->fault.pfn.n, _i == 3 ? 12 : 11);
	}
	ck_assert_uint_eq(pp->use_free_n, P2M_USES);
	/* the others are held, idle, and good for the next batch */
	ck_assert_uint_eq(pp->held, e[1] ? 2 : 3);
	ck_assert_int_ge(add(10, false), 0);
	ck_assert_uint_eq(pp->counters.hits, 1);
	ck_assert_int_eq(p2m_pins_map(pp), 0);
	ck_assert_int_eq(p2m_pins_release(pp), 0);
}
END_TEST

/* The guest's table cannot be read just now, which is nobody's fault either. */
START_TEST(table_that_cannot_be_read)
{
	sim_fault_set(m, SIM_OP_P2M_LEAF, 1, -ENOMEM);
	ck_assert_int_eq(add(5, false), -ENOMEM);
	sim_fault_set(m, SIM_OP_P2M_SYNC, 1, -EIO);
	ck_assert_int_eq(p2m_pins_sweep(pp, 1, 0, 10), -EIO);
	ck_assert_int_eq(sim_p2m_reshape(m, GUEST), 0);
	ck_assert_int_eq(p2m_pins_begin(pp, 1), -EAGAIN);
	ck_assert_int_eq(p2m_pins_sweep(pp, 1, 0, 10), 0); /* at the next one then */
	ck_assert_int_eq(sim_p2m_reshape(m, GUEST), 0);
	ck_assert_int_eq(p2m_pins_sweep(pp, 1, 0, HOLD_SLOTS + 10), 0);
}
END_TEST

static void exchange(void)
{
	mfn_t mfn;

	ck_assert_int_eq(sim_p2m(m, GUEST, (pfn_t){ 20 }, &mfn), 0);
	ck_assert_int_eq(sim_p2m_write(m, GUEST, (pfn_t){ 21 }, mfn.n), 0);
}

static void empty(void)
{
	ck_assert_int_eq(sim_p2m_write(m, GUEST, (pfn_t){ 21 }, SIM_P2M_INVALID), 0);
}

/* What was looked up is held, but the guest has another frame there by then: not what it meant. */
START_TEST(hazard_22_table_changes_while_pages_are_taken)
{
	ck_assert_int_ge(add(21, false), 0);
	between.after = _i ? exchange : empty;
	ck_assert_int_eq(p2m_pins_map(pp), -EAGAIN);
	between.after = NULL;
	ck_assert_uint_eq(pp->use_free_n, P2M_USES);
	ck_assert_int_eq(add(21, false) >= 0, _i);
	p2m_pins_undo(pp, 0);
	ck_assert_int_eq(p2m_pins_release(pp), 0);
}
END_TEST

/* A holder that failed once is not asked again: nobody knows what it holds. */
START_TEST(holder_that_is_dead)
{
	uint64_t asked;
	int use = add(30, true);

	ck_assert_int_ge(use, 0);
	ck_assert_int_eq(p2m_pins_map(pp), 0);
	between.error = -EPIPE;
	ck_assert_int_ge(add(31, false), 0);
	ck_assert_int_eq(p2m_pins_map(pp), -EPIPE);
	between.error = 0;
	asked = pp->counters.changes;
	p2m_pins_drop(pp, (uint16_t)use);
	ck_assert_int_eq(p2m_pins_flush(pp), -EPIPE);
	ck_assert_int_eq(p2m_pins_sweep(pp, 1, 0, HOLD_SLOTS), -EPIPE);
	ck_assert_int_eq(p2m_pins_release(pp), -EPIPE);
	ck_assert_int_ge(add(32, false), 0);
	ck_assert_int_eq(p2m_pins_map(pp), -EPIPE);
	ck_assert_uint_eq(pp->counters.changes, asked);
	ck_assert_uint_eq(table->held, 1);
}
END_TEST

/* More pages end at once than a request has room for. */
START_TEST(more_than_a_request)
{
	static int use[2 * HOLD_BATCH];
	uint64_t changes;

	for (unsigned int i = 0; i < 6; i++) {
		for (unsigned int j = 0; j < 400; j++)
			ck_assert_int_ge(use[i % 4 * 400 + j] = add(5 + j, false), 0);
		ck_assert_int_eq(p2m_pins_map(pp), 0);
		for (unsigned int j = 0; j < 400; j++)
			p2m_pins_drop(pp, (uint16_t)use[i % 4 * 400 + j]);
		/* each gets another frame, so its pin is given up when it is used next */
		for (unsigned int j = 0; j < 400; j++) {
			ck_assert_int_eq(sim_balloon_out(m, GUEST, (pfn_t){ 5 + j }), 0);
			ck_assert_int_eq(sim_balloon_in(m, GUEST, (pfn_t){ 5 + j }), 0);
		}
		ck_assert_int_eq(p2m_pins_begin(pp, i), 0);
	}
	changes = pp->counters.changes;
	ck_assert_int_eq(p2m_pins_sweep(pp, 10, 100, HOLD_SLOTS), 0);
	ck_assert_uint_eq(pp->counters.changes, changes + 1);
	ck_assert_uint_eq(table->held, 0);
	ck_assert_uint_eq(pp->counters.stale, 6 * 400);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pages by pfn");
	TCase *tc = tcase_create("pins");

	tcase_add_checked_fixture(tc, pins_setup, pins_teardown);
	tcase_add_test(tc, uses_run_out);
	tcase_add_loop_test(tc, failures_are_told_apart, 0, 6);
	tcase_add_test(tc, table_that_cannot_be_read);
	tcase_add_loop_test(tc, hazard_22_table_changes_while_pages_are_taken, 0, 2);
	tcase_add_test(tc, holder_that_is_dead);
	tcase_add_test(tc, more_than_a_request);
	suite_add_tcase(s, tc);
	return check_main(s);
}
