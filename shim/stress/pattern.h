/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a page of the stress test holds: a head in clear that names whose page it is, through
 * which reference and in which generation it was written, and words that follow from it. Two
 * pages never hold the same, nor does one page at two times.
 */
#ifndef XVS_STRESS_PATTERN_H
#define XVS_STRESS_PATTERN_H

#include "hv/frames.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pattern_writer { PATTERN_SERVER, PATTERN_TOOL };

struct pattern {
	uint32_t owner;  /* domain whose page it is */
	uint32_t ref;    /* the reference it was written under */
	uint32_t gen;    /* counts up with every write of the run */
	uint32_t writer; /* enum pattern_writer */
};

void pattern_write(void *page, const struct pattern *p);

/* len bytes from offset, both multiples of 8. Returns the first wrong byte, or -1. */
int pattern_find_wrong(const void *bytes, unsigned int offset, unsigned int len,
		       const struct pattern *p);

/* What was expected, what is there, and whose it says to be. */
void pattern_story(const void *bytes, unsigned int offset, int wrong, const struct pattern *p,
		   char *text, size_t size);

#endif
