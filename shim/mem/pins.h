/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of the guest, mapped for the device in batches and written down in the journal.
 *
 * A pin is one mapped page, named by its index. The protocol of a batch is
 *   pins_add()... pins_map(), later pins_drop()... pins_unmap()
 * with one hypercall in each of pins_map and pins_unmap. Nothing here allocates after
 * pins_open.
 *
 * The pages of a chain are a list over next[]. Its nodes are pins that belong to the chain alone,
 * and uses: names of a pin that may be in several chains at once.
 */
#ifndef XVS_MEM_PINS_H
#define XVS_MEM_PINS_H

#include "hv/hv.h"
#include "mem/journal.h"

#define PIN_NONE 0xffffu
#define PIN_USES 8192u /* as many as pages can be in flight otherwise */
#define PIN_NODES (JOURNAL_PINS + PIN_USES)

struct pins {
	struct hv *hv;
	struct journal_data *log;
	uint16_t domid;
	struct hv_map_op *map_op;     /* JOURNAL_BATCH, DMA memory */
	struct hv_unmap_op *unmap_op; /* the same */
	unsigned int map_n, unmap_n;
	unsigned int free_n;
	uint16_t map_pin[JOURNAL_BATCH];
	uint16_t unmap_pin[JOURNAL_BATCH];
	uint16_t next[PIN_NODES]; /* for the caller */
	uint16_t free[JOURNAL_PINS];
	unsigned int use_free_n;
	uint16_t use_free[PIN_USES];
	uint16_t use_pin[PIN_USES];
};

/* DMA pages the two arrays take. */
unsigned int pins_dma_pages(void);

/* first_page: index of the arrays' first page in dma. Every pin of the journal is free. */
void pins_open(struct pins *p, struct hv *hv, struct journal *j, const struct hv_dma *dma,
	       unsigned int first_page, uint16_t domid);

/* Room for n more pages in this batch? */
static inline bool pins_room(const struct pins *p, unsigned int n)
{
	return n <= JOURNAL_BATCH - p->map_n && n <= p->free_n;
}

/* Adds one page to the batch; map_n is below JOURNAL_BATCH and free_n above 0, which a caller
 * knows for many pages at once. Returns its pin. */
static inline uint16_t pins_add(struct pins *p, uint32_t gref, bool writable)
{
	uint16_t pin = p->free[--p->free_n];
	unsigned int n = p->map_n++;

	p->map_op[n] = (struct hv_map_op){
		.flags = HV_MAP_DEVICE | (writable ? 0 : HV_MAP_READONLY),
		.gref = gref,
		.domid = p->domid,
		.status = HV_STATUS_PENDING,
		.handle = HV_HANDLE_NONE,
	};
	p->map_pin[n] = pin;
	p->log->pin[pin].gref = gref;
	return pin;
}

/* A node that names a pin; use_free_n is above 0. */
static inline uint16_t pins_use(struct pins *p, uint16_t pin)
{
	uint16_t use = p->use_free[--p->use_free_n];

	p->use_pin[use] = pin;
	return (uint16_t)(JOURNAL_PINS + use);
}

static inline bool pins_is_use(uint16_t node)
{
	return node >= JOURNAL_PINS;
}

/* Gives a node back and tells the pin it named. */
static inline uint16_t pins_unuse(struct pins *p, uint16_t node)
{
	uint16_t use = (uint16_t)(node - JOURNAL_PINS);

	p->use_free[p->use_free_n++] = use;
	return p->use_pin[use];
}

/* Takes back what was added since the batch had `map_n` elements; nothing was mapped yet. */
void pins_undo(struct pins *p, unsigned int map_n);

/*
 * Maps the batch. Every page or none is mapped afterwards. Errors, of which the first
 * offending reference is left in *gref:
 *   -EFAULT  the guest's doing: no such grant, revoked, or of the wrong direction
 *   -ENOSPC  Xen or this domain is out of something; later it may work
 *   other    the hypercall failed, or a page of a batch that failed cannot be unmapped again
 */
int pins_map(struct pins *p, uint32_t *gref);

/* Machine address of the i-th page of the batch that pins_map just mapped. */
static inline maddr_t pins_batch_maddr(const struct pins *p, unsigned int i)
{
	return p->map_op[i].maddr;
}

/* The same of one pin, at any time while it is mapped. */
static inline maddr_t pins_maddr(const struct pins *p, uint16_t pin)
{
	return p->log->pin[pin].maddr;
}

/* Queues a pin for unmapping. false: the batch is full, nothing was queued. */
static inline bool pins_drop(struct pins *p, uint16_t pin)
{
	const struct journal_pin *from = &p->log->pin[pin];
	unsigned int n = p->unmap_n;

	if (n == JOURNAL_BATCH)
		return false;
	p->unmap_op[n] = (struct hv_unmap_op){
		.maddr = from->maddr,
		.handle = from->handle,
		.status = HV_STATUS_PENDING,
	};
	p->unmap_pin[n] = pin;
	p->unmap_n = n + 1;
	return true;
}

/* Unmaps what was queued. The device can no longer reach those pages. -EIO: Xen refused some;
 * they are counted in the journal and not tried again. */
int pins_unmap(struct pins *p);

/* Unmaps everything; no chain has a list any more. */
int pins_unmap_all(struct pins *p);

#endif
