/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of the guest that stay mapped from one request to the next (docs/protocol.md,
 * "Protection"): a cache from grant reference to pin, so that a page used again costs one load
 * instead of its part of two hypercalls.
 *
 * A kept page is a pin of the journal like any other, and is unmapped by the same code when a
 * process dies. It has users, one for each time a request in flight names it, and is unmapped
 * only without: because the front end asked for it, because it was not used for a while, or
 * because others need the room.
 *
 * Tables are the same for pages that hold indirect tables, mapped for this process to read.
 *
 * Nothing here trusts a reference: what is in the cache was granted, and Xen holds the frame for
 * as long as it is mapped, whatever the guest writes into its grant table meanwhile.
 */
#ifndef XVS_MEM_KEPT_H
#define XVS_MEM_KEPT_H

#include "mem/pins.h"

#define KEPT_REFS (1u << 20)  /* references from here on are never kept: 2048 grant frames */
#define KEPT_PAGES_MAX 4096u  /* half of the pins: the others are for requests in flight */
#define KEPT_PAGES_DEFAULT 2048u
#define KEPT_MS_DEFAULT 10000u
#define KEPT_TABLES_MAX 1024u

struct kept_table {
	void *va;
	uint32_t gref;
	uint64_t last; /* batch that read it last */
};

struct kept {
	struct pins *pins;
	uint16_t *pin_of;   /* by reference: pin + 1, or 0; takes memory where it is used */
	uint16_t *table_of; /* the same for tables */
	unsigned int n, max; /* pages kept, and at most */
	unsigned int table_n;
	bool full;     /* a page could not be kept for want of room */
	uint64_t mark; /* batch at the last look for old ones */
	unsigned int hand; /* where the last search for room ended */
	bool is_kept[JOURNAL_PINS];
	uint16_t users[JOURNAL_PINS];
	uint16_t op[JOURNAL_PINS];   /* while it is being mapped: its place in the map batch */
	uint64_t last[JOURNAL_PINS]; /* batch that used it last */
	struct kept_table table[KEPT_TABLES_MAX];
};

/* *k is zeroed. max: pages, at most KEPT_PAGES_MAX are used. -ENOMEM. */
int kept_open(struct kept *k, struct pins *pins, unsigned int max);
/* Tables are unmapped; the pins are the caller's to unmap, before or after. */
void kept_close(struct kept *k);
/* Every pin was unmapped: nothing is kept any more. Unmaps the tables; an error: not all of them. */
int kept_reset(struct kept *k);

/* The pin of a reference, or PIN_NONE. */
static inline uint16_t kept_find(const struct kept *k, uint32_t gref)
{
	return gref < KEPT_REFS ? (uint16_t)(k->pin_of[gref] - 1u) : PIN_NONE;
}

/* Adds a page to the map batch, to be kept. The room in the batch is there. PIN_NONE: it cannot
 * be kept, nothing was added. */
static inline uint16_t kept_add(struct kept *k, uint32_t gref)
{
	uint16_t pin;

	if (gref >= KEPT_REFS)
		return PIN_NONE;
	if (k->n >= k->max) {
		k->full = k->max > 0;
		return PIN_NONE;
	}
	pin = pins_add(k->pins, gref, true);
	k->op[pin] = (uint16_t)(k->pins->map_n - 1);
	k->pin_of[gref] = (uint16_t)(pin + 1u);
	k->is_kept[pin] = true;
	k->n++;
	return pin;
}

/* Mapped, or still in the map batch? */
static inline bool kept_pending(const struct kept *k, uint16_t pin)
{
	return k->pins->log->pin[pin].handle == HV_HANDLE_NONE;
}

/* One more user, from batch number `batch` on. Returns the node to link into the chain's list;
 * there is a free one. */
static inline uint16_t kept_get(struct kept *k, uint16_t pin, uint64_t batch)
{
	k->users[pin]++;
	k->last[pin] = batch;
	return pins_use(k->pins, pin);
}

/* A node of a chain's list that pins_is_use() is true of. */
static inline void kept_put(struct kept *k, uint16_t node)
{
	k->users[pins_unuse(k->pins, node)]--;
}

/* Forgets pages of the map batch from element `from` on that were to be kept, `to` at most:
 * they will not be mapped. */
void kept_forget_batch(struct kept *k, unsigned int from, unsigned int to);

/*
 * Unmaps kept pages that nothing in flight uses and whose last use was in batch `before` or
 * earlier, down to `left` pages kept; and tables of that age. Returns how many, or -EIO as
 * pins_unmap().
 */
int kept_drop(struct kept *k, uint64_t before, unsigned int left);

/*
 * A page of the guest, mapped for reading; its bytes change at any time. NULL: it cannot be
 * had that way.
 */
const void *kept_table(struct kept *k, uint32_t gref, uint64_t batch);

#endif
