/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a worker does all day: turns, and waiting for the next one. */
#include "session/internal.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <time.h>

#define STOP_CHECK_TURNS 64 /* busy turns between two looks at orders_fd */
#define POLL_MIN_US 4
#define CLOCK_WAITS 16 /* waits between two that are measured, where none is polled for */

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
	if (!s->broken && (s->gone ? session_answer_errors(s) : session_submit(s)))
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
 * An event that was on its way when its port was unbound stays in Linux's ring for this process, and
 * a ring that runs over cannot be read any more: a driver that sets its queues up again and again
 * while the worker is busy would bring that about. Every other port has one event there at most.
 */
void session_drain_events(struct session *s)
{
	uint32_t port;
	int rc = 1;

	for (unsigned int i = 0; i < XVS_MAX_QUEUES + 2 && rc == 1; i++) {
		rc = s->hv->ops->evtchn_pending(s->hv, &port);
		if (rc == 1)
			note_event(s, port);
	}
	if (rc < 0)
		session_give_up(s, rc, "events cannot be read");
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
		session_lose_device(s);
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
static bool wait_events(struct session *s, int orders_fd, int timeout)
{
	struct pollfd fd[] = {
		{ .fd = orders_fd, .events = s->taken ? POLLRDHUP : POLLRDHUP | POLLIN },
		{ .fd = s->hv->ops->evtchn_fd(s->hv), .events = POLLIN },
		{ .fd = s->gone ? -1 : s->dev->ops->irq_fd(s->dev), .events = POLLIN },
		{ .fd = s->p2m ? s->p.holder_fd : -1 },
	};

	if (fd[1].fd < 0 || (fd[2].fd < 0 && !s->gone)) { /* it would sleep for ever */
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
	if (fd[0].revents == POLLIN)
		session_take_device(s);
	return fd[0].revents & ~POLLIN;
}

static int keep_age(struct session *s)
{
	uint64_t now = now_us(CLOCK_MONOTONIC_COARSE);

	return s->p2m ? session_p2m_age(s, now) : session_keep_age(s, now);
}

/* Nothing to do: arms all notifications and sleeps. Returns whether to stop. */
static bool idle(struct session *s, int orders_fd)
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
	stop = wait_events(s, orders_fd, timeout);
	end_shortage(s);
	disarm(s);
	if (measured)
		adapt_poll(s, window, now_us(CLOCK_MONOTONIC) - start);
	return stop;
}

int session_run(struct session *s, int orders_fd)
{
	unsigned int busy = 0;
	bool stop = false;

	while (!stop && !s->fatal) {
		if (!turn(s) && !spin(s))
			stop = idle(s, orders_fd);
		else if (++busy % STOP_CHECK_TURNS == 0) {
			stop = wait_events(s, orders_fd, 0);
			keep_age(s);
		}
	}
	if (s->fatal)
		return s->fatal;
	return session_quiesce(s, false);
}
