/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands before shim/util/shared.h in the include path of fuzz targets. Each access to memory
 * that somebody else writes is announced first: the target checks the address, and may let the
 * other side write, so that two reads of one field give two values where an input says so.
 */
#ifndef XVS_FUZZ_RACING_H
#define XVS_FUZZ_RACING_H

#define shared_copy_out quiet_copy_out
#include_next <util/shared.h>
#undef shared_copy_out
#undef shared_read
#undef shared_read_acquire
#undef shared_write
#undef shared_write_release

/* The target's. */
void fuzz_shared(const volatile void *p, unsigned int n);

#define shared_read(p) (fuzz_shared((p), sizeof(*(p))), __atomic_load_n((p), __ATOMIC_RELAXED))
#define shared_read_acquire(p)                                                                     \
	(fuzz_shared((p), sizeof(*(p))), __atomic_load_n((p), __ATOMIC_ACQUIRE))
#define shared_write(p, v)                                                                         \
	(fuzz_shared((p), sizeof(*(p))), __atomic_store_n((p), (v), __ATOMIC_RELAXED))
#define shared_write_release(p, v)                                                                 \
	(fuzz_shared((p), sizeof(*(p))), __atomic_store_n((p), (v), __ATOMIC_RELEASE))

static inline void shared_copy_out(void *dst, const void *src, unsigned int n)
{
	unsigned char *to = dst;
	const unsigned char *from = src;

	for (; n >= 8; n -= 8, to += 8, from += 8) {
		fuzz_shared(from, 8);
		quiet_copy_out(to, from, 8);
	}
	if (n) {
		fuzz_shared(from, n);
		quiet_copy_out(to, from, n);
	}
}

#endif
