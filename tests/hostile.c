/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hostile.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct vring_desc *hostile_desc(struct stage *st)
{
	return sim_guest_ring(st->guest, 0)->desc;
}

uint64_t hostile_pages(struct stage *st, unsigned int n)
{
	pfn_t first;

	ck_assert_int_eq(sim_pages_alloc(st->machine, STAGE_GUEST, n, &first), 0);
	return first.n << XVS_FRAME_SHIFT;
}

uint64_t hostile_expose(struct stage *st, uint64_t gpa, uint32_t len, bool readonly)
{
	uint64_t daddr;
	uint32_t ref, n;

	ck_assert_int_eq(sim_guest_expose(st->guest, gpa, len, readonly, &daddr, &ref, &n), 0);
	return daddr;
}

void hostile_wait_broken(struct stage *st, unsigned int queue, const char *part)
{
	const char *reason = st->journal.data->stats.reason;
	char start[16];

	for (int i = 0; i < 600 && !sim_guest_needs_reset(st->guest); i++)
		sim_guest_ctrl_event(st->guest, 50);
	ck_assert(sim_guest_needs_reset(st->guest));
	snprintf(start, sizeof(start), "queue %u: ", queue);
	ck_assert_msg(!strncmp(reason, start, strlen(start)) && strstr(reason, part),
		      "reason is: %s", reason);
}

void hostile_expect_broken(struct stage *st, unsigned int queue, const char *part)
{
	hostile_wait_broken(st, queue, part);
	ck_assert_uint_eq(journal_live(&st->journal), 0);
	ck_assert_ptr_null(check_dev_violation(st->dev));
	check_dev_pause(st->dev, false);
	ck_assert_int_eq(sim_guest_reset(st->guest), 0);
	ck_assert_int_eq(sim_guest_start(st->guest), 0);
	stage_io(st, 0, 8, 4096, queue + 1);
}

/* Not by the number in flight: that is corrected after the guest was told of a completion. */
void hostile_submit(struct stage *st, uint16_t head)
{
	const _Atomic uint64_t *chains = &st->journal.data->stats.chains;
	uint64_t before = atomic_load(chains);

	sim_guest_push(st->guest, 0, head);
	sim_guest_kick(st->guest, 0);
	for (int i = 0; i < 30000 && atomic_load(chains) == before; i++)
		usleep(1000);
	ck_assert_uint_eq(atomic_load(chains), before + 1);
}

void hostile_wait_inflight(struct stage *st, unsigned int n)
{
	const _Atomic uint32_t *now = &st->journal.data->stats.inflight;

	for (int i = 0; i < 30000 && atomic_load(now) < n; i++)
		usleep(1000);
	ck_assert_uint_eq(atomic_load(now), n);
}
