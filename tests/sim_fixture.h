/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One machine, a back end's domain and a guest, for the tests of the simulation. */
#ifndef XVS_TESTS_SIM_FIXTURE_H
#define XVS_TESTS_SIM_FIXTURE_H

#include "check_main.h"
#include "hv/sim.h"

#define BACK 0
#define GUEST 3
#define CAPS (HV_CAP_GRANT | HV_CAP_EVTCHN | HV_CAP_STORE | HV_CAP_DOMAIN | HV_CAP_DMA)

extern struct sim_machine *m;
extern struct hv *hv;
extern struct hv_dma ops_mem; /* 8 pages, for operations */

void setup_with(const struct sim_config *config);
void setup(void);
/* Fails if the back end holds anything. */
void teardown(void);

void *ops_page(unsigned int page);
/* A page of the guest, granted. */
uint32_t granted(bool readonly, pfn_t *pfn);
/* One operation, in the first two pages. */
struct hv_map_op *map_one(uint32_t ref, uint32_t flags);
int unmap_one(uint32_t handle, maddr_t maddr);

static inline int sim_main(const char *name, const TTest **const *tests, size_t n)
{
	Suite *s = suite_create(name);
	TCase *tc = tcase_create("machine");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	for (size_t i = 0; i < n; i++)
		tcase_add_test(tc, *tests[i]);
	suite_add_tcase(s, tc);
	return check_main(s);
}

#endif
