/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mini_back.h"

#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What cannot fail unless the test is broken; unlike assert() never left out. */
#define must(c)                                                                                    \
	do {                                                                                       \
		if (!(c))                                                                          \
			abort();                                                                   \
	} while (0)

#define MINI_SIZE 64 /* entries of a queue */
#define MINI_PAGES (3 + MINI_SIZE)
#define MINI_CHAIN 256

struct mini_chain {
	unsigned int n;
	uint32_t writable;
	struct hv_unmap_op map[MINI_CHAIN];
};

struct mini_queue {
	bool live;
	uint16_t size, avail, used, dev_avail, dev_used;
	uint32_t port, npages;
	void *va; /* the guest's rings */
	struct vring_desc *desc;
	struct vring_avail *gavail;
	struct vring_used *gused;
	struct hv_dma dma; /* descriptors, available, used, a table for each head */
	struct mini_chain *chain;
};

struct mini_back {
	struct sim_machine *m;
	struct hv *hv;
	struct xdev *dev;
	uint16_t domid, guest;
	uint32_t ctrl_ref, ctrl_port, port, seq;
	enum mini_bug bug;
	struct xvs_control_page *ctrl;
	struct hv_dma ops; /* one page for maps, one for unmaps, one for copies, two of scratch */
	struct mini_queue queue[4];
	int stop;
	pthread_t thread;
};

static void *page_va(struct hv_dma *dma, unsigned int page)
{
	return (uint8_t *)dma->va + (size_t)page * XVS_FRAME_SIZE;
}

static void mini_unmap(struct mini_back *b, struct mini_chain *c)
{
	struct hv_unmap_op *op = page_va(&b->ops, 2);

	for (unsigned int i = 0; i < c->n; i++) {
		op[0] = c->map[i];
		must(!b->hv->ops->gnt_unmap(b->hv, op, 1) && !op[0].status);
	}
	c->n = 0;
}

/* A descriptor of the guest, page by page, into the table of its head. */
static unsigned int mini_map(struct mini_back *b, struct mini_chain *c, struct vring_desc d,
			     struct vring_desc *table, unsigned int n)
{
	bool write = d.flags & VRING_DESC_F_WRITE;
	uint32_t ref = (uint32_t)(d.addr >> 12);
	struct hv_map_op *op = page_va(&b->ops, 0);

	for (uint32_t len = d.len, off = d.addr & 4095; len; ref++, off = 0, n++) {
		uint32_t part = 4096 - off < len ? 4096 - off : len;

		*op = (struct hv_map_op){ .gref = ref, .domid = b->guest, .flags = HV_MAP_DEVICE };
		if (!write || b->bug == MINI_MAP_READONLY)
			op->flags |= HV_MAP_READONLY;
		must(!b->hv->ops->gnt_map(b->hv, op, 1) && !op->status);
		c->map[c->n++] = (struct hv_unmap_op){ .maddr = op->maddr, .handle = op->handle };
		table[n] = (struct vring_desc){ .addr = op->maddr.a + off, .len = part,
						.flags = VRING_DESC_F_NEXT |
							 (write ? VRING_DESC_F_WRITE : 0) };
		if (b->bug == MINI_USE_PFN)
			table[n].addr = d.addr & ~XVS_DADDR_GRANT;
		table[n].next = (uint16_t)(n + 1);
		len -= part;
	}
	return n;
}

static void mini_copy(struct mini_back *b, uint64_t daddr, void *to, uint32_t len)
{
	struct hv_copy_op *op = page_va(&b->ops, 4);

	for (uint32_t done = 0; done < len; done += op->len, daddr += op->len) {
		uint32_t off = daddr & 4095, part = 4096 - off;

		*op = (struct hv_copy_op){
			.source = { .frame = daddr >> 12 & 0xffffffff, .domid = b->guest,
				    .offset = (uint16_t)off },
			.dest = { .frame = mfn_of(b->ops.maddr[5]).n, .domid = HV_DOMID_SELF },
			.len = (uint16_t)(part < len - done ? part : len - done),
			.flags = HV_COPY_SOURCE_GREF,
		};
		must(!b->hv->ops->gnt_copy(b->hv, op, 1) && !op->status);
		memcpy((uint8_t *)to + done, page_va(&b->ops, 5), op->len);
	}
}

/* All descriptors of a chain; returns how many there are in the table then. */
static unsigned int mini_walk(struct mini_back *b, struct mini_chain *c,
			      const struct vring_desc *from, struct vring_desc d,
			      struct vring_desc *table)
{
	unsigned int n = 0;

	c->writable = 0;
	for (;; d = from[d.next]) {
		n = mini_map(b, c, d, table, n);
		c->writable += d.flags & VRING_DESC_F_WRITE ? d.len : 0;
		if (!(d.flags & VRING_DESC_F_NEXT))
			break;
	}
	table[n - 1].flags &= (uint16_t)~VRING_DESC_F_NEXT;
	return n;
}

static void mini_chain(struct mini_back *b, unsigned int i, uint16_t head)
{
	struct mini_queue *q = &b->queue[i];
	struct mini_chain *c = &q->chain[head];
	struct vring_desc *table = page_va(&q->dma, 3u + head), copy[MINI_CHAIN];
	struct vring_desc *shadow = page_va(&q->dma, 0), d = q->desc[head];
	struct vring_avail *avail = page_va(&q->dma, 1);
	const struct vring_desc *from = q->desc;
	unsigned int n;

	if (d.flags & VRING_DESC_F_INDIRECT) {
		mini_copy(b, d.addr, copy, d.len);
		from = copy;
		d = copy[0];
	}
	n = mini_walk(b, c, from, d, table);
	if (b->bug == MINI_WRONG_ORDER)
		table[0].flags |= VRING_DESC_F_WRITE;
	shadow[head] = (struct vring_desc){ .addr = q->dma.maddr[3 + head].a, .len = n * 16,
					    .flags = VRING_DESC_F_INDIRECT };
	avail->ring[q->dev_avail++ % q->size] = head;
	atomic_store_explicit((_Atomic uint16_t *)&avail->idx, q->dev_avail, memory_order_release);
	b->dev->ops->notify(b->dev, i);
	if (b->bug == MINI_EARLY_UNMAP || b->bug == MINI_REMAP) {
		/* The device has taken the chain by then and not completed it. */
		usleep(5000);
		mini_unmap(b, c);
	}
	if (b->bug == MINI_REMAP)
		mini_walk(b, c, from, d, table);
}

static void mini_used(struct mini_back *b, struct mini_queue *q, struct vring_used_elem e)
{
	struct mini_chain *c = &q->chain[e.id % q->size];

	if (b->bug != MINI_LATE_UNMAP)
		mini_unmap(b, c);
	if (b->bug == MINI_USED_LEN)
		e.len = c->writable + 1;
	if (b->bug == MINI_USED_ID)
		e.id = (e.id + 1) % q->size;
	q->gused->ring[q->used++ % q->size] = e;
	atomic_store_explicit((_Atomic uint16_t *)&q->gused->idx, q->used, memory_order_release);
	b->hv->ops->evtchn_notify(b->hv, q->port);
	if (b->bug == MINI_LATE_UNMAP) {
		usleep(50000);
		mini_unmap(b, c);
	}
}

static void mini_queue(struct mini_back *b, unsigned int i)
{
	struct mini_queue *q = &b->queue[i];
	struct vring_avail *avail = page_va(&q->dma, 1);
	struct vring_used *used = page_va(&q->dma, 2);

	while (atomic_load_explicit((_Atomic uint16_t *)&q->gavail->idx, memory_order_acquire) !=
	       q->avail)
		mini_chain(b, i, q->gavail->ring[q->avail++ % q->size]);
	/* Every request of the guest is to notify: this one does not look twice. */
	atomic_store((_Atomic uint16_t *)&q->gused->ring[q->size], q->avail);
	while (atomic_load_explicit((_Atomic uint16_t *)&used->idx, memory_order_acquire) !=
	       q->dev_used)
		mini_used(b, q, used->ring[q->dev_used++ % q->size]);
	atomic_store((_Atomic uint16_t *)&avail->ring[q->size], q->dev_used);
}

static void mini_queue_off(struct mini_back *b, struct mini_queue *q)
{
	if (!q->live)
		return;
	for (unsigned int i = 0; i < q->size; i++)
		mini_unmap(b, &q->chain[i]);
	b->hv->ops->evtchn_unbind(b->hv, q->port);
	b->hv->ops->host_unmap(b->hv, q->va, q->npages);
	b->hv->ops->dma_free(b->hv, &q->dma);
	free(q->chain);
	memset(q, 0, sizeof(*q));
}

static void mini_reset(struct mini_back *b)
{
	/* A device that does not confirm its reset keeps everything mapped. */
	if (b->dev->ops->reset(b->dev))
		return;
	for (unsigned int i = 0; i < 4; i++) {
		mini_queue_off(b, &b->queue[i]);
		b->ctrl->queue[i].enabled = 0;
	}
}

static int mini_queue_on(struct mini_back *b, unsigned int i)
{
	const struct xvs_queue *e = &b->ctrl->queue[i];
	struct mini_queue *q = &b->queue[i];
	uint32_t ref = (uint32_t)(e->desc_addr >> 12), refs[8];
	maddr_t desc;

	q->size = e->size;
	q->npages = (uint32_t)(e->device_addr - e->desc_addr + 6 + 8 * e->size + 4095) / 4096;
	for (unsigned int k = 0; k < q->npages; k++)
		refs[k] = ref + k;
	must(!b->hv->ops->host_map(b->hv, b->guest, refs, q->npages, true, &q->va));
	q->desc = q->va;
	q->gavail = (void *)((uint8_t *)q->va + (e->driver_addr - e->desc_addr));
	q->gused = (void *)((uint8_t *)q->va + (e->device_addr - e->desc_addr));
	must(!b->hv->ops->evtchn_bind(b->hv, b->guest, e->evtchn, &q->port));
	must(!b->hv->ops->dma_alloc(b->hv, MINI_PAGES, &q->dma));
	q->chain = calloc(q->size, sizeof(*q->chain));
	q->live = true;
	desc = q->dma.maddr[0];
	if (b->bug == MINI_OWN_MEMORY) {
		pfn_t pfn;
		mfn_t mfn;

		must(!sim_pages_alloc(b->m, b->domid, 1, &pfn));
		must(!sim_p2m(b->m, b->domid, pfn, &mfn));
		desc = maddr_of(mfn, 0);
	}
	return b->dev->ops->queue_enable(b->dev, i, q->size, desc, q->dma.maddr[1],
					 q->dma.maddr[2]);
}

static int mini_do(struct mini_back *b, const struct xvs_request *r)
{
	struct xvs_control_page *c = b->ctrl;

	switch (r->op) {
	case XVS_OP_SET_DRIVER_FEATURES:
		b->dev->ops->set_features(b->dev, r->u.features);
		return 0;
	case XVS_OP_SET_DEVICE_STATUS:
		if (r->u.status)
			b->dev->ops->set_status(b->dev, (uint8_t)r->u.status);
		else
			mini_reset(b);
		return 0;
	case XVS_OP_SET_CONFIG:
		b->dev->ops->config_write(b->dev, r->u.config.offset, r->u.config.data,
					  r->u.config.len);
		return b->dev->ops->config_read(b->dev, 0, c->config, b->dev->config_len);
	case XVS_OP_SET_VQUEUE:
		if (r->u.index >= 4 || mini_queue_on(b, r->u.index))
			return XVS_EINVAL;
		c->queue[r->u.index].enabled = 1;
		return 0;
	default:
		return XVS_EOPNOTSUPP;
	}
}

static void mini_mailbox(struct mini_back *b)
{
	struct xvs_control_page *c = b->ctrl;
	uint32_t seq = atomic_load_explicit((_Atomic uint32_t *)&c->req.seq, memory_order_acquire);

	if (seq != b->seq) {
		c->rsp.result = mini_do(b, &c->req);
		c->rsp.status = b->dev->ops->get_status(b->dev);
		c->info.device_status = c->rsp.status;
		b->seq = seq;
		atomic_store_explicit((_Atomic uint32_t *)&c->rsp.seq, seq, memory_order_release);
		b->hv->ops->evtchn_notify(b->hv, b->port);
	}
	if (b->dev->ops->get_status(b->dev) & VIRTIO_CONFIG_S_NEEDS_RESET)
		c->info.device_status |= VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void mini_fill(struct mini_back *b)
{
	struct xvs_control_page *c = b->ctrl;

	c->info.version = XVS_VERSION;
	c->info.num_queues = (uint16_t)b->dev->num_queues;
	c->info.device_id = b->dev->device_id;
	c->info.config_len = b->dev->config_len;
	c->info.device_features = b->dev->ops->get_features(b->dev);
	c->info.addressing = XVS_ADDRESSING_GRANT;
	c->info.protection = XVS_PROTECTION_STRICT;
	for (unsigned int i = 0; i < b->dev->num_queues; i++)
		c->queue[i].size_max = MINI_SIZE;
	b->dev->ops->config_read(b->dev, 0, c->config, b->dev->config_len);
	atomic_store_explicit((_Atomic uint32_t *)&c->info.magic, XVS_MAGIC, memory_order_release);
}

static void *mini_thread(void *arg)
{
	struct mini_back *b = arg;
	struct pollfd pfd[3] = { { .events = POLLIN }, { .events = POLLIN }, { .events = POLLIN } };
	uint32_t port;
	int err = 0;

	b->hv = sim_hv_open(b->m, b->domid, HV_CAP_GRANT | HV_CAP_EVTCHN | HV_CAP_DMA, &err);
	must(b->hv);
	must(!b->hv->ops->dma_alloc(b->hv, 6, &b->ops));
	must(!b->hv->ops->host_map(b->hv, b->guest, &b->ctrl_ref, 1, true, (void **)&b->ctrl));
	must(!b->hv->ops->evtchn_bind(b->hv, b->guest, b->ctrl_port, &b->port));
	mini_fill(b);
	pfd[0].fd = b->stop;
	pfd[1].fd = b->hv->ops->evtchn_fd(b->hv);
	pfd[2].fd = b->dev->ops->irq_fd(b->dev);
	while (poll(pfd, 3, -1) >= 0 && !pfd[0].revents) {
		if (pfd[2].revents)
			b->dev->ops->irq_ack(b->dev);
		while (b->hv->ops->evtchn_pending(b->hv, &port) == 1)
			b->hv->ops->evtchn_unmask(b->hv, port);
		mini_mailbox(b);
		for (unsigned int i = 0; i < 4; i++)
			if (b->queue[i].live)
				mini_queue(b, i);
	}
	mini_reset(b);
	b->hv->ops->evtchn_unbind(b->hv, b->port);
	b->hv->ops->host_unmap(b->hv, b->ctrl, 1);
	b->hv->ops->dma_free(b->hv, &b->ops);
	hv_close(b->hv);
	return NULL;
}

static struct mini_back *mini_back_new(struct sim_machine *m, uint16_t domid, uint16_t guest,
				       struct xdev *dev, uint32_t ctrl_ref, uint32_t ctrl_port,
				       enum mini_bug bug)
{
	struct mini_back *b = calloc(1, sizeof(*b));

	must(b);
	b->m = m;
	b->domid = domid;
	b->guest = guest;
	b->dev = dev;
	b->ctrl_ref = ctrl_ref;
	b->ctrl_port = ctrl_port;
	b->bug = bug;
	b->stop = eventfd(0, EFD_CLOEXEC);
	return b;
}

struct mini_back *mini_back_start(struct sim_machine *m, uint16_t domid, uint16_t guest,
				  struct xdev *dev, uint32_t ctrl_ref, uint32_t ctrl_port,
				  enum mini_bug bug)
{
	struct mini_back *b = mini_back_new(m, domid, guest, dev, ctrl_ref, ctrl_port, bug);

	pthread_create(&b->thread, NULL, mini_thread, b);
	return b;
}

void mini_back_serve(struct sim_machine *m, uint16_t domid, uint16_t guest, struct xdev *dev,
		     uint32_t ctrl_ref, uint32_t ctrl_port)
{
	mini_thread(mini_back_new(m, domid, guest, dev, ctrl_ref, ctrl_port, MINI_GOOD));
}

void mini_back_stop(struct mini_back *b)
{
	eventfd_write(b->stop, 1);
	pthread_join(b->thread, NULL);
	close(b->stop);
	free(b);
}
