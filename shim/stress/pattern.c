/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stress/pattern.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WORDS (XVS_FRAME_SIZE / 8)
#define HEAD 4u
#define MAGIC 0x5453544e47535658ull /* "XVSGNTST" */
#define STEP 0x9e3779b97f4a7c15ull

static uint64_t head_word(const struct pattern *p, unsigned int i)
{
	switch (i) {
	case 0:
		return MAGIC;
	case 1:
		return (uint64_t)p->owner << 32 | p->ref;
	default:
		return (uint64_t)p->gen << 32 | p->writer;
	}
}

/* Word i is base + i * STEP: no two pages share one at the same place. */
static uint64_t base_of(const struct pattern *p)
{
	uint64_t z = head_word(p, 1) * STEP ^ head_word(p, 2);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void pattern_write(void *page, const struct pattern *p)
{
	uint64_t *word = page, base = base_of(p);

	for (unsigned int i = 0; i < WORDS; i++)
		word[i] = base + i * STEP;
	for (unsigned int i = 0; i < HEAD - 1; i++)
		word[i] = head_word(p, i);
}

static uint64_t expected(const struct pattern *p, uint64_t base, unsigned int i)
{
	return i < HEAD - 1 ? head_word(p, i) : base + i * STEP;
}

static int wrong_byte(uint64_t is, uint64_t should)
{
	return __builtin_ctzll(is ^ should) / 8;
}

int pattern_find_wrong(const void *bytes, unsigned int offset, unsigned int len,
		       const struct pattern *p)
{
	const uint64_t *word = bytes;
	uint64_t base = base_of(p), differ = 0;
	unsigned int first = offset / 8, n = len / 8;

	/* Without a branch in the loop: almost always all of it is right. */
	for (unsigned int i = first < HEAD - 1 ? HEAD - 1 - first : 0; i < n; i++)
		differ |= word[i] ^ (base + (first + i) * STEP);
	for (unsigned int i = 0; i < n && first + i < HEAD - 1; i++)
		differ |= word[i] ^ head_word(p, first + i);
	for (unsigned int i = 0; differ && i < n; i++) {
		uint64_t should = expected(p, base, first + i);

		if (word[i] != should)
			return (int)(offset + i * 8) + wrong_byte(word[i], should);
	}
	return -1;
}

void pattern_story(const void *bytes, unsigned int offset, int wrong, const struct pattern *p,
		   char *text, size_t size)
{
	const uint8_t *b = (const uint8_t *)bytes + ((unsigned int)wrong - offset);
	uint64_t head[HEAD - 1] = { 0 }, should;
	const char *who = p->writer == PATTERN_TOOL ? "this tool" : "the server";
	int n;

	should = expected(p, base_of(p), (unsigned int)wrong / 8) >> ((unsigned int)wrong % 8 * 8);
	n = snprintf(text, size,
		     "byte %d of the page is %02x, should be %02x; expected: page of domain %u, "
		     "written under reference %u in generation %u by %s; ",
		     wrong, *b, (unsigned int)should & 0xff, p->owner, p->ref, p->gen, who);
	if (n < 0 || (size_t)n >= size)
		return;
	if (!offset)
		memcpy(head, bytes, sizeof(head));
	if (head[0] == MAGIC)
		snprintf(text + n, size - (size_t)n,
			 "found: page of domain %" PRIu64 ", reference %" PRIu64
			 ", generation %" PRIu64 ", by %s",
			 head[1] >> 32, head[1] & 0xffffffff, head[2] >> 32,
			 (head[2] & 1) == PATTERN_TOOL ? "this tool" : "the server");
	else
		snprintf(text + n, size - (size_t)n, "found: nothing that either side writes");
}
