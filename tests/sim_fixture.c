/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_fixture.h"

struct sim_machine *m;
struct hv *hv;
struct hv_dma ops_mem;

void setup_with(const struct sim_config *config)
{
	int err = 0;

	m = sim_machine_new(config, &err);
	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(sim_domain_add(m, BACK, 512, false), 0);
	ck_assert_int_eq(sim_domain_add(m, GUEST, 512, false), 0);
	hv = sim_hv_open(m, BACK, CAPS, &err);
	ck_assert_ptr_nonnull(hv);
	ck_assert_int_eq(hv->ops->dma_alloc(hv, 8, &ops_mem), 0);
}

void setup(void)
{
	setup_with(NULL);
}

void teardown(void)
{
	struct sim_audit a;
	char text[256];

	if (!m)
		return;
	if (ops_mem.npages)
		hv->ops->dma_free(hv, &ops_mem);
	hv_close(hv);
	sim_audit(m, BACK, &a);
	sim_audit_text(&a, text, sizeof(text));
	ck_assert_msg(!a.device_handles && !a.host_pages && !a.foreign_pages && !a.self_pages &&
		      !a.dma_pages && !a.ports && !a.watches && !a.transactions && !a.opens &&
		      !a.late_writes, "left over: %s", text);
	sim_machine_free(m);
	m = NULL;
}

void *ops_page(unsigned int page)
{
	return (uint8_t *)ops_mem.va + (size_t)page * XVS_FRAME_SIZE;
}

uint32_t granted(bool readonly, pfn_t *pfn)
{
	uint32_t ref;

	ck_assert_int_eq(sim_pages_alloc(m, GUEST, 1, pfn), 0);
	ck_assert_int_eq(sim_grant(m, GUEST, *pfn, BACK, readonly, &ref), 0);
	return ref;
}

struct hv_map_op *map_one(uint32_t ref, uint32_t flags)
{
	struct hv_map_op *op = ops_page(0);

	*op = (struct hv_map_op){ .flags = flags, .gref = ref, .domid = GUEST,
				  .status = HV_STATUS_PENDING, .handle = HV_HANDLE_NONE };
	ck_assert_int_eq(hv->ops->gnt_map(hv, op, 1), 0);
	return op;
}

int unmap_one(uint32_t handle, maddr_t maddr)
{
	struct hv_unmap_op *op = ops_page(1);

	*op = (struct hv_unmap_op){ .maddr = maddr, .handle = handle,
				    .status = HV_STATUS_PENDING };
	ck_assert_int_eq(hv->ops->gnt_unmap(hv, op, 1), 0);
	return op->status;
}
