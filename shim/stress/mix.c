/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stress/stress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name, *what;
	uint32_t weight;
} kinds[STRESS_KINDS] = {
	[STRESS_DEVMAP] = { "devmap", "map for a device, to write", 200 },
	[STRESS_DEVMAP_RO] = { "devmap-ro", "map for a device, read-only", 200 },
	[STRESS_HOSTMAP] = { "hostmap", "map into this process (gntdev), to write", 6 },
	[STRESS_HOSTMAP_RO] = { "hostmap-ro", "map into this process, read-only", 6 },
	[STRESS_COPY_FROM] = { "copy-from", "copy from granted pages to own ones", 100 },
	[STRESS_COPY_TO] = { "copy-to", "copy from own pages to granted ones", 100 },
	[STRESS_COPY_ACROSS] = { "copy-across", "copy from granted to granted pages", 60 },
	[STRESS_RW_OF_RO] = { "rw-of-ro", "write access to pages granted read-only", 30 },
	[STRESS_BAD] = { "bad", "references that are none, out of range, another domain's", 30 },
	[STRESS_TWICE] = { "twice", "unmap what is unmapped already", 30 },
	[STRESS_REVOKE] = { "revoke", "revoke while mapped, use afterwards", 20 },
	[STRESS_RENEW] = { "renew", "end a region's grants and make new ones", 20 },
	[STRESS_RESTAMP] = { "restamp", "the server checks a region and writes it anew", 40 },
	[STRESS_MAPTRACK] = { "maptrack", "handles until there are no more", 1 },
	[STRESS_GNTALLOC] = { "gntalloc", "grants until the allocator refuses", 1 },
	[STRESS_FRAMES] = { "frames", "grants until the grant table is full", 1 },
	[STRESS_SUBPAGE] = { "subpage", "grants of a part of a page, version 2", 0 },
	[STRESS_TRANSITIVE] = { "transitive", "grants handed on, version 2", 0 },
};

const char *stress_kind_name(enum stress_kind kind)
{
	return kinds[kind].name;
}

const char *stress_kind_what(enum stress_kind kind)
{
	return kinds[kind].what;
}

/*
 * A full handle table makes every back end of this domain fail meanwhile, a full grant table
 * every front end of the guest, and takes memory of its size.
 */
void stress_mix_default(struct stress_mix *mix, bool alone)
{
	for (unsigned int i = 0; i < STRESS_KINDS; i++)
		mix->weight[i] = kinds[i].weight;
	if (!alone)
		mix->weight[STRESS_MAPTRACK] = mix->weight[STRESS_FRAMES] = 0;
}

static int parse_one(const char *item, size_t len, const struct stress_mix *usual,
		     struct stress_mix *mix, char *why, size_t size)
{
	const char *eq = memchr(item, '=', len);
	size_t name = eq ? (size_t)(eq - item) : len;
	char *end = NULL;
	unsigned long weight = 1;

	if (len == strlen("default") && !strncmp(item, "default", len)) {
		*mix = *usual;
		return 0;
	}
	if (eq)
		weight = strtoul(eq + 1, &end, 10);
	if (eq && (end != item + len || end == eq + 1 || weight > 1000000)) {
		snprintf(why, size, "'%.*s' is not name=weight", (int)len, item);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < STRESS_KINDS; i++) {
		if (strlen(kinds[i].name) != name || strncmp(item, kinds[i].name, name))
			continue;
		mix->weight[i] = (uint32_t)weight;
		return 0;
	}
	snprintf(why, size, "there is no operation '%.*s'", (int)name, item);
	return -EINVAL;
}

int stress_mix_parse(const char *text, struct stress_mix *mix, char *why, size_t size)
{
	struct stress_mix parsed = { 0 };
	uint64_t sum = 0;
	int rc;

	while (*text) {
		size_t len = strcspn(text, ",");

		rc = parse_one(text, len, mix, &parsed, why, size);
		if (rc)
			return rc;
		text += len + (text[len] == ',');
	}
	for (unsigned int i = 0; i < STRESS_KINDS; i++)
		sum += parsed.weight[i];
	if (!sum) {
		snprintf(why, size, "the mix has no operation");
		return -EINVAL;
	}
	*mix = parsed;
	return 0;
}
