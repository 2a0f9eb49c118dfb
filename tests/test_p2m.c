/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of a guest's frames: what is in it comes out, nothing else does, it stays small. */
#include "check_main.h"
#include "mem/p2m_cache.h"

#include <stdio.h>
#include <sys/mman.h>

static struct p2m_cache c;

static pfn_t pfn(uint64_t n)
{
	return (pfn_t){ n };
}

static mfn_t mfn(uint64_t n)
{
	return (mfn_t){ n };
}

static void open_cache(uint64_t npfns)
{
	ck_assert_int_eq(p2m_cache_open(&c, npfns), 0);
}

START_TEST(size_is_bounded)
{
	ck_assert_int_eq(p2m_cache_open(&c, 0), -EINVAL);
	ck_assert_int_eq(p2m_cache_open(&c, P2M_CACHE_MAX_PFNS + 1), -EINVAL);
	p2m_cache_close(&c); /* of one that was never open */
	open_cache(1);
	p2m_cache_close(&c);
}
END_TEST

START_TEST(holds_what_was_set)
{
	mfn_t m;

	open_cache(100);
	ck_assert_int_eq(p2m_cache_get(&c, pfn(7), &m), -ENOENT);
	ck_assert_int_eq(p2m_cache_set(&c, pfn(7), mfn(0x1234)), 0);
	ck_assert_int_eq(p2m_cache_get(&c, pfn(7), &m), 0);
	ck_assert_uint_eq(m.n, 0x1234);
	ck_assert_int_eq(p2m_cache_get(&c, pfn(8), &m), -ENOENT);
	ck_assert(p2m_cache_holds(&c, pfn(7), mfn(0x1234)));
	ck_assert(!p2m_cache_holds(&c, pfn(7), mfn(0x1235)));
	ck_assert(!p2m_cache_holds(&c, pfn(8), mfn(0)));
	/* frame 0 is a frame */
	ck_assert_int_eq(p2m_cache_set(&c, pfn(0), mfn(0)), 0);
	ck_assert_int_eq(p2m_cache_get(&c, pfn(0), &m), 0);
	ck_assert_uint_eq(m.n, 0);
	ck_assert_uint_eq(c.known, 2);
	ck_assert_int_eq(p2m_cache_set(&c, pfn(7), mfn(5)), 0);
	ck_assert_uint_eq(c.known, 2);
	p2m_cache_close(&c);
}
END_TEST

START_TEST(tags_come_with_the_frame)
{
	static const uint32_t tags[] = { 0, 1, 0x7ff, 0x800, 0x1234, P2M_CACHE_TAG_MAX };
	const mfn_t top = { (1ull << 40) - 1 };
	uint32_t tag;
	maddr_t a;
	mfn_t m;

	open_cache(100);
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		ck_assert_int_eq(p2m_cache_set_tag(&c, pfn(7), top, tags[i]), 0);
		ck_assert_int_eq(p2m_cache_get_tag(&c, pfn(7), &m, &tag), 0);
		ck_assert_uint_eq(m.n, top.n);
		ck_assert_uint_eq(tag, tags[i]);
		ck_assert(p2m_cache_holds(&c, pfn(7), top));
		ck_assert_uint_eq(p2m_cache_find(&c, 7 * 4096 + 5, 1, &a), 1);
		ck_assert_uint_eq(a.a, top.n << 12 | 5);
	}
	ck_assert_int_eq(p2m_cache_set_tag(&c, pfn(7), top, P2M_CACHE_TAG_MAX + 1), -EINVAL);
	ck_assert_int_eq(p2m_cache_get_tag(&c, pfn(8), &m, &tag), -ENOENT);
	ck_assert_int_eq(p2m_cache_get_tag(&c, pfn(100), &m, &tag), -ERANGE);
	p2m_cache_close(&c);
}
END_TEST

START_TEST(hazard_06_07_nothing_beyond_the_guest)
{
	maddr_t a;
	mfn_t m;

	open_cache(100); /* less than the page of the array holds */
	ck_assert_int_eq(p2m_cache_set(&c, pfn(100), mfn(1)), -ERANGE);
	ck_assert_int_eq(p2m_cache_get(&c, pfn(100), &m), -ERANGE);
	ck_assert_int_eq(p2m_cache_get(&c, pfn(UINT64_MAX), &m), -ERANGE);
	ck_assert_uint_eq(p2m_cache_find(&c, UINT64_MAX, 1, &a), 0);
	ck_assert_uint_eq(p2m_cache_find(&c, UINT64_MAX - 4095, UINT32_MAX, &a), 0);
	ck_assert(!p2m_cache_clear(&c, pfn(100)));
	ck_assert_int_eq(p2m_cache_set(&c, pfn(1), mfn(1ull << 40)), -EINVAL);
	ck_assert_int_eq(p2m_cache_set(&c, pfn(99), mfn(9)), 0);
	ck_assert_uint_eq(p2m_cache_find(&c, 99 * 4096ull + 4000, UINT32_MAX, &a), 96);
	p2m_cache_close(&c);
}
END_TEST

START_TEST(finds_the_contiguous_part)
{
	maddr_t a;

	open_cache(16);
	p2m_cache_set(&c, pfn(2), mfn(50));
	p2m_cache_set(&c, pfn(3), mfn(51));
	p2m_cache_set(&c, pfn(4), mfn(53));
	ck_assert_uint_eq(p2m_cache_find(&c, 0x2010, 16, &a), 16);
	ck_assert_uint_eq(a.a, 50 * 4096 + 0x10);
	ck_assert_uint_eq(p2m_cache_find(&c, 0x2000, 4096, &a), 4096);
	ck_assert_uint_eq(p2m_cache_find(&c, 0x2001, 4096, &a), 4096); /* 50 and 51 touch */
	ck_assert_uint_eq(a.a, 50 * 4096 + 1);
	ck_assert_uint_eq(p2m_cache_find(&c, 0x2ff0, 3 * 4096, &a), 16 + 4096);
	ck_assert_uint_eq(p2m_cache_find(&c, 0x3ff0, 4096, &a), 16); /* 51 and 53 do not */
	ck_assert_uint_eq(p2m_cache_find(&c, 0x4ff0, 17, &a), 16);   /* 5 is not known */
	ck_assert_uint_eq(p2m_cache_find(&c, 0x1ff0, 17, &a), 0);    /* 1 is not either */
	p2m_cache_close(&c);
}
END_TEST

START_TEST(forgets)
{
	mfn_t m;

	open_cache(1024);
	p2m_cache_set(&c, pfn(3), mfn(3));
	p2m_cache_set(&c, pfn(1000), mfn(4));
	ck_assert(p2m_cache_clear(&c, pfn(3)));
	ck_assert(!p2m_cache_clear(&c, pfn(3)));
	ck_assert_int_eq(p2m_cache_get(&c, pfn(3), &m), -ENOENT);
	ck_assert_uint_eq(c.known, 1);
	ck_assert_int_eq(p2m_cache_clear_all(&c), 0);
	ck_assert_int_eq(p2m_cache_get(&c, pfn(1000), &m), -ENOENT);
	ck_assert_uint_eq(c.known, 0);
	ck_assert_uint_eq(c.pages, 0);
	p2m_cache_close(&c);
}
END_TEST

/* Pages of the array that hold something else than the shared page of zeros. */
static unsigned int private_pages(const void *at)
{
	unsigned long kib, sum = 0;
	char line[256];
	bool in = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	ck_assert(f != NULL);
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			in = from <= (unsigned long)at && (unsigned long)at < to;
		else if (in && sscanf(line, "Anonymous: %lu kB", &kib) == 1)
			sum += kib;
	}
	fclose(f);
	return (unsigned int)(sum / 4);
}

/* Is what is only read one page of zeros for all? Linux's way, but there are kernels without. */
static bool zeros_are_shared(void)
{
	const unsigned int n = 64;
	unsigned int pages;
	char *p = mmap(NULL, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	for (unsigned int i = 0; i < n; i++)
		(void)*(volatile char *)(p + i * 4096);
	pages = private_pages(p);
	munmap(p, n * 4096);
	return pages < n;
}

/* A guest of 1 TiB: memory for what was entered, none for questions, none for what is gone. */
START_TEST(memory_follows_use)
{
	const unsigned int asked = zeros_are_shared() ? 0 : 1001;
	const unsigned int n = 64, counts = 64; /* each count lies in a page of its own here */
	const uint64_t step = P2M_CACHE_MAX_PFNS / n;
	mfn_t m;

	open_cache(P2M_CACHE_MAX_PFNS);
	for (uint64_t i = 0; i < n; i++)
		p2m_cache_set(&c, pfn(i * step), mfn(i));
	ck_assert_uint_eq(c.pages, n);
	for (uint64_t i = 0; i < 512; i++)
		p2m_cache_set(&c, pfn(i), mfn(i));
	ck_assert_uint_eq(c.pages, n);
	for (uint64_t i = 0; i < 1000; i++)
		ck_assert_int_eq(p2m_cache_get(&c, pfn(i * 4096 + 4095), &m), -ENOENT);
	ck_assert(!p2m_cache_clear(&c, pfn(4096 * 7)));
	ck_assert_uint_le(private_pages(c.entry), n + counts + asked);
	for (uint64_t i = 1; i < n; i++)
		ck_assert(p2m_cache_clear(&c, pfn(i * step)));
	ck_assert_uint_eq(c.pages, 1);
	ck_assert_uint_le(private_pages(c.entry), 1 + counts + asked);
	ck_assert_int_eq(p2m_cache_get(&c, pfn(511), &m), 0);
	p2m_cache_close(&c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("p2m");
	TCase *tc = tcase_create("cache");

	tcase_add_test(tc, size_is_bounded);
	tcase_add_test(tc, holds_what_was_set);
	tcase_add_test(tc, tags_come_with_the_frame);
	tcase_add_test(tc, hazard_06_07_nothing_beyond_the_guest);
	tcase_add_test(tc, finds_the_contiguous_part);
	tcase_add_test(tc, forgets);
	tcase_add_test(tc, memory_follows_use);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
