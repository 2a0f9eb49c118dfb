/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mem/hold.h"

#include <errno.h>
#include <string.h>

static bool is_held(const struct hold_table *t, uint16_t slot)
{
	return t->slot[slot].map != HOLD_NONE;
}

/* What a broken caller could name: a slot outside, not held, held already, or named twice. */
static int check(struct hold_table *t, const uint16_t *unpin, unsigned int nr_unpin,
		 const struct hold_pin *pin, unsigned int nr_pin)
{
	uint64_t gone[HOLD_SLOTS / 64] = { 0 }, come[HOLD_SLOTS / 64] = { 0 };

	if (nr_unpin > HOLD_BATCH || nr_pin > HOLD_BATCH)
		return -EINVAL;
	for (unsigned int i = 0; i < nr_unpin; i++) {
		uint16_t s = unpin[i];

		if (s >= HOLD_SLOTS || !is_held(t, s) || gone[s / 64] >> (s % 64) & 1)
			return -EINVAL;
		gone[s / 64] |= 1ull << (s % 64);
	}
	for (unsigned int i = 0; i < nr_pin; i++) {
		uint16_t s = pin[i].slot;

		if (s >= HOLD_SLOTS || come[s / 64] >> (s % 64) & 1 ||
		    (is_held(t, s) && !(gone[s / 64] >> (s % 64) & 1)))
			return -EINVAL;
		come[s / 64] |= 1ull << (s % 64);
	}
	return 0;
}

/* -- maps -- */

/* Maps gfn[0..n); what Xen said of each is in err[]. */
static int map_frames(struct hold_table *t, unsigned int n, bool writable, uint8_t **va)
{
	void *at = NULL;
	int rc = t->hv->ops->foreign_map(t->hv, t->domid, t->gfn, n, writable, &at, t->err);

	*va = at;
	return rc;
}

static int unmap_frames(struct hold_table *t, uint8_t *va, unsigned int n)
{
	int rc = t->hv->ops->foreign_unmap(t->hv, va, n);

	return rc == -EINVAL ? -EIO : rc; /* -EINVAL is what a wrong slot is called */
}

/* member[i] has page i of the map from now on, for those of n without an error. */
static void join(struct hold_table *t, uint8_t *va, unsigned int n)
{
	uint16_t index = t->free_map[HOLD_SLOTS - 1 - t->nr_map++];
	struct hold_map *map = &t->map[index];

	*map = (struct hold_map){ .va = va, .pages = (uint16_t)n, .first = HOLD_NONE };
	for (unsigned int i = 0; i < n; i++) {
		uint16_t slot = t->member[i];

		if (t->err[i])
			continue;
		t->slot[slot] = (struct hold_slot){ .mfn = { t->gfn[i].n }, .map = index,
						    .at = (uint16_t)i, .prev = HOLD_NONE,
						    .next = map->first };
		if (map->first != HOLD_NONE)
			t->slot[map->first].prev = slot;
		map->first = slot;
	}
}

static int end_map(struct hold_table *t, struct hold_map *map)
{
	int rc = unmap_frames(t, map->va, map->pages);

	if (rc)
		return rc;
	map->va = NULL;
	t->free_map[HOLD_SLOTS - t->nr_map--] = (uint16_t)(map - t->map);
	return 0;
}

/* -- letting go -- */

static void leave(struct hold_table *t, uint16_t slot)
{
	struct hold_slot *s = &t->slot[slot];
	struct hold_map *map = &t->map[s->map];

	if (!map->touched)
		t->touched[t->nr_touched++] = s->map;
	map->touched = true;
	if (s->next != HOLD_NONE)
		t->slot[s->next].prev = s->prev;
	if (s->prev != HOLD_NONE)
		t->slot[s->prev].next = s->next;
	else
		map->first = s->next;
	s->map = HOLD_NONE;
	t->held--;
}

/*
 * Other slots of the map stay: their pages are in use once more. They move to a map of their own,
 * so that the others are let go of now and not some time later. Where that fails, for want of
 * memory, it is later after all.
 */
static int move_others(struct hold_table *t, struct hold_map *old)
{
	unsigned int n = 0;
	uint8_t *va;
	int bad = 0;

	for (uint16_t s = old->first; s != HOLD_NONE; s = t->slot[s].next) {
		t->member[n] = s;
		t->gfn[n++] = (gfn_t){ t->slot[s].mfn.n };
	}
	if (map_frames(t, n, true, &va))
		return 0;
	for (unsigned int i = 0; i < n; i++)
		bad |= t->err[i];
	if (bad)
		return unmap_frames(t, va, n);
	join(t, va, n);
	return end_map(t, old);
}

static int let_go(struct hold_table *t, const uint16_t *slot, unsigned int n)
{
	int rc = 0;

	t->nr_touched = 0;
	for (unsigned int i = 0; i < n; i++)
		leave(t, slot[i]);
	for (unsigned int i = 0; i < t->nr_touched && !rc; i++) {
		struct hold_map *map = &t->map[t->touched[i]];

		map->touched = false;
		rc = map->first == HOLD_NONE ? end_map(t, map) : move_others(t, map);
	}
	return rc;
}

/* -- taking -- */

static void take(struct hold_table *t, struct hold_pin *pin, unsigned int n)
{
	unsigned int bad = 0;
	uint8_t *va;
	int rc;

	for (unsigned int i = 0; i < n; i++) {
		t->member[i] = pin[i].slot;
		t->gfn[i] = (gfn_t){ pin[i].mfn.n }; /* a PV domain's are one and the same */
	}
	rc = map_frames(t, n, pin->flags & HOLD_WRITABLE, &va);
	for (unsigned int i = 0; i < n; i++) {
		pin[i].err = rc ? rc : t->err[i];
		bad += !!pin[i].err;
	}
	t->held += n - bad;
	if (bad < n)
		join(t, va, n);
	else if (!rc)
		unmap_frames(t, va, n);
}

/*
 * How many of the pins share a map. Pages that are only read stay held for the next use, each as
 * long as its own luck lasts, so each has its own.
 */
static unsigned int together(const struct hold_pin *pin, unsigned int n)
{
	unsigned int i = 1;

	while (i < n && pin->flags & HOLD_WRITABLE &&
	       pin[i].flags == (HOLD_WRITABLE | HOLD_WITH_LAST))
		i++;
	return i;
}

static int table_change(struct hold *h, const uint16_t *unpin, unsigned int nr_unpin,
			struct hold_pin *pin, unsigned int nr_pin)
{
	struct hold_table *t = (struct hold_table *)h;
	int rc = check(t, unpin, nr_unpin, pin, nr_pin);

	if (!rc)
		rc = let_go(t, unpin, nr_unpin);
	if (rc)
		return rc;
	for (unsigned int i = 0, n; i < nr_pin; i += n) {
		n = together(&pin[i], nr_pin - i);
		take(t, &pin[i], n);
	}
	return 0;
}

void hold_table_init(struct hold_table *t, struct hv *hv, uint16_t domid)
{
	memset(t, 0, sizeof(*t));
	t->hold.change = table_change;
	t->hv = hv;
	t->domid = domid;
	for (unsigned int i = 0; i < HOLD_SLOTS; i++) {
		t->slot[i].map = HOLD_NONE;
		t->free_map[i] = (uint16_t)i;
	}
}

int hold_table_clear(struct hold_table *t)
{
	int rc = 0;

	for (unsigned int i = 0; i < HOLD_SLOTS; i++) {
		struct hold_map *map = &t->map[i];

		if (!map->va)
			continue;
		for (uint16_t s = map->first; s != HOLD_NONE; s = t->slot[s].next) {
			t->slot[s].map = HOLD_NONE;
			t->held--;
		}
		map->first = HOLD_NONE;
		rc = end_map(t, map) ? -EIO : rc;
	}
	return rc;
}
