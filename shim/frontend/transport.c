// SPDX-License-Identifier: GPL-2.0
/*
 * The virtio device: config operations over the control page, registration, save and restore.
 *
 * get_status() answers from what the driver set, not from the page: the core warns or worse
 * when a device shows DRIVER_OK early or any bit after a reset, and a back end must not be able
 * to bring that about. Of the page's status only FEATURES_OK (when it is set) and
 * DEVICE_NEEDS_RESET count.
 */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "front.h"

static void config_get(struct virtio_device *vdev, unsigned int offset, void *buf,
		       unsigned int len)
{
	struct xvs_front *f = xvs_front_of(vdev);
	const u8 *config;
	unsigned long irq;

	memset(buf, 0, len);
	if (offset >= f->config_len)
		return;
	spin_lock_irqsave(&f->config_lock, irq);
	config = READ_ONCE(f->armed) ? f->config : f->config_start;
	memcpy(buf, config + offset, min(len, f->config_len - offset));
	spin_unlock_irqrestore(&f->config_lock, irq);
}

static void config_set(struct virtio_device *vdev, unsigned int offset, const void *buf,
		       unsigned int len)
{
	struct xvs_front *f = xvs_front_of(vdev);
	struct xvs_request req = { .op = XVS_OP_SET_CONFIG };
	unsigned int first = offset, all = len;

	if (offset > f->config_len || len > f->config_len - offset) {
		dev_warn_ratelimited(&vdev->dev, "write past the end of config space\n");
		return;
	}
	while (len) {
		u32 part = min_t(u32, len, XVS_CONFIG_WRITE_MAX);

		req.u.config.offset = offset;
		req.u.config.len = part;
		memcpy(req.u.config.data, buf, part);
		if (xvs_request(f, &req, NULL)) {
			dev_warn_ratelimited(&vdev->dev, "config write failed\n");
			return;
		}
		offset += part;
		buf += part;
		len -= part;
	}
	/* A driver may read back what it wrote, before the control event is handled. */
	if (xvs_config_refresh(f))
		virtio_config_changed(vdev);
	if (!READ_ONCE(f->armed))
		xvs_config_start(f, first, all);
}

static u32 config_generation(struct virtio_device *vdev)
{
	return READ_ONCE(xvs_front_of(vdev)->config_version);
}

static u8 get_status(struct virtio_device *vdev)
{
	struct xvs_front *f = xvs_front_of(vdev);
	u8 status = f->status;

	if (status && (xvs_broken(f) || test_bit(XVS_NEEDS_RESET, &f->flags)))
		status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	return status;
}

static void set_status(struct virtio_device *vdev, u8 status)
{
	struct xvs_front *f = xvs_front_of(vdev);
	struct xvs_request req = { .op = XVS_OP_SET_DEVICE_STATUS };
	u32 answer = 0;
	int ret, i;

	/* A driver begins. One that is restored is shown what it was shown then. */
	if (!f->frozen && (status & ~f->status & VIRTIO_CONFIG_S_DRIVER)) {
		xvs_config_start(f, 0, XVS_CONFIG_MAX);
		f->config_start_len = f->config_len;
		for (i = 0; i < XVS_MAX_QUEUES; i++)
			f->queue[i].size = 0;
	}
	status &= ~VIRTIO_CONFIG_S_NEEDS_RESET; /* from get_status(); not the driver's to set */
	req.u.status = status;
	/* Before the request: what was queued already may complete before its answer is here. */
	WRITE_ONCE(f->armed, status & VIRTIO_CONFIG_S_DRIVER_OK);
	ret = xvs_request(f, &req, &answer);
	if (ret || !(answer & VIRTIO_CONFIG_S_FEATURES_OK))
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	f->status = status;
	/* A driver does not look: it would wait for its first request for ever. */
	if (ret && (status & VIRTIO_CONFIG_S_DRIVER_OK))
		xvs_break(f, XVS_BROKEN, "the back end did not start the device");
	if ((status & VIRTIO_CONFIG_S_DRIVER_OK) && xvs_config_moved(f))
		virtio_config_changed(vdev);
	/* Before the driver lets requests through. */
	if (test_bit(XVS_DEAD, &f->flags))
		virtio_break_device(vdev);
}

/*
 * When the back end answers, its device is stopped and no page but the control page mapped.
 * If it does not, its grants end all the same; what it keeps mapped is held (grants.c).
 */
static void reset(struct virtio_device *vdev)
{
	struct xvs_front *f = xvs_front_of(vdev);
	struct xvs_request req = { .op = XVS_OP_SET_DEVICE_STATUS };
	int ret;

	WRITE_ONCE(f->armed, false);
	ret = xvs_request(f, &req, NULL);
	if (ret)
		xvs_break(f, XVS_BROKEN, "the back end did not carry out a reset");
	else
		clear_bit(XVS_NEEDS_RESET, &f->flags);
	/* It must not break the queues that are made after this. */
	cancel_work_sync(&f->break_work);
	f->status = 0;
	xvs_synchronize_cbs(vdev);
}

static u64 get_features(struct virtio_device *vdev)
{
	return xvs_front_of(vdev)->features;
}

static int finalize_features(struct virtio_device *vdev)
{
	struct xvs_request req = { .op = XVS_OP_SET_DRIVER_FEATURES };

	vring_transport_features(vdev);
	/* Only split rings are spoken, and a notification carries no data. */
	__virtio_clear_bit(vdev, VIRTIO_F_RING_PACKED);
	__virtio_clear_bit(vdev, VIRTIO_F_NOTIFICATION_DATA);
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1) ||
	    !virtio_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM)) {
		dev_err(&vdev->dev, "VERSION_1 and ACCESS_PLATFORM must be negotiated\n");
		return -EINVAL;
	}
	req.u.features = vdev->features;
	return xvs_request(xvs_front_of(vdev), &req, NULL);
}

static const char *bus_name(struct virtio_device *vdev)
{
	return dev_name(vdev->dev.parent);
}

static const struct virtio_config_ops config_ops = {
	.get = config_get,
	.set = config_set,
	.generation = config_generation,
	.get_status = get_status,
	.set_status = set_status,
	.reset = reset,
	.find_vqs = xvs_find_vqs,
	.del_vqs = xvs_del_vqs,
	.synchronize_cbs = xvs_synchronize_cbs,
	.get_features = get_features,
	.finalize_features = finalize_features,
	.bus_name = bus_name,
	.set_vq_affinity = xvs_set_vq_affinity,
};

#ifdef CONFIG_PM_SLEEP
static int thaw(struct xvs_front *f)
{
	int ret = virtio_device_restore(&f->vd->vdev);

	if (!ret)
		f->frozen = false;
	return ret;
}

/*
 * A frozen driver waits, and so do those who use it; removed as it is it would free its queues
 * once more, as drivers do that count on a restore. So it is restored all the same, on queues that
 * are broken: what was held up fails, and the device can go. The device is locked.
 */
static void abandon(struct xvs_front *f)
{
	struct xvs_request req = { .op = XVS_OP_SET_DEVICE_STATUS };
	unsigned int tries = 100;

	/* Queues of a restore that did not get to its end may be mapped still. */
	xvs_request(f, &req, NULL);
	WRITE_ONCE(f->flags, BIT(XVS_DEAD)); /* not broken yet, or there would be no queues */
	while (thaw(f) && --tries) /* for want of memory */
		msleep(100);
	if (f->frozen)
		dev_err(&f->xbdev->dev, "the driver does not take the end of its device\n");
	set_bit(XVS_GONE, &f->flags);
}

/*
 * Save: the driver drains, resets and drops its queues while the old back end still answers;
 * no grant but the control page is left. Restore happens when the new one is Connected
 * (xenbus.c), thaw means that the save was called off.
 */
static int vdev_freeze(struct device *dev)
{
	struct virtio_device *vdev = dev_to_virtio(dev);
	struct xvs_front *f = xvs_front_of(vdev);
	int ret;

	f->resumed = false;
	if (f->frozen) /* restored, and saved again before there was a back end */
		return 0;
	ret = virtio_device_freeze(vdev);
	/* A driver that cannot freeze still has its queues, and they still work. */
	f->frozen = !ret && list_empty(&vdev->vqs);
	return ret;
}

static int vdev_thaw(struct device *dev)
{
	struct xvs_front *f = xvs_front_of(dev_to_virtio(dev));
	int ret = f->frozen && !f->restoring ? thaw(f) : 0;

	if (ret) {
		xvs_break(f, XVS_BROKEN, "cannot go on after a save that was called off");
		abandon(f);
	}
	return ret;
}

/* xenbus has been here before, with the front end, if there is anything to connect to. */
static int vdev_restored(struct device *dev)
{
	struct xvs_front *f = xvs_front_of(dev_to_virtio(dev));

	if (!f->resumed)
		xvs_orphaned(f);
	return 0;
}

static const struct dev_pm_ops vdev_pm_ops = {
	.freeze = vdev_freeze,
	.thaw = vdev_thaw,
	.restore = vdev_restored,
};

int xvs_vdev_restore(struct xvs_front *f)
{
	int ret = -EOPNOTSUPP; /* the driver cannot freeze: its rings died with the grants */

	device_lock(&f->vd->vdev.dev);
	if (f->frozen)
		ret = thaw(f);
	device_unlock(&f->vd->vdev.dev);
	return ret;
}

void xvs_vdev_abandon(struct xvs_front *f)
{
	if (!f->vd || !f->frozen)
		return;
	device_lock(&f->vd->vdev.dev);
	abandon(f);
	device_unlock(&f->vd->vdev.dev);
}
#else
static const struct dev_pm_ops vdev_pm_ops;
#endif

static const struct device_type vdev_type = { .name = "virtio-xenbus", .pm = &vdev_pm_ops };

/* Somebody may hold the device longer than the front end; the module stays for this. */
static void vdev_release(struct device *dev)
{
	struct xvs_vdev *vd = container_of(dev_to_virtio(dev), struct xvs_vdev, vdev);

	kfree(vd);
	module_put(THIS_MODULE);
}

/* After this neither the control interrupt nor break_work uses the device. */
static void live_end(struct xvs_front *f)
{
	WRITE_ONCE(f->live, NULL);
	if (f->ctrl_irq)
		synchronize_irq(f->ctrl_irq);
	cancel_work_sync(&f->break_work);
}

int xvs_vdev_register(struct xvs_front *f)
{
	struct xvs_vdev *vd = kzalloc(sizeof(*vd), GFP_KERNEL);
	int ret;

	if (!vd)
		return -ENOMEM;
	__module_get(THIS_MODULE);
	vd->front = f;
	vd->vdev.dev.parent = &f->xbdev->dev;
	vd->vdev.dev.release = vdev_release;
	vd->vdev.dev.type = &vdev_type;
	vd->vdev.config = &config_ops;
	vd->vdev.id.device = f->agreed.device_id;
	vd->vdev.id.vendor = f->vendor_id;
	ret = register_virtio_device(&vd->vdev);
	if (ret) {
		live_end(f);
		put_device(&vd->vdev.dev);
		return ret;
	}
	f->vd = vd;
	WRITE_ONCE(f->live, &vd->vdev);
	return 0;
}

/* Idempotent. On return no operation above runs any more, nor does a callback. */
void xvs_vdev_unregister(struct xvs_front *f)
{
	struct xvs_vdev *vd = f->vd;

	if (!vd)
		return;
	xvs_vdev_abandon(f);
	get_device(&vd->vdev.dev);
	unregister_virtio_device(&vd->vdev);
	live_end(f);
	f->vd = NULL;
	put_device(&vd->vdev.dev);
}
