/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * First step of a batch: chains of the guest rings come into private memory. Descriptors in a
 * ring are copied one by one; the indirect tables of the whole batch come over in one grant
 * copy. Nothing is taken from the guest for good yet: what does not fit is read again later.
 */
#include "session/internal.h"

#include <errno.h>

/* Place for a table of len bytes that does not cross a page; NULL: the scratch is full. */
static void *scratch_take(struct session *s, unsigned int len, maddr_t *maddr)
{
	struct batch *b = &s->batch;
	const struct hv_dma *dma = s->p.dma;
	unsigned int page;
	void *va;

	if (b->scratch_off + len > XVS_FRAME_SIZE) {
		b->scratch_page++;
		b->scratch_off = 0;
	}
	if (b->scratch_page == SCRATCH_PAGES)
		return NULL;
	page = s->scratch_page + b->scratch_page;
	va = (char *)dma->va + (size_t)page * XVS_FRAME_SIZE + b->scratch_off;
	*maddr = maddr_add(dma->maddr[page], b->scratch_off);
	b->scratch_off += len;
	return va;
}

static void add_copy(struct session *s, uint32_t gref, uint32_t offset, maddr_t to, uint32_t len)
{
	s->copy_op[s->batch.copy_n++] = (struct hv_copy_op){
		.source = { .frame = gref, .domid = s->p.domid, .offset = (uint16_t)offset },
		.dest = { .frame = mfn_of(to).n, .domid = HV_DOMID_SELF,
			  .offset = (uint16_t)(to.a & XVS_FRAME_MASK) },
		.len = (uint16_t)len,
		.flags = HV_COPY_SOURCE_GREF,
		.status = HV_STATUS_PENDING,
	};
}

/*
 * An indirect table whose pages may be kept mapped is copied from there, without a hypercall.
 * false: that is not possible.
 */
static bool read_table(struct session *s, const struct gref_range *range, char *to, uint32_t len)
{
	uint32_t first = XVS_FRAME_SIZE - range->offset;
	const char *va;

	if (range->offset & 7)
		return false; /* no driver does that, and the copy is made for whole words */
	first = len < first ? len : first;
	va = kept_table(&s->kept, range->gref, s->batch.no);
	if (!va)
		return false;
	shared_copy_out(to, va + range->offset, first);
	if (first < len) {
		va = kept_table(&s->kept, range->gref + 1, s->batch.no);
		if (!va)
			return false;
		shared_copy_out(to + first, va, len - first);
	}
	stat_add(&s->st->table_reads, 1);
	return true;
}

/* Plans the copy of an indirect table. 0, -ENOSPC: not in this batch, -EINVAL with *why. */
static int plan_table(struct session *s, struct candidate *c, const struct vring_desc *d,
		      chain_error *why)
{
	uint32_t first;
	maddr_t to;
	bool kept;
	void *va;

	*why = chain_check_indirect(d, c->q->ring.size);
	if (refused(*why != NULL))
		return -EINVAL;
	if (s->p2m) {
		kept = false;
		if (session_p2m_decode(s, d->addr, d->len, &c->table_range, why))
			return -EINVAL;
	} else if (daddr_decode(d->addr, d->len, s->keep, &c->table_range, &kept) ||
		   refused(c->table_range.npages > 2)) {
		return refuse(why, "address of an indirect table is not a grant");
	}
	if (refused(ring_refs_hit(&s->refs, c->table_range.gref, c->table_range.npages)))
		return refuse(why, "indirect table lies in a ring or the control page");
	if (s->batch.copy_n + c->table_range.npages > BATCH_COPIES ||
	    d->len / sizeof(*d) > BATCH_DESCS - s->batch.desc_n)
		return -ENOSPC;
	if (s->batch.planned + d->len / sizeof(*d) > JOURNAL_BATCH)
		return -ENOSPC; /* it could not be mapped, so it need not be copied */
	va = scratch_take(s, d->len, &to);
	if (!va)
		return -ENOSPC;
	if (s->p2m) {
		int rc = session_p2m_read(s, &c->table_range, va, d->len, why);

		if (rc)
			return rc == -EINVAL ? rc : -ENOSPC;
	} else if (!kept || !read_table(s, &c->table_range, va, d->len)) {
		first = XVS_FRAME_SIZE - c->table_range.offset;
		first = d->len < first ? d->len : first;
		add_copy(s, c->table_range.gref, c->table_range.offset, to, first);
		if (first < d->len)
			add_copy(s, c->table_range.gref + 1, 0, maddr_add(to, first),
				 d->len - first);
	}
	c->table = va;
	c->indirect_n = (uint16_t)(d->len / sizeof(*d));
	c->desc = s->batch.desc_n; /* room for what it can hold at most */
	s->batch.desc_n += c->indirect_n;
	s->batch.planned += c->indirect_n;
	return 0;
}

/* Reads one chain's descriptors, or plans to. As plan_table. */
static inline int read_chain(struct session *s, struct candidate *c, chain_error *why)
{
	struct batch *b = &s->batch;
	struct vring_desc indirect;
	unsigned int first = b->desc_n, max = BATCH_DESCS - first;
	chain_error form;

	if (max < c->q->ring.size || b->planned >= JOURNAL_BATCH)
		return -ENOSPC;
	form = chain_walk_ring(&c->q->ring, c->head, &indirect, &b->desc[first], max, &c->desc_n);
	if (refused(form != NULL))
		return refuse(why, form);
	if (indirect.len)
		return plan_table(s, c, &indirect, why);
	c->desc = first;
	b->desc_n = first + c->desc_n;
	b->planned += c->desc_n;
	return 0;
}

/* In flight, or in this batch already. Marks it. */
static inline bool head_taken(struct squeue *q, unsigned int head)
{
	bool again = q->gathered[head] == q->batch;

	q->gathered[head] = q->batch;
	return again || atomic_load_explicit(&q->log->inflight[head], memory_order_relaxed);
}

/* No head is in the batch of this number yet. */
static void next_batch(struct squeue *q)
{
	if (++q->batch)
		return;
	memset(q->gathered, 0, sizeof(q->gathered));
	q->batch = 1;
}

/* One more chain for the batch. As plan_table; -ENOSPC: the batch is full. */
static inline int gather_chain(struct session *s, struct squeue *q, unsigned int head, bool resumed,
			chain_error *why)
{
	struct batch *b = &s->batch;
	unsigned int n = b->chain_n;
	struct candidate *c = &b->chain[n];
	int rc;

	if (n == BATCH_CHAINS)
		return -ENOSPC;
	c->q = q;
	c->head = (uint16_t)head;
	c->resumed = resumed;
	c->indirect_n = 0;
	c->seg_n = 0;
	rc = read_chain(s, c, why); /* and with it, whether there is such a head */
	if (rc)
		return rc;
	if (!resumed && refused(head_taken(q, head)))
		return refuse(why, "head is in flight already");
	b->chain_n = n + 1;
	return 0;
}

/* Chains of one queue, resumed ones first. Returns the reason if the guest broke a rule. */
static chain_error gather_queue(struct session *s, struct squeue *q)
{
	int waiting = guest_ring_waiting(&q->ring), resumed = (int)(q->resume_n - q->resume_at);
	chain_error why = NULL;

	if (refused(waiting < 0 || waiting + q->shadow.inflight + resumed > q->ring.size))
		return "available index runs ahead of the ring";
	next_batch(q);
	for (int i = -resumed; i < waiting; i++) {
		bool again = i < 0;
		unsigned int head = again ? q->resume[(int)q->resume_n + i] :
					    guest_ring_head(&q->ring, (unsigned int)i);
		int rc = gather_chain(s, q, head, again, &why);

		if (rc)
			return rc == -EINVAL ? why : NULL;
	}
	return NULL;
}

/* Whose table it is that one of the copies was for. */
static unsigned int queue_of_table(const struct session *s, uint64_t gref)
{
	const struct batch *b = &s->batch;

	for (unsigned int i = 0; i < b->chain_n; i++) {
		const struct candidate *c = &b->chain[i];

		if (c->indirect_n && gref - c->table_range.gref < c->table_range.npages)
			return squeue_index(s, c->q);
	}
	return 0;
}

/* 0; -EFAULT: the guest's doing; -EAGAIN: later it may work; other: the hypercall failed. */
static int copy_tables(struct session *s, unsigned int *queue)
{
	struct batch *b = &s->batch;
	int rc;

	if (!b->copy_n)
		return 0;
	stat_add(&s->st->copy_calls, 1);
	stat_add(&s->st->copy_ops, b->copy_n);
	rc = s->hv->ops->gnt_copy(s->hv, s->copy_op, b->copy_n);
	for (unsigned int i = 0; i < b->copy_n && !rc; i++) {
		if (s->copy_op[i].status == HV_STATUS_OKAY)
			continue;
		rc = hv_status_errno(s->copy_op[i].status) == -EAGAIN ? -EAGAIN : -EFAULT;
		*queue = queue_of_table(s, s->copy_op[i].source.frame);
	}
	return rc;
}

static chain_error parse_tables(struct session *s, unsigned int *queue)
{
	struct batch *b = &s->batch;

	for (unsigned int i = 0; i < b->chain_n; i++) {
		struct candidate *c = &b->chain[i];
		chain_error why;

		if (!c->indirect_n)
			continue;
		why = chain_walk_table(c->table, c->indirect_n, &b->desc[c->desc],
				       c->indirect_n, &c->desc_n);
		if (why) {
			*queue = squeue_index(s, c->q);
			return why;
		}
	}
	return NULL;
}

/* Tables of the batch into private memory, and parsed there. false: there is no batch. */
static bool take_tables(struct session *s)
{
	unsigned int queue = 0;
	chain_error why;
	int rc = copy_tables(s, &queue);

	if (rc == -EAGAIN)
		s->shortage = true;
	else if (rc == -EFAULT)
		session_break(s, "queue %u: an indirect table cannot be read", queue);
	else if (rc)
		s->fatal = rc;
	if (rc)
		return false;
	why = parse_tables(s, &queue);
	if (why)
		session_break(s, "queue %u: %s", queue, why);
	return !why;
}

unsigned int batch_gather(struct session *s)
{
	struct batch *b = &s->batch;
	chain_error why = NULL;

	b->chain_n = b->desc_n = b->copy_n = b->seg_n = b->planned = b->hits = 0;
	b->scratch_page = b->scratch_off = 0;
	b->no++;
	if (s->p2m && !session_p2m_begin(s))
		return 0;
	for (unsigned int i = 0; i < s->num_queues && !why; i++) {
		unsigned int index = (s->turn + i) % s->num_queues;
		struct squeue *q = &s->queue[index];

		if (!q->enabled || q->blocked)
			continue;
		why = gather_queue(s, q);
		if (why)
			session_break(s, "queue %u: %s", index, why);
	}
	if (why || !take_tables(s))
		b->chain_n = 0;
	/* No device without queues is opened. NOLINTNEXTLINE(clang-analyzer-core.DivideZero) */
	s->turn = (s->turn + 1) % s->num_queues;
	return b->chain_n;
}
