/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "session/internal.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define COPY_PAGES ((BATCH_COPIES * sizeof(struct hv_copy_op) + XVS_FRAME_SIZE - 1) / XVS_FRAME_SIZE)

static unsigned int served_queues(const struct xdev *dev)
{
	return dev->num_queues < XVS_MAX_QUEUES ? dev->num_queues : XVS_MAX_QUEUES;
}

unsigned int session_dma_pages(const struct xdev *dev)
{
	return pins_dma_pages() + (unsigned int)COPY_PAGES + SCRATCH_PAGES +
	       served_queues(dev) * shadow_dma_pages();
}

void session_keep_status(struct session *s)
{
	atomic_store(&s->log->driver_status, s->status);
	atomic_store(&s->st->driver_status, s->status);
}

static void forget_queue(struct journal_queue *log)
{
	log->size = 0;
	memset(log->inflight, 0, sizeof(log->inflight));
	atomic_store(&log->used, 0);
}

static void forget_refs(struct session *s)
{
	struct gref_range ctrl = { .gref = s->p.ctrl_ref, .npages = 1 };

	memset(&s->refs, 0, sizeof(s->refs));
	/* In p2m references are pfns, and nobody tells that of the control page. */
	if (s->p.addressing == XVS_ADDRESSING_GRANT)
		ring_refs_add(&s->refs, ctrl);
}

int session_let_go(struct session *s)
{
	int rc = s->gone ? 0 : s->dev->ops->reset(s->dev);
	unsigned int held;

	if (rc == -ENODEV) { /* unplugged: nothing is left that could write */
		s->lost = true;
		rc = 0;
	}
	if (rc)
		return rc; /* it may still write: every page stays where it is */
	held = journal_live(s->p.journal);
	if (held)
		log_limited(&s->limit, LOG_INFO, "%s: device reset, then %u pages unmapped",
			    s->p.name, held);
	rc = s->p2m ? session_p2m_release(s) : 0;
	if (rc)
		return rc;
	rc = pins_unmap_all(&s->pins);
	if (kept_reset(&s->kept))
		session_give_up(s, -EIO, "an indirect table cannot be unmapped");
	atomic_store(&s->st->kept, 0);
	if (rc && journal_live(s->p.journal))
		return rc; /* still mapped and on record: the keeper's to finish */
	return 0;
}

int session_quiesce(struct session *s, bool forget)
{
	bool bound = false;
	int rc;

	s->live = false;
	rc = session_let_go(s);
	if (rc)
		return rc;
	if (forget)
		s->gone = s->taken || s->lost; /* else whoever starts it again finds what there is */
	for (unsigned int i = 0; i < s->num_queues; i++) {
		bound |= s->queue[i].enabled;
		squeue_disable(s, i);
		if (forget)
			forget_queue(&s->log->queue[i]);
		control_set_queue(&s->ctrl, i, squeue_size_max(s, i), !forget &&
				  s->log->queue[i].size);
	}
	if (bound)
		session_drain_events(s);
	forget_refs(s);
	atomic_store(&s->st->inflight, 0);
	s->shortage = false;
	return s->fatal;
}

void session_give_up(struct session *s, int rc, const char *what)
{
	if (!s->fatal)
		log_limited(&s->limit, LOG_WARN, "%s: %s: %s", s->p.name, what, strerror(-rc));
	s->fatal = rc;
}

void session_notify(struct session *s, uint32_t port)
{
	int rc = s->hv->ops->evtchn_notify(s->hv, port);

	/* The next worker notifies everybody when it begins. */
	if (rc)
		session_give_up(s, rc, "the guest cannot be notified");
}

void session_keep_reason(struct session *s, const char *reason)
{
	struct session_stats *st = s->st;

	stat_add(&st->broken, 1);
	atomic_fetch_add(&st->reason_seq, 1);
	snprintf(st->reason, sizeof(st->reason), "%s", reason);
	atomic_fetch_add(&st->reason_seq, 1);
}

void session_break(struct session *s, const char *fmt, ...)
{
	char reason[160];
	va_list ap;
	int rc;

	if (s->broken)
		return;
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	log_limited(&s->limit, LOG_WARN, "%s: device broken: %s", s->p.name, reason);
	session_keep_reason(s, reason);
	s->broken = true;
	/* Before the queues are forgotten: a successor must not take it for a sound device. */
	s->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	session_keep_status(s);
	rc = session_quiesce(s, true);
	if (rc)
		s->fatal = rc;
	control_set_status(&s->ctrl, s->status);
	session_notify(s, s->ctrl_port);
}

static void lay_out(struct session *s)
{
	unsigned int page = pins_dma_pages();

	pins_open(&s->pins, s->hv, s->p.journal, s->p.dma, 0, s->p.domid);
	s->copy_page = page;
	s->copy_op = (void *)((char *)s->p.dma->va + (size_t)page * XVS_FRAME_SIZE);
	s->scratch_page = page + (unsigned int)COPY_PAGES;
	s->shadow_page = s->scratch_page + SCRATCH_PAGES;
}

static int keep_open(struct session *s)
{
	bool any = s->p.protection != XVS_PROTECTION_STRICT &&
		   s->p.addressing == XVS_ADDRESSING_GRANT;

	s->keep = any ? XVS_DADDR_KEEP : 0;
	return kept_open(&s->kept, &s->pins, s->p.keep_pages);
}

static int attach_control(struct session *s, char *why, size_t size)
{
	uint32_t ref = s->p.ctrl_ref;
	void *page;
	int rc = s->hv->ops->host_map(s->hv, s->p.domid, &ref, 1, true, &page);

	if (rc) {
		snprintf(why, size, "control page (grant %u) cannot be mapped: %s", ref,
			 strerror(-rc));
		return rc;
	}
	rc = s->hv->ops->evtchn_bind(s->hv, s->p.domid, s->p.ctrl_port, &s->ctrl_port);
	if (rc) {
		snprintf(why, size, "control event channel %u cannot be bound: %s",
			 s->p.ctrl_port, strerror(-rc));
		s->hv->ops->host_unmap(s->hv, page, 1);
		return rc;
	}
	control_open(&s->ctrl, page, s->p.resume);
	return 0;
}

static void notify_all(struct session *s)
{
	for (unsigned int i = 0; i < s->num_queues; i++)
		if (s->queue[i].enabled)
			session_notify(s, s->queue[i].port);
	session_notify(s, s->ctrl_port);
}

static int start_service(struct session *s, char *why, size_t size)
{
	int rc;

	atomic_fetch_add(&s->log->epoch, 1);
	if (s->p.resume) {
		s->replay = control_waiting(&s->ctrl);
		rc = session_resume(s);
		if (rc) {
			snprintf(why, size, "device cannot be taken over: %s", strerror(-rc));
			return rc;
		}
	}
	rc = session_identify(s);
	if (rc)
		snprintf(why, size, "nested device does not offer VIRTIO_F_VERSION_1");
	return rc;
}

static struct session *new_session(const struct session_params *params)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->p = *params;
	s->hv = params->hv;
	s->dev = params->dev;
	s->log = params->journal->data;
	s->st = &s->log->stats;
	s->type = vtype_find(s->dev->device_id);
	s->num_queues = served_queues(s->dev);
	s->poll_us[0] = s->poll_us[1] = s->p.poll_us;
	s->limit = (struct log_limit){ .seconds = 10, .burst = 5 };
	return s;
}

int session_open(struct session **out, const struct session_params *params, char *why, size_t size)
{
	struct session *s = new_session(params);
	int rc;

	*out = NULL;
	if (!s) {
		snprintf(why, size, "out of memory");
		return -ENOMEM;
	}
	rc = -EOPNOTSUPP;
	if (!s->type || s->type->refuse) {
		snprintf(why, size, "device type %u is not served", s->dev->device_id);
		goto err_free;
	}
	if (!s->num_queues) { /* a device's word: whose turn it is would be divided by it */
		snprintf(why, size, "nested device has no queues");
		goto err_free;
	}
	rc = -ENOSPC;
	if (params->dma->npages < session_dma_pages(s->dev)) {
		snprintf(why, size, "too few DMA pages");
		goto err_free;
	}
	s->config_len = s->type->config_len;
	if (s->config_len > s->dev->config_len)
		s->config_len = s->dev->config_len; /* a device without the newer fields */
	lay_out(s);
	forget_refs(s);
	rc = keep_open(s);
	if (rc) {
		snprintf(why, size, "out of memory");
		goto err_free;
	}
	rc = params->addressing == XVS_ADDRESSING_P2M ? session_p2m_open(s, why, size) : 0;
	if (rc)
		goto err_free;
	rc = attach_control(s, why, size);
	if (rc)
		goto err_free;
	rc = start_service(s, why, size);
	if (rc)
		goto err_stop;
	notify_all(s);
	*out = s;
	return 0;

err_stop:
	session_quiesce(s, false);
	session_close(s);
	return rc;
err_free:
	session_p2m_close(s);
	kept_close(&s->kept);
	free(s);
	return rc;
}

void session_close(struct session *s)
{
	s->hv->ops->evtchn_unbind(s->hv, s->ctrl_port);
	s->hv->ops->host_unmap(s->hv, s->ctrl.page, 1);
	session_p2m_close(s);
	kept_close(&s->kept);
	free(s);
}
