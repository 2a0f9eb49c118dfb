/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lookup.h"
#include "serve.h"

volatile uint64_t lookup_sink;

void lookup_load(struct lookup_load *load, int argc, char **argv)
{
	uint64_t total = bench_arg(argc, argv, "--pages", 65536), seed = 1;

	load->extents = bench_arg(argc, argv, "--extents", 2);
	if (!load->extents || total < load->extents)
		bench_fail("--extents N: 1 to --pages");
	load->pages = total / load->extents;
	for (unsigned int i = 0; i < LOOKUPS; i++) {
		uint64_t pfn = bench_random(&seed) % (load->extents * load->pages);

		/* within the page: a buffer of LOOKUP_LEN never leaves its extent */
		load->addr[i] = pfn << 12 | (bench_random(&seed) & 0xf80);
	}
}

uint64_t lookup_start(const struct lookup_load *load, uint64_t extent)
{
	return extent * load->pages << 12;
}
