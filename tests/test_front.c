/* SPDX-License-Identifier: GPL-2.0 */
/* The guest's module as its drivers see it: buffers, config space, queues, and what runs out. */
#include "front_stage.h"

#include "check_main.h"

#define BYTES 3000u

static const struct dma_map_ops *const dma = &xvs_dma_ops;
static struct device *const dev = &xbdev.dev;
static struct page *page;
static u8 *buffer; /* its bytes */

static void up(const struct xvs_mode *m)
{
	probe();
	mode = m;
	connect_to_backend();
	buffer = alloc_pages_exact(4 * PAGE_SIZE, GFP_KERNEL);
	ck_assert_ptr_nonnull(buffer);
	page = virt_to_page(buffer);
}

static void down(void)
{
	free_pages_exact(buffer, 4 * PAGE_SIZE);
	unload(0);
}

static void fill(u8 *p, size_t n, unsigned int with)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (u8)(with + i * 3);
}

static bool filled(const u8 *p, size_t n, unsigned int with)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != (u8)(with + i * 3))
			return false;
	return true;
}

/* What the back end has at that address. */
static u8 *seen(dma_addr_t addr)
{
	u8 *va = kernel_map(xvs_dma_ref(addr), false);

	ck_assert_ptr_nonnull(va);
	kernel_unmap(xvs_dma_ref(addr));
	return va + offset_in_page(addr);
}

static dma_addr_t map(unsigned long offset, size_t size, enum dma_data_direction dir)
{
	dma_addr_t addr = dma->map_page(dev, page, offset, size, dir, 0);

	ck_assert(addr != DMA_MAPPING_ERROR);
	ck_assert(addr & XVS_DADDR_GRANT);
	return addr;
}

/* -- buffers -- */

/* A copy: the back end sees these bytes and no others, and what it writes arrives where it may. */
START_TEST(copied_buffers)
{
	static const enum dma_data_direction way[] = { DMA_TO_DEVICE, DMA_FROM_DEVICE,
						       DMA_BIDIRECTIONAL };
	dma_addr_t addr;
	u8 *copy;

	up(_i < 3 ? &adaptive : &pool);
	fill(buffer, 2 * PAGE_SIZE, 1);
	addr = map(700, BYTES, way[_i % 3]);
	ck_assert(addr & XVS_DADDR_KEEP);
	copy = seen(addr);
	ck_assert(copy < buffer || copy >= buffer + 4 * PAGE_SIZE);
	ck_assert_mem_eq(copy, buffer + 700, BYTES);
	fill(copy, BYTES, 99);
	dma->unmap_page(dev, addr, BYTES, way[_i % 3], 0);
	if (way[_i % 3] == DMA_TO_DEVICE) {
		ck_assert(filled(buffer, 2 * PAGE_SIZE, 1));
	} else {
		ck_assert(filled(buffer + 700, BYTES, 99));
		ck_assert(filled(buffer, 700, 1));
		ck_assert(filled(buffer + 700 + BYTES, 100, (u8)(1 + (700 + BYTES) * 3)));
	}
	ck_assert(!xvs_broken(front()));
	down();
}
END_TEST

/* In the middle of a mapping's life either side can be brought up to date, or a part of it. */
START_TEST(copies_are_synchronised)
{
	dma_addr_t addr;
	u8 *copy;

	up(&pool);
	fill(buffer, BYTES, 1);
	addr = map(0, BYTES, DMA_BIDIRECTIONAL);
	copy = seen(addr);
	fill(copy + 600, 100, 50);
	dma->sync_single_for_cpu(dev, addr + 600, 100, DMA_TO_DEVICE); /* nothing to fetch */
	ck_assert(filled(buffer, BYTES, 1));
	dma->sync_single_for_cpu(dev, addr + 600, 100, DMA_FROM_DEVICE);
	ck_assert(filled(buffer + 600, 100, 50));
	ck_assert(filled(buffer, 600, 1));
	fill(buffer, BYTES, 7);
	dma->sync_single_for_device(dev, addr + 512, 256, DMA_FROM_DEVICE);
	ck_assert(filled(copy + 600, 100, 50));
	dma->sync_single_for_device(dev, addr + 512, 256, DMA_TO_DEVICE);
	ck_assert_mem_eq(copy + 512, buffer + 512, 256);
	ck_assert(filled(copy, 512, 1));
	/* past its end, before it, where none is: nothing moves */
	dma->sync_single_for_device(dev, addr + BYTES - 10, 11, DMA_TO_DEVICE);
	dma->sync_single_for_device(dev, addr + PAGE_SIZE, 1, DMA_TO_DEVICE);
	dma->sync_single_for_device(dev, XVS_DADDR_GRANT | XVS_DADDR_KEEP, 1, DMA_TO_DEVICE);
	dma->sync_single_for_device(dev, XVS_DADDR_GRANT, 1, DMA_TO_DEVICE);
	ck_assert_uint_eq(copy[BYTES - 5], (u8)(1 + (BYTES - 5) * 3));
	dma->unmap_page(dev, addr, BYTES, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
	ck_assert(filled(buffer, BYTES, 7));
	dma->sync_single_for_device(dev, addr, 1, DMA_TO_DEVICE); /* it is gone */
	ck_assert_uint_eq(copy[0], 1);
	ck_assert(!xvs_broken(front()));
	down();
}
END_TEST

/* Granted itself: as long as the buffer is mapped, and only to be read where that is enough. */
START_TEST(granted_buffers)
{
	const struct xvs_mode *const modes[] = { &strict, &adaptive, &lazy };
	dma_addr_t addr;
	grant_ref_t ref;

	up(modes[_i]);
	addr = map(PAGE_SIZE + 10, PAGE_SIZE + 20, DMA_TO_DEVICE); /* too long to be copied */
	ck_assert(!(addr & XVS_DADDR_KEEP));
	ref = xvs_dma_ref(addr);
	ck_assert_ptr_eq(seen(addr), buffer + PAGE_SIZE + 10);
	ck_assert_ptr_eq(seen(addr + PAGE_SIZE), buffer + 2 * PAGE_SIZE + 10);
	ck_assert_ptr_null(kernel_map(ref, true));
	dma->unmap_page(dev, addr, PAGE_SIZE + 20, DMA_TO_DEVICE, 0);
	ck_assert_ptr_null(kernel_map(ref, false));
	ck_assert_ptr_null(kernel_map(ref + 1, false));
	addr = map(0, PAGE_SIZE + 1, DMA_FROM_DEVICE);
	ck_assert_ptr_nonnull(kernel_map(xvs_dma_ref(addr), true));
	kernel_unmap(xvs_dma_ref(addr));
	dma->unmap_page(dev, addr, PAGE_SIZE + 1, DMA_FROM_DEVICE, 0);
	ck_assert(!xvs_broken(front()));
	down();
}
END_TEST

/* Short ones are copied in lazy, others are kept or, as here where none can be, granted. */
START_TEST(lazy_copies_what_is_short)
{
	dma_addr_t addr;

	up(&lazy);
	addr = map(0, 512, DMA_TO_DEVICE);
	ck_assert(addr & XVS_DADDR_KEEP);
	dma->unmap_page(dev, addr, 512, DMA_TO_DEVICE, 0);
	addr = map(0, 513, DMA_TO_DEVICE);
	ck_assert(!(addr & XVS_DADDR_KEEP));
	dma->unmap_page(dev, addr, 513, DMA_TO_DEVICE, 0);
	ck_assert(!xvs_broken(front()));
	down();
}
END_TEST

/* No room for copies: in pool the driver waits, in adaptive the page itself is granted. */
START_TEST(pool_runs_full)
{
	static dma_addr_t addr[16384];
	unsigned int n = 0;

	up(_i ? &pool : &adaptive);
	for (;;) {
		addr[n] = dma->map_page(dev, page, 0, 200, DMA_TO_DEVICE, 0);
		if (addr[n] == DMA_MAPPING_ERROR || !(addr[n] & XVS_DADDR_KEEP))
			break;
		ck_assert_uint_lt(++n, 16384);
	}
	ck_assert_uint_gt(n, 500);
	ck_assert_uint_eq(front()->pool.full.n, 1);
	ck_assert(_i == (addr[n] == DMA_MAPPING_ERROR));
	if (!_i)
		dma->unmap_page(dev, addr[n], 200, DMA_TO_DEVICE, 0);
	/* a place that is given back is the next one to be taken */
	dma->unmap_page(dev, addr[7], 200, DMA_TO_DEVICE, 0);
	ck_assert(dma->map_page(dev, page, 0, 200, DMA_TO_DEVICE, 0) == addr[7]);
	while (n--)
		dma->unmap_page(dev, addr[n], 200, DMA_TO_DEVICE, 0);
	ck_assert(!xvs_broken(front()));
	down();
}
END_TEST

/* Copies of a page and more do not mix with short ones, nor do any two overlap. */
START_TEST(copies_have_places_of_their_own)
{
	static const size_t size[] = { 100, 256, 257, 4096, 5000, 12000, 1, 3000 };
	grant_ref_t last_short = 0, first_long = UINT32_MAX;
	dma_addr_t addr[8];

	up(&pool);
	fill(buffer, 4 * PAGE_SIZE, 3);
	for (unsigned int i = 0; i < 8; i++) {
		addr[i] = map(i, size[i], DMA_FROM_DEVICE);
		if (size[i] <= PAGE_SIZE) /* never over an edge */
			ck_assert_uint_le(offset_in_page(addr[i]) + size[i], PAGE_SIZE);
		if (size[i] < PAGE_SIZE)
			last_short = max(last_short, xvs_dma_ref(addr[i]));
		else
			first_long = min(first_long, xvs_dma_ref(addr[i]));
	}
	/* pages that may hold tables are the back end's to map, and it finds no data there */
	ck_assert_uint_lt(last_short, first_long);
	for (unsigned int i = 0; i < 8; i++)
		for (unsigned int j = 0; j < 8; j++)
			if (i != j)
				ck_assert(addr[i] + size[i] <= addr[j] || addr[j] + size[j] <= addr[i]);
	for (unsigned int i = 0; i < 8; i++)
		dma->unmap_page(dev, addr[i], size[i], DMA_FROM_DEVICE, 0);
	ck_assert(filled(buffer, 4 * PAGE_SIZE, 3)); /* nothing was written, so nothing changed */
	ck_assert(!xvs_broken(front()));
	down();
}
END_TEST

/* A list is mapped whole or not at all. */
START_TEST(lists)
{
	struct scatterlist sg[3] = { { .offset = 100, .length = 300 },
				     { .offset = 4096, .length = 5000 }, { .length = 64 } };

	up(_i ? &pool : &strict);
	for (unsigned int i = 0; i < 3; i++)
		sg[i].page = page;
	fill(buffer, 4 * PAGE_SIZE, 3);
	ck_assert_int_eq(dma->map_sg(dev, sg, 3, DMA_BIDIRECTIONAL, 0), 3);
	for (unsigned int i = 0; i < 3; i++) {
		ck_assert_uint_eq(sg[i].dma_length, sg[i].length);
		ck_assert_mem_eq(seen(sg[i].dma_address), buffer + sg[i].offset, 64);
	}
	buffer[100] ^= 0xff;
	dma->sync_sg_for_device(dev, sg, 3, DMA_TO_DEVICE);
	ck_assert_uint_eq(seen(sg[0].dma_address)[0], buffer[100]);
	*seen(sg[2].dma_address) = 77;
	dma->sync_sg_for_cpu(dev, sg, 3, DMA_FROM_DEVICE);
	ck_assert_uint_eq(buffer[0], 77);
	dma->unmap_sg(dev, sg, 3, DMA_BIDIRECTIONAL, 0);
	sg[2].length = (xvs_grants_run() + 1) * PAGE_SIZE; /* longer than a mapping may be */
	ck_assert_int_eq(dma->map_sg(dev, sg, 3, DMA_BIDIRECTIONAL, 0), -ENOMEM);
	sg[2].length = 0;
	ck_assert_int_eq(dma->map_sg(dev, sg, 3, DMA_BIDIRECTIONAL, 0), -ENOMEM);
	if (!_i)
		for (unsigned int i = 0; i < 2; i++)
			ck_assert_ptr_null(kernel_map(xvs_dma_ref(sg[i].dma_address), false));
	ck_assert_int_eq(dma->map_sg(dev, sg, 2, DMA_TO_DEVICE, 0), 2);
	dma->unmap_sg(dev, sg, 2, DMA_TO_DEVICE, 0);
	ck_assert(!xvs_broken(front()));
	down();
}
END_TEST

/* The length of a mapping is the driver's word, its place and direction too: each is compared. */
START_TEST(hazard_44_unmapped_otherwise_than_mapped)
{
	dma_addr_t addr, bad;
	size_t size = BYTES;

	up(&pool);
	addr = bad = map(0, BYTES, DMA_FROM_DEVICE);
	if (_i == 0)
		size--;
	else if (_i == 1)
		bad += 256;
	else if (_i == 2)
		bad += 1;
	else if (_i == 3)
		size = 0;
	else
		dma->unmap_page(dev, addr, BYTES, DMA_FROM_DEVICE, 0); /* twice then */
	dma->unmap_page(dev, bad, size, DMA_FROM_DEVICE, 0);
	ck_assert(xvs_broken(front()));
	ck_assert(dma->map_page(dev, page, 0, 16, DMA_TO_DEVICE, 0) == DMA_MAPPING_ERROR);
	ck_assert_ptr_null(dma->alloc(dev, PAGE_SIZE, &addr, GFP_KERNEL, 0));
	down();
}
END_TEST

/* Memory for both sides at once: zeroed, granted, and gone when it is freed. */
START_TEST(shared_memory)
{
	dma_addr_t addr = 0;
	grant_ref_t ref;
	struct page *p;
	u8 *va;

	up(_i ? &pool : &strict);
	p = dma->alloc_pages(dev, 5000, &addr, DMA_BIDIRECTIONAL, GFP_KERNEL);
	ck_assert_ptr_nonnull(p);
	va = page_address(p);
	ref = xvs_dma_ref(addr);
	for (unsigned int i = 0; i < 2 * PAGE_SIZE; i++)
		ck_assert_uint_eq(va[i], 0);
	ck_assert_ptr_eq(seen(addr), va); /* no copy, whatever the mode */
	ck_assert_ptr_eq(seen(addr + PAGE_SIZE), va + PAGE_SIZE);
	dma->free_pages(dev, 5000, p, addr, DMA_BIDIRECTIONAL);
	ck_assert_ptr_null(kernel_map(ref, false));
	ck_assert_ptr_null(kernel_map(ref + 1, false));
	ck_assert_ptr_null(dma->alloc_pages(dev, (xvs_grants_run() + 1) * PAGE_SIZE, &addr,
					   DMA_BIDIRECTIONAL, GFP_KERNEL));
	kernel.fail_in = 1;
	ck_assert_ptr_null(dma->alloc_pages(dev, PAGE_SIZE, &addr, DMA_BIDIRECTIONAL, GFP_KERNEL));
	down();
}
END_TEST

START_TEST(limits_for_drivers)
{
	up(&strict);
	ck_assert_uint_eq(dma->max_mapping_size(dev), 64 * 1024);
	ck_assert_uint_eq(dev->dma_parms->max_segment_size, 64 * 1024);
	ck_assert(dma->dma_supported(dev, ~0ull));
	ck_assert(!dma->dma_supported(dev, ~0u)); /* bit 63 would not fit */
	down();
}
END_TEST

/* -- config space -- */

static unsigned int writes, refuse_write;

/* As the back end of the stage, and it carries writes out. */
static void answer_writes(int irq)
{
	struct xvs_control_page *c = front()->ctrl;
	struct xvs_request *req = &c->req;

	(void)irq;
	c->rsp.result = 0;
	if (req->op == XVS_OP_SET_CONFIG) {
		writes++;
		ck_assert_uint_le(req->u.config.len, XVS_CONFIG_WRITE_MAX);
		c->rsp.result = writes == refuse_write ? XVS_EINVAL : 0;
		if (!c->rsp.result)
			memcpy(c->config + req->u.config.offset, req->u.config.data,
			       req->u.config.len);
		c->info.config_generation += 2;
	}
	c->rsp.status = front()->status;
	c->rsp.seq = req->seq;
}

START_TEST(config_is_written_in_parts)
{
	struct virtio_device *vdev;
	u8 data[64], back[64];
	u32 gen;

	up(&strict);
	vdev = &front()->vd->vdev;
	kernel.notified = answer_writes;
	writes = refuse_write = 0;
	fill(data, 64, 5);
	gen = vdev->config->generation(vdev);
	vdev->config->set(vdev, 0, data, 64);
	ck_assert_uint_eq(writes, 2);
	vdev->config->get(vdev, 0, back, 64); /* no event was needed to see it */
	ck_assert_mem_eq(back, data, 64);
	ck_assert_uint_ne(vdev->config->generation(vdev), gen);
	ck_assert_uint_eq(kernel.config_changes, 1);
	/* what lies behind the end is nobody's: refused here, and read as 0 */
	vdev->config->set(vdev, 60, data, 5);
	vdev->config->set(vdev, 65, data, 0);
	ck_assert_uint_eq(writes, 2);
	vdev->config->get(vdev, 60, back, 8);
	ck_assert_mem_eq(back, data + 60, 4);
	ck_assert_mem_eq(back + 4, "\0\0\0\0", 4);
	/* the first part that is refused is the last */
	refuse_write = 3;
	fill(data, 64, 9);
	vdev->config->set(vdev, 0, data, 64);
	ck_assert_uint_eq(writes, 3);
	ck_assert_str_eq(kernel.log, "config write failed\n");
	down();
}
END_TEST

/* The device asks for a reset: the driver sees it until it has carried one out. */
START_TEST(device_needs_a_reset)
{
	struct virtio_device *vdev;
	struct xvs_front *f;

	up(&strict);
	f = front();
	vdev = &f->vd->vdev;
	f->ctrl->info.device_status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	f->armed = false; /* not before the driver is ready */
	kernel_raise(f->ctrl_irq);
	ck_assert(!(vdev->config->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET));
	f->armed = true;
	kernel_raise(f->ctrl_irq);
	kernel_raise(f->ctrl_irq);
	ck_assert(vdev->config->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(kernel.work, 1);
	kernel_run_work();
	ck_assert(the_queue()->broken);
	f->ctrl->info.device_status = 0;
	vdev->config->reset(vdev);
	ck_assert_uint_eq(vdev->config->get_status(vdev), 0);
	ck_assert(!xvs_broken(f));
	down();
}
END_TEST

START_TEST(features_that_are_needed)
{
	struct virtio_device *vdev;

	up(&strict);
	vdev = &front()->vd->vdev;
	vdev->features = BIT_ULL(_i ? VIRTIO_F_VERSION_1 : VIRTIO_F_ACCESS_PLATFORM);
	ck_assert_int_eq(vdev->config->finalize_features(vdev), -EINVAL);
	vdev->features = BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) |
			 BIT_ULL(VIRTIO_F_RING_PACKED);
	ck_assert_int_eq(vdev->config->finalize_features(vdev), 0);
	ck_assert(!virtio_has_feature(vdev, VIRTIO_F_RING_PACKED));
	ck_assert_str_eq(vdev->config->bus_name(vdev), "device");
	down();
}
END_TEST

/* What the back end answered reaches whoever asked; what is no error number is a broken rule. */
START_TEST(answers_are_errors)
{
	struct xvs_request req = { .op = XVS_OP_RELEASE_GRANTS };

	up(&strict);
	kernel.notified = answer_writes;
	req.op = XVS_OP_SET_CONFIG;
	writes = 0;
	refuse_write = 1;
	ck_assert_int_eq(xvs_request(front(), &req, NULL), XVS_EINVAL);
	front()->seq = UINT32_MAX; /* 0 is no number of a request */
	ck_assert_int_eq(xvs_request(front(), &req, NULL), 0);
	ck_assert_uint_eq(front()->seq, 1);
	down();
}
END_TEST

/* -- queues -- */

START_TEST(queues)
{
	static const char *const names[] = { "first", NULL, "second" };
	static vq_callback_t *callbacks[3];
	struct virtqueue *vqs[3];
	struct virtio_device *vdev;

	up(&strict);
	vdev = &front()->vd->vdev;
	ck_assert(the_queue()->notify(the_queue()));
	ck_assert_int_eq(vdev->config->set_vq_affinity(the_queue(), NULL), 0);
	/* it has its first queue already */
	ck_assert_int_eq(vdev->config->find_vqs(vdev, 1, vqs, callbacks, names, NULL, NULL), -ENOENT);
	vdev->config->del_vqs(vdev);
	ck_assert_int_eq(vdev->config->find_vqs(vdev, 3, vqs, callbacks, names, NULL, NULL), 0);
	ck_assert_ptr_null(vqs[1]); /* without a name, and it takes no number */
	ck_assert_uint_eq(vqs[0]->index, 0);
	ck_assert_uint_eq(vqs[2]->index, 1);
	ck_assert_uint_eq(vqs[2]->num_max, 64);
	ck_assert_ptr_eq(front()->queue[1].vq, vqs[2]);
	vdev->config->del_vqs(vdev);
	ck_assert_ptr_null(front()->queue[1].vq);
	ck_assert_uint_eq(kernel.irqs, 1); /* the control page's */
	down();
}
END_TEST

/* More queues than there are, or than there can be: none is left of those that were made. */
START_TEST(too_many_queues)
{
	const char *names[XVS_MAX_QUEUES + 1];
	vq_callback_t *callbacks[XVS_MAX_QUEUES + 1] = { NULL };
	struct virtqueue *vqs[XVS_MAX_QUEUES + 1];
	struct virtio_device *vdev;
	unsigned int n = _i ? XVS_MAX_QUEUES : 2;

	up(&strict);
	vdev = &front()->vd->vdev;
	vdev->config->del_vqs(vdev);
	for (unsigned int i = 0; i <= n; i++) {
		names[i] = "queue";
		front()->queue[i % XVS_MAX_QUEUES].size_max = i < n ? 16 : 0;
	}
	if (_i)
		front()->queue[0].size_max = 16;
	ck_assert_int_eq(vdev->config->find_vqs(vdev, n + 1, vqs, callbacks, names, NULL, NULL),
			 -ENOENT);
	ck_assert_uint_eq(kernel.irqs, 1);
	down();
}
END_TEST

/* -- what does not fit together -- */

START_TEST(hazard_43_control_page_and_store)
{
	static const char *const why[] = {
		"disagree on the device type", "disagree on addressing", "disagree on addressing",
		"number of queues", "magic or version",
	};
	struct xvs_control_page *c;
	const char *wrong;

	probe();
	backend_state(XenbusStateInitWait);
	fill_control_page();
	c = front()->ctrl;
	if (_i == 0)
		c->info.device_id++;
	else if (_i == 1)
		c->info.addressing = XVS_ADDRESSING_P2M;
	else if (_i == 2)
		c->info.protection = XVS_PROTECTION_LAZY;
	else if (_i == 3)
		c->info.num_queues = 0;
	else
		c->info.version++;
	ck_assert_int_eq(xvs_control_check(front(), &wrong), -EPROTO);
	ck_assert_msg(strstr(wrong, why[_i]) != NULL, "%s", wrong);
	unload(0);
}
END_TEST

/* The back end says why it does not go on; what it wrote there goes to the log, and no further. */
START_TEST(back_end_refuses)
{
	probe();
	backend_state(XenbusStateInitWait);
	kernel.refusal = "no such device\n\033[2J";
	backend_state(_i ? XenbusStateClosing : XenbusStateClosed);
	ck_assert_str_eq(kernel.log, "refused by the back end: %*pE\n"); /* escaped */
	ck_assert_int_eq(xbdev.state, XenbusStateClosed);
	ck_assert_int_eq(front()->stage, XVS_CLOSED);
	backend_state(XenbusStateInitWait); /* and it may try again */
	fill_control_page();
	backend_state(XenbusStateConnected);
	ck_assert_int_eq(front()->stage, XVS_LIVE);
	unload(0);
}
END_TEST

/* -- what runs out -- */

static bool loaded(void)
{
	if (kernel_module_init())
		return false;
	if (!kernel_driver->probe(&xbdev, kernel_driver->ids)) {
		backend_state(XenbusStateInitWait);
		if (xbdev.state == XenbusStateInitialised) {
			fill_control_page();
			backend_state(XenbusStateConnected);
		}
		/* one or the other, and nothing in between */
		if (front()->stage == XVS_LIVE) {
			ck_assert_int_eq(xbdev.state, XenbusStateConnected);
			ck_assert_ptr_nonnull(front()->vd);
		} else {
			ck_assert_int_eq(front()->stage, XVS_FAILED);
			ck_assert_int_eq(xbdev.state, XenbusStateClosed);
		}
		kernel_driver->remove(&xbdev);
	}
	kernel_module_exit();
	return true;
}

/* Each call that may fail does, by itself: what was had by then is given back. */
START_TEST(every_call_fails_in_turn)
{
	const struct xvs_mode *const modes[] = { &strict, &adaptive, &pool, &lazy };
	unsigned int nth = 0, not_loaded = 0;
	bool fired;

	do {
		power_up();
		mode = modes[_i];
		kernel.fail_in = ++nth;
		not_loaded += !loaded();
		fired = !kernel.fail_in;
		kernel.fail_in = 0;
		nothing_is_left(0);
	} while (fired);
	ck_assert_uint_eq(not_loaded, 4); /* parameters, work queue, keeping, the driver itself */
	ck_assert_uint_gt(nth, 16);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("front end");
	TCase *tc = tcase_create("driver");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, copied_buffers, 0, 6);
	tcase_add_test(tc, copies_are_synchronised);
	tcase_add_loop_test(tc, granted_buffers, 0, 3);
	tcase_add_test(tc, lazy_copies_what_is_short);
	tcase_add_loop_test(tc, pool_runs_full, 0, 2);
	tcase_add_test(tc, copies_have_places_of_their_own);
	tcase_add_loop_test(tc, lists, 0, 2);
	tcase_add_loop_test(tc, hazard_44_unmapped_otherwise_than_mapped, 0, 5);
	tcase_add_loop_test(tc, shared_memory, 0, 2);
	tcase_add_test(tc, limits_for_drivers);
	tcase_add_test(tc, config_is_written_in_parts);
	tcase_add_test(tc, device_needs_a_reset);
	tcase_add_loop_test(tc, features_that_are_needed, 0, 2);
	tcase_add_test(tc, answers_are_errors);
	tcase_add_test(tc, queues);
	tcase_add_loop_test(tc, too_many_queues, 0, 2);
	tcase_add_loop_test(tc, hazard_43_control_page_and_store, 0, 5);
	tcase_add_loop_test(tc, back_end_refuses, 0, 2);
	tcase_add_loop_test(tc, every_call_fails_in_turn, 0, 4);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
