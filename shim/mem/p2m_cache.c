/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mem/p2m_cache.h"

#include <string.h>
#include <sys/mman.h>

#define MFN_MAX (P2M_CACHE_MADDR >> XVS_FRAME_SHIFT) /* 52 bits are all x86-64 has */
#define PER_PAGE (XVS_FRAME_SIZE / sizeof(uint64_t))

static size_t whole_pages(uint64_t bytes)
{
	return (bytes + XVS_FRAME_MASK) & ~(uint64_t)XVS_FRAME_MASK;
}

static size_t array_bytes(const struct p2m_cache *c)
{
	return whole_pages(c->npfns * sizeof(*c->entry));
}

static size_t count_bytes(const struct p2m_cache *c)
{
	return whole_pages(array_bytes(c) / XVS_FRAME_SIZE * sizeof(*c->count));
}

int p2m_cache_open(struct p2m_cache *c, uint64_t npfns)
{
	size_t bytes;

	memset(c, 0, sizeof(*c));
	if (!npfns || npfns > P2M_CACHE_MAX_PFNS)
		return -EINVAL;
	c->npfns = npfns;
	bytes = array_bytes(c) + count_bytes(c);
	c->entry = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->entry == MAP_FAILED) {
		c->entry = NULL;
		return -errno;
	}
	c->count = (void *)((char *)c->entry + array_bytes(c));
	/* A huge page would take 2 MiB for one entry: a guest could choose its pfns for that. A
	 * kernel without them refuses, which is as good. */
	madvise(c->entry, bytes, MADV_NOHUGEPAGE);
	return 0;
}

void p2m_cache_close(struct p2m_cache *c)
{
	if (c->entry)
		munmap(c->entry, array_bytes(c) + count_bytes(c));
	memset(c, 0, sizeof(*c));
}

int p2m_cache_set(struct p2m_cache *c, pfn_t pfn, mfn_t mfn)
{
	return p2m_cache_set_tag(c, pfn, mfn, 0);
}

int p2m_cache_set_tag(struct p2m_cache *c, pfn_t pfn, mfn_t mfn, uint32_t tag)
{
	uint64_t bits = (uint64_t)(tag >> 11) << 52 | (tag & 0x7ff) << 1;

	if (pfn.n >= c->npfns)
		return -ERANGE;
	if (mfn.n > MFN_MAX || tag > P2M_CACHE_TAG_MAX)
		return -EINVAL;
	if (!(c->entry[pfn.n] & P2M_CACHE_VALID)) {
		c->known++;
		c->pages += !c->count[pfn.n / PER_PAGE]++;
	}
	c->entry[pfn.n] = mfn.n << XVS_FRAME_SHIFT | bits | P2M_CACHE_VALID;
	return 0;
}

bool p2m_cache_clear(struct p2m_cache *c, pfn_t pfn)
{
	/* looked at first: a store would give memory to an entry that was never made */
	if (pfn.n >= c->npfns || !(c->entry[pfn.n] & P2M_CACHE_VALID))
		return false;
	c->entry[pfn.n] = 0;
	c->known--;
	if (!--c->count[pfn.n / PER_PAGE]) {
		c->pages--;
		/* it only costs memory if this should fail */
		madvise(&c->entry[pfn.n - pfn.n % PER_PAGE], XVS_FRAME_SIZE, MADV_DONTNEED);
	}
	return true;
}

int p2m_cache_clear_all(struct p2m_cache *c)
{
	if (madvise(c->entry, array_bytes(c) + count_bytes(c), MADV_DONTNEED))
		return -errno;
	c->known = c->pages = 0;
	return 0;
}

uint32_t p2m_cache_extend(const struct p2m_cache *c, uint64_t addr, uint32_t len)
{
	pfn_t pfn = { addr >> XVS_FRAME_SHIFT };
	uint64_t part = XVS_FRAME_SIZE - (addr & XVS_FRAME_MASK);
	mfn_t first, next;

	if (p2m_cache_get(c, pfn, &first))
		return 0;
	while (part < len) {
		pfn.n++;
		first.n++;
		if (p2m_cache_get(c, pfn, &next) || next.n != first.n)
			return (uint32_t)part;
		part += XVS_FRAME_SIZE;
	}
	return len;
}
