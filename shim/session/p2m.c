/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addressing p2m: what a session does for a guest that names its memory by pfn. What the device may
 * reach is held by the holder; rings and indirect tables, which only this process looks at, are
 * mapped here. Both come from the same table of the guest's, and both are its own pages only.
 */
#include "session/internal.h"

#include "mem/p2m_pins.h"
#include "util/shared.h"

#include <stdio.h>
#include <stdlib.h>

#define IN_FLIGHT 4096u  /* pages beyond those that may be kept */
#define VIEW_PAGES 1024u /* of indirect tables, kept mapped */
#define SWEEP_MS 1000

struct session_p2m {
	struct hv_p2m *table; /* the guest's */
	struct p2m_pins pins; /* for the device, held by the holder */
	struct hold_client holder;
	struct p2m_pins view; /* for this process */
	struct hold_table view_hold;
	struct p2m_pins_counters told; /* what the statistics have of pins.counters */
	uint64_t sweep_at; /* us */
	char why[160];
};

static uint32_t ms_of(uint64_t us)
{
	return (uint32_t)(us / 1000);
}

int session_p2m_open(struct session *s, char *why, size_t size)
{
	struct session_p2m *m = calloc(1, sizeof(*m));
	unsigned int max = IN_FLIGHT + s->p.keep_pages;
	int rc = -ENOMEM;

	snprintf(why, size, "out of memory");
	if (!m)
		return rc;
	rc = s->hv->ops->p2m_open(s->hv, s->p.domid, &m->table);
	if (rc) {
		snprintf(why, size, "the guest's own p2m cannot be read: %s", strerror(-rc));
		goto err_free;
	}
	hold_client_init(&m->holder, s->p.holder_fd);
	hold_table_init(&m->view_hold, s->hv, s->p.domid);
	rc = p2m_pins_open(&m->pins, s->hv, m->table, &m->holder.hold,
			   max < HOLD_SLOTS ? max : HOLD_SLOTS);
	if (rc)
		goto err_table;
	rc = p2m_pins_open(&m->view, s->hv, m->table, &m->view_hold.hold, VIEW_PAGES);
	if (rc)
		goto err_pins;
	s->p2m = m;
	return 0;

err_pins:
	p2m_pins_close(&m->pins);
err_table:
	s->hv->ops->p2m_close(s->hv, m->table);
err_free:
	free(m);
	return rc;
}

void session_p2m_close(struct session *s)
{
	struct session_p2m *m = s->p2m;

	if (!m)
		return;
	hold_table_clear(&m->view_hold);
	p2m_pins_close(&m->view);
	p2m_pins_close(&m->pins);
	s->hv->ops->p2m_close(s->hv, m->table);
	free(m);
	s->p2m = NULL;
}

/* Brings the statistics up to date. */
static void count(struct session *s)
{
	struct session_p2m *m = s->p2m;
	const struct p2m_pins_counters *now = &m->pins.counters, *old = &m->told;

	stat_add(&s->st->map_pages, now->pinned - old->pinned);
	stat_add(&s->st->unmap_pages, now->unpinned - old->unpinned);
	stat_add(&s->st->keep_hits, now->hits - old->hits);
	stat_add(&s->st->p2m_requests, now->changes - old->changes);
	stat_add(&s->st->p2m_stale, now->stale - old->stale);
	atomic_store_explicit(&s->st->kept, m->pins.held, memory_order_relaxed);
	m->told = *now;
}

static void count_fault(struct session *s, enum p2m_fault_kind kind)
{
	_Atomic uint64_t *counter = kind == P2M_FAULT_BEYOND ? &s->st->p2m_beyond :
				    kind == P2M_FAULT_ABSENT ? &s->st->p2m_absent :
							       &s->st->p2m_refused;

	stat_add(counter, 1);
}

static chain_error fault_text(struct session *s, struct p2m_fault fault)
{
	struct session_p2m *m = s->p2m;

	count_fault(s, fault.kind);
	snprintf(m->why, sizeof(m->why), "pfn %#llx %s", (unsigned long long)fault.pfn.n,
		 p2m_fault_text(fault.kind));
	return m->why;
}

/*
 * What an error of the pins means for a chain: -EINVAL with *why, -ENOSPC: its queue waits for
 * completions, -EAGAIN: later.
 */
static int chain_errno(struct session *s, const struct p2m_pins *pins, int rc, chain_error *why)
{
	if (rc == -EFAULT) {
		*why = fault_text(s, pins->fault);
		return -EINVAL;
	}
	if (rc == -ENOSPC)
		return rc;
	if (rc == -EAGAIN || rc == -ENOMEM)
		s->shortage = true;
	else
		s->fatal = rc;
	return -EAGAIN;
}

bool session_p2m_begin(struct session *s)
{
	int rc = p2m_pins_begin(&s->p2m->pins, ms_of(s->now_us));

	if (!rc)
		rc = p2m_pins_begin(&s->p2m->view, ms_of(s->now_us));
	if (rc == -EAGAIN || rc == -ENOMEM)
		s->shortage = true;
	else if (rc)
		s->fatal = rc;
	return !rc;
}

/* -- for the device -- */

int session_p2m_decode(struct session *s, uint64_t daddr, uint32_t len, struct gref_range *range,
		       chain_error *why)
{
	int rc = daddr_decode_p2m(daddr, len, range);

	if (rc == -ERANGE) {
		*why = fault_text(s, (struct p2m_fault){ P2M_FAULT_BEYOND,
							 { daddr >> XVS_FRAME_SHIFT } });
		return -EINVAL;
	}
	return rc ? refuse(why, "address of length 0") : 0;
}

int session_p2m_add(struct session *s, uint32_t pfn, bool writable, uint16_t **link, uint16_t *op,
		    chain_error *why)
{
	struct p2m_pins *pins = &s->p2m->pins;
	int use = p2m_pins_add(pins, (pfn_t){ pfn }, writable);

	if (use < 0)
		return chain_errno(s, pins, use, why);
	*op = (uint16_t)use;
	**link = (uint16_t)use;
	*link = &pins->use[use].next;
	return 0;
}

unsigned int session_p2m_mark(struct session *s)
{
	return p2m_pins_mark(&s->p2m->pins);
}

void session_p2m_undo(struct session *s, unsigned int mark)
{
	p2m_pins_undo(&s->p2m->pins, mark);
}

int session_p2m_map(struct session *s)
{
	struct p2m_pins *pins = &s->p2m->pins;
	uint64_t before = pins->counters.changes;
	int rc = p2m_pins_map(pins);

	s->batch_calls += (unsigned int)(pins->counters.changes - before);
	stat_add(&s->st->map_calls, pins->counters.changes - before);
	count(s);
	if (rc == -EFAULT)
		session_break(s, "queue %u: %s", batch_queue_of(s, pins->fault.pfn.n),
			      fault_text(s, pins->fault));
	else if (rc == -ENOSPC || rc == -EAGAIN || rc == -ENOMEM)
		s->shortage = true;
	else if (rc)
		s->fatal = rc;
	if (rc) {
		s->batch.seg_n = 0;
		return rc;
	}
	for (unsigned int i = 0; i < s->batch.seg_n; i++)
		s->batch.seg[i].maddr.a += p2m_pins_maddr(pins, s->batch.op[i]).a;
	return 0;
}

void session_p2m_drop(struct session *s, uint16_t use)
{
	struct p2m_pins *pins = &s->p2m->pins;

	while (use != P2M_USE_NONE) {
		uint16_t next = pins->use[use].next;

		p2m_pins_drop(pins, use);
		use = next;
	}
}

int session_p2m_flush(struct session *s)
{
	struct p2m_pins *pins = &s->p2m->pins;
	uint64_t before = pins->counters.changes;
	int rc = p2m_pins_flush(pins);

	s->batch_calls += (unsigned int)(pins->counters.changes - before);
	stat_add(&s->st->unmap_calls, pins->counters.changes - before);
	count(s);
	return rc;
}

int session_p2m_release(struct session *s)
{
	int rc = p2m_pins_release(&s->p2m->pins);

	count(s);
	return rc ? rc : p2m_pins_release(&s->p2m->view);
}

int session_p2m_age(struct session *s, uint64_t now_us)
{
	struct session_p2m *m = s->p2m;
	uint32_t age = s->p.keep_ms ? s->p.keep_ms : UINT32_MAX;
	int rc;

	s->now_us = now_us;
	if (!m->pins.held && !m->view.held)
		return -1;
	if (now_us >= m->sweep_at) {
		m->sweep_at = now_us + SWEEP_MS * 1000;
		rc = p2m_pins_sweep(&m->pins, ms_of(now_us), age, m->pins.max);
		if (!rc)
			rc = p2m_pins_sweep(&m->view, ms_of(now_us), age, m->view.max);
		if (rc)
			s->fatal = rc;
		count(s);
	}
	return (int)((m->sweep_at - now_us) / 1000 + 1);
}

/* -- for this process -- */

/* One page of the guest, to be read until the next use of the view. -EINVAL, -EAGAIN as above. */
static int view_page(struct session *s, uint32_t pfn, const char **va, chain_error *why)
{
	struct session_p2m *m = s->p2m;
	int rc, use = p2m_pins_add(&m->view, (pfn_t){ pfn }, false);

	rc = use < 0 ? use : p2m_pins_map(&m->view);
	if (rc == -ENOSPC) {
		s->shortage = true;
		return -EAGAIN;
	}
	if (rc)
		return chain_errno(s, &m->view, rc, why);
	*va = hold_table_va(&m->view_hold, p2m_pins_slot(&m->view, (uint16_t)use));
	p2m_pins_drop(&m->view, (uint16_t)use); /* idle ones stay, until others need the place */
	return 0;
}

int session_p2m_read(struct session *s, const struct gref_range *range, char *to, uint32_t len,
		     chain_error *why)
{
	uint32_t offset = range->offset;
	const char *va = NULL;

	if (offset & 7)
		return refuse(why, "indirect table is not aligned to 8 bytes");
	for (uint32_t i = 0; len; i++) {
		uint32_t part = XVS_FRAME_SIZE - offset;
		int rc = view_page(s, range->gref + i, &va, why);

		if (rc)
			return rc;
		part = len < part ? len : part;
		shared_copy_out(to, va + offset, part);
		to += part;
		len -= part;
		offset = 0;
	}
	stat_add(&s->st->table_reads, 1);
	return 0;
}

/* Do the frames mapped still stand in the guest's table? */
static bool same_frames(struct session *s, uint32_t pfn, const gfn_t *gfn, unsigned int n)
{
	mfn_t mfn;

	if (s->hv->ops->p2m_sync(s->hv, s->p2m->table) < 0)
		return false;
	for (unsigned int i = 0; i < n; i++)
		if (hv_p2m_read(s->hv, s->p2m->table, (pfn_t){ pfn + i }, &mfn) ||
		    mfn.n != gfn[i].n)
			return false;
	return true;
}

int session_p2m_map_ring(struct session *s, const struct gref_range *range, bool writable,
			 void **va)
{
	const struct hv_ops *ops = s->hv->ops;
	gfn_t gfn[P2M_RING_PAGES];
	int err[P2M_RING_PAGES], rc = ops->p2m_sync(s->hv, s->p2m->table);
	mfn_t mfn;

	if (rc < 0 || range->npages > P2M_RING_PAGES)
		return rc < 0 ? -EAGAIN : -EINVAL;
	for (uint32_t i = 0; i < range->npages; i++) {
		rc = hv_p2m_read(s->hv, s->p2m->table, (pfn_t){ range->gref + i }, &mfn);
		if (rc) {
			count_fault(s, rc == -ERANGE ? P2M_FAULT_BEYOND : P2M_FAULT_ABSENT);
			return -EINVAL;
		}
		gfn[i] = (gfn_t){ mfn.n };
	}
	rc = ops->foreign_map(s->hv, s->p.domid, gfn, range->npages, writable, va, err);
	if (rc)
		return -EAGAIN;
	for (uint32_t i = 0; i < range->npages; i++)
		rc = err[i] ? -EINVAL : rc;
	if (rc)
		count_fault(s, P2M_FAULT_REFUSED);
	else if (!same_frames(s, range->gref, gfn, range->npages))
		rc = -EAGAIN;
	if (rc && ops->foreign_unmap(s->hv, *va, range->npages))
		session_give_up(s, -EIO, "a ring cannot be unmapped");
	return rc;
}
