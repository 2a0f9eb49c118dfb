/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulated machine: memory and grants. */
#include "sim_fixture.h"

#include <errno.h>
#include <string.h>

START_TEST(test_p2m_is_scrambled)
{
	uint16_t domid;
	mfn_t mfn, last = { 0 };
	pfn_t back;

	for (uint64_t i = 0; i < 512; i++) {
		ck_assert_int_eq(sim_p2m(m, GUEST, (pfn_t){ i }, &mfn), 0);
		ck_assert_uint_ne(mfn.n, i);
		ck_assert(mfn.n != last.n + 1 && mfn.n + 1 != last.n);
		ck_assert_int_eq(sim_m2p(m, mfn, &domid, &back), 0);
		ck_assert_uint_eq(domid, GUEST);
		ck_assert_uint_eq(back.n, i);
		last = mfn;
	}
	ck_assert_int_eq(sim_p2m(m, GUEST, (pfn_t){ 512 }, &mfn), -ENOENT);
}
END_TEST

START_TEST(test_memory_by_pfn)
{
	char out[10000], in[10000];
	pfn_t pfn;
	uint8_t *va;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (char)(i * 7);
	ck_assert_int_eq(sim_pages_alloc(m, GUEST, 3, &pfn), 0);
	ck_assert_int_eq(sim_mem_write(m, GUEST, (pfn.n << 12) + 100, in, sizeof(in)), 0);
	ck_assert_int_eq(sim_mem_read(m, GUEST, (pfn.n << 12) + 100, out, sizeof(out)), 0);
	ck_assert_mem_eq(in, out, sizeof(in));
	va = sim_pages_map(m, GUEST, pfn, 3);
	ck_assert_ptr_nonnull(va);
	ck_assert_mem_eq(va + 100, in, sizeof(in));
	sim_pages_unmap(va, 3);
	ck_assert_int_eq(sim_mem_read(m, GUEST, 512ull << 12, out, 1), -EFAULT);
}
END_TEST

START_TEST(test_map_and_unmap)
{
	bool reading, writing;
	struct hv_map_op *op;
	struct sim_audit a;
	char why[96];
	pfn_t pfn;
	mfn_t mfn;
	uint32_t ref = granted(false, &pfn), gen = 0;

	op = map_one(ref, HV_MAP_DEVICE);
	ck_assert_int_eq(op->status, 0);
	ck_assert_int_eq(sim_p2m(m, GUEST, pfn, &mfn), 0);
	ck_assert_uint_eq(op->maddr.a, maddr_of(mfn, 0).a);
	ck_assert_int_eq(sim_grant_in_use(m, GUEST, ref, &reading, &writing), 0);
	ck_assert(reading && writing);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 1), -EBUSY);
	ck_assert_int_eq(sim_device_reach(m, BACK, op->maddr, 4096, true, SIM_REACH_ANY, &gen, why,
					  sizeof(why)), 0);
	ck_assert_int_eq(sim_device_reach(m, BACK, op->maddr, 4096, true, SIM_REACH_DMA, &gen, why,
					  sizeof(why)), -EFAULT);
	sim_audit(m, BACK, &a);
	ck_assert_uint_eq(a.device_handles, 1);
	ck_assert_int_eq(unmap_one(op->handle, op->maddr), 0);
	ck_assert_int_eq(sim_device_reach(m, BACK, op->maddr, 1, false, SIM_REACH_ANY, &gen, why,
					  sizeof(why)), -EFAULT);
	ck_assert_int_eq(unmap_one(op->handle, op->maddr), SIM_GNTST_BAD_HANDLE);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 1), 0);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 1), -EINVAL);
	ck_assert_uint_eq(hv->counters.map_pages, 1);
	ck_assert_uint_eq(hv->counters.unmap_calls, 2);
	ck_assert_uint_eq(hv->counters.unmap_pages, 1);
}
END_TEST

START_TEST(test_map_statuses)
{
	pfn_t pfn;
	uint32_t ro = granted(true, &pfn), other;
	struct hv_map_op *op;

	/* 18: a page granted read-only. */
	ck_assert_int_eq(map_one(ro, HV_MAP_DEVICE)->status, SIM_GNTST_GENERAL_ERROR);
	op = map_one(ro, HV_MAP_DEVICE | HV_MAP_READONLY);
	ck_assert_int_eq(op->status, 0);
	ck_assert_int_eq(unmap_one(op->handle, maddr_add(op->maddr, 4096)),
			 SIM_GNTST_GENERAL_ERROR);
	/* Xen unmaps nothing without the address, and does not say so. */
	ck_assert_int_eq(unmap_one(op->handle, (maddr_t){ 0 }), 0);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ro, 1), -EBUSY);
	ck_assert_int_eq(unmap_one(op->handle, op->maddr), 0);
	ck_assert_int_eq(map_one(1u << 30, HV_MAP_DEVICE)->status, SIM_GNTST_BAD_GNTREF);
	ck_assert_int_eq(map_one(ro + 1, HV_MAP_DEVICE)->status, SIM_GNTST_GENERAL_ERROR);
	ck_assert_int_eq(map_one(ro, HV_MAP_READONLY)->status, SIM_GNTST_BAD_GNTREF);
	ck_assert_int_eq(sim_grant(m, GUEST, pfn, 9, false, &other), 0);
	ck_assert_int_eq(map_one(other, HV_MAP_DEVICE)->status, SIM_GNTST_GENERAL_ERROR);
	op = ops_page(0);
	op->domid = 77;
	ck_assert_int_eq(hv->ops->gnt_map(hv, op, 1), 0);
	ck_assert_int_eq(op->status, SIM_GNTST_BAD_DOMAIN);
}
END_TEST

/* 16: one element of a batch fails, the others do not. */
START_TEST(test_batch_partial)
{
	struct hv_map_op *op = ops_page(0);
	pfn_t first;
	uint32_t ref;

	ck_assert_int_eq(sim_pages_alloc(m, GUEST, 5, &first), 0);
	ck_assert_int_eq(sim_grant_range(m, GUEST, first, 5, BACK, false, &ref), 0);
	ck_assert_int_eq(sim_fault_element(m, SIM_OP_GNT_MAP, 4, SIM_GNTST_EAGAIN), 0);
	for (unsigned int i = 0; i < 5; i++)
		op[i] = (struct hv_map_op){ .flags = HV_MAP_DEVICE, .domid = GUEST,
					    .gref = i == 1 ? 5000 : ref + i, .status = 1 };
	ck_assert_int_eq(hv->ops->gnt_map(hv, op, 5), 0);
	ck_assert_int_eq(op[1].status, SIM_GNTST_GENERAL_ERROR);
	ck_assert_int_eq(op[3].status, SIM_GNTST_EAGAIN);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 5), -EBUSY);
	for (unsigned int i = 0; i < 5; i += 2) {
		ck_assert_int_eq(op[i].status, 0);
		ck_assert_int_eq(unmap_one(op[i].handle, op[i].maddr), 0);
	}
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 5), 0);
	ck_assert_uint_eq(hv->counters.map_pages, 3);
}
END_TEST

START_TEST(test_ops_outside_dma_memory)
{
	struct hv_map_op op = { .flags = HV_MAP_DEVICE };

	ck_assert_int_eq(hv->ops->gnt_map(hv, &op, 1), -EFAULT);
}
END_TEST

START_TEST(test_limits)
{
	struct sim_config config = { .max_handles = 10, .max_grants = 16 };
	uint32_t ref, handle[2];
	maddr_t maddr[2];
	pfn_t pfn;

	teardown();
	setup_with(&config);
	ck_assert_int_eq(sim_pages_alloc(m, GUEST, 9, &pfn), 0);
	ck_assert_int_eq(sim_grant_range(m, GUEST, pfn, 9, BACK, false, &ref), -ENOSPC);
	ck_assert_int_eq(sim_grant_range(m, GUEST, pfn, 8, BACK, false, &ref), 0);
	/* 8 pins of the operations' own memory are there already. */
	for (int i = 0; i < 2; i++) {
		struct hv_map_op *op = map_one(ref, HV_MAP_DEVICE);

		ck_assert_int_eq(op->status, 0);
		handle[i] = op->handle;
		maddr[i] = op->maddr;
	}
	ck_assert_int_eq(map_one(ref, HV_MAP_DEVICE)->status, SIM_GNTST_NO_SPACE);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(unmap_one(handle[i], maddr[i]), 0);
}
END_TEST

static int copy_one(struct hv_copy_op want)
{
	struct hv_copy_op *op = ops_page(0);

	*op = want;
	op->status = HV_STATUS_PENDING;
	ck_assert_int_eq(hv->ops->gnt_copy(hv, op, 1), 0);
	return op->status;
}

START_TEST(test_copy)
{
	pfn_t pfn, rpfn;
	uint32_t ref = granted(false, &pfn), ro = granted(true, &rpfn);
	uint64_t own = mfn_of(ops_mem.maddr[3]).n;
	struct hv_copy_op op = {
		.source = { .frame = ref, .domid = GUEST, .offset = 16 },
		.dest = { .frame = own, .domid = HV_DOMID_SELF, .offset = 32 },
		.len = 5, .flags = HV_COPY_SOURCE_GREF,
	};
	struct hv_copy_op back = {
		.source = op.dest, .dest = { .frame = ro, .domid = GUEST },
		.len = 5, .flags = HV_COPY_DEST_GREF,
	};
	char text[5];
	mfn_t theirs;

	sim_mem_write(m, GUEST, (pfn.n << 12) + 16, "hello", 5);
	ck_assert_int_eq(copy_one(op), 0);
	ck_assert_mem_eq((char *)ops_page(3) + 32, "hello", 5);
	ck_assert_int_eq(copy_one(back), SIM_GNTST_GENERAL_ERROR);
	back.dest.frame = ref;
	ck_assert_int_eq(copy_one(back), 0);
	sim_mem_read(m, GUEST, pfn.n << 12, text, 5);
	ck_assert_mem_eq(text, "hello", 5);
	op.source.offset = 4092;
	ck_assert_int_eq(copy_one(op), SIM_GNTST_BAD_COPY_ARG);
	op.source.offset = 0;
	op.dest.domid = GUEST;
	ck_assert_int_eq(copy_one(op), SIM_GNTST_PERMISSION_DENIED);
	op.dest.domid = HV_DOMID_SELF;
	sim_p2m(m, GUEST, pfn, &theirs);
	op.dest.frame = theirs.n;
	ck_assert_int_eq(copy_one(op), SIM_GNTST_BAD_PAGE);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 1), 0);
	ck_assert_uint_eq(hv->counters.copy_bytes, 10);
}
END_TEST

START_TEST(test_host_map)
{
	uint32_t ref, bad[2];
	pfn_t first;
	char *va;

	ck_assert_int_eq(sim_pages_alloc(m, GUEST, 3, &first), 0);
	ck_assert_int_eq(sim_grant_range(m, GUEST, first, 3, BACK, false, &ref), 0);
	sim_mem_write(m, GUEST, (first.n << 12) + 4090, "across pages", 12);
	ck_assert_int_eq(hv->ops->host_map(hv, GUEST, (uint32_t[]){ ref, ref + 1, ref + 2 }, 3,
					   true, (void **)&va), 0);
	ck_assert_mem_eq(va + 4090, "across pages", 12);
	ck_assert_int_eq(hv->ops->host_unmap(hv, va, 2), -EINVAL);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 1), -EBUSY);
	ck_assert_int_eq(hv->ops->host_unmap(hv, va, 3), 0);
	ck_assert_int_eq(hv->ops->host_unmap(hv, va, 3), -EINVAL);
	bad[0] = ref;
	bad[1] = 4000;
	ck_assert_int_lt(hv->ops->host_map(hv, GUEST, bad, 2, true, (void **)&va), 0);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 3), 0);
}
END_TEST

START_TEST(test_host_map_goes_at_close)
{
	int err = 0;
	struct hv *other = sim_hv_open(m, BACK, HV_CAP_GRANT, &err);
	pfn_t pfn;
	uint32_t ref = granted(false, &pfn);
	void *va;

	ck_assert_int_eq(other->ops->host_map(other, GUEST, &ref, 1, true, &va), 0);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 1), -EBUSY);
	hv_close(other);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 1), 0);
}
END_TEST

START_TEST(test_self_and_foreign)
{
	mfn_t mfn, theirs;
	pfn_t pfn, gpfn;
	gfn_t gfn[2];
	int err[2];
	void *va;

	ck_assert_int_eq(hv->ops->self_pfn(hv, (char *)ops_page(2) + 77, &pfn), 0);
	ck_assert_int_eq(hv->ops->self_p2m(hv, pfn, &mfn), 0);
	ck_assert_uint_eq(mfn.n, mfn_of(ops_mem.maddr[2]).n);
	strcpy(ops_page(2), "mine");
	ck_assert_int_eq(hv->ops->self_map(hv, &mfn, 1, true, &va), 0);
	ck_assert_str_eq(va, "mine");
	ck_assert_int_eq(hv->ops->self_unmap(hv, va, 1), 0);
	ck_assert_int_eq(hv->ops->self_pfn(hv, &va, &pfn), -EFAULT);
	/* A PV guest's gfn is the machine frame. */
	granted(false, &gpfn);
	sim_p2m(m, GUEST, gpfn, &theirs);
	ck_assert_int_lt(hv->ops->self_map(hv, &theirs, 1, true, &va), 0);
	sim_mem_write(m, GUEST, gpfn.n << 12, "theirs", 7);
	gfn[0].n = theirs.n;
	gfn[1].n = mfn.n;
	ck_assert_int_eq(hv->ops->foreign_map(hv, GUEST, gfn, 2, false, &va, err), 0);
	ck_assert_int_eq(err[0], 0);
	ck_assert_int_ne(err[1], 0);
	ck_assert_str_eq(va, "theirs");
	ck_assert_int_eq(hv->ops->foreign_unmap(hv, va, 2), 0);
}
END_TEST

START_TEST(test_dma_memory)
{
	struct hv_dma dma;
	uint32_t gen;
	char why[96];

	ck_assert_int_eq(hv->ops->dma_alloc(hv, 4, &dma), 0);
	memset(dma.va, 0x5a, 4 * 4096);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_int_eq(*(uint8_t *)sim_maddr_va(m, dma.maddr[i], 4096), 0x5a);
		ck_assert_int_eq(sim_device_reach(m, BACK, dma.maddr[i], 4096, true, SIM_REACH_DMA,
						  &gen, why, sizeof(why)), 0);
	}
	hv->ops->dma_free(hv, &dma);
	ck_assert_int_eq(hv->ops->dma_alloc(hv, 600, &dma), -ENOMEM);
	ck_assert_int_eq(hv->ops->dma_alloc(hv, 4, &dma), 0);
	for (unsigned int i = 0; i < 4 * 4096; i++)
		ck_assert_int_eq(((uint8_t *)dma.va)[i], 0);
	hv->ops->dma_free(hv, &dma);
}
END_TEST

int main(void)
{
	static const TTest **const tests[] = {
		&test_p2m_is_scrambled,
		&test_memory_by_pfn,
		&test_map_and_unmap,
		&test_map_statuses,
		&test_batch_partial,
		&test_ops_outside_dma_memory,
		&test_limits,
		&test_copy,
		&test_host_map,
		&test_host_map_goes_at_close,
		&test_self_and_foreign,
		&test_dma_memory,
	};

	return sim_main("sim", tests, sizeof(tests) / sizeof(tests[0]));
}
