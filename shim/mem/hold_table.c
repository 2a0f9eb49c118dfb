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

static void note(struct hold_table *t, struct hold_pin *pin, uint8_t *va, int err)
{
	pin->err = err;
	if (!err) {
		t->va[pin->slot] = va;
		t->held++;
		return;
	}
	/* nothing is there but the addresses */
	if (va)
		t->hv->ops->foreign_unmap(t->hv, va, 1);
}

/* Those of one direction, in one map. */
static void take(struct hold_table *t, struct hold_pin *pin, unsigned int n, bool writable)
{
	unsigned int k = 0;
	void *va = NULL;
	int rc;

	for (unsigned int i = 0; i < n; i++) {
		if (!pin[i].writable == writable)
			continue;
		t->gfn[k] = (gfn_t){ pin[i].mfn.n }; /* a PV domain's are one and the same */
		t->index[k++] = (uint16_t)i;
	}
	if (!k)
		return;
	rc = t->hv->ops->foreign_map(t->hv, t->domid, t->gfn, k, writable, &va, t->err);
	for (unsigned int i = 0; i < k; i++)
		note(t, &pin[t->index[i]],
		     rc ? NULL : (uint8_t *)va + (size_t)i * XVS_FRAME_SIZE, rc ? rc : t->err[i]);
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
	take(t, pin, nr_pin, false);
	take(t, pin, nr_pin, true);
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
