/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/allow.h"

#include "daemon/parse.h"
#include "mem/kept.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const addressings[] = {
	[XVS_ADDRESSING_GRANT] = "grant",
	[XVS_ADDRESSING_P2M] = "p2m",
};

static const char *const protections[] = {
	[XVS_PROTECTION_STRICT] = "strict",
	[XVS_PROTECTION_POOL] = "pool",
	[XVS_PROTECTION_LAZY] = "lazy",
	[XVS_PROTECTION_ADAPTIVE] = "adaptive",
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

void allow_defaults(struct allow *a)
{
	*a = (struct allow){
		.addressing = 1u << XVS_ADDRESSING_GRANT,
		.protection = 1u << XVS_PROTECTION_STRICT | 1u << XVS_PROTECTION_POOL |
			      1u << XVS_PROTECTION_LAZY | 1u << XVS_PROTECTION_ADAPTIVE,
		.keep_pages = KEPT_PAGES_DEFAULT,
		.keep_ms = KEPT_MS_DEFAULT,
	};
}

static unsigned int find(const char *const *words, unsigned int n, const char *word, size_t len)
{
	for (unsigned int i = 1; i < n; i++)
		if (strlen(words[i]) == len && !strncmp(words[i], word, len))
			return i;
	return 0;
}

/* A list of words, at least one, each of them known. */
static int set_words(unsigned int *set, const char *const *words, unsigned int n, const char *list,
		     char *why, size_t size)
{
	unsigned int result = 0;

	for (const char *at = list;; at++) {
		size_t len = strcspn(at, ",");
		unsigned int i = find(words, n, at, len);

		if (!i) {
			snprintf(why, size, "'%.64s' is not a list of these, separated by commas:",
				 list);
			for (i = 1; i < n; i++)
				snprintf(why + strlen(why), size - strlen(why), " %s", words[i]);
			return -EINVAL;
		}
		result |= 1u << i;
		at += len;
		if (!*at)
			break;
	}
	*set = result;
	return 0;
}

static int set_number(unsigned int *field, const char *value, unsigned int max, char *why,
		      size_t size)
{
	uint64_t n;

	if (parse_number(value, max, &n)) {
		snprintf(why, size, "'%.64s' is not a number from 0 to %u", value, max);
		return -EINVAL;
	}
	*field = (unsigned int)n;
	return 0;
}

int allow_set(struct allow *a, const char *key, const char *value, char *why, size_t size)
{
	if (!strcmp(key, "addressing"))
		return set_words(&a->addressing, addressings, COUNT(addressings), value, why, size);
	if (!strcmp(key, "protection"))
		return set_words(&a->protection, protections, COUNT(protections), value, why, size);
	if (!strcmp(key, "keep-pages"))
		return set_number(&a->keep_pages, value, KEPT_PAGES_MAX, why, size);
	if (!strcmp(key, "keep-ms"))
		return set_number(&a->keep_ms, value, 3600000, why, size);
	return -ENOENT;
}

static void put_words(unsigned int set, const char *const *words, unsigned int n,
		      char out[ALLOW_WORDS])
{
	size_t len = 0;

	out[0] = '\0';
	for (unsigned int i = 1; i < n; i++)
		if (set >> i & 1)
			len += (size_t)snprintf(out + len, ALLOW_WORDS - len, "%s%s",
						len ? "," : "", words[i]);
}

static unsigned int find_wishes(const char *const *words, unsigned int n, const char *list,
				uint8_t wanted[POLICY_WISHES])
{
	unsigned int found = 0, seen = 0;

	for (const char *at = list; found < POLICY_WISHES;) {
		size_t len = strcspn(at, ",");
		unsigned int i = find(words, n, at, len);

		if (i && !(seen >> i & 1))
			wanted[found++] = (uint8_t)i;
		seen |= 1u << i;
		at += len;
		if (!*at++)
			break;
	}
	return found;
}

unsigned int allow_addressing_wishes(const char *list, uint8_t wanted[POLICY_WISHES])
{
	return find_wishes(addressings, COUNT(addressings), list, wanted);
}

unsigned int allow_protection_wishes(const char *list, uint8_t wanted[POLICY_WISHES])
{
	return find_wishes(protections, COUNT(protections), list, wanted);
}

void allow_addressing_words(unsigned int set, char words[ALLOW_WORDS])
{
	put_words(set, addressings, COUNT(addressings), words);
}

void allow_protection_words(unsigned int set, char words[ALLOW_WORDS])
{
	put_words(set, protections, COUNT(protections), words);
}

const char *addressing_word(enum xvs_addressing a)
{
	return a && a < COUNT(addressings) ? addressings[a] : "";
}

const char *protection_word(enum xvs_protection p)
{
	return p && p < COUNT(protections) ? protections[p] : "";
}
