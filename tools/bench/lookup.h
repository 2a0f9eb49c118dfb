/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The addresses that every contender of B1 is asked for. */
#ifndef XVS_BENCH_LOOKUP_H
#define XVS_BENCH_LOOKUP_H

#include <stdint.h>

#define LOOKUPS 65536u /* a round: more than a branch predictor can learn */
#define LOOKUP_LEN 64u

struct lookup_load {
	uint64_t extents, pages; /* pages of each */
	uint64_t addr[LOOKUPS];
};

extern volatile uint64_t lookup_sink;

/* --extents N; the guest has --pages N in all, so that it is the cut that differs. */
void lookup_load(struct lookup_load *load, int argc, char **argv);
uint64_t lookup_start(const struct lookup_load *load, uint64_t extent);

#endif
