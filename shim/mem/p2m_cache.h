/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of a guest's own translation, pfn to machine frame: one array, indexed by pfn,
 * so that a look-up is one load whatever the guest's size and however its memory is cut.
 *
 * The array is address space. It takes memory a page (512 pfns, 2 MiB of the guest) at a time,
 * where something was entered, and gives it back when the last entry there is cleared. What is
 * not entered is not valid: there is no frame to fall back to, so an address can only become one
 * that the owner of the cache has put there, with the page pinned. An entry lives from set to
 * clear; the caller pins before the one and lets go after the other.
 *
 * Errors: negative errno. Threads: one.
 */
#ifndef XVS_MEM_P2M_CACHE_H
#define XVS_MEM_P2M_CACHE_H

#include "hv/frames.h"

#include <errno.h>
#include <stdbool.h>

#define P2M_CACHE_MAX_PFNS (1ull << 28) /* 1 TiB */
#define P2M_CACHE_VALID 1ull
#define P2M_CACHE_MADDR (((1ull << 40) - 1) << XVS_FRAME_SHIFT)
#define P2M_CACHE_TAG_MAX ((1u << 23) - 1)

struct p2m_cache {
	uint64_t *entry; /* machine address of the frame | tag | P2M_CACHE_VALID, or 0 */
	uint64_t npfns;
	uint64_t known;  /* entries that are valid */
	uint64_t pages;  /* of the array that hold one; they are what takes memory */
	uint16_t *count; /* valid entries of each page of the array */
};

/* npfns: the guest's memory. -EINVAL: none, or more than P2M_CACHE_MAX_PFNS. */
int p2m_cache_open(struct p2m_cache *c, uint64_t npfns);
void p2m_cache_close(struct p2m_cache *c);

/* -ERANGE: the guest has no such pfn; -EINVAL: no machine has such a frame. */
int p2m_cache_set(struct p2m_cache *c, pfn_t pfn, mfn_t mfn);
/* With a number of the caller's, up to P2M_CACHE_TAG_MAX, that comes out in the same load. */
int p2m_cache_set_tag(struct p2m_cache *c, pfn_t pfn, mfn_t mfn, uint32_t tag);
/* Forgets one page; whether it was known. */
bool p2m_cache_clear(struct p2m_cache *c, pfn_t pfn);
/* Forgets all of them and gives the memory back. */
int p2m_cache_clear_all(struct p2m_cache *c);

/* 0; -ERANGE: beyond the guest's memory; -ENOENT: not known. */
static inline int p2m_cache_get_tag(const struct p2m_cache *c, pfn_t pfn, mfn_t *mfn, uint32_t *tag)
{
	uint64_t entry;

	if (pfn.n >= c->npfns)
		return -ERANGE;
	entry = c->entry[pfn.n];
	if (!(entry & P2M_CACHE_VALID))
		return -ENOENT;
	mfn->n = (entry & P2M_CACHE_MADDR) >> XVS_FRAME_SHIFT;
	*tag = (uint32_t)(entry >> 52 << 11 | (entry & 0xffe) >> 1);
	return 0;
}

/* The same without the tag. */
static inline int p2m_cache_get(const struct p2m_cache *c, pfn_t pfn, mfn_t *mfn)
{
	uint32_t tag;

	return p2m_cache_get_tag(c, pfn, mfn, &tag);
}

/* Still the same frame? To be asked at use with what the guest's own p2m says now. */
static inline bool p2m_cache_holds(const struct p2m_cache *c, pfn_t pfn, mfn_t mfn)
{
	mfn_t known;

	return !p2m_cache_get(c, pfn, &known) && known.n == mfn.n;
}

/* The rest of p2m_cache_find: frames that follow and touch. */
uint32_t p2m_cache_extend(const struct p2m_cache *c, uint64_t addr, uint32_t len);

/*
 * Machine address of a guest's byte address. Returns how many of len bytes from there on are
 * known and contiguous in the machine; 0: not even the first.
 */
static inline uint32_t p2m_cache_find(const struct p2m_cache *c, uint64_t addr, uint32_t len,
				      maddr_t *maddr)
{
	uint64_t pfn = addr >> XVS_FRAME_SHIFT, offset = addr & XVS_FRAME_MASK, entry;

	if (pfn >= c->npfns)
		return 0;
	entry = c->entry[pfn];
	if (!(entry & P2M_CACHE_VALID))
		return 0;
	maddr->a = (entry & P2M_CACHE_MADDR) + offset;
	return offset + len <= XVS_FRAME_SIZE ? len : p2m_cache_extend(c, addr, len);
}

#endif
