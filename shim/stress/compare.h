/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a map and unmap of a page costs: for a device in a batch, as the daemon does it, journal
 * included, and through libxengnttab, page by page and in a batch. The ways take turns, so that
 * what disturbs the machine disturbs them all.
 */
#ifndef XVS_STRESS_COMPARE_H
#define XVS_STRESS_COMPARE_H

#include <stdint.h>

#define COMPARE_PAIRS_MAX 64u

enum compare_way { COMPARE_DEVICE, COMPARE_LIBRARY, COMPARE_LIBRARY_BATCH, COMPARE_WAYS };

struct compare {
	unsigned int pairs, batch;                       /* turns taken; pages a batch */
	double cycles[COMPARE_WAYS][COMPARE_PAIRS_MAX];  /* pages mapped and unmapped a second */
	uint64_t pages[COMPARE_WAYS];                    /* in all turns */
	uint64_t hypercalls[COMPARE_WAYS]; /* this process's own; not those the kernel makes for it */
};

struct compare_spread {
	double median, min, max;
};

struct compare_spread compare_cycles(const struct compare *c, enum compare_way way);
/* Of the turns one by one: a divided by b. */
struct compare_spread compare_ratio(const struct compare *c, enum compare_way a,
				    enum compare_way b);

#endif
