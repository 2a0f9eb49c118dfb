/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of the guest, mapped for the device in batches and written down in the journal.
 *
 * A pin is one mapped page, named by its index. The protocol of a batch is
 *   pins_add()... pins_map(), later pins_drop()... pins_unmap()
 * with one hypercall in each of pins_map and pins_unmap. Nothing here allocates after
 * pins_open.
 */
#ifndef XVS_MEM_PINS_H
#define XVS_MEM_PINS_H

#include "hv/hv.h"
#include "mem/journal.h"

#define PIN_NONE 0xffffu

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
	uint16_t next[JOURNAL_PINS]; /* list of the pins of one chain, for the caller */
	uint16_t free[JOURNAL_PINS];
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

/* Adds one page to the batch; pins_room() said yes. Returns its pin. */
uint16_t pins_add(struct pins *p, uint32_t gref, bool writable);

/* Takes back what was added since the batch had `map_n` elements; nothing was mapped yet. */
void pins_undo(struct pins *p, unsigned int map_n);

/*
 * Maps the batch. Every page or none is mapped afterwards. Errors, of which the first
 * offending reference is left in *gref:
 *   -EFAULT  the guest's doing: no such grant, revoked, or of the wrong direction
 *   -ENOSPC  Xen or this domain is out of something; later it may work
 *   other    the hypercall failed
 */
int pins_map(struct pins *p, uint32_t *gref);

static inline maddr_t pins_maddr(const struct pins *p, uint16_t pin)
{
	return p->log->pin[pin].maddr;
}

/* Queues a pin for unmapping. false: the batch is full, nothing was queued. */
bool pins_drop(struct pins *p, uint16_t pin);

/* Unmaps what was queued. The device can no longer reach those pages. -EIO: Xen refused some;
 * they are counted in the journal and not tried again. */
int pins_unmap(struct pins *p);

/* Unmaps everything. */
int pins_unmap_all(struct pins *p);

#endif
