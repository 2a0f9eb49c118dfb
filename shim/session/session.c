/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "session/internal.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define COPY_PAGES ((BATCH_COPIES * sizeof(struct hv_copy_op) + XVS_FRAME_SIZE - 1) / XVS_FRAME_SIZE)
#define STOP_CHECK_TURNS 64 /* busy turns between two looks at stop_fd */
#define POLL_MIN_US 4
#define CLOCK_WAITS 16 /* waits between two that are measured, where none is polled for */

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

int session_quiesce(struct session *s, bool forget)
{
	int rc = s->dev->ops->reset(s->dev);
	unsigned int held;

	s->live = false;
	if (rc == -ENODEV)
		rc = 0; /* unplugged: nothing is left that could write */
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
	for (unsigned int i = 0; i < s->num_queues; i++) {
		squeue_disable(s, i);
		if (forget)
			forget_queue(&s->log->queue[i]);
		control_set_queue(&s->ctrl, i, squeue_size_max(s, i), !forget &&
				  s->log->queue[i].size);
	}
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

static void keep_reason(struct session_stats *st, const char *reason)
{
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
	keep_reason(s->st, reason);
	stat_add(&s->st->broken, 1);
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

/*
 * Tries again what could not be had. That goes for chains that wait for completions too: those of
 * the batch that failed, which they were behind, will not come.
 */
static void end_shortage(struct session *s)
{
	if (!s->shortage)
		return;
	s->shortage = false;
	for (unsigned int i = 0; i < s->num_queues; i++)
		s->queue[i].blocked = false;
}

/* One turn: control, completions, new chains. */
static bool turn(struct session *s)
{
	bool work = session_serve_control(s);

	s->batch_calls = 0;
	if (session_harvest(s)) {
		end_shortage(s);
		work = true;
	}
	if (!s->broken && session_submit(s))
		work = true;
	session_keep_room(s);
	if (s->batch_calls > atomic_load_explicit(&s->st->max_batch_hypercalls,
						  memory_order_relaxed))
		atomic_store(&s->st->max_batch_hypercalls, s->batch_calls);
	return work;
}

/* Is there something to do? Reads shared memory only. */
static bool work_pending(const struct session *s)
{
	if (control_waiting(&s->ctrl))
		return true;
	if (!s->live)
		return false;
	for (unsigned int i = 0; i < s->num_queues; i++) {
		const struct squeue *q = &s->queue[i];

		if (!q->enabled)
			continue;
		if (shadow_pending(&q->shadow))
			return true;
		if (!q->blocked && !s->shortage &&
		    (q->resume_n > q->resume_at || guest_ring_waiting(&q->ring)))
			return true;
	}
	return false;
}

/*
 * CLOCK_MONOTONIC is to be used sparingly: where the processor has no invariant TSC no vDSO answers in
 * a PV guest, as dom0 is, and it is a system call. _COARSE never is, and good to a few ms.
 */
static uint64_t now_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/*
 * How long to poll. What is waited for makes two windows of it: a device that is quick is polled for,
 * however slow the guest is to ask for more.
 */
static unsigned int *poll_window(struct session *s)
{
	return &s->poll_us[atomic_load_explicit(&s->st->inflight, memory_order_relaxed) != 0];
}

/* Polls shared memory for a while. The window follows what it was worth. */
static bool spin(struct session *s)
{
	unsigned int *window = poll_window(s);
	uint64_t end;

	if (!*window || !s->live)
		return false;
	end = now_us(CLOCK_MONOTONIC) + *window;
	do {
		for (int i = 0; i < 32; i++) {
			if (work_pending(s)) {
				stat_add(&s->st->polls_hit, 1);
				return true;
			}
			__builtin_ia32_pause();
		}
	} while (now_us(CLOCK_MONOTONIC) < end);
	stat_add(&s->st->polls_missed, 1);
	*window /= 2;
	return false;
}

/* A wait that was short would have been better polled. */
static void adapt_poll(struct session *s, unsigned int *window, uint64_t waited)
{
	if (waited >= s->p.poll_us)
		return;
	*window = *window ? *window * 2 : POLL_MIN_US;
	if (*window > s->p.poll_us)
		*window = s->p.poll_us;
}

/* Where nothing is polled for waits are long, and one of some tells as much as all. */
static bool measures(struct session *s, const unsigned int *window)
{
	return s->p.poll_us && (*window || ++s->waits % CLOCK_WAITS == 0);
}

static void unmask(struct session *s, uint32_t port, bool *masked)
{
	int rc = *masked ? s->hv->ops->evtchn_unmask(s->hv, port) : 0;

	if (rc)
		session_give_up(s, rc, "an event channel cannot be unmasked");
	*masked = false;
}

/* Asks everybody for a notification. The caller looks for work once more before it sleeps. */
static void arm(struct session *s)
{
	unmask(s, s->ctrl_port, &s->ctrl_masked);
	for (unsigned int i = 0; i < s->num_queues; i++) {
		struct squeue *q = &s->queue[i];

		if (!q->enabled)
			continue;
		unmask(s, q->port, &q->masked);
		if (!s->live)
			continue;
		guest_ring_want_kick(&q->ring);
		shadow_want_irq(&q->shadow);
	}
}

static void disarm(struct session *s)
{
	for (unsigned int i = 0; i < s->num_queues && s->live; i++) {
		if (!s->queue[i].enabled)
			continue;
		guest_ring_no_kick(&s->queue[i].ring);
		shadow_no_irq(&s->queue[i].shadow);
	}
}

static void note_event(struct session *s, uint32_t port)
{
	if (port == s->ctrl_port) {
		s->ctrl_masked = true;
		return;
	}
	for (unsigned int i = 0; i < s->num_queues; i++) {
		if (!s->queue[i].enabled || s->queue[i].port != port)
			continue;
		s->queue[i].masked = true;
		stat_add(&s->st->guest_kicks, 1);
		return;
	}
	s->hv->ops->evtchn_unmask(s->hv, port); /* of a queue that was disabled meanwhile */
}

/*
 * One event. There is hardly ever a second, and to ask for it is a system call; what it announces is
 * found in the rings in any case, and the next wait ends at once for it.
 */
static void take_event(struct session *s)
{
	uint32_t port;
	int rc = s->hv->ops->evtchn_pending(s->hv, &port);

	if (rc == 1)
		note_event(s, port);
	else if (rc < 0)
		session_give_up(s, rc, "events cannot be read");
}

static void take_irq(struct session *s)
{
	int cause = s->dev->ops->irq_ack(s->dev);

	stat_add(&s->st->dev_irqs, 1);
	if (cause < 0) {
		session_break(s, "the nested device is gone");
	} else if (cause > 0 && (cause & XDEV_IRQ_CONFIG)) {
		if (s->live && (s->dev->ops->get_status(s->dev) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
			session_break(s, "the nested device needs a reset");
			return;
		}
		session_update_config(s);
		session_notify(s, s->ctrl_port);
	}
}

/* Waits for events, at most timeout ms. Returns whether to stop. */
static bool wait_events(struct session *s, int stop_fd, int timeout)
{
	struct pollfd fd[] = {
		{ .fd = stop_fd, .events = POLLIN },
		{ .fd = s->hv->ops->evtchn_fd(s->hv), .events = POLLIN },
		{ .fd = s->dev->ops->irq_fd(s->dev), .events = POLLIN },
		{ .fd = s->p2m ? s->p.holder_fd : -1 },
	};

	if (fd[1].fd < 0 || fd[2].fd < 0) { /* it would sleep for ever */
		session_give_up(s, -EBADF, "events cannot be waited for");
		return false;
	}
	if (poll(fd, 4, timeout) < 0)
		return false;
	/* Nobody holds the pages any more that the device may write: it must be reset. */
	if (fd[3].revents)
		s->fatal = -EPIPE;
	if (fd[1].revents)
		take_event(s);
	if (fd[2].revents)
		take_irq(s);
	return fd[0].revents;
}

static int keep_age(struct session *s)
{
	uint64_t now = now_us(CLOCK_MONOTONIC_COARSE);

	return s->p2m ? session_p2m_age(s, now) : session_keep_age(s, now);
}

/* Nothing to do: arms all notifications and sleeps. Returns whether to stop. */
static bool idle(struct session *s, int stop_fd)
{
	int timeout = keep_age(s);
	unsigned int *window = poll_window(s);
	bool measured = measures(s, window), stop;
	uint64_t start = 0;

	if (s->shortage)
		timeout = RETRY_MS;
	arm(s);
	if (s->fatal)
		return false;
	if (work_pending(s))
		timeout = 0; /* it came meanwhile; whoever wants us to stop is heard all the same */
	if (measured)
		start = now_us(CLOCK_MONOTONIC);
	stop = wait_events(s, stop_fd, timeout);
	end_shortage(s);
	disarm(s);
	if (measured)
		adapt_poll(s, window, now_us(CLOCK_MONOTONIC) - start);
	return stop;
}

int session_run(struct session *s, int stop_fd)
{
	unsigned int busy = 0;
	bool stop = false;

	while (!stop && !s->fatal) {
		if (!turn(s) && !spin(s))
			stop = idle(s, stop_fd);
		else if (++busy % STOP_CHECK_TURNS == 0) {
			stop = wait_events(s, stop_fd, 0);
			keep_age(s);
		}
	}
	if (s->fatal)
		return s->fatal;
	return session_quiesce(s, false);
}

void session_close(struct session *s)
{
	s->hv->ops->evtchn_unbind(s->hv, s->ctrl_port);
	s->hv->ops->host_unmap(s->hv, s->ctrl.page, 1);
	session_p2m_close(s);
	kept_close(&s->kept);
	free(s);
}
