/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frame numbers and addresses as distinct types, so that one cannot be passed where another
 * is wanted. The words are those of xen/include/xen/mm.h.
 */
#ifndef XVS_HV_FRAMES_H
#define XVS_HV_FRAMES_H

#include <stdint.h>

#define XVS_FRAME_SHIFT 12
#define XVS_FRAME_SIZE 4096u
#define XVS_FRAME_MASK 4095u

typedef struct { uint64_t n; } mfn_t;   /* machine frame */
typedef struct { uint64_t n; } pfn_t;   /* a guest's own linear frame index */
typedef struct { uint64_t n; } gfn_t;   /* what a guest names to Xen (PV: the mfn) */
typedef struct { uint64_t a; } maddr_t; /* machine byte address */

static inline maddr_t maddr_of(mfn_t mfn, uint32_t offset)
{
	return (maddr_t){ (mfn.n << XVS_FRAME_SHIFT) | (offset & XVS_FRAME_MASK) };
}

static inline mfn_t mfn_of(maddr_t maddr)
{
	return (mfn_t){ maddr.a >> XVS_FRAME_SHIFT };
}

static inline maddr_t maddr_add(maddr_t maddr, uint64_t bytes)
{
	return (maddr_t){ maddr.a + bytes };
}

#endif
