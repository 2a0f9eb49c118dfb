/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mem/hold.h"

#include <errno.h>
#include <string.h>

/* What a broken caller could name: a slot outside, not held, held already, or named twice. */
static int check(struct hold_table *t, const uint16_t *unpin, unsigned int nr_unpin,
		 const struct hold_pin *pin, unsigned int nr_pin)
{
	uint64_t gone[HOLD_SLOTS / 64] = { 0 }, come[HOLD_SLOTS / 64] = { 0 };

	if (nr_unpin > HOLD_BATCH || nr_pin > HOLD_BATCH)
		return -EINVAL;
	for (unsigned int i = 0; i < nr_unpin; i++) {
		uint16_t s = unpin[i];

		if (s >= HOLD_SLOTS || !t->va[s] || gone[s / 64] >> (s % 64) & 1)
			return -EINVAL;
		gone[s / 64] |= 1ull << (s % 64);
	}
	for (unsigned int i = 0; i < nr_pin; i++) {
		uint16_t s = pin[i].slot;

		if (s >= HOLD_SLOTS || come[s / 64] >> (s % 64) & 1 ||
		    (t->va[s] && !(gone[s / 64] >> (s % 64) & 1)))
			return -EINVAL;
		come[s / 64] |= 1ull << (s % 64);
	}
	return 0;
}

/* Neighbours in the list that are neighbours in memory go together. */
static int let_go(struct hold_table *t, const uint16_t *slot, unsigned int n)
{
	for (unsigned int i = 0, run; i < n; i += run) {
		uint8_t *va = t->va[slot[i]];
		int rc;

		for (run = 1; i + run < n; run++)
			if (t->va[slot[i + run]] != va + (size_t)run * XVS_FRAME_SIZE)
				break;
		rc = t->hv->ops->foreign_unmap(t->hv, va, run);
		if (rc)
			return rc == -EINVAL ? -EIO : rc;
		for (unsigned int k = 0; k < run; k++)
			t->va[slot[i + k]] = NULL;
		t->held -= run;
	}
	return 0;
}

/* Each by a map of its own: a kernel unmaps a whole one or nothing. */
static int take(struct hold_table *t, const struct hold_pin *pin)
{
	gfn_t gfn = { pin->mfn.n }; /* a PV domain's are one and the same */
	void *va = NULL;
	int err = 0, rc;

	rc = t->hv->ops->foreign_map(t->hv, t->domid, &gfn, 1, pin->writable, &va, &err);
	if (rc)
		return rc;
	if (err) {
		t->hv->ops->foreign_unmap(t->hv, va, 1);
		return err;
	}
	t->va[pin->slot] = va;
	t->held++;
	return 0;
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
	for (unsigned int i = 0; i < nr_pin; i++)
		pin[i].err = take(t, &pin[i]);
	return 0;
}

void hold_table_init(struct hold_table *t, struct hv *hv, uint16_t domid)
{
	memset(t, 0, sizeof(*t));
	t->hold.change = table_change;
	t->hv = hv;
	t->domid = domid;
}

int hold_table_clear(struct hold_table *t)
{
	int rc = 0;

	for (uint16_t i = 0; i < HOLD_SLOTS; i++)
		if (t->va[i])
			rc = let_go(t, &i, 1) ? -EIO : rc;
	return rc;
}
