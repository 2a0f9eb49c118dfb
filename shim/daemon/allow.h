/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the administrator allows a device's guest: the settings, and the words that stand for them. */
#ifndef XVS_DAEMON_ALLOW_H
#define XVS_DAEMON_ALLOW_H

#include "policy/policy.h"

#include <stddef.h>
#include <stdint.h>
#include <xvshim/protocol.h>

#define ALLOW_WORDS 64 /* room for the longest list */

/* Sets are bits, 1 << enum value. */
struct allow {
	unsigned int addressing; /* enum xvs_addressing */
	unsigned int protection; /* enum xvs_protection */
	unsigned int keep_pages; /* pages of the guest kept mapped at most */
	unsigned int keep_ms;    /* unused ones are given back after that; 0: never */
};

void allow_defaults(struct allow *a);

/*
 * One setting, by its name in xvshim.conf: addressing, protection (words separated by commas),
 * keep-pages, keep-ms. -ENOENT: it is none of these; -EINVAL: a line in why. *a is unchanged then.
 */
int allow_set(struct allow *a, const char *key, const char *value, char *why, size_t size);

/* The words of a set, in the order of their numbers. */
void allow_addressing_words(unsigned int set, char words[ALLOW_WORDS]);
void allow_protection_words(unsigned int set, char words[ALLOW_WORDS]);
/*
 * A guest's wishes, best first, into wanted; returns how many. They are for people and may be
 * anything: words that are not known, and those that come again, are passed over.
 */
unsigned int allow_addressing_wishes(const char *list, uint8_t wanted[POLICY_WISHES]);
unsigned int allow_protection_wishes(const char *list, uint8_t wanted[POLICY_WISHES]);
/* The word of one value; "" where there is none. */
const char *addressing_word(enum xvs_addressing a);
const char *protection_word(enum xvs_protection p);

#endif
