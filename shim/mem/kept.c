/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mem/kept.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define INDEX_BYTES (KEPT_REFS * sizeof(uint16_t))

static uint16_t *index_new(void)
{
	void *va = mmap(NULL, INDEX_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return va == MAP_FAILED ? NULL : va;
}

int kept_open(struct kept *k, struct pins *pins, unsigned int max)
{
	k->pins = pins;
	k->max = max < KEPT_PAGES_MAX ? max : KEPT_PAGES_MAX;
	k->pin_of = index_new();
	k->table_of = index_new();
	if (k->pin_of && k->table_of)
		return 0;
	kept_close(k);
	return -ENOMEM;
}

/* One that cannot be unmapped stays, so that nobody takes it for gone. */
static int table_drop(struct kept *k, unsigned int i)
{
	struct kept_table *t = &k->table[i];
	int rc = k->pins->hv->ops->host_unmap(k->pins->hv, t->va, 1);

	if (rc)
		return rc;
	k->table_of[t->gref] = 0;
	*t = k->table[--k->table_n];
	if (i < k->table_n)
		k->table_of[t->gref] = (uint16_t)(i + 1);
	return 0;
}

static int tables_drop(struct kept *k, uint64_t before)
{
	int rc = 0, err;

	for (unsigned int i = k->table_n; i--;) {
		err = k->table[i].last <= before ? table_drop(k, i) : 0;
		rc = rc ? rc : err;
	}
	return rc;
}

void kept_close(struct kept *k)
{
	tables_drop(k, UINT64_MAX);
	if (k->pin_of)
		munmap(k->pin_of, INDEX_BYTES);
	if (k->table_of)
		munmap(k->table_of, INDEX_BYTES);
	k->pin_of = k->table_of = NULL;
}

static void forget(struct kept *k, uint16_t pin)
{
	k->pin_of[k->pins->log->pin[pin].gref] = 0;
	k->is_kept[pin] = false;
	k->n--;
}

int kept_reset(struct kept *k)
{
	for (uint16_t pin = 0; pin < JOURNAL_PINS && k->n; pin++)
		if (k->is_kept[pin])
			forget(k, pin);
	memset(k->users, 0, sizeof(k->users));
	k->full = false;
	return tables_drop(k, UINT64_MAX);
}

void kept_forget_batch(struct kept *k, unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++) {
		uint16_t pin = k->pins->map_pin[i];

		if (k->is_kept[pin])
			forget(k, pin);
	}
}

/* Queues a pin for unmapping, after the batch if that is full. */
static int drop(struct pins *p, uint16_t pin)
{
	int rc = 0;

	if (!pins_drop(p, pin)) {
		rc = pins_unmap(p);
		pins_drop(p, pin);
	}
	return rc;
}

int kept_drop(struct kept *k, uint64_t before, unsigned int left)
{
	int rc = 0, err, n = 0;

	for (unsigned int i = 0; i < JOURNAL_PINS && k->n > left; i++) {
		uint16_t pin = (uint16_t)(k->hand++ % JOURNAL_PINS);

		if (!k->is_kept[pin] || k->users[pin] || k->last[pin] > before)
			continue;
		forget(k, pin);
		err = drop(k->pins, pin);
		rc = rc ? rc : err;
		n++;
	}
	err = pins_unmap(k->pins);
	rc = rc ? rc : err;
	err = tables_drop(k, before);
	rc = rc ? rc : err;
	return rc ? rc : n;
}

const void *kept_table(struct kept *k, uint32_t gref, uint64_t batch)
{
	struct kept_table *t;
	uint16_t at;
	void *va;

	if (gref >= KEPT_REFS)
		return NULL;
	at = k->table_of[gref];
	if (__builtin_expect(at, 1)) {
		k->table[at - 1].last = batch;
		return k->table[at - 1].va;
	}
	if (k->table_n == KEPT_TABLES_MAX && tables_drop(k, UINT64_MAX))
		return NULL; /* otherwise: tables of this batch were read already */
	if (k->pins->hv->ops->host_map(k->pins->hv, k->pins->domid, &gref, 1, false, &va))
		return NULL;
	t = &k->table[k->table_n++];
	*t = (struct kept_table){ .va = va, .gref = gref, .last = batch };
	k->table_of[gref] = (uint16_t)k->table_n;
	return va;
}
