// SPDX-License-Identifier: GPL-2.0
/*
 * Virtqueues: a split ring of the virtio core, an event channel, an entry in the queue table.
 *
 * What stands between a hostile back end and the driver:
 *  - a used id out of range or not in flight breaks the queue (the core's BAD_RING);
 *  - the core keeps addresses, lengths and links of its descriptors in private memory and
 *    unmaps by those. The one thing it reads back from the shared table is the NEXT flag
 *    (detach_buf_split()): a back end that sets it makes the core free descriptors in flight.
 *    A table the back end cannot write stops that: readonly_rings, on by default;
 *  - used lengths are not checked by the core (its check was taken back in 5.16), and a
 *    transport never sees them. The drivers' own checks have to do: virtio_blk ignores the
 *    length, virtio_net, virtio_console and the others check it since CVE-2021-38160.
 */
#include <linux/dma-map-ops.h>
#include <linux/interrupt.h>
#include <linux/log2.h>
#include <linux/moduleparam.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <xen/events.h>

#include "front.h"

static bool readonly_rings = true;
module_param(readonly_rings, bool, 0444);
MODULE_PARM_DESC(readonly_rings,
		 "Grant descriptor tables and available rings read-only (default on)");

static bool queue_notify(struct virtqueue *vq)
{
	struct xvs_queue_state *q = vq->priv;

	if (xvs_broken(q->front) || test_bit(XVS_DEAD, &q->front->flags))
		return false; /* the core marks the queue broken */
	notify_remote_via_irq(q->irq);
	return true;
}

static irqreturn_t queue_irq(int irq, void *data)
{
	struct xvs_queue_state *q = data;
	irqreturn_t ret = IRQ_NONE;

	/* Before DRIVER_OK the driver may not be ready for a callback. */
	if (READ_ONCE(q->front->armed))
		ret = virtqueue_is_broken(q->vq) ? IRQ_NONE : vring_interrupt(irq, q->vq);
	/* An event without a used element is spurious; a storm of those is slowed down. */
	xen_irq_lateeoi(irq, ret == IRQ_HANDLED ? 0 : XEN_EOI_FLAG_SPURIOUS);
	return IRQ_HANDLED;
}

static int queue_bind(struct xvs_queue_state *q, evtchn_port_t *port)
{
	struct xenbus_device *xbdev = q->front->xbdev;
	int ret;

	ret = xenbus_alloc_evtchn(xbdev, port);
	if (ret)
		return ret;
	ret = bind_evtchn_to_irqhandler_lateeoi(*port, queue_irq, 0, q->name, q);
	if (ret < 0) {
		xenbus_free_evtchn(xbdev, *port);
		return ret;
	}
	q->irq = ret;
	return 0;
}

/*
 * The used ring starts a page of its own (the alignment given to the core), so the pages in
 * front of it hold nothing that the back end has to write.
 */
static int queue_protect(struct xvs_front *f, struct virtqueue *vq)
{
	dma_addr_t desc = virtqueue_get_desc_addr(vq);
	dma_addr_t used = virtqueue_get_used_addr(vq);

	if (!readonly_rings || xvs_is_p2m(f))
		return 0;
	return xvs_grant_readonly(&f->grants, xvs_dma_ref(desc),
				  xvs_dma_ref(used) - xvs_dma_ref(desc));
}

static int queue_announce(struct xvs_front *f, struct virtqueue *vq, evtchn_port_t port)
{
	struct xvs_request req = { .op = XVS_OP_SET_VQUEUE, .u.index = vq->index };
	struct xvs_queue *entry;

	if (!f->ctrl)
		return -EIO; /* between save and restore */
	entry = &f->ctrl->queue[vq->index];
	/* The release of req.seq in the mailbox orders these before the request. */
	entry->size = virtqueue_get_vring_size(vq);
	entry->evtchn = port;
	entry->desc_addr = virtqueue_get_desc_addr(vq);
	entry->driver_addr = virtqueue_get_avail_addr(vq);
	entry->device_addr = virtqueue_get_used_addr(vq);
	return xvs_request(f, &req, NULL);
}

static void queue_del(struct virtqueue *vq)
{
	struct xvs_queue_state *q = vq->priv;

	if (q->irq) {
		irq_set_affinity_hint(q->irq, NULL);
		unbind_from_irqhandler(q->irq, q);
	}
	q->irq = 0;
	q->vq = NULL;
	vring_del_virtqueue(vq);
}

static struct virtqueue *queue_new(struct virtio_device *vdev, unsigned int index,
				   const struct virtqueue_info *info)
{
	struct xvs_front *f = xvs_front_of(vdev);
	struct xvs_queue_state *q;
	struct virtqueue *vq;
	evtchn_port_t port;
	unsigned int size;
	int ret;

	if (index >= XVS_MAX_QUEUES)
		return ERR_PTR(-ENOENT);
	q = &f->queue[index];
	size = f->frozen ? q->size : q->size_max;
	if (!size || q->vq)
		return ERR_PTR(-ENOENT);
	size = rounddown_pow_of_two(size);
	vq = vring_create_virtqueue(index, size, PAGE_SIZE, vdev, true, true, info->ctx,
				    queue_notify, info->callback, info->name);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	q->size = size;
	vq->num_max = size;
	vq->priv = q;
	q->vq = vq;
	snprintf(q->name, sizeof(q->name), "%s-%s", dev_name(&vdev->dev), info->name);
	ret = queue_protect(f, vq);
	if (!ret && test_bit(XVS_DEAD, &f->flags))
		return vq; /* which nobody hears of */
	if (!ret)
		ret = queue_bind(q, &port);
	if (!ret)
		ret = queue_announce(f, vq, port);
	if (!ret)
		return vq;
	queue_del(vq);
	return ERR_PTR(ret);
}

/* As with the other transports, a queue without a name takes no index. */
int xvs_find_vqs(struct virtio_device *vdev, unsigned int nvqs, struct virtqueue *vqs[],
		 XVS_FIND_VQS_ARGS, struct irq_affinity *desc)
{
	struct xvs_front *f = xvs_front_of(vdev);
	unsigned int i, index = 0;

	/*
	 * In a kernel with CONFIG_XEN_VIRTIO the core has put its own grant operations on the
	 * parent when it looked at the features. They know nothing of quarantine: ours again.
	 */
	xvs_dma_take(f);
	/* From here on a broken device breaks its queues, those made below included. */
	WRITE_ONCE(f->live, vdev);
	for (i = 0; i < nvqs; i++) {
		struct virtqueue_info info = XVS_VQ_INFO(i);

		vqs[i] = info.name ? queue_new(vdev, index++, &info) : NULL;
		if (IS_ERR(vqs[i])) {
			int ret = PTR_ERR(vqs[i]);

			dev_err(&vdev->dev, "queue %u (%s): error %d\n", index - 1, info.name, ret);
			xvs_del_vqs(vdev);
			return ret;
		}
	}
	return 0;
}

void xvs_del_vqs(struct virtio_device *vdev)
{
	struct virtqueue *vq, *next;

	list_for_each_entry_safe(vq, next, &vdev->vqs, list)
		queue_del(vq);
}

void xvs_synchronize_cbs(struct virtio_device *vdev)
{
	struct xvs_front *f = xvs_front_of(vdev);
	int i;

	for (i = 0; i < XVS_MAX_QUEUES; i++)
		if (f->queue[i].irq)
			synchronize_irq(f->queue[i].irq);
}

int xvs_set_vq_affinity(struct virtqueue *vq, const struct cpumask *mask)
{
	struct xvs_queue_state *q = vq->priv;

	return q->irq ? irq_set_affinity_hint(q->irq, mask) : 0;
}
