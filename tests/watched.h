/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A page that changes under the reader: each read of it is noticed, and right after it the words
 * that were read are overwritten. Code that reads a field twice gets two values.
 *
 * The page is out of reach; a read faults, is let through for one instruction, and trapped behind
 * it. One page at a time, in a process with one thread, on x86.
 */
#ifndef XVS_TESTS_WATCHED_H
#define XVS_TESTS_WATCHED_H

#include <stddef.h>
#include <stdint.h>

#define WATCHED_SIZE 4096u

/* The page, zeroed and not watched yet. */
void *watched_open(void);
void watched_close(void *page);
/*
 * From now on, until watched_stop: what lies in the same unit of bytes (2, 4 or 8) as the first
 * byte of a read is inverted after it.
 */
void watched_start(void *page, unsigned int unit);
void watched_stop(void);
/* Reads that fell into the unit at offset; the most that fell into any. */
unsigned int watched_reads(size_t offset);
unsigned int watched_most(void);

#endif
