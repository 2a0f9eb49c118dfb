/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checking device on the rings: virtio 1.x, "Split Virtqueues", from the device's side,
 * with every address looked up before it is used.
 */
#include "dev/check_priv.h"
#include "util/shared.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>

/* Memory of the back end itself: rings and indirect tables. NULL after a violation. */
static void *check_ring_va(struct check_dev *d, maddr_t maddr, uint64_t len, bool write,
			   const char *what)
{
	char why[96];

	if (!sim_device_reach(d->cfg.machine, d->cfg.domid, maddr, len, write, SIM_REACH_DMA, NULL,
			      why, sizeof(why)))
		return sim_maddr_va(d->cfg.machine, maddr, len);
	check_violate(d, "%s at %#llx, %llu bytes: %s", what, (unsigned long long)maddr.a,
		      (unsigned long long)len, why);
	return NULL;
}

struct check_rings {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

static bool check_rings(struct check_dev *d, unsigned int queue, struct check_rings *r)
{
	const struct check_queue_regs *q = &d->regs->queue[queue];

	r->desc = check_ring_va(d, q->desc, 16ull * q->size, false, "descriptor table");
	r->avail = check_ring_va(d, q->driver, 6 + 2ull * q->size, false, "available ring");
	r->used = check_ring_va(d, q->device, 6 + 8ull * q->size, true, "used ring");
	return r->desc && r->avail && r->used;
}

void check_req_free(struct check_req *r)
{
	free(r->piece);
	free(r);
}

static bool check_piece_room(struct check_req *r)
{
	uint32_t room = r->room ? 2 * r->room : 16;
	struct check_piece *p;

	if (r->npieces < r->room)
		return true;
	p = realloc(r->piece, room * sizeof(*p));
	if (!p)
		return false;
	r->piece = p;
	r->room = room;
	return true;
}

/* One descriptor of a buffer, frame by frame. */
static bool check_take(struct check_dev *d, struct check_req *r, maddr_t maddr, uint32_t len,
		       bool write)
{
	struct check_trace t = { r->queue, r->head, maddr, len, write };
	char why[96];

	if (d->cfg.trace)
		d->cfg.trace(d->cfg.arg, &t);
	d->regs->stats.descs++;
	if (!len)
		check_violate(d, "queue %u head %u: descriptor of length 0", r->queue, r->head);
	while (len && !d->regs->violated) {
		uint32_t n = XVS_FRAME_SIZE - (maddr.a & XVS_FRAME_MASK);
		struct check_piece *p;

		if (!check_piece_room(r))
			abort();
		p = &r->piece[r->npieces++];
		*p = (struct check_piece){ .maddr = maddr, .len = n < len ? n : len,
					   .write = write };
		if (sim_device_reach(d->cfg.machine, d->cfg.domid, maddr, p->len, write,
				     SIM_REACH_ANY, &p->gen, why, sizeof(why)))
			check_violate(d, "queue %u head %u: buffer at %#llx, %u bytes, %s: %s",
				      r->queue, r->head, (unsigned long long)maddr.a, p->len,
				      write ? "device-writable" : "device-readable", why);
		*(write ? &r->writable : &r->readable) += p->len;
		len -= p->len;
		maddr = maddr_add(maddr, p->len);
	}
	return !d->regs->violated;
}

/* A table of n descriptors from index i on; depth 1 is an indirect one. */
static bool check_walk(struct check_dev *d, struct check_req *r, const struct vring_desc *table,
		       uint32_t n, uint32_t i, uint32_t left);

static bool check_indirect(struct check_dev *d, struct check_req *r, const struct vring_desc *desc,
			   uint32_t left)
{
	const struct vring_desc *table;

	if (!check_has(d, VIRTIO_RING_F_INDIRECT_DESC) || desc->flags & VRING_DESC_F_NEXT ||
	    !desc->len || desc->len % 16) {
		check_violate(d, "queue %u head %u: bad indirect descriptor, flags %#x, len %u",
			      r->queue, r->head, desc->flags, desc->len);
		return false;
	}
	table = check_ring_va(d, (maddr_t){ desc->addr }, desc->len, false, "indirect table");
	return table && check_walk(d, r, table, desc->len / 16, 0, left | 0x80000000u);
}

static bool check_walk(struct check_dev *d, struct check_req *r, const struct vring_desc *table,
		       uint32_t n, uint32_t i, uint32_t left)
{
	bool nested = left & 0x80000000u;

	for (left &= 0x7fffffffu;; left--) {
		struct vring_desc desc;
		bool write;

		if (i >= n || !left) {
			check_violate(d, "queue %u head %u: chain %s", r->queue, r->head,
				      left ? "leaves its table" : "longer than the queue");
			return false;
		}
		shared_copy_out(&desc, &table[i], sizeof(desc));
		write = desc.flags & VRING_DESC_F_WRITE;
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			if (!nested)
				return check_indirect(d, r, &desc, left);
			check_violate(d, "queue %u head %u: nested indirect table", r->queue,
				      r->head);
			return false;
		}
		if (!write && r->writable) {
			check_violate(d, "queue %u head %u: readable behind writable", r->queue,
				      r->head);
			return false;
		}
		if (!check_take(d, r, (maddr_t){ desc.addr }, desc.len, write))
			return false;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return true;
		i = desc.next;
	}
}

static void check_queue_req(struct check_dev *d, struct check_req *r)
{
	struct check_req **at = &d->inflight;

	while (*at)
		at = &(*at)->next;
	*at = r;
	d->queue[r->queue].busy[r->head] = 1;
	d->regs->stats.requests++;
	d->regs->stats.inflight++;
	r->due = check_now() + (int64_t)check_random(d, d->cfg.delay_us) * 1000;
}

static void check_accept(struct check_dev *d, unsigned int queue, const struct check_rings *rings,
			 uint16_t head)
{
	uint16_t size = d->regs->queue[queue].size;
	struct check_req *r;

	if (head >= size || d->queue[queue].busy[head]) {
		check_violate(d, "queue %u: head %u %s", queue, head,
			      head >= size ? "outside the table" : "is in flight already");
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		abort();
	r->queue = queue;
	r->head = head;
	if (check_walk(d, r, rings->desc, size, head, size))
		check_queue_req(d, r);
	else
		check_req_free(r);
}

/* avail_event lies behind the used ring, used_event behind the available ring. */
static _Atomic uint16_t *check_avail_event(const struct check_rings *r, uint16_t size)
{
	return (_Atomic uint16_t *)&r->used->ring[size];
}

/* Takes every chain that is there. Pairs with the driver's store of avail idx (release). */
static void check_drain(struct check_dev *d, unsigned int queue, const struct check_rings *rings)
{
	struct check_queue *q = &d->queue[queue];
	uint16_t size = d->regs->queue[queue].size;
	uint16_t idx = atomic_load_explicit((_Atomic uint16_t *)&rings->avail->idx,
					    memory_order_acquire);

	if ((uint16_t)(idx - q->last_avail) > size) {
		check_violate(d, "queue %u: available index %u runs ahead of %u", queue, idx,
			      q->last_avail);
		return;
	}
	while (q->last_avail != idx && !d->regs->violated) {
		check_accept(d, queue, rings,
			     shared_read(&rings->avail->ring[q->last_avail % size]));
		q->last_avail++;
	}
}

/* Asks for notifications, or for none as long as the device looks by itself. */
static void check_want(struct check_dev *d, unsigned int queue, const struct check_rings *rings,
		       bool want)
{
	uint16_t size = d->regs->queue[queue].size;

	if (!check_has(d, VIRTIO_RING_F_EVENT_IDX))
		atomic_store_explicit((_Atomic uint16_t *)&rings->used->flags,
				      want ? 0 : VRING_USED_F_NO_NOTIFY, memory_order_relaxed);
	else if (want)
		atomic_store_explicit(check_avail_event(rings, size), d->queue[queue].last_avail,
				      memory_order_relaxed);
	/* The wish before the last look; pairs with the driver's fence before it reads it. */
	atomic_thread_fence(memory_order_seq_cst);
}

static bool check_more(const struct check_dev *d, unsigned int queue,
		       const struct check_rings *rings)
{
	return atomic_load_explicit((_Atomic uint16_t *)&rings->avail->idx,
				    memory_order_acquire) != d->queue[queue].last_avail;
}

void check_fetch(struct check_dev *d, unsigned int queue)
{
	struct check_rings rings;

	d->regs->queue[queue].kicked = false;
	if (!check_rings(d, queue, &rings))
		return;
	/* Every wish is followed by a look, or a chain between the two would wait for ever. */
	do {
		check_drain(d, queue, &rings);
		if (d->regs->violated)
			return;
		check_want(d, queue, &rings, !(d->cfg.suppress && d->inflight));
	} while (check_more(d, queue, &rings));
	if (d->cfg.suppress && d->inflight)
		d->regs->queue[queue].kicked = true;
}

/* Every page of the chain must still be held, and by the pin that held it at first. */
bool check_recheck(struct check_dev *d, const struct check_req *r, const char *when)
{
	char why[96];

	for (uint32_t i = 0; i < r->npieces && !d->regs->violated; i++) {
		const struct check_piece *p = &r->piece[i];
		uint32_t gen = p->gen;
		int err = sim_device_reach(d->cfg.machine, d->cfg.domid, p->maddr, p->len, p->write,
					   SIM_REACH_ANY, &gen, why, sizeof(why));

		if (err || gen != p->gen)
			check_violate(d, "queue %u head %u: %#llx, %u bytes, touched %s: %s",
				      r->queue, r->head, (unsigned long long)p->maddr.a, p->len,
				      when, err ? why : "unmapped and mapped again meanwhile");
	}
	return !d->regs->violated;
}

/* Moves bytes between buf and the readable or the writable part; returns how many there were. */
uint64_t check_copy(struct check_dev *d, const struct check_req *r, bool write, uint64_t off,
		    void *buf, uint64_t len)
{
	uint8_t *at = buf;
	uint64_t done = 0;

	for (uint32_t i = 0; i < r->npieces && done < len; i++) {
		const struct check_piece *p = &r->piece[i];
		uint64_t n;
		uint8_t *va;

		if (p->write != write)
			continue;
		if (off >= p->len) {
			off -= p->len;
			continue;
		}
		n = p->len - off < len - done ? p->len - off : len - done;
		va = (uint8_t *)sim_maddr_va(d->cfg.machine, p->maddr, p->len) + off;
		/* The guest may write there now, against the rules. */
		if (write)
			shared_copy(va, at + done, n);
		else
			shared_copy(at + done, va, n);
		done += n;
		off = 0;
	}
	return done;
}

static void check_interrupt(struct check_dev *d, unsigned int queue, const struct check_rings *r,
			    uint16_t old, uint16_t new)
{
	uint16_t size = d->regs->queue[queue].size;
	bool want;

	/* The index before the wish; pairs with the driver's fence between wish and look. */
	atomic_thread_fence(memory_order_seq_cst);
	if (check_has(d, VIRTIO_RING_F_EVENT_IDX))
		want = vring_need_event(
			atomic_load_explicit((_Atomic uint16_t *)&r->avail->ring[size],
					     memory_order_relaxed), new, old);
	else
		want = !(atomic_load_explicit((_Atomic uint16_t *)&r->avail->flags,
					      memory_order_relaxed) & VRING_AVAIL_F_NO_INTERRUPT);
	if (!want)
		return;
	d->regs->isr |= XDEV_IRQ_QUEUE;
	d->regs->stats.irqs++;
	if (eventfd_write(d->irq, 1))
		return;
}

static uint32_t check_used_id(struct check_dev *d, const struct check_req *r)
{
	uint16_t size = d->regs->queue[r->queue].size;

	if (check_mischief(d, CHECK_BAD_ID))
		return size + 7u;
	if (check_mischief(d, CHECK_STALE_ID))
		for (uint16_t i = 0; i < size; i++)
			if (!d->queue[r->queue].busy[i])
				return i;
	return r->head;
}

/* Returns a chain to the driver. Pairs with its load of used idx (acquire). */
void check_publish(struct check_dev *d, const struct check_req *r, uint32_t len)
{
	struct check_queue *q = &d->queue[r->queue];
	uint16_t size = d->regs->queue[r->queue].size, old = q->used;
	struct check_rings rings;
	uint32_t id = check_used_id(d, r);
	int times = check_mischief(d, CHECK_TWICE) ? 2 : 1;

	if (!check_rings(d, r->queue, &rings))
		return;
	if (check_mischief(d, CHECK_LONG))
		len = (uint32_t)r->writable + 4096;
	while (times--) {
		shared_write(&rings.used->ring[q->used % size].id, id);
		shared_write(&rings.used->ring[q->used % size].len, len);
		q->used++;
	}
	if (check_mischief(d, CHECK_RUNAWAY))
		q->used = (uint16_t)(q->used + size + 5);
	q->busy[r->head] = 0;
	atomic_store_explicit((_Atomic uint16_t *)&rings.used->idx, q->used, memory_order_release);
	d->regs->stats.completed++;
	d->regs->stats.bytes += len;
	check_interrupt(d, r->queue, &rings, old, q->used);
}
