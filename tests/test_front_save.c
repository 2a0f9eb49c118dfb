/* SPDX-License-Identifier: GPL-2.0 */
/* Hazard 24 of docs/security.md: a domain that is saved and restored, as the module sees it. */
#include "front_stage.h"

#include "check_main.h"

/* The domain stands still: what Linux does to the virtio device, and then to the front end. */
static void save(void)
{
	struct device *dev = &front()->vd->vdev.dev;

	ck_assert_int_eq(dev->type->pm->freeze(dev), 0);
}

static void save_called_off(void)
{
	struct device *dev = &front()->vd->vdev.dev;

	ck_assert_int_eq(dev->type->pm->thaw(dev), 0);
}

static void restored(bool backend)
{
	struct device *dev = &front()->vd->vdev.dev;

	xbdev.otherend = backend ? "backend" : NULL;
	kernel.nodes = backend;
	kernel.state = backend ? XenbusStateInitWait : XenbusStateUnknown;
	if (backend) {
		xbdev.state = XenbusStateInitialising;
		ck_assert_int_eq(kernel_driver->resume(&xbdev), 0);
	}
	ck_assert_int_eq(dev->type->pm->restore(dev), 0);
	kernel_run_work();
}

static void works(void)
{
	ck_assert_int_eq(front()->stage, XVS_LIVE);
	ck_assert(!xvs_broken(front()));
	ck_assert_uint_eq(front()->status, 15);
	ck_assert(kernel.through && !the_queue()->broken);
}

START_TEST(hazard_24_saved_and_restored)
{
	probe();
	connect_to_backend();
	for (unsigned int i = 0; i < 3; i++) {
		save();
		ck_assert_ptr_null(the_queue());
		save_called_off();
		works();
		save();
		restored(true);
		connect_to_backend();
		works();
	}
	unload(0);
}
END_TEST

/* Nobody attached it again. Its users are not left waiting, its driver is not removed as it is, and
 * when somebody does attach it, it is there. */
START_TEST(hazard_24_restored_without_a_back_end)
{
	probe();
	connect_to_backend();
	save();
	if (_i) { /* the second time: there was one, for a moment */
		restored(true);
		save();
	}
	restored(false);
	ck_assert(!kernel.through);
	ck_assert_ptr_nonnull(strstr(kernel.log, "device broken"));
	ck_assert_ptr_null(front()->vd);
	ck_assert_int_eq(xbdev.state, XenbusStateClosed);
	ck_assert_ptr_nonnull(kernel.watch);
	kernel.nodes = true;
	for (unsigned int i = 0; i < 3; i++)
		kernel.watch->callback(kernel.watch, "", "");
	ck_assert_uint_eq(kernel.work, 1);
	kernel_run_work();
	ck_assert_ptr_null(kernel.watch);
	connect_to_backend();
	works();
	unload(0);
}
END_TEST

START_TEST(hazard_24_removed_before_it_was_restored)
{
	probe();
	connect_to_backend();
	save();
	if (_i == 1)
		restored(true);
	if (_i == 2) {
		restored(true);
		save();
	}
	kernel.through = true;
	unload(0);
	ck_assert(!kernel.through);
}
END_TEST

/* The domain goes on, but nobody answers. */
START_TEST(hazard_24_save_called_off_in_vain)
{
	struct device *dev;

	probe();
	connect_to_backend();
	save();
	mute = true;
	dev = &front()->vd->vdev.dev;
	ck_assert_int_ne(dev->type->pm->thaw(dev), 0);
	ck_assert(xvs_broken(front()));
	ck_assert(!kernel.through && the_queue()->broken);
	unload(0);
}
END_TEST

/* Not what was saved, in one respect; the driver, which would take it for that, is not told. */
static void become_another(int how)
{
	struct xvs_control_page *c = front()->ctrl;

	switch (how) {
	case 1:
		c->info.config_len = 63;
		break;
	case 2:
		c->queue[0].size_max = 32;
		break;
	case 3:
		c->queue[0].size_max = 0;
		break;
	default:
		front()->vd->vdev.features |= BIT_ULL(5);
	}
}

/* What there is now is none that the driver could go on with. It ends, and whoever waits for it. */
START_TEST(hazard_24_restored_as_another_device)
{
	probe();
	connect_to_backend();
	save();
	kernel.through = true;
	offers_else = !_i;
	restored(true);
	backend_state(XenbusStateInitWait);
	if (_i) {
		ck_assert_int_eq(xbdev.state, XenbusStateInitialised);
		fill_control_page();
		become_another(_i);
		backend_state(XenbusStateConnected);
	}
	ck_assert(!kernel.through);
	ck_assert_ptr_null(front()->vd);
	ck_assert_int_eq(front()->stage, XVS_FAILED);
	ck_assert_int_eq(xbdev.state, XenbusStateClosed);
	unload(0);
}
END_TEST

/* The driver cannot be restored, for the back end does not answer. */
START_TEST(hazard_24_restored_in_vain)
{
	probe();
	connect_to_backend();
	save();
	restored(true);
	backend_state(XenbusStateInitWait);
	fill_control_page();
	front()->ctrl->config[0] = 1; /* is not looked at any more */
	mute = true;
	backend_state(XenbusStateConnected);
	ck_assert(xvs_broken(front()));
	ck_assert(!kernel.through && the_queue()->broken);
	ck_assert(!the_queue()->notify(the_queue()));
	unload(0);
}
END_TEST

/* More than there was: the driver goes on with what it knows, then hears of the new config. */
START_TEST(hazard_24_restored_with_more)
{
	struct virtio_device *vdev;
	unsigned int changes;
	u32 generation;
	u8 byte = 0;

	probe();
	connect_to_backend();
	vdev = &front()->vd->vdev;
	save();
	restored(true);
	changes = kernel.config_changes;
	generation = vdev->config->generation(vdev);
	backend_state(XenbusStateInitWait);
	fill_control_page();
	front()->ctrl->info.config_len = 80;
	front()->ctrl->config[0] = 7;
	front()->ctrl->info.config_generation = _i ? 4 : 0;
	front()->ctrl->queue[0].size_max = 128;
	backend_state(XenbusStateConnected);
	works();
	ck_assert_uint_eq(the_queue()->size, 64);
	ck_assert_uint_gt(kernel.config_changes, changes);
	ck_assert_uint_ne(vdev->config->generation(vdev), generation);
	vdev->config->get(vdev, 0, &byte, 1);
	ck_assert_uint_eq(byte, 7);
	/* And back to where it came from. */
	save();
	restored(true);
	connect_to_backend();
	works();
	ck_assert_uint_eq(the_queue()->size, 64);
	unload(0);
}
END_TEST

/* Config may change at any time. A driver that is saved and restored is shown what it built on. */
START_TEST(hazard_24_config_changed_before_a_save)
{
	struct virtio_device *vdev;
	u8 byte = 0;

	probe();
	connect_to_backend();
	vdev = &front()->vd->vdev;
	front()->ctrl->config[0] = 1;
	front()->ctrl->info.config_generation += 2;
	kernel_raise(front()->ctrl_irq);
	vdev->config->get(vdev, 0, &byte, 1);
	ck_assert_uint_eq(byte, 1);
	save();
	save_called_off();
	works();
	vdev->config->get(vdev, 0, &byte, 1);
	ck_assert_uint_eq(byte, 1);
	save();
	restored(true);
	connect_to_backend();
	works();
	/* nor is it when it comes back to nothing */
	save();
	restored(false);
	ck_assert_ptr_null(front()->vd);
	kernel.nodes = true;
	kernel.watch->callback(kernel.watch, "", "");
	kernel_run_work();
	unload(0);
}
END_TEST

/* The back end goes while the driver of a device that is to end makes its queues. */
START_TEST(hazard_24_gone_while_it_comes_back)
{
	struct device *dev = &xbdev.dev;
	dma_addr_t addr;
	void *va;

	probe();
	connect_to_backend();
	save();
	set_bit(XVS_GONE, &front()->flags);
	va = dev->dma_ops->alloc(dev, PAGE_SIZE, &addr, GFP_KERNEL, 0);
	ck_assert_ptr_nonnull(va);
	dev->dma_ops->free(dev, PAGE_SIZE, va, addr, 0);
	front()->frozen = false;
	ck_assert_ptr_null(dev->dma_ops->alloc(dev, PAGE_SIZE, &addr, GFP_KERNEL, 0));
	front()->frozen = true;
	unload(0);
}
END_TEST

/* What the back end kept of the domain that was saved it does not keep of the one restored. */
START_TEST(hazard_24_44_kept_before_the_save)
{
	grant_ref_t ref;

	probe();
	connect_to_backend();
	ref = xvs_dma_ref(virtqueue_get_used_addr(the_queue()));
	ck_assert_ptr_nonnull(kernel_map(ref, true));
	save();
	ck_assert(xvs_broken(front()));
	kernel_unmap(ref);
	restored(true);
	connect_to_backend();
	works();
	save();
	ck_assert(!xvs_broken(front()));
	save_called_off();
	works();
	unload(0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("save and restore");
	TCase *tc = tcase_create("front end");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, hazard_24_saved_and_restored);
	tcase_add_loop_test(tc, hazard_24_restored_without_a_back_end, 0, 2);
	tcase_add_loop_test(tc, hazard_24_removed_before_it_was_restored, 0, 3);
	tcase_add_test(tc, hazard_24_save_called_off_in_vain);
	tcase_add_loop_test(tc, hazard_24_restored_as_another_device, 0, 5);
	tcase_add_test(tc, hazard_24_restored_in_vain);
	tcase_add_loop_test(tc, hazard_24_restored_with_more, 0, 2);
	tcase_add_test(tc, hazard_24_config_changed_before_a_save);
	tcase_add_test(tc, hazard_24_gone_while_it_comes_back);
	tcase_add_test(tc, hazard_24_44_kept_before_the_save);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
