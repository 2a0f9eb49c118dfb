/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "null.h"

#include "util/shared.h"
#include "serve.h"

#include <linux/virtio_config.h>
#include <stdlib.h>
#include <sys/mman.h>

#define DMA_FRAME 0x100000u /* machine frame of the first page of DMA memory */
#define BAD_REF (-3)

static struct null_machine *machine(struct hv *hv)
{
	return hv->priv;
}

static int null_map(struct hv *hv, struct hv_map_op *ops, unsigned int n)
{
	struct null_machine *m = machine(hv);
	mfn_t mfn;

	for (unsigned int i = 0; i < n; i++) {
		if (p2m_cache_get(&m->frames, (pfn_t){ ops[i].gref }, &mfn)) {
			ops[i].status = BAD_REF;
			continue;
		}
		ops[i].maddr = maddr_of(mfn, 0);
		ops[i].handle = m->next_handle++ & 0x7fffffff;
		ops[i].status = HV_STATUS_OKAY;
	}
	return 0;
}

static int null_unmap(struct hv *hv, struct hv_unmap_op *ops, unsigned int n)
{
	(void)hv;
	for (unsigned int i = 0; i < n; i++)
		ops[i].status = HV_STATUS_OKAY;
	return 0;
}

static int null_copy(struct hv *hv, struct hv_copy_op *ops, unsigned int n)
{
	struct null_machine *m = machine(hv);

	for (unsigned int i = 0; i < n; i++) {
		char *to = (char *)m->dma.va +
			   (size_t)(ops[i].dest.frame - DMA_FRAME) * XVS_FRAME_SIZE;

		memcpy(to + ops[i].dest.offset,
		       (char *)null_page(m, (uint32_t)ops[i].source.frame) + ops[i].source.offset,
		       ops[i].len);
		ops[i].status = HV_STATUS_OKAY;
	}
	return 0;
}

static int null_host_map(struct hv *hv, uint16_t domid, const uint32_t *gref, unsigned int n,
			 bool writable, void **va)
{
	(void)domid, (void)n, (void)writable;
	*va = null_page(machine(hv), gref[0]);
	return 0;
}

static int null_host_unmap(struct hv *hv, void *va, unsigned int n)
{
	(void)hv, (void)va, (void)n;
	return 0;
}

static int null_bind(struct hv *hv, uint16_t domid, uint32_t remote, uint32_t *port)
{
	(void)hv, (void)domid;
	*port = remote;
	return 0;
}

static int null_port(struct hv *hv, uint32_t port)
{
	(void)hv, (void)port;
	return 0;
}

static const struct hv_ops null_hv = {
	.name = "null",
	.gnt_map = null_map,
	.gnt_unmap = null_unmap,
	.gnt_copy = null_copy,
	.host_map = null_host_map,
	.host_unmap = null_host_unmap,
	.evtchn_bind = null_bind,
	.evtchn_unbind = null_port,
	.evtchn_notify = null_port,
	.evtchn_unmask = null_port,
};

static struct null_machine *of_dev(struct xdev *dev)
{
	return (void *)((char *)dev - offsetof(struct null_machine, dev));
}

static int dev_reset(struct xdev *dev)
{
	of_dev(dev)->size = 0;
	return 0;
}

static uint8_t dev_status(struct xdev *dev)
{
	(void)dev;
	return VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
}

static void dev_set_status(struct xdev *dev, uint8_t status)
{
	(void)dev, (void)status;
}

static uint64_t dev_features(struct xdev *dev)
{
	(void)dev;
	return 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
	       1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX;
}

static void dev_set_features(struct xdev *dev, uint64_t features)
{
	(void)dev, (void)features;
}

static int dev_config(struct xdev *dev, unsigned int off, void *buf, unsigned int len)
{
	(void)dev, (void)off;
	memset(buf, 0, len);
	return 0;
}

static uint16_t dev_size_max(struct xdev *dev, unsigned int index)
{
	(void)dev;
	return index ? 0 : NULL_RING;
}

static void *dma_va(const struct null_machine *m, maddr_t maddr)
{
	return (char *)m->dma.va + (maddr.a - ((uint64_t)DMA_FRAME << XVS_FRAME_SHIFT));
}

static int dev_enable(struct xdev *dev, unsigned int index, uint16_t size, maddr_t desc,
		      maddr_t driver, maddr_t device)
{
	struct null_machine *m = of_dev(dev);

	(void)index;
	m->desc = dma_va(m, desc);
	m->avail = dma_va(m, driver);
	m->used = dma_va(m, device);
	m->size = size;
	m->last = 0;
	return 0;
}

static void dev_notify(struct xdev *dev, unsigned int index)
{
	(void)dev, (void)index;
}

static const struct xdev_ops null_dev = {
	.reset = dev_reset,
	.get_status = dev_status,
	.set_status = dev_set_status,
	.get_features = dev_features,
	.set_features = dev_set_features,
	.config_read = dev_config,
	.queue_size_max = dev_size_max,
	.queue_enable = dev_enable,
	.notify = dev_notify,
};

void null_complete(struct null_machine *m)
{
	uint16_t end = shared_read_acquire(&m->avail->idx);

	for (; m->last != end; m->last++) {
		struct vring_used_elem *e = &m->used->ring[m->last & (m->size - 1)];

		e->id = m->avail->ring[m->last & (m->size - 1)];
		e->len = 0;
	}
	shared_write_release(&m->used->idx, end);
}

static void *pages(size_t n)
{
	void *va = mmap(NULL, n * XVS_FRAME_SIZE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (va == MAP_FAILED)
		bench_fail("out of memory");
	return va;
}

void null_open(struct null_machine *m, uint64_t data_refs)
{
	const unsigned int n = 256;

	memset(m, 0, sizeof(*m));
	m->hv = (struct hv){ .ops = &null_hv, .priv = m };
	m->dev = (struct xdev){ .ops = &null_dev, .device_id = 2, .num_queues = 1,
				.config_len = 20 };
	m->guest = pages(NULL_REF_DATA);
	m->dma = (struct hv_dma){ .va = pages(n), .npages = n,
				  .maddr = calloc(n, sizeof(maddr_t)),
				  .handle = calloc(n, sizeof(uint32_t)) };
	if (!m->dma.maddr || !m->dma.handle ||
	    p2m_cache_open(&m->frames, NULL_REF_DATA + data_refs))
		bench_fail("out of memory");
	for (unsigned int i = 0; i < n; i++)
		m->dma.maddr[i] = maddr_of((mfn_t){ DMA_FRAME + i }, 0);
}
