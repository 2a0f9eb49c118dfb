/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Access to memory that somebody else writes at the same time: a guest, or a device. All of it
 * goes through these, so that each value is read exactly once and the order is what the virtio
 * specification asks for. Plain loads of such memory are a bug, and ThreadSanitizer finds them
 * beside a thread that writes there (tests/test_single_fetch.c): to it these are atomic, and so no
 * race, whatever the other side does.
 */
#ifndef XVS_UTIL_SHARED_H
#define XVS_UTIL_SHARED_H

#include <stdint.h>
#include <string.h>

#define shared_read(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define shared_read_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define shared_write(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define shared_write_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* Orders a store before a later load: index and then event field, or the other way round. */
static inline void shared_full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Copies n bytes out, in 8-byte steps where it can, each byte read once. src is 8-aligned. */
static inline void shared_copy_out(void *dst, const void *src, unsigned int n)
{
	unsigned char *to = dst;
	const unsigned char *from = src;

	for (; n >= 8; n -= 8, to += 8, from += 8) {
		uint64_t v = shared_read((const uint64_t *)(const void *)from);

		memcpy(to, &v, 8);
	}
	for (; n; n--)
		*to++ = shared_read(from++);
}

/*
 * Copies n bytes where either end may be written by somebody else, at any alignment: what a
 * hypervisor or a device does to a guest's memory. Each byte is read once and written once.
 */
static inline void shared_copy(void *dst, const void *src, unsigned long n)
{
	unsigned char *to = dst;
	const unsigned char *from = src;

	while (n) {
		if (n >= 8 && !(((uintptr_t)to | (uintptr_t)from) & 7)) {
			shared_write((uint64_t *)(void *)to,
				     shared_read((const uint64_t *)(const void *)from));
			n -= 8, to += 8, from += 8;
		} else {
			shared_write(to, shared_read(from));
			n--, to++, from++;
		}
	}
}

#endif
