/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "library_stage.h"

#include "lib/internal.h"
#include "sim_fixture.h"

#define OTHER 5

static unsigned int own_memory; /* DMA pages of the fixture itself */

void stage_setup(void)
{
	struct sim_audit a;

	setup();
	ck_assert_int_eq(sim_domain_add(m, OTHER, 16, false), 0);
	sim_audit(m, BACK, &a);
	own_memory = a.dma_pages;
}

void stage_teardown(void)
{
	teardown();
}

struct xvs *stage_open(unsigned int parts)
{
	struct xvs *xvs;

	ck_assert_int_eq(xvs_open_hv(hv, parts, &xvs), 0);
	return xvs;
}

struct xvs *stage_open_child(unsigned int parts)
{
	int err;
	struct hv *mine = sim_hv_open(m, BACK, CAPS, &err);
	struct xvs *xvs;

	return mine && !xvs_open_hv(mine, parts, &xvs) ? xvs : NULL;
}

unsigned int stage_grants_held(void)
{
	struct sim_audit a;

	sim_audit(m, BACK, &a);
	return a.device_handles;
}

unsigned int stage_memory_held(void)
{
	struct sim_audit a;

	sim_audit(m, BACK, &a);
	return a.dma_pages - own_memory;
}

uint32_t stage_grant(bool readonly)
{
	pfn_t pfn;

	return granted(readonly, &pfn);
}

uint32_t stage_grant_elsewhere(void)
{
	uint32_t ref;
	pfn_t pfn;

	ck_assert_int_eq(sim_pages_alloc(m, GUEST, 1, &pfn), 0);
	ck_assert_int_eq(sim_grant(m, GUEST, pfn, OTHER, false, &ref), 0);
	return ref;
}

bool stage_reaches(uint64_t maddr, size_t len, bool write)
{
	char why[96];
	uint32_t gen;

	return !sim_device_reach(m, BACK, (maddr_t){ maddr }, len, write, SIM_REACH_ANY, &gen, why,
				 sizeof(why));
}

unsigned char stage_peek(uint64_t maddr)
{
	return *(unsigned char *)sim_maddr_va(m, (maddr_t){ maddr }, 1);
}

/* Of 512 scattered frames a few are next to each other; the third is next to neither. */
const void *stage_touching(void)
{
	mfn_t a, b, three[3] = { { 0 } };
	void *va;

	for (uint64_t i = 0; i < 512; i++)
		for (uint64_t j = 0; j < 512 && !three[0].n; j++)
			if (!sim_p2m(m, BACK, (pfn_t){ i }, &a) &&
			    !sim_p2m(m, BACK, (pfn_t){ j }, &b) && b.n == a.n + 1) {
				three[0] = a;
				three[1] = b;
				three[2] = a;
			}
	ck_assert_msg(three[0].n, "no two frames touch");
	ck_assert_int_eq(hv->ops->self_map(hv, three, 3, true, &va), 0);
	return va;
}

void stage_touching_done(const void *va)
{
	ck_assert_int_eq(hv->ops->self_unmap(hv, (void *)va, 3), 0);
}

void stage_fail_map(int err)
{
	ck_assert_int_eq(sim_fault_set(m, SIM_OP_GNT_MAP, 1, err), 0);
}

void stage_fail_map_element(unsigned int nth)
{
	ck_assert_int_eq(sim_fault_element(m, SIM_OP_GNT_MAP, nth, SIM_GNTST_NO_SPACE), 0);
}
