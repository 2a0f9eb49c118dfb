/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of a guest that names them by pfn, held for the device.
 *
 * A *pin* is one frame held. It is found by pfn with one load, and used only while the guest's own
 * table still has that frame there: a page that was ballooned out and in again is another one. A
 * *use* is one page of one chain, named by its index. The protocol of a batch is
 *   p2m_pins_begin(), p2m_pins_add()..., p2m_pins_map(), later p2m_pins_drop()..., p2m_pins_flush()
 * with at most one request to the holder in each of map and flush, and none if every page is held
 * already and none is to be let go.
 *
 * A pin for reading outlives its uses, until it is stale, old, or its place is needed: it takes
 * nothing from the guest but the frame itself, which cannot go to another domain meanwhile. One
 * for writing ends with its last use: while it stands the guest cannot make a page table of that
 * page, and a guest's kernel does not expect that of a page it got back. The pins for writing
 * must be gone (p2m_pins_flush) before the guest learns that its chain is done.
 *
 * Nothing here allocates after p2m_pins_open. Errors: negative errno. Threads: one.
 */
#ifndef XVS_MEM_P2M_PINS_H
#define XVS_MEM_P2M_PINS_H

#include "mem/hold.h"
#include "mem/p2m_cache.h"

#define P2M_USES 8192u
#define P2M_USE_NONE 0xffffu

/* What was wrong with the page the last -EFAULT was about. */
enum p2m_fault_kind {
	P2M_FAULT_BEYOND = 1, /* no such pfn */
	P2M_FAULT_ABSENT,     /* no memory there: ballooned out, never there, or a device's */
	P2M_FAULT_REFUSED,    /* Xen: not the guest's own, or none that may be written */
};

struct p2m_fault {
	enum p2m_fault_kind kind;
	pfn_t pfn;
};
/* In words, for a log line. */
const char *p2m_fault_text(enum p2m_fault_kind kind);

struct p2m_pin {
	pfn_t pfn;
	mfn_t mfn;
	uint32_t users;
	uint32_t seen; /* when it was used last, in the caller's unit */
	uint8_t state;
	bool writable;
	bool with_last; /* pinned for the same chain as the one before it */
	bool cached; /* to be found by its pfn; else only its uses know it */
};

struct p2m_use {
	uint16_t pin;
	uint16_t next; /* list of the uses of one chain, for the caller */
};

struct p2m_pins_counters {
	uint64_t changes; /* requests to the holder */
	uint64_t pinned, unpinned;
	uint64_t hits; /* uses that found their page held */
	uint64_t stale; /* pins given up because the guest's table changed */
	uint64_t evicted, aged;
};

struct p2m_pins {
	struct hv *hv;
	struct hv_p2m *p2m;
	struct hold *hold;
	struct p2m_cache cache;
	struct p2m_fault fault;
	struct p2m_pins_counters counters;
	uint32_t now;
	int dead;         /* why the holder is not asked any more */
	unsigned int max; /* pins */
	unsigned int held; /* frames the holder has, those in unpin[] included */
	unsigned int free_n, use_free_n;
	unsigned int use_n;     /* uses of this batch */
	unsigned int pending_n; /* of them pins to be made */
	unsigned int unpin_n;
	bool chain_goes_on; /* a page of this chain is to be pinned already */
	unsigned int hand, sweep; /* where the next look for an idle pin begins */
	uint16_t batch_use[HOLD_BATCH];
	uint16_t pending[HOLD_BATCH];
	uint16_t unpin[HOLD_BATCH];
	struct hold_pin request[HOLD_BATCH];
	uint16_t free[HOLD_SLOTS];
	uint16_t use_free[P2M_USES];
	struct p2m_use use[P2M_USES];
	struct p2m_pin pin[HOLD_SLOTS];
};

/*
 * max: pins at once, 1 to HOLD_SLOTS. hv, with HV_CAP_P2M, p2m and hold belong to the caller and
 * outlive the pins; hold holds nothing.
 */
int p2m_pins_open(struct p2m_pins *p, struct hv *hv, struct hv_p2m *p2m, struct hold *hold,
		  unsigned int max);
/* Lets go of nothing: what a device may reach stays held by the holder. */
void p2m_pins_close(struct p2m_pins *p);

/* Before the first page of a batch. now: see p2m_pin.seen. -EAGAIN: the guest is changing its
 * table just now; other: nothing can be looked up any more. */
int p2m_pins_begin(struct p2m_pins *p, uint32_t now);

/*
 * Adds one page to the batch. Returns its use, or
 *   -EFAULT  no such page, see fault
 *   -EAGAIN  the batch is full, or the guest is changing its table
 *   -ENOSPC  as many pages as may be are in use
 *   other    the holder is gone
 */
int p2m_pins_add(struct p2m_pins *p, pfn_t pfn, bool writable);

/* A new chain begins. Returns how many uses the batch has, for p2m_pins_undo(). */
unsigned int p2m_pins_mark(struct p2m_pins *p);
/* Takes back what was added since the batch had n uses. */
void p2m_pins_undo(struct p2m_pins *p, unsigned int n);

/*
 * Holds every page of the batch, or none of those it did not hold before, and ends the batch.
 *   -EFAULT  Xen refused a page, see fault
 *   -EAGAIN  the guest changed its table meanwhile; -ENOSPC: short of something. Later it may work.
 *   other    the holder is gone
 */
int p2m_pins_map(struct p2m_pins *p);

/* Machine address of a use's page. */
static inline maddr_t p2m_pins_maddr(const struct p2m_pins *p, uint16_t use)
{
	return maddr_of(p->pin[p->use[use].pin].mfn, 0);
}

/* The slot in which the holder has it. */
static inline uint16_t p2m_pins_slot(const struct p2m_pins *p, uint16_t use)
{
	return p->use[use].pin;
}

/* The use is over: the device is through with it. */
void p2m_pins_drop(struct p2m_pins *p, uint16_t use);

/* Lets go of what is not to be kept. Negative: the holder is gone. */
int p2m_pins_flush(struct p2m_pins *p);

/*
 * Looks at up to n pins, and lets go of idle ones whose page the guest has given away, or that were
 * not used since `now` less age. To be called now and then, or a guest that balloons down does not
 * get rid of its memory. As p2m_pins_flush.
 */
int p2m_pins_sweep(struct p2m_pins *p, uint32_t now, uint32_t age, unsigned int n);

/* The device was reset: no use is left, and everything is let go. */
int p2m_pins_release(struct p2m_pins *p);

#endif
