// SPDX-License-Identifier: GPL-2.0
/*
 * XenBus driver and the states of docs/protocol.md, "States".
 *
 * xenbus calls otherend_changed() from the one thread that serves all of the guest's devices.
 * It only notes that the back end went and leaves the rest to a worker, since to register or
 * remove a virtio device may take as long as the back end pleases. The worker is the only one
 * to move f->stage while the device is bound; remove() stops it first, save and restore happen
 * while it is frozen.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <xen/xen.h>

#include "front.h"

struct workqueue_struct *xvs_wq;

/*
 * Lets go of the virtio device: its driver finishes or fails what is in flight and resets.
 * The control page stays until the back end is Closed, which has it mapped still.
 */
static void disconnect(struct xvs_front *f)
{
	xvs_vdev_unregister(f);
	if (f->stage == XVS_LIVE || f->restoring)
		xvs_dma_teardown(f);
	f->restoring = false;
}

/* Gives up for good: one line in the log, the same in the store, then Closed. */
static __printf(3, 4) void fail(struct xvs_front *f, int err, const char *fmt, ...)
{
	char text[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);

	xenbus_dev_error(f->xbdev, err, "%s", text);
	xenbus_write(XBT_NIL, f->xbdev->nodename, "error", text);
	/* One that was to be restored: its driver waits, and so do those who use it. */
	if (f->vd) {
		set_bit(XVS_GONE, &f->flags);
		disconnect(f);
	}
	xvs_control_close(f);
	f->stage = XVS_FAILED;
	xenbus_frontend_closed(f->xbdev);
}

/* Step 2: the back end is in InitWait. */
static void offer(struct xvs_front *f)
{
	const char *what;
	int ret;

	f->flags = 0;
	ret = xvs_negotiate(f, &what);
	if (ret)
		return fail(f, ret, "nothing usable in the back end's node %s%s", what,
			    f->restoring ? " for the device that was saved" : "");
	ret = xvs_control_open(f);
	if (ret)
		return fail(f, ret, "cannot share the control page");
	ret = xvs_publish(f);
	if (ret)
		return fail(f, ret, "cannot write to the store");
	f->stage = XVS_OFFERED;
	xenbus_switch_state(f->xbdev, XenbusStateInitialised);
}

/* What a driver cannot take up again is dead from here on, and can be detached. */
static void restore(struct xvs_front *f)
{
	int ret;

	xvs_dma_restore(f);
	ret = xvs_vdev_restore(f);
	if (ret) {
		xvs_break(f, XVS_BROKEN, "cannot restore the virtio device");
		xvs_vdev_abandon(f);
	}
	f->restoring = false;
}

static int start(struct xvs_front *f)
{
	int ret;

	ret = xvs_dma_setup(f);
	if (ret)
		return ret;
	ret = xvs_vdev_register(f);
	/* A device that broke while it was set up is of no use to anybody. */
	if (!ret && xvs_broken(f)) {
		xvs_vdev_unregister(f);
		ret = -EIO;
	}
	if (ret)
		xvs_dma_teardown(f);
	return ret;
}

/* Step 4: the back end is Connected. */
static void connect(struct xvs_front *f)
{
	const char *wrong;
	u32 version;
	int ret = 0;

	ret = xvs_control_check(f, &wrong);
	if (ret)
		return fail(f, ret, "back end: %s", wrong);
	version = f->config_version;
	WRITE_ONCE(f->stage, XVS_LIVE); /* control events are minded from here on */
	xvs_config_refresh(f);
	if (f->restoring)
		restore(f);
	else
		ret = start(f);
	if (ret)
		return fail(f, ret, "cannot start the virtio device");
	/* Config may have changed before there was a device to tell. */
	if (version != READ_ONCE(f->config_version))
		virtio_config_changed(&f->vd->vdev);
	dev_info(&f->xbdev->dev, "virtio device %u, addressing %s, protection %s\n",
		 f->agreed.device_id, f->agreed.addressing_word, f->agreed.mode->word);
	xenbus_switch_state(f->xbdev, XenbusStateConnected);
}

/* Says why the back end refused, if it does. What it wrote is not trusted to be text. */
static void log_refusal(struct xvs_front *f)
{
	char *why = xenbus_read(XBT_NIL, f->xbdev->otherend, "error", NULL);

	if (IS_ERR(why))
		return;
	dev_err(&f->xbdev->dev, "refused by the back end: %*pE\n", (int)strnlen(why, 128), why);
	kfree(why);
}

static void close(struct xvs_front *f)
{
	if (f->stage == XVS_OFFERED)
		log_refusal(f);
	if (f->stage != XVS_FAILED) {
		disconnect(f);
		f->stage = XVS_CLOSED;
	}
	xenbus_frontend_closed(f->xbdev);
}

/* The back end starts anew. What it had is lost; a device still held has to go first. */
static void reopen(struct xvs_front *f)
{
	if (f->stage == XVS_OFFERED || f->stage == XVS_LIVE)
		close(f);
	if (f->stage != XVS_CLOSED)
		return;
	xvs_control_close(f);
	f->stage = XVS_FRESH;
	xenbus_switch_state(f->xbdev, XenbusStateInitialising);
}

/* After a restore without a back end the store names none. */
static enum xenbus_state backend_state(const struct xvs_front *f)
{
	const char *otherend = f->xbdev->otherend;

	return otherend ? xenbus_read_driver_state(otherend) : XenbusStateUnknown;
}

/* -- back ends that come after the restore of a domain -- */

struct again {
	struct work_struct work;
	struct xenbus_device *xbdev;
};

static void probe_again(struct work_struct *work)
{
	struct again *again = container_of(work, struct again, work);
	int ret = device_reprobe(&again->xbdev->dev);

	if (ret)
		dev_err(&again->xbdev->dev, "cannot begin again: error %d\n", ret);
	put_device(&again->xbdev->dev);
	kfree(again);
}

/*
 * xenbus takes the device for one that it knows, and looks for its other end when it is probed.
 * Not in here: who removes the device holds its lock and waits for this thread.
 */
static void nodes_changed(struct xenbus_watch *watch, const char *path, const char *token)
{
	struct xvs_front *f = container_of(watch, struct xvs_front, nodes);
	struct again *again;

	if (f->again || f->xbdev->otherend ||
	    !xenbus_exists(XBT_NIL, f->xbdev->nodename, "backend"))
		return;
	again = kzalloc(sizeof(*again), GFP_KERNEL);
	if (!again)
		return;
	f->again = true;
	INIT_WORK(&again->work, probe_again);
	get_device(&f->xbdev->dev);
	again->xbdev = f->xbdev;
	queue_work(xvs_wq, &again->work);
}

static void await_nodes(struct xvs_front *f)
{
	if (f->xbdev->otherend || f->nodes.node)
		return;
	f->nodes.node = f->xbdev->nodename;
	f->nodes.callback = nodes_changed;
	if (register_xenbus_watch(&f->nodes))
		f->nodes.node = NULL;
}

static void state_work(struct work_struct *work)
{
	struct xvs_front *f = container_of(work, struct xvs_front, state_work);

	switch (backend_state(f)) {
	case XenbusStateInitialising:
		reopen(f);
		break;
	case XenbusStateInitWait:
		/*
		 * Told again: the watch was set and the state written at about the same time. A
		 * back end that starts anew goes through Closing or Closed, which end an offer.
		 */
		if (f->stage == XVS_OFFERED)
			break;
		reopen(f);
		if (f->stage == XVS_FRESH)
			offer(f);
		break;
	case XenbusStateConnected:
		if (f->stage == XVS_OFFERED)
			connect(f);
		break;
	case XenbusStateClosing:
		close(f);
		break;
	case XenbusStateClosed:
	case XenbusStateUnknown:
		/* At the very start this is the state the last connection left behind. */
		if (f->stage == XVS_FRESH)
			break;
		close(f);
		xvs_control_close(f);
		await_nodes(f);
		break;
	default:
		break;
	}
}

static bool lost(const struct xvs_front *f, enum xenbus_state state)
{
	enum xvs_stage stage = READ_ONCE(f->stage);

	if (state == XenbusStateClosed || state == XenbusStateUnknown)
		return stage == XVS_LIVE || stage == XVS_OFFERED;
	return stage == XVS_LIVE &&
	       (state == XenbusStateInitialising || state == XenbusStateInitWait);
}

static void otherend_changed(struct xenbus_device *xbdev, enum xenbus_state state)
{
	struct xvs_front *f = dev_get_drvdata(&xbdev->dev);

	/* At once: the worker may be waiting for an answer that will not come any more. */
	if (lost(f, state))
		xvs_break(f, XVS_GONE, "the back end has gone");
	queue_work(xvs_wq, &f->state_work);
}

static int probe(struct xenbus_device *xbdev, const struct xenbus_device_id *id)
{
	struct xvs_front *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	f->xbdev = xbdev;
	mutex_init(&f->mailbox);
	spin_lock_init(&f->config_lock);
	init_waitqueue_head(&f->wait);
	INIT_WORK(&f->state_work, state_work);
	INIT_WORK(&f->break_work, xvs_break_work);
	dev_set_drvdata(&xbdev->dev, f);
	/* After an earlier driver left; the back end waits for this to begin again. */
	xenbus_switch_state(xbdev, XenbusStateInitialising);
	return 0;
}

/* The watch is off already. Whatever state the worker was stopped in is undone here. */
static void remove(struct xenbus_device *xbdev)
{
	struct xvs_front *f = dev_get_drvdata(&xbdev->dev);

	if (lost(f, backend_state(f)))
		xvs_break(f, XVS_GONE, "the back end has gone");
	cancel_work_sync(&f->state_work);
	if (f->nodes.node)
		unregister_xenbus_watch(&f->nodes);
	disconnect(f);
	cancel_work_sync(&f->break_work);
	xvs_control_close(f);
	xenbus_frontend_closed(xbdev);
	dev_set_drvdata(&xbdev->dev, NULL);
	kfree(f);
}

/* For kernels where what it returns is an int, which nobody looks at: XVS_REMOVE() of compat.h. */
static int __maybe_unused remove_int(struct xenbus_device *xbdev)
{
	remove(xbdev);
	return 0;
}

/*
 * After a restore ports and grants are gone and the back end is another one. A device that was
 * frozen waits for it without queues; the worker takes it from there.
 */
static int resume(struct xenbus_device *xbdev)
{
	struct xvs_front *f = dev_get_drvdata(&xbdev->dev);

	f->resumed = true;
	if (f->stage == XVS_LIVE)
		f->restoring = true;
	xvs_control_close(f);
	f->stage = XVS_FRESH;
	/*
	 * Where the domain was not saved after all it is the same back end, which believes in a
	 * connection; and xenbus_switch_state() believes that this is what the store says.
	 */
	xenbus_printf(XBT_NIL, xbdev->nodename, "state", "%d", XenbusStateInitialising);
	return 0;
}

/*
 * xenbus does not call resume() then. The toolstack knows nothing of these devices, so this is what
 * becomes of one that was not detached before a save.
 */
void xvs_orphaned(struct xvs_front *f)
{
	if (f->stage == XVS_FRESH) /* restored before, and not connected since */
		f->stage = XVS_LIVE;
	xvs_break(f, XVS_GONE, "the domain was restored, and nobody has attached the device again");
	queue_work(xvs_wq, &f->state_work);
}

static const struct xenbus_device_id ids[] = {
	{ XVS_DEVICE_KIND },
	{ "" },
};

static struct xenbus_driver driver = {
	.name = XVS_DEVICE_KIND,
	.ids = ids,
	.probe = probe,
	.remove = XVS_REMOVE(remove, remove_int),
	.resume = resume,
	.otherend_changed = otherend_changed,
	.not_essential = true, /* a missing back end holds up modprobe for 30 s, not for 300 */
};

static int __init xvs_init(void)
{
	int ret;

	if (!xen_domain())
		return -ENODEV;
	ret = xvs_negotiate_check();
	if (ret)
		return ret;
	/* Freezable: save and restore want the workers to stand still. Memory reclaim waits for
	 * grants to be given back. */
	xvs_wq = alloc_workqueue("xvshim", WQ_FREEZABLE | WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!xvs_wq)
		return -ENOMEM;
	ret = xvs_keep_start();
	if (ret)
		goto err_wq;
	ret = xenbus_register_frontend(&driver);
	if (ret)
		goto err_keep;
	return 0;

err_keep:
	xvs_keep_stop();
err_wq:
	destroy_workqueue(xvs_wq);
	return ret;
}

static void __exit xvs_exit(void)
{
	xenbus_unregister_driver(&driver);
	xvs_keep_stop();
	destroy_workqueue(xvs_wq);
}

module_init(xvs_init);
module_exit(xvs_exit);

MODULE_DESCRIPTION("virtio devices over XenBus (virtio-xenbus), front end");
MODULE_LICENSE("GPL");
MODULE_ALIAS("xen:" XVS_DEVICE_KIND);
