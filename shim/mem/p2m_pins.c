/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mem/p2m_pins.h"

#include <string.h>

/*
 * A pin in unpin[] is free: the holder lets go first and takes then, so its slot may be used again
 * in the very request that empties it.
 */
enum pin_state { PIN_FREE, PIN_PENDING, PIN_HELD };

#define EVICT_LOOK 64u /* pins looked at for an old one, if any of them will do */

const char *p2m_fault_text(enum p2m_fault_kind kind)
{
	static const char *const text[] = {
		[P2M_FAULT_BEYOND] = "lies beyond the guest's memory",
		[P2M_FAULT_ABSENT] = "is no memory of the guest now",
		[P2M_FAULT_REFUSED] = "is refused by Xen: not the guest's own, or not to be written",
	};

	return text[kind];
}

static void reset_lists(struct p2m_pins *p)
{
	p->free_n = p->max;
	p->use_free_n = P2M_USES;
	p->use_n = p->pending_n = p->unpin_n = 0;
	/* from the end, so that the first ones are used first */
	for (unsigned int i = 0; i < p->max; i++)
		p->free[i] = (uint16_t)(p->max - 1 - i);
	for (unsigned int i = 0; i < P2M_USES; i++)
		p->use_free[i] = (uint16_t)(P2M_USES - 1 - i);
}

int p2m_pins_open(struct p2m_pins *p, struct hv *hv, struct hv_p2m *p2m, struct hold *hold,
		  unsigned int max)
{
	memset(p, 0, sizeof(*p));
	if (!max || max > HOLD_SLOTS)
		return -EINVAL;
	p->hv = hv;
	p->p2m = p2m;
	p->hold = hold;
	p->max = max;
	reset_lists(p);
	/* the guest may grow, so all that any guest may have */
	return p2m_cache_open(&p->cache, P2M_CACHE_MAX_PFNS);
}

void p2m_pins_close(struct p2m_pins *p)
{
	p2m_cache_close(&p->cache);
}

static int sync_table(struct p2m_pins *p)
{
	int rc = p->hv->ops->p2m_sync(p->hv, p->p2m);

	return rc < 0 ? rc : 0;
}

int p2m_pins_begin(struct p2m_pins *p, uint32_t now)
{
	p->now = now;
	return sync_table(p);
}

/* -- pins -- */

/* Lets go of unpin[], then takes n pins of request[]. A holder that failed once is not asked again:
 * nobody knows what it holds. */
static int change(struct p2m_pins *p, unsigned int n)
{
	unsigned int gone = p->unpin_n;

	if (p->dead)
		return p->dead;
	p->counters.changes++;
	p->dead = p->hold->change(p->hold, p->unpin, gone, p->request, n);
	if (p->dead)
		return p->dead;
	p->unpin_n = 0;
	p->counters.unpinned += gone;
	p->held -= gone;
	return 0;
}

int p2m_pins_flush(struct p2m_pins *p)
{
	return p->unpin_n ? change(p, 0) : p->dead;
}

/* Nobody finds it any more. */
static void uncache(struct p2m_pins *p, struct p2m_pin *pin)
{
	if (pin->cached)
		p2m_cache_clear(&p->cache, pin->pfn);
	pin->cached = false;
}

/* A held pin that nobody uses. */
static int retire(struct p2m_pins *p, struct p2m_pin *pin)
{
	uint16_t slot = (uint16_t)(pin - p->pin);
	int rc = p->unpin_n == HOLD_BATCH ? p2m_pins_flush(p) : 0;

	if (rc)
		return rc;
	uncache(p, pin);
	pin->state = PIN_FREE;
	p->unpin[p->unpin_n++] = slot;
	p->free[p->free_n++] = slot;
	return 0;
}

/* Its uses may go on, but the next one of its pfn gets another. */
static int detach(struct p2m_pins *p, struct p2m_pin *pin)
{
	uncache(p, pin);
	return pin->state == PIN_HELD && !pin->users ? retire(p, pin) : 0;
}

/* Makes room: the oldest of some idle pins. */
static int evict(struct p2m_pins *p)
{
	uint32_t oldest = p->now;
	struct p2m_pin *victim = NULL;

	for (unsigned int i = 0; i < p->max; i++) {
		struct p2m_pin *pin = &p->pin[(p->hand + i) % p->max];

		if (victim && i >= EVICT_LOOK)
			break;
		if (pin->state != PIN_HELD || pin->users || (victim && pin->seen >= oldest))
			continue;
		victim = pin;
		oldest = pin->seen;
	}
	if (!victim)
		return -ENOSPC;
	p->hand = (unsigned int)(victim - p->pin) + 1;
	p->counters.evicted++;
	return retire(p, victim);
}

/* A new pin of this batch. */
static int prepare(struct p2m_pins *p, pfn_t pfn, mfn_t mfn, bool writable)
{
	struct p2m_pin *pin;
	uint16_t slot;
	int rc;

	rc = p->free_n ? 0 : evict(p);
	if (rc)
		return rc;
	slot = p->free[p->free_n - 1];
	/* no machine has such a frame: Xen would refuse it as well */
	if (p2m_cache_set_tag(&p->cache, pfn, mfn, slot)) {
		p->fault = (struct p2m_fault){ P2M_FAULT_REFUSED, pfn };
		return -EFAULT;
	}
	p->free_n--;
	pin = &p->pin[slot];
	*pin = (struct p2m_pin){ .pfn = pfn, .mfn = mfn, .state = PIN_PENDING, .cached = true,
				 .writable = writable, .with_last = p->chain_goes_on };
	p->chain_goes_on = true;
	p->pending[p->pending_n++] = slot;
	return slot;
}

/* The pin of a page, held or to be. */
static int find(struct p2m_pins *p, pfn_t pfn, mfn_t mfn, bool writable)
{
	struct p2m_pin *pin;
	uint32_t slot;
	mfn_t known;
	int rc;

	if (p2m_cache_get_tag(&p->cache, pfn, &known, &slot))
		return prepare(p, pfn, mfn, writable);
	pin = &p->pin[slot];
	if (known.n == mfn.n && pin->state == PIN_PENDING)
		pin->writable |= writable;
	if (known.n == mfn.n && (pin->writable || !writable)) {
		p->counters.hits += pin->state == PIN_HELD;
		return (int)slot;
	}
	p->counters.stale += known.n != mfn.n;
	rc = detach(p, pin);
	return rc ? rc : prepare(p, pfn, mfn, writable);
}

static int fault(struct p2m_pins *p, pfn_t pfn, int rc)
{
	if (rc != -ERANGE && rc != -ENXIO && rc != -EFAULT)
		return rc;
	p->fault = (struct p2m_fault){ rc == -ERANGE ? P2M_FAULT_BEYOND :
				       rc == -ENXIO  ? P2M_FAULT_ABSENT :
						       P2M_FAULT_REFUSED, pfn };
	return -EFAULT;
}

int p2m_pins_add(struct p2m_pins *p, pfn_t pfn, bool writable)
{
	struct p2m_use *use;
	uint16_t id;
	mfn_t mfn;
	int slot, rc;

	if (p->use_n == HOLD_BATCH) /* of pending pins there are no more: each has a use */
		return -EAGAIN;
	if (!p->use_free_n)
		return -ENOSPC;
	rc = hv_p2m_read(p->hv, p->p2m, pfn, &mfn);
	if (rc)
		return fault(p, pfn, rc);
	slot = find(p, pfn, mfn, writable);
	if (slot < 0)
		return slot;
	id = p->use_free[--p->use_free_n];
	use = &p->use[id];
	*use = (struct p2m_use){ .pin = (uint16_t)slot, .next = P2M_USE_NONE };
	p->pin[slot].users++;
	p->pin[slot].seen = p->now;
	p->batch_use[p->use_n++] = id;
	return id;
}

void p2m_pins_drop(struct p2m_pins *p, uint16_t use)
{
	struct p2m_pin *pin = &p->pin[p->use[use].pin];

	p->use_free[p->use_free_n++] = use;
	pin->seen = p->now;
	if (--pin->users || pin->state != PIN_HELD)
		return;
	/* A full list is emptied here; if the holder is gone, the flush that follows says so. */
	if (pin->writable || !pin->cached)
		(void)retire(p, pin);
}

/* Pins of the batch without a use, from the end, as they were added. */
static void drop_pending(struct p2m_pins *p)
{
	while (p->pending_n) {
		uint16_t slot = p->pending[p->pending_n - 1];
		struct p2m_pin *pin = &p->pin[slot];

		if (pin->users)
			return;
		uncache(p, pin);
		pin->state = PIN_FREE;
		p->free[p->free_n++] = slot;
		p->pending_n--;
	}
}

unsigned int p2m_pins_mark(struct p2m_pins *p)
{
	p->chain_goes_on = false;
	return p->use_n;
}

void p2m_pins_undo(struct p2m_pins *p, unsigned int n)
{
	while (p->use_n > n)
		p2m_pins_drop(p, p->batch_use[--p->use_n]);
	drop_pending(p);
}

/* -- the request -- */

static uint16_t flags_of(const struct p2m_pin *pin)
{
	return (uint16_t)((pin->writable ? HOLD_WRITABLE : 0) |
			  (pin->with_last ? HOLD_WITH_LAST : 0));
}

static int request(struct p2m_pins *p)
{
	for (unsigned int i = 0; i < p->pending_n; i++) {
		const struct p2m_pin *pin = &p->pin[p->pending[i]];

		p->request[i] = (struct hold_pin){ .mfn = pin->mfn, .slot = p->pending[i],
						   .flags = flags_of(pin), .err = -EIO };
	}
	return change(p, p->pending_n);
}

/* What became of each. The first failure is the batch's. */
static int take_answers(struct p2m_pins *p)
{
	int first = 0;

	for (unsigned int i = 0; i < p->pending_n; i++) {
		struct p2m_pin *pin = &p->pin[p->pending[i]];
		int err = p->request[i].err;

		if (!err) {
			pin->state = PIN_HELD;
			p->counters.pinned++;
			p->held++;
		} else if (err == -ENOMEM || err == -EAGAIN || err == -ENOSPC) {
			first = first ? first : -ENOSPC;
		} else if (first != -EFAULT) {
			first = -EFAULT;
			p->fault = (struct p2m_fault){ P2M_FAULT_REFUSED, pin->pfn };
		}
	}
	return first;
}

/* Does the guest's table say the same now that the frames are held? Only now it counts. */
static int still_so(struct p2m_pins *p)
{
	int rc = sync_table(p);
	mfn_t mfn;

	for (unsigned int i = 0; !rc && i < p->pending_n; i++) {
		const struct p2m_pin *pin = &p->pin[p->pending[i]];

		if (hv_p2m_read(p->hv, p->p2m, pin->pfn, &mfn) || mfn.n != pin->mfn.n)
			rc = -EAGAIN;
	}
	return rc;
}

/* Uses of the batch are taken back; of its pins those that are held stay, as idle ones. */
static void give_up(struct p2m_pins *p)
{
	while (p->use_n)
		p2m_pins_drop(p, p->batch_use[--p->use_n]);
	for (unsigned int i = 0; i < p->pending_n; i++) {
		struct p2m_pin *pin = &p->pin[p->pending[i]];

		if (pin->state != PIN_PENDING)
			continue;
		uncache(p, pin);
		pin->state = PIN_FREE;
		p->free[p->free_n++] = p->pending[i];
	}
	p->pending_n = 0;
}

int p2m_pins_map(struct p2m_pins *p)
{
	int rc = 0;

	if (p->pending_n) {
		rc = request(p);
		if (!rc)
			rc = take_answers(p);
		if (!rc)
			rc = still_so(p);
	}
	if (rc)
		give_up(p);
	p->use_n = p->pending_n = 0;
	return rc;
}

/* -- from time to time -- */

static bool stale(struct p2m_pins *p, const struct p2m_pin *pin)
{
	mfn_t mfn;

	return hv_p2m_read(p->hv, p->p2m, pin->pfn, &mfn) || mfn.n != pin->mfn.n;
}

int p2m_pins_sweep(struct p2m_pins *p, uint32_t now, uint32_t age, unsigned int n)
{
	int rc = p2m_pins_begin(p, now);

	if (rc)
		return rc == -EAGAIN ? 0 : rc;
	for (unsigned int i = 0; i < n && i < p->max && !rc; i++) {
		struct p2m_pin *pin = &p->pin[p->sweep++ % p->max];

		if (pin->state != PIN_HELD || pin->users)
			continue;
		if (stale(p, pin))
			p->counters.stale++;
		else if (now - pin->seen > age)
			p->counters.aged++;
		else
			continue;
		rc = retire(p, pin);
	}
	return rc ? rc : p2m_pins_flush(p);
}

int p2m_pins_release(struct p2m_pins *p)
{
	int rc = 0;

	for (unsigned int i = 0; i < p->max && !rc; i++)
		if (p->pin[i].state == PIN_HELD)
			rc = retire(p, &p->pin[i]);
	if (!rc)
		rc = p2m_pins_flush(p);
	if (rc)
		return rc;
	memset(p->pin, 0, sizeof(p->pin));
	reset_lists(p);
	return p2m_cache_clear_all(&p->cache);
}
