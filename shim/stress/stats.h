/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Latencies in buckets of a sixteenth of a power of two; one writer, any number of readers. */
#ifndef XVS_STRESS_STATS_H
#define XVS_STRESS_STATS_H

#include <stdint.h>

#define STATS_BUCKETS 640

struct stats {
	uint64_t rounds; /* batches */
	uint64_t ops;    /* pages mapped, unmapped, copied or refused in them */
	uint64_t ns;     /* time of all rounds */
	uint64_t max_ns;
	uint32_t bucket[STATS_BUCKETS];
};

uint64_t stats_now(void); /* ns, monotonic */
void stats_add(struct stats *s, uint64_t ops, uint64_t ns);
/* per_mille 500 is the median. The upper edge of the bucket; 0 without a round. */
uint64_t stats_percentile(const struct stats *s, unsigned int per_mille);

#endif
