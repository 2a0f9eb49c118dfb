/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address decoding, descriptor chains and the shadow ring, without a machine around them. */
#include "check_main.h"
#include "mem/daddr.h"
#include "ring/chain.h"
#include "ring/shadow.h"

#include <stdlib.h>
#include <string.h>

#define GREF(r, off) (XVS_DADDR_GRANT | (uint64_t)(r) << 12 | (off))
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

START_TEST(decodes_a_grant)
{
	struct gref_range r;

	ck_assert_int_eq(daddr_decode_grant(GREF(7, 0xff0), 0x20, &r), 0);
	ck_assert_uint_eq(r.gref, 7);
	ck_assert_uint_eq(r.offset, 0xff0);
	ck_assert_uint_eq(r.npages, 2);
	ck_assert_int_eq(daddr_decode_grant(GREF(7, 0), 4096, &r), 0);
	ck_assert_uint_eq(r.npages, 1);
	ck_assert_int_eq(daddr_decode_grant(GREF(7, 1), 4096, &r), 0);
	ck_assert_uint_eq(r.npages, 2);
	ck_assert_int_eq(daddr_decode_grant(GREF(0xffffffff, 0), 4096, &r), 0);
	ck_assert_uint_eq(r.gref, 0xffffffff);
}
END_TEST

START_TEST(hazard_06_07_refuses_bad_addresses)
{
	struct gref_range r;

	ck_assert_int_eq(daddr_decode_grant(GREF(7, 0), 0, &r), -EINVAL);
	ck_assert_int_eq(daddr_decode_grant(0x7000, 16, &r), -EINVAL);
	for (int bit = 44; bit < 63; bit++)
		ck_assert_int_eq(daddr_decode_grant(GREF(7, 0) | 1ull << bit, 16, &r), -EINVAL);
	ck_assert_int_eq(daddr_decode_grant(GREF(0xffffffff, 1), 4096, &r), -EINVAL);
	ck_assert_int_eq(daddr_decode_grant(GREF(0xfffffff0, 0), UINT32_MAX, &r), -EINVAL);
}
END_TEST

/* A guest ring of 8 entries in private memory. */
static struct vring_desc table[8];
static struct guest_ring ring = { .desc = table, .size = 8 };
static struct chain_desc out[CHAIN_MAX];
static struct vring_desc indirect;
static unsigned int n;

static void set(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	table[i] = (struct vring_desc){ addr, len, flags, next };
}

/* The form of a whole chain, checked as translate.c does it. */
static chain_error chain_check(const struct chain_desc *d, unsigned int count, uint64_t *readable,
			       uint64_t *writable)
{
	struct chain_sum sum = { 0 };
	chain_error why = NULL;

	for (unsigned int i = 0; i < count && !why; i++)
		why = chain_check_next(&d[i], &sum);
	*readable = sum.readable;
	*writable = sum.writable;
	return why ? why : chain_check_sum(&sum);
}

static chain_error walk(uint16_t head)
{
	return chain_walk_ring(&ring, head, &indirect, out, CHAIN_MAX, &n);
}

START_TEST(walks_a_chain)
{
	uint64_t readable, writable;

	set(3, GREF(1, 0), 16, NEXT, 6);
	set(6, GREF(2, 0), 4096, NEXT | WRITE, 0);
	set(0, GREF(3, 0), 1, WRITE, 99);
	ck_assert_ptr_null(walk(3));
	ck_assert_uint_eq(n, 3);
	ck_assert_uint_eq(indirect.len, 0);
	ck_assert_uint_eq(out[1].len, 4096);
	ck_assert(out[1].writable && !out[0].writable);
	ck_assert_ptr_null(chain_check(out, n, &readable, &writable));
	ck_assert_uint_eq(readable, 16);
	ck_assert_uint_eq(writable, 4097);
}
END_TEST

START_TEST(hazard_03_index_outside_the_table)
{
	ck_assert_ptr_nonnull(walk(8));
	set(1, GREF(1, 0), 16, NEXT, 8);
	ck_assert_ptr_nonnull(walk(1));
	set(1, GREF(1, 0), 16, NEXT, 0xffff);
	ck_assert_ptr_nonnull(walk(1));
}
END_TEST

START_TEST(hazard_04_looped_chain)
{
	for (unsigned int i = 0; i < 8; i++)
		set(i, GREF(i, 0), 16, NEXT, (uint16_t)((i + 1) % 8));
	ck_assert_ptr_nonnull(walk(0));
	set(2, GREF(1, 0), 16, NEXT, 2);
	ck_assert_ptr_nonnull(walk(2));
	/* the longest legal one */
	set(2, GREF(1, 0), 16, NEXT, 3);
	set(7, GREF(7, 0), 16, 0, 0);
	ck_assert_ptr_null(walk(0));
	ck_assert_uint_eq(n, 8);
}
END_TEST

START_TEST(hazard_05_indirect_forms)
{
	set(0, GREF(9, 0), 64, INDIRECT, 0);
	ck_assert_ptr_null(walk(0));
	ck_assert_uint_eq(indirect.len, 64);
	ck_assert_ptr_null(chain_check_indirect(&indirect, 8));
	indirect.len = 63;
	ck_assert_ptr_nonnull(chain_check_indirect(&indirect, 8));
	indirect.len = 0;
	ck_assert_ptr_nonnull(chain_check_indirect(&indirect, 8));
	indirect.len = 9 * 16;
	ck_assert_ptr_nonnull(chain_check_indirect(&indirect, 8));
	indirect.len = UINT32_MAX - 15;
	ck_assert_ptr_nonnull(chain_check_indirect(&indirect, 8));
	set(0, GREF(9, 0), 0, INDIRECT, 0);
	ck_assert_ptr_nonnull(walk(0));
	set(0, GREF(9, 0), 64, INDIRECT | NEXT, 1);
	ck_assert_ptr_nonnull(walk(0));
	set(0, GREF(9, 0), 64, NEXT, 1);
	set(1, GREF(9, 0), 64, INDIRECT, 0);
	ck_assert_ptr_nonnull(walk(0));
}
END_TEST

START_TEST(hazard_05_tables)
{
	struct vring_desc t[4] = {
		{ GREF(1, 0), 16, NEXT, 1 },
		{ GREF(2, 0), 16, NEXT, 2 },
		{ GREF(3, 0), 16, WRITE, 0 },
	};

	ck_assert_ptr_null(chain_walk_table(t, 4, out, CHAIN_MAX, &n));
	ck_assert_uint_eq(n, 3);
	t[2].flags = NEXT;
	ck_assert_ptr_nonnull(chain_walk_table(t, 4, out, CHAIN_MAX, &n)); /* loops */
	t[2].next = 4;
	ck_assert_ptr_nonnull(chain_walk_table(t, 4, out, CHAIN_MAX, &n)); /* outside */
	t[2].flags = INDIRECT;
	ck_assert_ptr_nonnull(chain_walk_table(t, 4, out, CHAIN_MAX, &n)); /* nested */
	t[2] = (struct vring_desc){ GREF(3, 0), 16, 0, 0 };
	ck_assert_ptr_nonnull(chain_walk_table(t, 4, out, 2, &n)); /* no room */
}
END_TEST

START_TEST(hazard_06_07_09_forms)
{
	struct chain_desc d[3] = { { 0, 16, false }, { 0, 16, true }, { 0, 16, true } };
	uint64_t readable, writable;

	ck_assert_ptr_null(chain_check(d, 3, &readable, &writable));
	d[2].writable = false;
	ck_assert_ptr_nonnull(chain_check(d, 3, &readable, &writable));
	d[2] = (struct chain_desc){ 0, 0, true };
	ck_assert_ptr_nonnull(chain_check(d, 3, &readable, &writable));
	d[1].len = d[2].len = UINT32_MAX;
	ck_assert_ptr_nonnull(chain_check(d, 3, &readable, &writable));
}
END_TEST

START_TEST(notification_rules)
{
	_Alignas(8) unsigned char used_mem[6 + 8 * 8] = { 0 }, avail_mem[6 + 2 * 8] = { 0 };
	struct guest_ring r = { .size = 8, .used = (void *)used_mem, .avail = (void *)avail_mem };

	guest_ring_publish(&r, 1);
	ck_assert(guest_ring_wants_event(&r, 0));
	r.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	ck_assert(!guest_ring_wants_event(&r, 0));
	guest_ring_no_kick(&r);
	ck_assert_uint_eq(r.used->flags, VRING_USED_F_NO_NOTIFY);
	guest_ring_want_kick(&r);
	ck_assert_uint_eq(r.used->flags, 0);
	r.event_idx = true;
	*guest_ring_used_event(&r) = 0;
	ck_assert(guest_ring_wants_event(&r, 0)); /* element 0 is new */
	*guest_ring_used_event(&r) = 5;
	ck_assert(!guest_ring_wants_event(&r, 0));
	guest_ring_publish(&r, 6);
	ck_assert(guest_ring_wants_event(&r, 1)); /* 5 is among 1..5 */
	r.last_avail = 77;
	guest_ring_want_kick(&r);
	ck_assert_uint_eq(*guest_ring_avail_event(&r), 77);
	r.avail->idx = 85;
	ck_assert_int_eq(guest_ring_waiting(&r), 8);
	r.avail->idx = 86;
	ck_assert_int_eq(guest_ring_waiting(&r), -EOVERFLOW); /* hazard 2 */
}
END_TEST

/* Does a step of up to a whole ring, around idx, lead past the event field? */
static bool any_step_notifies(uint16_t event, uint16_t idx, uint16_t size)
{
	for (unsigned int back = 0; back <= size; back++)
		for (unsigned int ahead = 0; ahead <= size; ahead++)
			if (vring_need_event(event, (uint16_t)(idx + ahead), (uint16_t)(idx - back)))
				return true;
	return false;
}

/* While there is somebody who looks anyway, nobody says anything, not once. */
START_TEST(nothing_is_said_to_who_looks)
{
	static const uint16_t at[] = { 0, 1, 255, 0x7fff, 0x8000, 0xfffe, 0xffff };
	static unsigned char used_mem[6 + 8 * SHADOW_MAX], avail_mem[8 + 2 * SHADOW_MAX];
	struct guest_ring r = { .size = SHADOW_MAX, .used = (void *)used_mem,
				.avail = (void *)avail_mem, .event_idx = true };
	struct shadow_ring s = { .size = SHADOW_MAX, .avail = r.avail, .event_idx = true };

	for (unsigned int i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		r.last_avail = s.last_used = at[i];
		guest_ring_no_kick(&r);
		ck_assert(!any_step_notifies(*guest_ring_avail_event(&r), at[i], SHADOW_MAX));
		guest_ring_want_kick(&r);
		ck_assert(vring_need_event(*guest_ring_avail_event(&r), (uint16_t)(at[i] + 1), at[i]));
		shadow_no_irq(&s);
		ck_assert(!any_step_notifies(s.avail->ring[SHADOW_MAX], at[i], SHADOW_MAX));
		shadow_want_irq(&s);
		ck_assert(vring_need_event(s.avail->ring[SHADOW_MAX], (uint16_t)(at[i] + 1), at[i]));
	}
}
END_TEST

/* Plain memory that stands for DMA memory: page i at machine page 1000 - 3 * i. */
static struct hv_dma dma;

static void dma_setup(void)
{
	dma.npages = shadow_dma_pages();
	dma.va = aligned_alloc(4096, dma.npages * 4096u);
	dma.maddr = calloc(dma.npages, sizeof(*dma.maddr));
	for (unsigned int i = 0; i < dma.npages; i++)
		dma.maddr[i].a = (1000ull - 3 * i) << 12;
}

static void dma_teardown(void)
{
	free(dma.va);
	free(dma.maddr);
}

static void *at_maddr(uint64_t a)
{
	for (unsigned int i = 0; i < dma.npages; i++)
		if (dma.maddr[i].a >> 12 == a >> 12)
			return (char *)dma.va + i * 4096 + (a & 4095);
	return NULL;
}

/* The device completes the oldest `count` available chains in reverse order. */
static void complete(struct shadow_ring *s, unsigned int from, unsigned int count, uint32_t len)
{
	for (unsigned int i = 0; i < count; i++) {
		struct vring_used_elem *e = &s->used->ring[(uint16_t)(s->used->idx) % s->size];

		e->id = s->avail->ring[(from + count - 1 - i) % s->size];
		e->len = len;
		s->used->idx++;
	}
}

START_TEST(shadow_merges_and_tables)
{
	struct shadow_ring s;
	struct shadow_seg seg[20];
	struct shadow_chain c = { .guest_head = 5, .first_pin = 9, .writable = 100 }, got;
	struct vring_desc *t;
	uint32_t len;

	shadow_init(&s, &dma, 0, 16, true, true);
	/* three pages that touch, then one of the other direction that touches as well */
	for (unsigned int i = 0; i < 4; i++)
		seg[i] = (struct shadow_seg){ { 0x50000 + 0x1000 * i }, 0x1000, i == 3 };
	ck_assert(shadow_reserve(&s, 4));
	shadow_unreserve(&s);
	shadow_add(&s, seg, 4, &c);
	ck_assert(shadow_publish(&s));
	ck_assert_uint_eq(s.avail->idx, 1);
	ck_assert(s.desc[0].flags & INDIRECT);
	ck_assert_uint_eq(s.desc[0].len, 32);
	t = at_maddr(s.desc[0].addr);
	ck_assert_uint_eq(t[0].addr, 0x50000);
	ck_assert_uint_eq(t[0].len, 0x3000);
	ck_assert_uint_eq(t[0].flags, NEXT);
	ck_assert_uint_eq(t[1].addr, 0x53000);
	ck_assert_uint_eq(t[1].flags, WRITE);
	complete(&s, 0, 1, 77);
	ck_assert_int_eq(shadow_take(&s, &got, &len), 0);
	ck_assert_uint_eq(got.guest_head, 5);
	ck_assert_uint_eq(len, 77);
	ck_assert_int_eq(shadow_waiting(&s), 0);
	/* a table of its own page when it is long */
	for (unsigned int i = 0; i < 16; i++)
		seg[i] = (struct shadow_seg){ { 0x50000 + 0x2000 * i }, 0x1000, true };
	seg[16] = (struct shadow_seg){ { 0x90000 }, 8, true };
	ck_assert(!shadow_reserve(&s, 17)); /* longer than the queue */
	shadow_add(&s, seg, 16, &c);
	ck_assert_uint_eq(s.desc[s.avail->ring[1]].len, 16 * 16);
}
END_TEST

/* The segments of a batch lie side by side: the next one touches, and it is another chain's. */
START_TEST(shadow_merges_no_other_chain)
{
	const struct shadow_chain c = { .writable = 0x2000 };
	struct shadow_ring s;
	struct shadow_seg seg[3];
	const struct vring_desc *d;

	shadow_init(&s, &dma, 0, 16, true, _i);
	for (unsigned int i = 0; i < 3; i++)
		seg[i] = (struct shadow_seg){ { 0x50000 + 0x1000 * i }, 0x1000, true };
	ck_assert(shadow_reserve(&s, 2));
	shadow_unreserve(&s);
	shadow_add(&s, seg, 2, &c);
	d = _i ? at_maddr(s.desc[0].addr) : s.desc;
	ck_assert_uint_eq(d->addr, 0x50000);
	ck_assert_uint_eq(d->len, 0x2000);
	ck_assert_uint_eq(d->flags, WRITE);
}
END_TEST

START_TEST(shadow_direct_recycles_everything)
{
	struct shadow_ring s;
	struct shadow_seg seg[3] = { { { 0x1000 }, 16, false }, { { 0x9000 }, 512, true },
				     { { 0x5000 }, 1, true } };
	struct shadow_chain c = { .writable = 513 }, got;
	uint32_t len;

	shadow_init(&s, &dma, 0, 16, false, false);
	for (unsigned int round = 0; round < 1000; round++) {
		unsigned int from = s.avail_idx;

		for (unsigned int i = 0; i < 5; i++) {
			ck_assert(shadow_reserve(&s, 3));
			c.guest_head = (uint16_t)i;
		}
		ck_assert(!shadow_reserve(&s, 2)); /* 15 of 16 are promised */
		shadow_unreserve(&s);
		for (unsigned int i = 0; i < 5; i++) {
			c.guest_head = (uint16_t)i;
			shadow_add(&s, seg, 3, &c);
		}
		ck_assert(shadow_publish(&s));
		ck_assert(!shadow_publish(&s)); /* nothing new */
		complete(&s, from, 5, 513);
		for (unsigned int i = 0; i < 5; i++) {
			ck_assert_int_eq(shadow_take(&s, &got, &len), 0);
			ck_assert_uint_eq(got.guest_head, 4 - i);
		}
		ck_assert_uint_eq(s.free_n, 16);
		ck_assert_uint_eq(s.inflight, 0);
	}
}
END_TEST

START_TEST(hazard_33_34_device_lies)
{
	struct shadow_ring s;
	struct shadow_seg seg = { { 0x1000 }, 16, true };
	struct shadow_chain c = { .writable = 16 }, got;
	uint32_t len;

	shadow_init(&s, &dma, 0, 16, false, true);
	s.used->idx = 1; /* completes what it was never given */
	ck_assert_int_eq(shadow_waiting(&s), -EPROTO);
	shadow_init(&s, &dma, 0, 16, false, true);
	shadow_add(&s, &seg, 1, &c);
	shadow_publish(&s);
	s.used->ring[0].id = 3; /* not in flight */
	s.used->idx = 1;
	ck_assert_int_eq(shadow_take(&s, &got, &len), -EPROTO);
	s.used->ring[0].id = 16; /* outside */
	ck_assert_int_eq(shadow_take(&s, &got, &len), -EPROTO);
	s.used->ring[0].id = 0xffffffff;
	ck_assert_int_eq(shadow_take(&s, &got, &len), -EPROTO);
	s.used->idx = 2;
	s.used->ring[0].id = 0;
	ck_assert_int_eq(shadow_waiting(&s), -EPROTO); /* ran ahead */
	s.used->idx = 1;
	ck_assert_int_eq(shadow_waiting(&s), 1);
	s.used->ring[0].len = 17;
	ck_assert_int_eq(shadow_take(&s, &got, &len), -EMSGSIZE);
	ck_assert_uint_eq(len, 16);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring");
	TCase *chain = tcase_create("chain"), *shadow = tcase_create("shadow");

	tcase_add_test(chain, decodes_a_grant);
	tcase_add_test(chain, hazard_06_07_refuses_bad_addresses);
	tcase_add_test(chain, walks_a_chain);
	tcase_add_test(chain, hazard_03_index_outside_the_table);
	tcase_add_test(chain, hazard_04_looped_chain);
	tcase_add_test(chain, hazard_05_indirect_forms);
	tcase_add_test(chain, hazard_05_tables);
	tcase_add_test(chain, hazard_06_07_09_forms);
	tcase_add_test(chain, notification_rules);
	tcase_add_test(chain, nothing_is_said_to_who_looks);
	suite_add_tcase(suite, chain);
	tcase_add_checked_fixture(shadow, dma_setup, dma_teardown);
	tcase_add_test(shadow, shadow_merges_and_tables);
	tcase_add_loop_test(shadow, shadow_merges_no_other_chain, 0, 2);
	tcase_add_test(shadow, shadow_direct_recycles_everything);
	tcase_add_test(shadow, hazard_33_34_device_lies);
	suite_add_tcase(suite, shadow);
	return check_main(suite);
}
