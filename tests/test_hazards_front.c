/* SPDX-License-Identifier: GPL-2.0 */
/* docs/security.md, the guest against its back end: the module itself, on the kernel of kernel.h. */
#include "front_stage.h"

#include "check_main.h"

/* -- 43 -- */

START_TEST(hazard_43_tables_cannot_be_written)
{
	dma_addr_t used;
	grant_ref_t ref;

	probe();
	connect_to_backend();
	used = virtqueue_get_used_addr(the_queue());
	ref = xvs_dma_ref(virtqueue_get_desc_addr(the_queue()));
	ck_assert_uint_lt(ref, xvs_dma_ref(used));
	for (; ref < xvs_dma_ref(used); ref++) {
		ck_assert_ptr_nonnull(kernel_map(ref, false));
		kernel_unmap(ref);
		ck_assert_ptr_null(kernel_map(ref, true));
	}
	ck_assert_ptr_nonnull(kernel_map(ref, true));
	kernel_unmap(ref);
	unload(0);
}
END_TEST

/* Config, status and sizes are the copies that were checked, whatever stands in the page now. */
START_TEST(hazard_43_control_page_is_a_copy)
{
	struct xvs_control_page *c;
	struct virtio_device *vdev;
	u8 byte = 0;

	probe();
	connect_to_backend();
	c = front()->ctrl;
	vdev = &front()->vd->vdev;
	memset(c->config, 0xff, sizeof(c->config)); /* without a new generation */
	c->info.config_len = UINT32_MAX;
	c->info.device_features = ~0ull;
	c->info.device_status = 0xff & ~VIRTIO_CONFIG_S_NEEDS_RESET;
	c->queue[0].size_max = 0xffff;
	kernel_raise(front()->ctrl_irq);
	vdev->config->get(vdev, 0, &byte, 1);
	ck_assert_uint_eq(byte, 0);
	vdev->config->get(vdev, 64, &byte, 1);
	ck_assert_uint_eq(byte, 0);
	ck_assert_uint_eq(vdev->config->get_features(vdev),
			  BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM));
	ck_assert_uint_eq(vdev->config->get_status(vdev), 15);
	ck_assert_uint_eq(front()->queue[0].size_max, 64);
	unload(0);
}
END_TEST

/* What cannot be is refused before there is a device. */
START_TEST(hazard_43_control_page_is_checked)
{
	struct xvs_control_page *c;

	probe();
	backend_state(XenbusStateInitWait);
	fill_control_page();
	c = front()->ctrl;
	switch (_i) {
	case 0:
		c->info.magic++;
		break;
	case 1:
		c->info.num_queues = XVS_MAX_QUEUES + 1;
		break;
	case 2:
		c->info.config_len = XVS_CONFIG_MAX + 1;
		break;
	case 3:
		c->queue[1].size_max = XVS_QUEUE_SIZE_MAX + 1;
		break;
	case 4:
		c->info.config_generation = 1; /* never even: it is waited for, but not for ever */
		break;
	default:
		c->info.device_features = BIT_ULL(VIRTIO_F_VERSION_1);
		break;
	}
	backend_state(XenbusStateConnected);
	ck_assert_int_eq(front()->stage, XVS_FAILED);
	ck_assert_int_eq(xbdev.state, XenbusStateClosed);
	ck_assert_ptr_null(front()->vd);
	unload(0);
}
END_TEST

/* -- 44 -- */

static struct page *new_page(void)
{
	return virt_to_page(alloc_pages_exact(PAGE_SIZE, GFP_KERNEL));
}

START_TEST(hazard_44_kept_page_is_held)
{
	struct xvs_front *f;
	struct page *page;
	grant_ref_t ref, other = 0;
	dma_addr_t addr;

	probe();
	connect_to_backend();
	f = front();
	page = new_page();
	addr = xvs_dma_ops.map_page(&xbdev.dev, page, 0, 512, DMA_TO_DEVICE, 0);
	ck_assert(addr != DMA_MAPPING_ERROR);
	ref = xvs_dma_ref(addr);
	ck_assert_ptr_nonnull(kernel_map(ref, false));
	xvs_dma_ops.unmap_page(&xbdev.dev, addr, 512, DMA_TO_DEVICE, 0);
	ck_assert(xvs_broken(f));
	kernel_run_work();
	ck_assert(the_queue()->broken);
	put_page(page); /* the driver is done with it */
	ck_assert_uint_eq(page->count, 1);
	/*
	 * Neither page nor reference is handed out again. The other references go back to the kernel
	 * one by one, so this ends.
	 */
	for (;;) {
		struct page *p = new_page();
		int ret = xvs_grant(&f->grants, p, 1, false, &other);

		ck_assert_ptr_ne(p, page);
		ck_assert_uint_ne(other, ref);
		if (!ret)
			xvs_ungrant(&f->grants, other, 1);
		put_page(p);
		if (ret)
			break;
	}
	/* nothing more is given to that back end */
	ck_assert(xvs_dma_ops.map_page(&xbdev.dev, page, 0, 512, DMA_TO_DEVICE, 0) ==
		  DMA_MAPPING_ERROR);
	unload(1);
	kernel_unmap(ref); /* at last */
	kernel_end();
	ck_assert_uint_eq(kernel.pages, 0);
	ck_assert_uint_eq(kernel.refs, 0);
}
END_TEST

/* Any page of rings, control page and pool may be kept: it stays, the others go. */
START_TEST(hazard_44_any_page_may_be_kept)
{
	grant_ref_t ref;

	probe();
	mode = &adaptive;
	connect_to_backend();
	if (_i == 0)
		ref = front()->ctrl_ref;
	else if (_i == 1)
		ref = xvs_dma_ref(virtqueue_get_used_addr(the_queue()));
	else
		ref = xvs_dma_ref(xvs_pool_map(&front()->pool, &ref, sizeof(ref), 0));
	ck_assert_ptr_nonnull(kernel_map(ref, true));
	unload(1);
	kernel_unmap(ref);
	kernel_end();
	ck_assert_uint_eq(kernel.pages, 0);
}
END_TEST

/* What it made of an address in a table that it can write is no reason to give a page up. */
START_TEST(hazard_44_address_that_was_never_mapped)
{
	static const dma_addr_t bad[] = { 0, 0x1000, XVS_DADDR_GRANT, ~0ull,
					  XVS_DADDR_GRANT | XVS_DADDR_KEEP | 0x5000 };
	dma_addr_t addr;

	probe();
	mode = &adaptive;
	connect_to_backend();
	addr = virtqueue_get_desc_addr(the_queue());
	xvs_dma_ops.unmap_page(&xbdev.dev, _i < 5 ? bad[_i] : addr + PAGE_SIZE, 512,
			       DMA_TO_DEVICE, 0);
	ck_assert(xvs_broken(front()));
	ck_assert_ptr_nonnull(kernel_map(xvs_dma_ref(addr), false)); /* the ring is still there */
	kernel_unmap(xvs_dma_ref(addr));
	unload(0);
}
END_TEST

/* -- 45 -- */

START_TEST(hazard_45_nothing_stale_is_shared)
{
	unsigned int granted = 0;

	probe(); /* all of memory was something else before: 0xa5 */
	mode = &adaptive;
	connect_to_backend();
	for (grant_ref_t ref = 0; ref < 8192; ref++) {
		const u8 *page = kernel_map(ref, false);

		if (!page)
			continue;
		granted++;
		for (unsigned int i = 0; i < PAGE_SIZE; i++)
			ck_assert_uint_ne(page[i], 0xa5);
		kernel_unmap(ref);
	}
	ck_assert_uint_gt(granted, 512); /* the pool, a ring, the control page */
	unload(0);
}
END_TEST

/* -- what adaptive copies -- */

/* A header, whole pages and a status, as of a block device. How many of the pages were copied? */
static unsigned int copied_of(u8 *va, unsigned int pages)
{
	dma_addr_t addr[18];
	size_t size[18];
	unsigned int copied = 0;

	for (unsigned int i = 0; i < pages + 2; i++) {
		u8 *at = va + (size_t)i * PAGE_SIZE;

		size[i] = i == 0 ? 16 : i == pages + 1 ? 1 : PAGE_SIZE;
		addr[i] = xvs_dma_ops.map_page(&xbdev.dev, virt_to_page(at), 0, size[i],
					       DMA_BIDIRECTIONAL, 0);
		ck_assert_uint_ne(addr[i], DMA_MAPPING_ERROR);
		if (size[i] < PAGE_SIZE)
			ck_assert(addr[i] & XVS_DADDR_KEEP);
		else if (addr[i] & XVS_DADDR_KEEP)
			copied++;
	}
	for (unsigned int i = 0; i < pages + 2; i++)
		xvs_dma_ops.unmap_page(&xbdev.dev, addr[i], size[i], DMA_BIDIRECTIONAL, 0);
	ck_assert(!xvs_broken(front()));
	return copied;
}

START_TEST(adaptive_copies_short_requests)
{
	void *va;

	probe();
	mode = &adaptive;
	connect_to_backend();
	va = alloc_pages_exact(18 * PAGE_SIZE, GFP_KERNEL);
	ck_assert_uint_eq(copied_of(va, 1), 1);
	ck_assert_uint_eq(copied_of(va, 8), 8);
	ck_assert_uint_eq(copied_of(va, 16), 8); /* not told before */
	ck_assert_uint_eq(copied_of(va, 16), 0);
	ck_assert_uint_eq(copied_of(va, 9), 0);
	ck_assert_uint_eq(copied_of(va, 1), 0);
	ck_assert_uint_eq(copied_of(va, 2), 2);
	free_pages_exact(va, 18 * PAGE_SIZE);
	unload(0);
}
END_TEST

/* -- 46 -- */

START_TEST(hazard_46_events_without_news_are_spurious)
{
	struct xvs_front *f;
	unsigned int before;

	probe();
	connect_to_backend();
	f = front();
	kernel_raise(f->ctrl_irq); /* news: the answers so far */
	before = kernel.spurious;
	for (unsigned int i = 0; i < 100; i++)
		kernel_raise(f->ctrl_irq);
	ck_assert_uint_eq(kernel.spurious, before + 100);
	f->ctrl->info.config_generation += 2;
	kernel_raise(f->ctrl_irq);
	f->ctrl->info.epoch++;
	kernel_raise(f->ctrl_irq);
	ck_assert_uint_eq(kernel.spurious, before + 100);
	for (unsigned int i = 0; i < 100; i++)
		kernel_raise(f->queue[0].irq);
	ck_assert_uint_eq(kernel.spurious, before + 200);
	kernel.used = true;
	kernel_raise(f->queue[0].irq);
	ck_assert_uint_eq(kernel.spurious, before + 200);
	/* each was acknowledged, or it would be the last */
	ck_assert_uint_eq(kernel.eois, 1 + 100 + 2 + 100 + 1);
	unload(0);
}
END_TEST

/* What is news because the back end says so is so only for a while. */
START_TEST(hazard_46_news_without_end)
{
	struct xvs_front *f;
	unsigned int before;

	probe();
	connect_to_backend();
	f = front();
	before = kernel.spurious;
	for (unsigned int i = 0; i < 1000; i++) {
		f->ctrl->info.epoch++;
		f->ctrl->info.config_generation += 2;
		f->ctrl->rsp.seq += 1000; /* to no request */
		kernel_raise(f->ctrl_irq);
	}
	ck_assert_uint_ge(kernel.spurious, before + 900);
	kernel.now += 2 * HZ;
	before = kernel.spurious;
	f->ctrl->info.epoch++;
	kernel_raise(f->ctrl_irq);
	ck_assert_uint_eq(kernel.spurious, before);
	/* A used ring that broke its queue is none either. */
	kernel.used = true;
	f->queue[0].vq->broken = true;
	kernel_raise(f->queue[0].irq);
	ck_assert_uint_eq(kernel.spurious, before + 1);
	unload(0);
}
END_TEST

static unsigned int turns;

static void config_never_settles(void)
{
	front()->ctrl->info.config_generation += 2;
	turns++;
}

/* A back end that changes config without end holds up neither an event nor a driver. */
START_TEST(hazard_46_config_that_never_settles)
{
	probe();
	connect_to_backend();
	front()->ctrl->info.config_generation = 5;
	kernel.waiting = config_never_settles;
	turns = 0;
	for (unsigned int i = 0; i < 100; i++)
		kernel_raise(front()->ctrl_irq);
	ck_assert_uint_le(turns, 100 * 16);
	kernel.waiting = NULL;
	unload(0);
}
END_TEST

/* -- 47 -- */

static u64 seed;

static unsigned int rnd(unsigned int below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(seed >> 33) % below;
}

/* States in any order, answers or none, and the end at any moment. */
START_TEST(hazard_47_states_in_any_order)
{
	seed = (u64)_i + 1;
	for (unsigned int round = 0; round < 20; round++) {
		probe();
		mode = rnd(2) ? &strict : &adaptive;
		for (unsigned int i = rnd(12); i; i--) {
			mute = !rnd(4);
			wrong = !rnd(8);
			if (front()->ctrl && rnd(4))
				fill_control_page();
			/* more often than not what comes next */
			backend_state(rnd(3) ? xbdev.state == XenbusStateInitialised ?
							XenbusStateConnected :
							XenbusStateInitWait :
					       rnd(XenbusStateClosed + 1));
			if (front()->ctrl_irq && rnd(2))
				kernel_raise(front()->ctrl_irq);
			ck_assert_msg(!kernel.bugs, "%s", kernel.log);
		}
		mute = !rnd(4);
		unload(0);
	}
}
END_TEST

START_TEST(hazard_47_closed_twice)
{
	probe();
	connect_to_backend();
	backend_state(XenbusStateClosing);
	backend_state(XenbusStateClosing);
	ck_assert_ptr_null(front()->vd);
	xvs_vdev_unregister(front());
	backend_state(XenbusStateClosed);
	backend_state(XenbusStateClosed);
	ck_assert_ptr_null(front()->ctrl);
	xvs_control_close(front());
	/* and it may come again */
	backend_state(XenbusStateInitWait);
	fill_control_page();
	backend_state(XenbusStateConnected);
	ck_assert_int_eq(front()->stage, XVS_LIVE);
	unload(0);
}
END_TEST

/* A watch that is set while the back end writes its state tells it twice. One offer is made. */
START_TEST(hazard_47_initwait_told_twice)
{
	u32 ref;

	probe();
	backend_state(XenbusStateInitWait);
	ck_assert_int_eq(xbdev.state, XenbusStateInitialised);
	ref = front()->ctrl_ref;
	backend_state(XenbusStateInitWait);
	ck_assert_int_eq(xbdev.state, XenbusStateInitialised);
	ck_assert_uint_eq(kernel.closed, 0);
	ck_assert_uint_eq(front()->ctrl_ref, ref);
	fill_control_page();
	backend_state(XenbusStateConnected);
	ck_assert_int_eq(front()->stage, XVS_LIVE);
	unload(0);
}
END_TEST

/* It does not answer: the wait ends, the device is broken, and all is given back the same way. */
START_TEST(hazard_47_no_answer)
{
	probe();
	connect_to_backend();
	mute = true;
	xvs_request(front(), &(struct xvs_request){ .op = XVS_OP_RELEASE_GRANTS }, NULL);
	ck_assert(xvs_broken(front()));
	ck_assert_uint_le(kernel.now, 40000);
	kernel_run_work();
	ck_assert(the_queue()->broken);
	ck_assert(!the_queue()->notify(the_queue()));
	unload(0);
}
END_TEST

/* Whoever drives the device would wait for its first request without end. */
START_TEST(hazard_47_refuses_to_start)
{
	struct virtio_device *vdev;

	probe();
	connect_to_backend();
	vdev = &front()->vd->vdev;
	wrong = true;
	vdev->config->set_status(vdev, 15);
	ck_assert(xvs_broken(front()));
	kernel_run_work();
	ck_assert(the_queue()->broken);
	wrong = false;
	unload(0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hazards of the guest");
	TCase *tc = tcase_create("front end");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, hazard_43_tables_cannot_be_written);
	tcase_add_test(tc, hazard_43_control_page_is_a_copy);
	tcase_add_loop_test(tc, hazard_43_control_page_is_checked, 0, 6);
	tcase_add_test(tc, hazard_44_kept_page_is_held);
	tcase_add_loop_test(tc, hazard_44_any_page_may_be_kept, 0, 3);
	tcase_add_loop_test(tc, hazard_44_address_that_was_never_mapped, 0, 6);
	tcase_add_test(tc, hazard_45_nothing_stale_is_shared);
	tcase_add_test(tc, adaptive_copies_short_requests);
	tcase_add_test(tc, hazard_46_events_without_news_are_spurious);
	tcase_add_test(tc, hazard_46_news_without_end);
	tcase_add_test(tc, hazard_46_config_that_never_settles);
	tcase_add_loop_test(tc, hazard_47_states_in_any_order, 0, 4);
	tcase_add_test(tc, hazard_47_closed_twice);
	tcase_add_test(tc, hazard_47_initwait_told_twice);
	tcase_add_test(tc, hazard_47_no_answer);
	tcase_add_test(tc, hazard_47_refuses_to_start);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
