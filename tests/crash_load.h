/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes, reads and flushes of the guest of daemon_stage.h, in a thread that goes on while processes
 * of the daemon die. Each block of 4096 bytes says its number, its generation and a checksum, and
 * the load knows of each block which generation was asked for, which the guest was told of, and
 * which a completed flush came after. It finds
 *
 *   - a request that failed or never completed,
 *   - a block read that is not the newest the guest was told of, or not what was written,
 *   - a write that reached the disk again after the guest was told of it, or an older one after it,
 *   - a flush that completed while something that completed before it was not durable.
 */
#ifndef XVS_TESTS_CRASH_LOAD_H
#define XVS_TESTS_CRASH_LOAD_H

#include "daemon_stage.h"

/* To be called before stage_open(): the disk tells what it stores. */
void load_prepare(uint64_t seed);
/* At most depth requests at once, 1 to LOAD_DEPTH. */
#define LOAD_DEPTH 24
void load_begin(unsigned int depth);
/* Completes what is under way, then reads all blocks back. NULL, or what it found. */
const char *load_end(void);

/* What it found so far, or NULL; requests completed so far. */
const char *load_story(void);
uint64_t load_completed(void);
uint64_t load_flushes(void);

/* The index of the guest's used ring as the back end left it. */
uint16_t load_used_index(void);

#endif
