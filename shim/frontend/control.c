// SPDX-License-Identifier: GPL-2.0
/*
 * The control page: mailbox, control events, mirror of config space.
 *
 * The page is shared with the back end for writing. Of its parts the front end only ever reads
 * single words, once, or copies into private memory that is checked afterwards. Drivers get
 * config space from such a copy: its generation moves only with a control event, so a back end
 * that never stops changing config cannot keep a driver in its retry loop.
 */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/moduleparam.h>
#include <xen/events.h>
#include <xen/page.h>

#include "front.h"

static unsigned int request_timeout_ms = 30000;
module_param(request_timeout_ms, uint, 0644);
MODULE_PARM_DESC(request_timeout_ms, "Longest wait for a back end's answer (default 30000)");

#define XVS_CONFIG_TRIES 16
#define XVS_NEWS_MAX 64 /* a second that are news because the back end says so */
#define XVS_FEATURES_NEEDED (BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM))

void xvs_break(struct xvs_front *f, enum xvs_flag flag, const char *why)
{
	bool first = !xvs_broken(f);

	if (test_and_set_bit(flag, &f->flags))
		return;
	if (first)
		dev_err(&f->xbdev->dev, "device broken: %s\n", why);
	wake_up_all(&f->wait);
	/* The queues are broken from a worker: the core's lock of them is not safe here. */
	queue_work(xvs_wq, &f->break_work);
}

void xvs_break_work(struct work_struct *work)
{
	struct xvs_front *f = container_of(work, struct xvs_front, break_work);
	struct virtio_device *live = READ_ONCE(f->live);

	if (live)
		virtio_break_device(live);
}

/* Takes a consistent copy of the mirror. True if it differs from the one before. */
bool xvs_config_refresh(struct xvs_front *f)
{
	struct xvs_device_info *info = &f->ctrl->info;
	bool changed = false;
	unsigned long irq;
	u32 gen;
	int i;

	spin_lock_irqsave(&f->config_lock, irq);
	for (i = 0; i < XVS_CONFIG_TRIES; i++) {
		gen = virt_load_acquire(&info->config_generation);
		if (gen & 1) {
			cpu_relax();
			continue;
		}
		if (gen == f->config_gen)
			break;
		memcpy(f->config_next, f->ctrl->config, f->config_len);
		virt_rmb(); /* the copy before the second look at the generation */
		if (READ_ONCE(info->config_generation) != gen)
			continue;
		memcpy(f->config, f->config_next, f->config_len);
		f->config_gen = gen;
		WRITE_ONCE(f->config_version, f->config_version + 1);
		changed = true;
		break;
	}
	spin_unlock_irqrestore(&f->config_lock, irq);
	/* Out of tries: the back end sends an event when it is done, and that leads here. */
	return changed;
}

/* Takes over, for a driver that sets itself up, what config space is now. */
void xvs_config_start(struct xvs_front *f, unsigned int offset, unsigned int len)
{
	unsigned long irq;

	spin_lock_irqsave(&f->config_lock, irq);
	memcpy(f->config_start + offset, f->config + offset, len);
	spin_unlock_irqrestore(&f->config_lock, irq);
}

/* Is it another one by now than the one the driver was shown? */
bool xvs_config_moved(struct xvs_front *f)
{
	unsigned long irq;
	bool moved;

	spin_lock_irqsave(&f->config_lock, irq);
	moved = memcmp(f->config_start, f->config, f->config_len) != 0;
	spin_unlock_irqrestore(&f->config_lock, irq);
	return moved;
}

/* The first copy is waited for: without it there is no config space to show. */
static int config_load(struct xvs_front *f)
{
	unsigned long end = jiffies + msecs_to_jiffies(request_timeout_ms);

	f->config_gen = 1; /* no stable generation is odd */
	while (!xvs_config_refresh(f)) {
		if (xvs_broken(f) || time_after(jiffies, end))
			return -ETIMEDOUT;
		msleep(1);
	}
	return 0;
}

static void check_needs_reset(struct xvs_front *f)
{
	if (!(READ_ONCE(f->ctrl->info.device_status) & VIRTIO_CONFIG_S_NEEDS_RESET) ||
	    !READ_ONCE(f->armed) || test_and_set_bit(XVS_NEEDS_RESET, &f->flags))
		return;
	dev_err(&f->xbdev->dev, "the device needs a reset\n");
	queue_work(xvs_wq, &f->break_work);
}

/*
 * Some of what is news is the back end's to make up, without end: its epoch, its config. An answer
 * is none of it, for there is one to a request.
 */
static bool may_be_news(struct xvs_front *f)
{
	if (time_after(jiffies, f->news_since + HZ)) {
		f->news_since = jiffies;
		f->news = 0;
	}
	return f->news++ < XVS_NEWS_MAX;
}

/* Events coalesce: each of the four reasons is looked at every time. */
static irqreturn_t control_irq(int irq, void *data)
{
	struct xvs_front *f = data;
	struct virtio_device *live = READ_ONCE(f->live);
	u32 epoch = READ_ONCE(f->ctrl->info.epoch);
	u32 rsp = READ_ONCE(f->ctrl->rsp.seq);
	bool answer = rsp != f->seen_rsp && rsp == READ_ONCE(f->seq);
	bool news = epoch != f->seen_epoch;

	f->seen_epoch = epoch;
	if (answer)
		f->seen_rsp = rsp;
	wake_up_all(&f->wait);
	if (READ_ONCE(f->stage) == XVS_LIVE && xvs_config_refresh(f)) {
		news = true;
		if (live)
			virtio_config_changed(live);
	}
	check_needs_reset(f);
	/* Events without news are delayed by Xen's event code, a storm of them ever longer. */
	news = answer || (news && may_be_news(f));
	xen_irq_lateeoi(irq, news ? 0 : XEN_EOI_FLAG_SPURIOUS);
	return IRQ_HANDLED;
}

int xvs_control_open(struct xvs_front *f)
{
	int ret;

	f->ctrl = (void *)get_zeroed_page(GFP_KERNEL);
	if (!f->ctrl)
		return -ENOMEM;
	ret = gnttab_grant_foreign_access(f->xbdev->otherend_id, virt_to_gfn(f->ctrl), 0);
	if (ret < 0)
		goto err_page;
	f->ctrl_ref = ret;
	ret = xenbus_alloc_evtchn(f->xbdev, &f->ctrl_port);
	if (ret)
		goto err_grant;
	f->seq = 0;
	f->seen_rsp = 0;
	f->seen_epoch = 0;
	ret = bind_evtchn_to_irqhandler_lateeoi(f->ctrl_port, control_irq, 0,
						dev_name(&f->xbdev->dev), f);
	if (ret < 0)
		goto err_port;
	f->ctrl_irq = ret;
	return 0;

err_port:
	xenbus_free_evtchn(f->xbdev, f->ctrl_port);
err_grant:
	/* Frees the page as well, once the grant has ended. */
	gnttab_end_foreign_access(f->ctrl_ref, virt_to_page(f->ctrl));
	f->ctrl = NULL;
	return ret;
err_page:
	free_page((unsigned long)f->ctrl);
	f->ctrl = NULL;
	return ret;
}

/* Idempotent. The page is freed when the back end has let go of it, by the kernel's timer. */
void xvs_control_close(struct xvs_front *f)
{
	if (!f->ctrl)
		return;
	unbind_from_irqhandler(f->ctrl_irq, f);
	f->ctrl_irq = 0;
	mutex_lock(&f->mailbox);
	gnttab_end_foreign_access(f->ctrl_ref, virt_to_page(f->ctrl));
	f->ctrl = NULL;
	mutex_unlock(&f->mailbox);
}

static const char *info_error(const struct xvs_front *f, const struct xvs_device_info *info)
{
	if (info->magic != XVS_MAGIC || info->version != XVS_VERSION)
		return "wrong magic or version in the control page";
	if (info->device_id != f->agreed.device_id)
		return "control page and store disagree on the device type";
	if (info->addressing != f->agreed.addressing ||
	    info->protection != f->agreed.mode->value)
		return "control page and store disagree on addressing or protection";
	if (!info->num_queues || info->num_queues > XVS_MAX_QUEUES)
		return "number of queues out of range";
	if (info->config_len > XVS_CONFIG_MAX)
		return "length of config space out of range";
	if ((info->device_features & XVS_FEATURES_NEEDED) != XVS_FEATURES_NEEDED)
		return "VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM are not offered";
	if (!f->restoring)
		return NULL;
	/* A driver that is restored takes up what it had, and does not look whether it is there. */
	if (info->config_len < f->config_start_len)
		return "config space is shorter than before the save";
	if (f->vd->vdev.features & ~info->device_features)
		return "features in use before the save are not offered";
	return NULL;
}

/* What is wrong with the sizes; NULL: nothing. */
static const char *queues_check(struct xvs_front *f, unsigned int queues)
{
	unsigned int i, size[XVS_MAX_QUEUES] = { 0 };

	for (i = 0; i < queues; i++) {
		size[i] = READ_ONCE(f->ctrl->queue[i].size_max);
		if (size[i] > XVS_QUEUE_SIZE_MAX)
			return "size of a queue out of range";
	}
	for (i = 0; f->restoring && i < XVS_MAX_QUEUES; i++)
		if (size[i] < f->queue[i].size)
			return "a queue is shorter than before the save";
	for (i = 0; i < XVS_MAX_QUEUES; i++) {
		f->queue[i].size_max = size[i];
		f->queue[i].front = f;
	}
	return NULL;
}

/* Reads what the back end filled in before it went to Connected: once, and for good. */
int xvs_control_check(struct xvs_front *f, const char **wrong)
{
	struct xvs_device_info info;

	memcpy(&info, &f->ctrl->info, sizeof(info));
	barrier(); /* the copy is checked, never the page again */
	*wrong = info_error(f, &info);
	if (!*wrong)
		*wrong = queues_check(f, info.num_queues);
	if (*wrong)
		return -EPROTO;
	*wrong = "config space does not become stable";
	f->features = info.device_features;
	f->vendor_id = info.vendor_id;
	f->config_len = info.config_len;
	return config_load(f);
}

static bool may_ask(struct xvs_front *f, const struct xvs_request *req)
{
	bool reset = req->op == XVS_OP_SET_DEVICE_STATUS && !req->u.status;

	if (!f->ctrl || test_bit(XVS_GONE, &f->flags) || test_bit(XVS_MUTE, &f->flags))
		return false;
	/* A reset is what stops a back end that broke a rule. */
	return reset || !test_bit(XVS_BROKEN, &f->flags);
}

static bool answered(struct xvs_front *f, u32 seq)
{
	/* Pairs with the release of rsp.seq: result and status are there. */
	return virt_load_acquire(&f->ctrl->rsp.seq) == seq;
}

static int ask(struct xvs_front *f, const struct xvs_request *req, u32 *status)
{
	struct xvs_control_page *ctrl = f->ctrl;
	u32 seq = f->seq + 1 ?: 1;
	int result;

	WRITE_ONCE(f->seq, seq);
	WRITE_ONCE(ctrl->req.op, req->op);
	memcpy(&ctrl->req.u, &req->u, sizeof(req->u));
	/* Pairs with the back end's acquire of req.seq. */
	virt_store_release(&ctrl->req.seq, seq);
	notify_remote_via_irq(f->ctrl_irq);

	wait_event_timeout(f->wait, answered(f, seq) || test_bit(XVS_GONE, &f->flags),
			   msecs_to_jiffies(request_timeout_ms));
	if (!answered(f, seq)) {
		xvs_break(f, XVS_MUTE, "the back end did not answer a request in time");
		return -ETIMEDOUT;
	}
	result = READ_ONCE(ctrl->rsp.result);
	if (status)
		*status = READ_ONCE(ctrl->rsp.status);
	if (result)
		return result < 0 && result >= -MAX_ERRNO ? result : -EPROTO;
	return 0;
}

/* Sleeps, at most request_timeout_ms. Returns 0, what the back end answered, or why none came. */
int xvs_request(struct xvs_front *f, const struct xvs_request *req, u32 *status)
{
	int ret = -EIO;

	if (test_bit(XVS_DEAD, &f->flags)) {
		if (status)
			*status = VIRTIO_CONFIG_S_FEATURES_OK;
		return 0;
	}
	mutex_lock(&f->mailbox);
	if (may_ask(f, req))
		ret = ask(f, req, status);
	mutex_unlock(&f->mailbox);
	return ret;
}
