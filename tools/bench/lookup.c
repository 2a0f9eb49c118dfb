/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * B1: address look-ups. A guest whose memory lies in EXTENTS pieces of PAGES pages each, asked
 * for random addresses within it. Cases:
 *   find   p2m_cache_find: bound, validity, contiguous length, one load
 *   get    p2m_cache_get: the same for a page, without the length
 *   array  the load alone, of a plain array: what nothing can beat
 *   bsearch  a sorted table of extents and the C library's bsearch, which is what DPDK 22.11's
 *          vhost does for its own table of guest pages from 256 entries on (that function is
 *          not in its public headers; its public look-up is in dpdk.c)
 * All of them keep the sum of what they found, so that nothing is optimised away.
 */
#include "lookup.h"
#include "mem/p2m_cache.h"
#include "serve.h"

#include <stdlib.h>

struct extent {
	uint64_t gpa, size;
	uint64_t to;
};

struct lookup {
	struct lookup_load load;
	struct p2m_cache cache;
	uint64_t *array;
	struct extent *extent;
};

static struct lookup lookup;

/* Frames far apart and in no order, as a PV guest's are. */
static uint64_t frame_of(uint64_t pfn)
{
	return (pfn * 0x9e3779b1u) & 0xffffff;
}

static void *open_lookup(int argc, char **argv)
{
	struct lookup *l = &lookup;
	uint64_t npfns;

	lookup_load(&l->load, argc, argv);
	npfns = l->load.extents * l->load.pages;
	l->array = calloc(npfns, sizeof(*l->array));
	l->extent = calloc(l->load.extents, sizeof(*l->extent));
	if (!l->array || !l->extent || p2m_cache_open(&l->cache, npfns))
		bench_fail("out of memory");
	for (uint64_t i = 0; i < npfns; i++) {
		l->array[i] = frame_of(i) << 12;
		p2m_cache_set(&l->cache, (pfn_t){ i }, (mfn_t){ frame_of(i) });
	}
	for (uint64_t i = 0; i < l->load.extents; i++)
		l->extent[i] = (struct extent){ lookup_start(&l->load, i), l->load.pages << 12,
						frame_of(i * l->load.pages) << 12 };
	return l;
}

static void round_find(void *arg, uint64_t *units, uint64_t *cycles)
{
	struct lookup *l = arg;
	uint64_t start = bench_cycles(), sum = 0;

	for (unsigned int i = 0; i < LOOKUPS; i++) {
		maddr_t maddr = { 0 };

		sum += p2m_cache_find(&l->cache, l->load.addr[i], LOOKUP_LEN, &maddr);
		sum += maddr.a;
	}
	*cycles += bench_cycles() - start;
	*units += LOOKUPS;
	lookup_sink = sum;
}

static void round_get(void *arg, uint64_t *units, uint64_t *cycles)
{
	struct lookup *l = arg;
	uint64_t start = bench_cycles(), sum = 0;

	for (unsigned int i = 0; i < LOOKUPS; i++) {
		mfn_t mfn;

		if (!p2m_cache_get(&l->cache, (pfn_t){ l->load.addr[i] >> 12 }, &mfn))
			sum += maddr_of(mfn, l->load.addr[i] & 4095).a;
	}
	*cycles += bench_cycles() - start;
	*units += LOOKUPS;
	lookup_sink = sum;
}

static void round_array(void *arg, uint64_t *units, uint64_t *cycles)
{
	struct lookup *l = arg;
	uint64_t start = bench_cycles(), sum = 0;

	for (unsigned int i = 0; i < LOOKUPS; i++)
		sum += l->array[l->load.addr[i] >> 12] + (l->load.addr[i] & 4095);
	*cycles += bench_cycles() - start;
	*units += LOOKUPS;
	lookup_sink = sum;
}

static int in_extent(const void *key, const void *element)
{
	uint64_t addr = *(const uint64_t *)key;
	const struct extent *e = element;

	if (addr < e->gpa)
		return -1;
	return addr >= e->gpa + e->size;
}

static void round_bsearch(void *arg, uint64_t *units, uint64_t *cycles)
{
	struct lookup *l = arg;
	uint64_t start = bench_cycles(), sum = 0;

	for (unsigned int i = 0; i < LOOKUPS; i++) {
		const struct extent *e = bsearch(&l->load.addr[i], l->extent, l->load.extents,
						 sizeof(*e), in_extent);

		if (e && l->load.addr[i] + LOOKUP_LEN <= e->gpa + e->size)
			sum += l->load.addr[i] - e->gpa + e->to + LOOKUP_LEN;
	}
	*cycles += bench_cycles() - start;
	*units += LOOKUPS;
	lookup_sink = sum;
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{ "find", open_lookup, round_find },
		{ "get", open_lookup, round_get },
		{ "array", open_lookup, round_array },
		{ "bsearch", open_lookup, round_bsearch },
		{ 0 },
	};

	return bench_main(cases, argc, argv);
}
