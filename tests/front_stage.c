/* SPDX-License-Identifier: GPL-2.0 */
#include "front_stage.h"

#include "check_main.h"

/* -- what is not built here: keeping grants, the store, addressing p2m -- */

const struct xvs_mode strict = { "strict", XVS_PROTECTION_STRICT };
const struct xvs_mode adaptive = { "adaptive", XVS_PROTECTION_ADAPTIVE, .copies = true };
const struct xvs_mode pool = { "pool", XVS_PROTECTION_POOL, .copies = true, .copies_all = true };
const struct xvs_mode lazy = { "lazy", XVS_PROTECTION_LAZY, .copies = true, .keeps = true };
const struct xvs_mode *mode;
const struct dma_map_ops xvs_p2m_ops;

int xvs_negotiate_check(void)
{
	return kernel_fails() ? -EINVAL : 0;
}

int xvs_negotiate(struct xvs_front *f, const char **what)
{
	*what = "none";
	if (f->restoring) /* what it was, or nothing */
		return kernel_fails() || offers_else ? -EOPNOTSUPP : 0;
	f->agreed = (struct xvs_agreed){ 2, "grant", XVS_ADDRESSING_GRANT, mode };
	return kernel_fails() ? -EPROTO : 0;
}

int xvs_publish(struct xvs_front *f)
{
	(void)f;
	return kernel_fails() ? -EIO : 0;
}

int xvs_keep_start(void)
{
	return kernel_fails() ? -ENOMEM : 0;
}

void xvs_keep_stop(void)
{
}

int xvs_keep_init(struct xvs_front *f)
{
	(void)f;
	return kernel_fails() ? -ENOMEM : 0;
}

void xvs_keep_exit(struct xvs_front *f)
{
	(void)f;
}

void xvs_keep_drop(struct xvs_front *f)
{
	(void)f;
}

unsigned int xvs_keep_bound(void)
{
	return 0;
}

int xvs_keep_map(struct xvs_front *f, struct page *page, unsigned int pages, grant_ref_t *ref)
{
	(void)f;
	(void)page;
	(void)pages;
	(void)ref;
	return -ENOSPC;
}

int xvs_keep_unmap(struct xvs_front *f, grant_ref_t ref, unsigned int pages)
{
	(void)f;
	(void)ref;
	(void)pages;
	return -EINVAL;
}

/* -- a back end -- */

struct xenbus_device xbdev;
bool mute, wrong, offers_else;

struct xvs_front *front(void)
{
	return dev_get_drvdata(&xbdev.dev);
}

static void answer(int irq)
{
	struct xvs_front *f = front();
	struct xvs_request *req;

	if (mute || !f || irq != f->ctrl_irq)
		return;
	req = &f->ctrl->req;
	f->ctrl->rsp.result = wrong ? 77 : 0;
	f->ctrl->rsp.status = req->op == XVS_OP_SET_DEVICE_STATUS ? req->u.status : f->status;
	f->ctrl->rsp.seq = req->seq;
}

void fill_control_page(void)
{
	struct xvs_control_page *c = front()->ctrl;

	c->info = (struct xvs_device_info){
		.magic = XVS_MAGIC, .version = XVS_VERSION, .num_queues = 2, .device_id = 2,
		.config_len = 64, .addressing = XVS_ADDRESSING_GRANT, .protection = mode->value,
		.device_features = BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM),
	};
	c->queue[0].size_max = 64;
	c->queue[1].size_max = 64;
}

void backend_state(enum xenbus_state state)
{
	kernel.state = state;
	if (front())
		kernel_driver->otherend_changed(&xbdev, state);
	kernel_run_work();
}

/* As xenbus does: what the store says of the other end is read before the driver is asked. */
int device_reprobe(struct device *dev)
{
	(void)dev;
	kernel_driver->remove(&xbdev);
	xbdev.otherend = kernel.nodes ? "backend" : NULL;
	return kernel.nodes ? kernel_driver->probe(&xbdev, kernel_driver->ids) : -ENODEV;
}

void power_up(void)
{
	kernel_start();
	mute = wrong = offers_else = false;
	mode = &strict;
	kernel.notified = answer;
	xbdev = (struct xenbus_device){ .nodename = "device", .otherend = "backend" };
}

void probe(void)
{
	power_up();
	ck_assert_int_eq(kernel_module_init(), 0);
	ck_assert_int_eq(kernel_driver->probe(&xbdev, kernel_driver->ids), 0);
}

void connect_to_backend(void)
{
	backend_state(XenbusStateInitWait);
	ck_assert_int_eq(xbdev.state, XenbusStateInitialised);
	fill_control_page();
	backend_state(XenbusStateConnected);
	ck_assert_int_eq(xbdev.state, XenbusStateConnected);
	ck_assert_uint_eq(front()->status, 15);
}

void nothing_is_left(unsigned int kept)
{
	kernel_end();
	ck_assert_msg(!kernel.bugs, "%s", kernel.log);
	ck_assert_uint_eq(kernel.irqs, 0);
	ck_assert_uint_eq(kernel.work, 0);
	ck_assert_uint_eq(kernel.workqueues, 0);
	ck_assert_uint_eq(kernel.deferred, kept);
	ck_assert_uint_eq(kernel.refs, kept);
	ck_assert_uint_eq(kernel.pages, kept);
}

void unload(unsigned int kept)
{
	kernel_driver->remove(&xbdev);
	kernel_module_exit();
	nothing_is_left(kept);
}

struct virtqueue *the_queue(void)
{
	return front()->queue[0].vq;
}
