/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stress/stats.h"

#include <time.h>

#define SUB 16u /* buckets a power of two */

uint64_t stats_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned int bucket_of(uint64_t ns)
{
	unsigned int power, i;

	if (ns < SUB)
		return (unsigned int)ns;
	power = 63u - (unsigned int)__builtin_clzll(ns);
	i = (power - 3) * SUB + (unsigned int)((ns >> (power - 4)) & (SUB - 1));
	return i < STATS_BUCKETS ? i : STATS_BUCKETS - 1;
}

static uint64_t upper_edge(unsigned int i)
{
	if (i < SUB)
		return i;
	return ((uint64_t)(SUB + i % SUB + 1) << (i / SUB - 1)) - 1;
}

void stats_add(struct stats *s, uint64_t ops, uint64_t ns)
{
	s->rounds++;
	s->ops += ops;
	s->ns += ns;
	if (ns > s->max_ns)
		s->max_ns = ns;
	s->bucket[bucket_of(ns)]++;
}

uint64_t stats_percentile(const struct stats *s, unsigned int per_mille)
{
	uint64_t want = (s->rounds * per_mille + 999) / 1000, seen = 0;

	for (unsigned int i = 0; want && i < STATS_BUCKETS; i++) {
		seen += s->bucket[i];
		if (seen >= want)
			return upper_edge(i) < s->max_ns ? upper_edge(i) : s->max_ns;
	}
	return 0;
}
