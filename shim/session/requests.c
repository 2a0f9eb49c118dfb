/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the front end asks for through the control page. */
#include "session/internal.h"

#include "policy/policy.h"

#include <errno.h>
#include <linux/virtio_config.h>

#define FEATURE(bit) (1ull << (bit))
#define TRANSPORT_FEATURES                                                                         \
	(FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_F_ACCESS_PLATFORM) |                         \
	 FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | FEATURE(VIRTIO_RING_F_EVENT_IDX))

void session_update_config(struct session *s)
{
	uint8_t config[XVS_CONFIG_MAX];
	unsigned int len = s->config_len;

	if (s->gone || s->dev->ops->config_read(s->dev, 0, config, len))
		return; /* the mirror keeps what it had; a dead device is found elsewhere */
	if (s->type->limit_config)
		s->type->limit_config(config, len, s->dev->ops->get_features(s->dev),
				      squeue_size_max(s, 0));
	control_set_config(&s->ctrl, config, len);
}

int session_identify(struct session *s)
{
	uint64_t dev = s->dev->ops->get_features(s->dev);
	struct xvs_device_info info = {
		.magic = XVS_MAGIC,
		.version = XVS_VERSION,
		.num_queues = (uint16_t)s->num_queues,
		.device_id = s->dev->device_id,
		.vendor_id = s->dev->vendor_id,
		.config_len = s->config_len,
		.device_status = s->status,
		.epoch = atomic_load(&s->log->epoch),
		.addressing = s->p.addressing,
		.protection = s->p.protection,
	};

	if (!(dev & FEATURE(VIRTIO_F_VERSION_1)))
		return -EOPNOTSUPP;
	s->offered = (dev & s->type->feature_mask) | s->type->feature_add | TRANSPORT_FEATURES;
	info.device_features = s->offered;
	info.config_generation = s->ctrl.generation;
	for (unsigned int i = 0; i < XVS_MAX_QUEUES; i++) {
		uint16_t max = i < s->num_queues ? squeue_size_max(s, i) : 0;

		control_set_queue(&s->ctrl, i, max, s->queue[i].enabled);
	}
	session_update_config(s);
	info.config_generation = s->ctrl.generation;
	control_identify(&s->ctrl, &info);
	return 0;
}

/*
 * Features of the nested device that the driver's choice amounts to. The platform's ordering is
 * accepted from any device that asks for it: rings are in write-back memory and doorbells are
 * uncached, and on x86 such stores are seen in order by a bus master as by a processor, so the
 * barriers that the rings have anyway are the strong ones.
 */
static uint64_t device_features(const struct session *s)
{
	uint64_t dev = s->dev->ops->get_features(s->dev);

	return dev & ((s->features & s->type->feature_mask) | TRANSPORT_FEATURES |
		      FEATURE(VIRTIO_F_ORDER_PLATFORM));
}

/* Resets the device and agrees on features with it. */
static int negotiate(struct session *s)
{
	const struct xdev_ops *ops = s->dev->ops;
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	int rc = ops->reset(s->dev);

	if (rc)
		return rc;
	ops->set_status(s->dev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	ops->set_status(s->dev, status);
	ops->set_features(s->dev, device_features(s));
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	ops->set_status(s->dev, status);
	return ops->get_status(s->dev) & VIRTIO_CONFIG_S_FEATURES_OK ? 0 : -EIO;
}

/* NULL, or why it may not go on. */
static const char *driver_refused(const struct session *s)
{
	struct driver_decision d = policy_driver(s->p.addressing, true, s->features);

	return d.agreement == AGREE_YES ? NULL : d.reason;
}

static int start_device(struct session *s)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;

	for (unsigned int i = 0; i < s->num_queues; i++) {
		int rc = 0;

		if (s->queue[i].enabled)
			rc = squeue_start(s, i, device_features(s));
		if (rc)
			return rc;
	}
	s->dev->ops->set_status(s->dev, status);
	s->live = true;
	return 0;
}

static int op_reset(struct session *s)
{
	int rc = session_quiesce(s, true);

	if (rc) {
		s->fatal = rc;
		return XVS_EIO;
	}
	s->status = 0;
	s->features = 0;
	s->broken = false;
	return 0;
}

static int op_status(struct session *s, uint32_t wanted)
{
	uint8_t gained = (uint8_t)(wanted & ~s->status);
	const char *why;

	if (!wanted)
		return op_reset(s);
	if (wanted > 0xff || (s->status & ~wanted & ~VIRTIO_CONFIG_S_NEEDS_RESET))
		return XVS_EINVAL;
	if (s->broken)
		return XVS_EBUSY;
	if (gained & VIRTIO_CONFIG_S_FEATURES_OK) {
		why = driver_refused(s);
		if (why) {
			log_limited(&s->limit, LOG_WARN, "%s: %s (features %#llx)", s->p.name, why,
				    (unsigned long long)s->features);
			wanted &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
		} else if (s->gone || negotiate(s)) {
			wanted &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
		}
	}
	if (gained & VIRTIO_CONFIG_S_DRIVER_OK) {
		if (!(wanted & VIRTIO_CONFIG_S_FEATURES_OK))
			return XVS_EINVAL;
		if (start_device(s))
			return XVS_EIO;
	}
	s->status = (uint8_t)(wanted & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET);
	return 0;
}

static int op_features(struct session *s, uint64_t features)
{
	if (s->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return XVS_EBUSY;
	if (features & ~s->offered)
		return XVS_EINVAL;
	s->features = features;
	s->log->driver_features = features;
	return 0;
}

static int op_config(struct session *s, const struct xvs_request *req)
{
	uint32_t off = req->u.config.offset, len = req->u.config.len;

	if (!len || len > XVS_CONFIG_WRITE_MAX || off > s->config_len || len > s->config_len - off)
		return XVS_EINVAL;
	if (!s->type->config_writable || !s->type->config_writable(off, len))
		return XVS_EINVAL;
	if (s->gone || s->dev->ops->config_write(s->dev, off, req->u.config.data, len))
		return XVS_EIO;
	session_update_config(s);
	return 0;
}

static int op_queue(struct session *s, uint32_t index)
{
	const uint8_t features_ok = VIRTIO_CONFIG_S_FEATURES_OK;
	struct journal_queue *log;
	const char *why;
	int rc;

	if (index >= s->num_queues)
		return XVS_EINVAL;
	if (s->replay && s->queue[index].enabled)
		return 0; /* a dead worker did it and could not answer */
	if (s->broken || s->live || s->queue[index].enabled || !(s->status & features_ok))
		return XVS_EBUSY;
	rc = squeue_enable(s, index, &why);
	if (rc) {
		log_limited(&s->limit, LOG_WARN, "%s: queue %u refused: %s (%s)", s->p.name,
			    index, why, strerror(-rc));
		return rc == -EINVAL ? XVS_EINVAL : XVS_EIO;
	}
	log = s->queue[index].log;
	memset(log->inflight, 0, sizeof(log->inflight));
	atomic_store(&log->used, 0);
	log->last_avail = 0;
	log->size = s->queue[index].ring.size;
	control_set_queue(&s->ctrl, index, squeue_size_max(s, index), true);
	return 0;
}

static int carry_out(struct session *s, const struct xvs_request *req)
{
	switch (req->op) {
	case XVS_OP_SET_DRIVER_FEATURES:
		return op_features(s, req->u.features);
	case XVS_OP_SET_DEVICE_STATUS:
		return op_status(s, req->u.status);
	case XVS_OP_SET_CONFIG:
		return op_config(s, req);
	case XVS_OP_SET_VQUEUE:
		return op_queue(s, req->u.index);
	case XVS_OP_RELEASE_GRANTS:
		return session_release(s) ? XVS_EIO : 0;
	default:
		return XVS_EOPNOTSUPP;
	}
}

bool session_serve_control(struct session *s)
{
	struct xvs_request req;
	uint8_t before = s->status;
	int result;

	if (!control_take(&s->ctrl, &req))
		return false;
	result = carry_out(s, &req);
	s->replay = false;
	session_keep_status(s);
	/* Not while pages may be mapped that the answer says are not; the next worker does it. */
	if (s->fatal)
		return true;
	control_answer(&s->ctrl, &req, result, s->status);
	session_notify(s, s->ctrl_port);
	if (s->status != before && s->p.on_status)
		s->p.on_status(s->p.arg, s->status);
	return true;
}

/* Finishes a publication that the dead worker had begun. */
static int settle_used(struct squeue *q)
{
	uint32_t used = atomic_load(&q->log->used);
	uint16_t idx = (uint16_t)used, n = (uint16_t)(used >> 16), seen;

	q->ring.used_idx = idx;
	if (!n)
		return 0;
	if (n > q->ring.size)
		return -EPROTO;
	seen = shared_read(&q->ring.used->idx);
	if (seen != idx && seen != (uint16_t)(idx + n))
		return -EPROTO;
	for (uint16_t i = 0; i < n; i++) {
		const struct journal_used *u = &q->log->pub[i];

		if (u->id >= q->ring.size)
			return -EPROTO;
		guest_ring_put(&q->ring, (uint16_t)(idx + i), u->id, u->len);
		atomic_store(&q->log->inflight[u->id], 0);
	}
	guest_ring_publish(&q->ring, (uint16_t)(idx + n));
	atomic_store(&q->log->used, q->ring.used_idx);
	return 0;
}

static int resume_queue(struct session *s, unsigned int index)
{
	struct squeue *q = &s->queue[index];
	const char *why;
	int rc = squeue_enable(s, index, &why);

	if (rc)
		return rc;
	if (q->ring.size != q->log->size)
		return -EPROTO;
	rc = settle_used(q);
	if (rc)
		return rc;
	squeue_collect(q);
	stat_add(&s->st->resumed, q->resume_n);
	return 0;
}

/* Could op_status() and op_queue() have left it so? A device is not started from less. */
static bool record_sound(const struct session *s)
{
	bool agreed = s->status & VIRTIO_CONFIG_S_FEATURES_OK;

	if (agreed && driver_refused(s))
		return false;
	for (unsigned int i = 0; i < s->num_queues; i++)
		if (s->log->queue[i].size && !agreed)
			return false;
	return agreed || !(s->status & VIRTIO_CONFIG_S_DRIVER_OK);
}

int session_resume(struct session *s)
{
	uint32_t status = atomic_load(&s->log->driver_status);
	unsigned int index = 0;
	int rc = 0;

	s->features = s->log->driver_features;
	s->status = (uint8_t)status;
	if (status & VIRTIO_CONFIG_S_NEEDS_RESET) {
		s->broken = true;
		return 0;
	}
	if (!record_sound(s)) {
		session_break(s, "its record is damaged");
		return 0;
	}
	if (status & VIRTIO_CONFIG_S_FEATURES_OK)
		rc = negotiate(s);
	for (unsigned int i = 0; !rc && i < s->num_queues; i++) {
		index = i;
		if (s->log->queue[i].size)
			rc = resume_queue(s, i);
	}
	if (!rc && (status & VIRTIO_CONFIG_S_DRIVER_OK))
		rc = start_device(s);
	if (rc == -EPROTO || rc == -EINVAL) {
		session_break(s, "queue %u: its ring changed while nobody served it", index);
		return 0;
	}
	return rc;
}
