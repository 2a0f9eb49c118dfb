/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mem/pins.h"

#include "util/refused.h"

#include <errno.h>

#define MAP_BYTES (JOURNAL_BATCH * sizeof(struct hv_map_op))
#define UNMAP_BYTES (JOURNAL_BATCH * sizeof(struct hv_unmap_op))

unsigned int pins_dma_pages(void)
{
	return (unsigned int)((MAP_BYTES + UNMAP_BYTES) / XVS_FRAME_SIZE);
}

static void free_uses(struct pins *p)
{
	p->use_free_n = PIN_USES;
	for (unsigned int i = 0; i < PIN_USES; i++)
		p->use_free[i] = (uint16_t)(PIN_USES - 1 - i);
}

void pins_open(struct pins *p, struct hv *hv, struct journal *j, const struct hv_dma *dma,
	       unsigned int first_page, uint16_t domid)
{
	char *base = (char *)dma->va + (size_t)first_page * XVS_FRAME_SIZE;

	p->hv = hv;
	p->log = j->data;
	p->domid = domid;
	p->map_op = (void *)base;
	p->unmap_op = (void *)(base + MAP_BYTES);
	p->map_n = p->unmap_n = 0;
	p->log->map_page = first_page;
	p->log->unmap_page = first_page + (uint32_t)(MAP_BYTES / XVS_FRAME_SIZE);
	p->free_n = JOURNAL_PINS;
	for (unsigned int i = 0; i < JOURNAL_PINS; i++)
		p->free[i] = (uint16_t)(JOURNAL_PINS - 1 - i);
	free_uses(p);
}

void pins_undo(struct pins *p, unsigned int map_n)
{
	while (p->map_n > map_n)
		p->free[p->free_n++] = p->map_pin[--p->map_n];
}

/* Whose fault a failed element is. */
static int classify(int16_t status)
{
	int err = hv_status_errno(status);

	if (err == -ENOSPC || err == -EAGAIN || err == -ENOMEM || status == HV_STATUS_PENDING)
		return -ENOSPC;
	return -EFAULT;
}

/* Moves handles from the operations to the pins. Returns the worst thing found. */
static int take_handles(struct pins *p, uint32_t *gref)
{
	const struct hv_map_op *op = p->map_op, *end = op + p->map_n;
	const uint16_t *index = p->map_pin;
	struct journal_pin *pins = p->log->pin;
	int worst = 0;

	for (; op < end; op++) {
		struct journal_pin *pin = &pins[*index++];

		if (refused(op->status != HV_STATUS_OKAY)) {
			int err = classify(op->status);

			if (!worst || (worst == -ENOSPC && err == -EFAULT)) {
				worst = err;
				*gref = op->gref;
			}
			continue;
		}
		pin->maddr = op->maddr;
		/* a handle stands for a whole entry: see settle_map() in journal.c */
		atomic_thread_fence(memory_order_release);
		pin->handle = op->handle;
	}
	return worst;
}

/* Exactly those that were mapped are unmapped again; all pins of the batch become free. */
static int undo_partial(struct pins *p)
{
	int rc = 0, err;

	for (unsigned int i = 0; i < p->map_n; i++) {
		uint16_t pin = p->map_pin[i];

		if (p->log->pin[pin].handle == HV_HANDLE_NONE)
			p->free[p->free_n++] = pin;
		else if (!pins_drop(p, pin)) {
			err = pins_unmap(p);
			rc = rc ? rc : err;
			pins_drop(p, pin);
		}
	}
	err = pins_unmap(p);
	return rc ? rc : err;
}

int pins_map(struct pins *p, uint32_t *gref)
{
	int rc, err, undo = 0;

	if (!p->map_n)
		return 0;
	atomic_store_explicit(&p->log->map_n, p->map_n, memory_order_release);
	rc = p->hv->ops->gnt_map(p->hv, p->map_op, p->map_n);
	err = take_handles(p, gref);
	atomic_store_explicit(&p->log->map_n, 0, memory_order_release);
	if (rc || err)
		undo = undo_partial(p);
	p->map_n = 0;
	/* A page that may be mapped still is worse than what made the batch fail. */
	if (undo)
		return undo;
	return rc ? rc : err;
}

int pins_unmap(struct pins *p)
{
	const unsigned int n = p->unmap_n;
	const struct hv_unmap_op *op = p->unmap_op;
	struct journal_pin *pins = p->log->pin;
	unsigned int free_n = p->free_n;
	int rc = 0;

	if (!n)
		return 0;
	atomic_store_explicit(&p->log->unmap_n, n, memory_order_release);
	rc = p->hv->ops->gnt_unmap(p->hv, p->unmap_op, n);
	for (unsigned int i = 0; i < n; i++) {
		uint16_t pin = p->unmap_pin[i];

		if (refused(op[i].status != HV_STATUS_OKAY)) {
			if (op[i].status == HV_STATUS_PENDING)
				continue; /* still mapped: the pin stays in the journal */
			atomic_fetch_add(&p->log->leaked, 1);
			rc = rc ? rc : -EIO;
		}
		pins[pin].handle = HV_HANDLE_NONE;
		p->free[free_n++] = pin;
	}
	p->free_n = free_n;
	atomic_store_explicit(&p->log->unmap_n, 0, memory_order_release);
	p->unmap_n = 0;
	return rc;
}

int pins_unmap_all(struct pins *p)
{
	int rc = pins_unmap(p), err;

	for (uint16_t pin = 0; pin < JOURNAL_PINS; pin++) {
		if (p->log->pin[pin].handle == HV_HANDLE_NONE)
			continue;
		if (!pins_drop(p, pin)) {
			err = pins_unmap(p);
			rc = rc ? rc : err;
			pins_drop(p, pin);
		}
	}
	err = pins_unmap(p);
	free_uses(p);
	return rc ? rc : err;
}
