/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/keeper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_LIMIT 10.0   /* seconds a worker may take to be ready */
#define STOP_LIMIT 1.0     /* and to stop, before it is killed */
#define RESTART_WINDOW 10.0
#define BACKOFF_MIN 0.1
#define BACKOFF_MAX 5.0

const char *kdev_state_name(enum kd_state state)
{
	static const char *const names[] = { "new",	 "waiting",    "starting",
					     "connected", "stopping",  "recovering",
					     "closed",	 "failed",     "gone" };

	return names[state];
}

void kdev_set_state(struct kdev *d, enum kd_state state)
{
	if (d->state == state)
		return;
	log_line(LOG_DEBUG, "%s: %s -> %s", d->name, kdev_state_name(d->state),
		 kdev_state_name(state));
	d->state = state;
	kdev_mark(d);
}

void kdev_arm(struct kdev *d, ev_timer *timer, ev_tstamp after)
{
	ev_timer_stop(d->keeper->loop, timer);
	ev_timer_set(timer, after, 0.);
	ev_timer_start(d->keeper->loop, timer);
}

static ev_tstamp longer(ev_tstamp wait)
{
	wait = wait ? wait * 2 : BACKOFF_MIN;
	return wait < BACKOFF_MAX ? wait : BACKOFF_MAX;
}

/* Evaluate again later, each time later than the last (hazard 32). */
static void back_off(struct kdev *d)
{
	d->backoff = longer(d->backoff);
	kdev_arm(d, &d->retry, d->backoff);
}

void kdev_store_refused(struct kdev *d, int rc)
{
	log_limited(&d->limit, LOG_WARN, "%s: the store refused (%s), trying again", d->name,
		    strerror(-rc));
	back_off(d);
}

void kdev_sync_store(struct kdev *d)
{
	int rc = kdev_sync(d);

	if (rc)
		kdev_store_refused(d, rc);
	else
		d->backoff = 0;
}

/* Takes what the goal asks for when there is no worker and nothing is mapped. */
static void reach_goal(struct kdev *d);

static void recover(struct kdev *d)
{
	char why[160] = "";

	kdev_set_state(d, KD_RECOVER);
	ev_timer_stop(d->keeper->loop, &d->timer);
	if (!kdev_let_go(d, why, sizeof(why))) {
		d->hold = 0;
		d->held[0] = '\0';
		reach_goal(d);
		return;
	}
	/* The device may still write: what it can reach stays pinned (hazard 35). */
	log_limited(&d->limit, LOG_ERROR, "%s: %s; its pages are held, trying again", d->name, why);
	snprintf(d->held, sizeof(d->held), "%s", why);
	d->hold = longer(d->hold);
	kdev_arm(d, &d->timer, d->hold);
}

/*
 * The state that tells the front end that nobody serves it. One that was connected must not be
 * asked by Closing to finish what it has in flight. One that was never connected takes Closing as
 * a refusal; one on its way out waits for Closing before it says Closed.
 */
static enum xb_state end_state(const struct kdev *d)
{
	if (d->fe_state == XB_CLOSING)
		return XB_CLOSING;
	return d->error[0] && d->xb_written != XB_CONNECTED ? XB_CLOSING : XB_CLOSED;
}

static void goal_fail(struct kdev *d)
{
	log_line(LOG_ERROR, "%s: given up: %s", d->name, d->error);
	kdev_release(d);
	d->goal = GOAL_NONE;
	d->xb = end_state(d);
	kdev_set_state(d, KD_FAILED);
	kdev_sync_store(d);
}

/* Could a second attempt have another result? */
static bool passing_error(int error)
{
	return error == -ENOMEM || error == -EAGAIN || error == -ENOSPC || error == -EINTR ||
	       error == -EMFILE || error == -ENFILE;
}

static bool may_restart(struct kdev *d)
{
	ev_tstamp now = ev_now(d->keeper->loop);

	if (now - d->restart_since > RESTART_WINDOW) {
		d->restart_since = now;
		d->restarts = 0;
	}
	d->restarts_total++;
	if (++d->restarts <= d->keeper->conf.restart_limit)
		return true;
	snprintf(d->error, sizeof(d->error), "its worker died %u times within %.0f s", d->restarts,
		 RESTART_WINDOW);
	return false;
}

/* Nothing is mapped, so that may wait: the host is short of something. */
static void try_later(struct kdev *d, enum kd_goal goal, int rc)
{
	log_limited(&d->limit, LOG_WARN, "%s: cannot go on now (%s), trying again", d->name,
		    strerror(-rc));
	d->goal = goal;
	kdev_set_state(d, KD_RECOVER);
	kdev_arm(d, &d->timer, 2.5); /* stays below the limit of restarts */
}

static void start_later(struct kdev *d, bool resume, int rc)
{
	if (resume) {
		try_later(d, GOAL_RESUME, rc);
		return;
	}
	log_limited(&d->limit, LOG_WARN, "%s: no worker could be started (%s), trying again",
		    d->name, strerror(-rc));
	back_off(d);
}

void kdev_start_worker(struct kdev *d, bool resume)
{
	int rc;

	/* Its registers may be another device's by now. */
	if (!d->src.ops->present(&d->src)) {
		snprintf(d->error, sizeof(d->error), "%s is gone", d->src.text);
		kdev_want(d, GOAL_FAIL);
		return;
	}
	rc = kdev_start_holder(d);
	if (!rc)
		rc = d->keeper->spawn(d, resume);
	kdev_close_hold_fd(d);
	if (rc) {
		start_later(d, resume, rc);
		return;
	}
	kdev_set_state(d, KD_STARTING);
	kdev_arm(d, &d->timer, START_LIMIT);
}

static int renew_dma(struct kdev *d)
{
	int rc;

	if (d->dma.va) {
		memset(d->dma.va, 0, (size_t)d->dma.npages * XVS_FRAME_SIZE);
		return 0;
	}
	rc = kdev_open_dma(d);
	return rc ? rc : journal_set_dma(&d->journal, &d->dma);
}

static void goal_close(struct kdev *d);

/* A new worker for a live device: the guest sees a pause. */
static void goal_resume(struct kdev *d)
{
	char why[200];
	int rc = 0;

	d->goal = GOAL_NONE;
	d->error[0] = '\0';
	if (d->adopted)
		rc = kdev_read_allow(d, why, sizeof(why));
	if (!rc && d->adopted)
		rc = kdev_decide_offer(d, why, sizeof(why));
	if (!rc && d->adopted)
		rc = nodes_read_frontend(d->keeper->hv, d->fe, &d->nodes, why, sizeof(why));
	if (!rc && d->adopted)
		rc = kdev_decide_pick(d, why, sizeof(why));
	/* What the front end wrote can be refused; that it cannot be read now is not its doing. */
	if (rc && rc != -ENOENT && rc != -EOPNOTSUPP && !node_is_malformed(rc)) {
		start_later(d, true, rc);
		return;
	}
	if (rc) {
		log_limited(&d->limit, LOG_WARN, "%s: refused: %s", d->name, why);
		snprintf(d->error, sizeof(d->error), "%s", why);
		goal_close(d);
		return;
	}
	if (!d->adopted && !may_restart(d)) {
		goal_fail(d);
		return;
	}
	rc = source_renew(&d->src, d->error, sizeof(d->error));
	if (!rc)
		rc = kdev_check_type(d);
	if (!rc)
		rc = renew_dma(d);
	if (passing_error(rc)) {
		start_later(d, true, rc);
		return;
	}
	if (rc) {
		goal_fail(d);
		return;
	}
	d->served |= d->adopted; /* by a worker of the keeper before us */
	d->adopted = false;
	kdev_start_worker(d, true);
}

static void goal_close(struct kdev *d)
{
	/* The guest was not told of a connection yet: step 2 still stands. */
	bool waiting = d->xb_written == XB_INITWAIT && !d->error[0];
	bool adopted = d->adopted;
	char reason[sizeof(d->error)];
	int rc;

	memcpy(reason, d->error, sizeof(reason));
	d->goal = GOAL_NONE;
	d->adopted = false;
	d->served = false;
	rc = source_renew(&d->src, d->error, sizeof(d->error));
	if (!rc)
		rc = kdev_check_type(d);
	/* Nobody else has read what may be offered to the next front end. */
	if (!rc && adopted)
		rc = kdev_read_allow(d, d->error, sizeof(d->error));
	if (!rc && adopted)
		rc = kdev_decide_offer(d, d->error, sizeof(d->error));
	if (!rc && !d->dma.va)
		rc = kdev_open_dma(d);
	if (!rc)
		rc = kdev_fresh_journal(d);
	if (passing_error(rc)) {
		memcpy(d->error, reason, sizeof(reason));
		d->adopted = adopted;
		try_later(d, GOAL_CLOSE, rc);
		return;
	}
	if (rc) {
		goal_fail(d);
		return;
	}
	kdev_set_state(d, waiting ? KD_INITWAIT : KD_CLOSED);
	if (!waiting)
		d->xb = end_state(d);
	kdev_sync_store(d);
}

/* The store and the run directory keep all that the next keeper needs. */
static void goal_quit(struct kdev *d)
{
	kdev_drop_dma(d);
	if (d->journal.data)
		journal_close(&d->journal);
	d->journal.data = NULL;
	if (d->src.dev)
		d->src.ops->close(&d->src);
	kdev_set_state(d, KD_GONE);
}

static void goal_remove(struct kdev *d)
{
	kdev_release(d);
	if (!d->domain_gone && d->xb_written != XB_UNKNOWN) {
		d->xb = XB_CLOSED;
		d->error[0] = '\0';
		kdev_sync_store(d);
	}
	log_line(LOG_INFO, "%s: removed, %s released", d->name, d->src.text);
	kdev_set_state(d, KD_GONE);
}

/* Is the connection that an earlier keeper served still there? */
static bool still_connected(struct kdev *d)
{
	return (d->xb_written == XB_CONNECTED || d->xb_written == XB_CLOSING) &&
	       (d->fe_state == XB_CONNECTED || d->fe_state == XB_INITIALISED) && d->src.dev;
}

static void reach_goal(struct kdev *d)
{
	if (d->goal == GOAL_RESUME && d->adopted && !still_connected(d))
		d->goal = GOAL_CLOSE;
	if (d->goal < GOAL_FAIL && !d->src.dev) {
		snprintf(d->error, sizeof(d->error), "%s is not there any more", d->src.text);
		d->goal = GOAL_FAIL;
	}
	switch (d->goal) {
	case GOAL_NONE:
		break;
	case GOAL_RESUME:
		goal_resume(d);
		break;
	case GOAL_CLOSE:
		goal_close(d);
		break;
	case GOAL_FAIL:
		goal_fail(d);
		break;
	case GOAL_QUIT:
		goal_quit(d);
		break;
	case GOAL_REMOVE:
		goal_remove(d);
		break;
	}
}

void kdev_want(struct kdev *d, enum kd_goal goal)
{
	if (goal <= d->goal || d->state == KD_GONE)
		return;
	d->goal = goal;
	switch (d->state) {
	case KD_STARTING:
	case KD_CONNECTED:
		kdev_set_state(d, KD_STOPPING);
		worker_stop(d);
		kdev_arm(d, &d->timer, STOP_LIMIT);
		break;
	case KD_STOPPING:
	case KD_RECOVER:
		break; /* on its way; the goal is looked at when it gets there */
	default:
		reach_goal(d);
		break;
	}
}

void kdev_force(struct kdev *d)
{
	if (d->forced)
		return;
	d->forced = true;
	d->online = false;
	if (d->state == KD_CONNECTED)
		worker_take_device(d);
	else if (!d->served && !d->adopted) /* the guest was told of nothing that it could use */
		kdev_want(d, GOAL_REMOVE);
	kdev_mark(d);
}

void kdev_refuse(struct kdev *d, const char *why)
{
	log_limited(&d->limit, LOG_WARN, "%s: refused: %s", d->name, why);
	snprintf(d->error, sizeof(d->error), "%s", why);
	if (d->state == KD_STARTING || d->state == KD_CONNECTED) {
		kdev_want(d, GOAL_CLOSE);
		return;
	}
	d->xb = XB_CLOSING;
	kdev_set_state(d, KD_CLOSED);
	kdev_sync_store(d);
}

void kdev_worker_ready(struct kdev *d)
{
	if (d->state != KD_STARTING)
		return;
	ev_timer_stop(d->keeper->loop, &d->timer);
	/* A new worker during an orderly detach: the guest was told of Closing already. */
	if (!d->served || d->online)
		d->xb = XB_CONNECTED;
	d->served = true;
	kdev_set_state(d, KD_CONNECTED);
	log_line(LOG_INFO, "%s: served by process %d", d->name, (int)d->worker.pid);
	if (d->forced)
		worker_take_device(d);
	kdev_sync_store(d);
}

void kdev_worker_ended(struct kdev *d, int status)
{
	bool wanted = d->state == KD_STOPPING;
	char how[224];

	worker_describe_end(d, status, how, sizeof(how));
	log_limited(&d->limit, wanted ? LOG_DEBUG : LOG_WARN, "%s: worker %s", d->name, how);
	if (d->worker.failed && !passing_error(d->worker.error)) {
		snprintf(d->error, sizeof(d->error), "%s", d->worker.why);
		if (d->goal < GOAL_CLOSE)
			d->goal = GOAL_CLOSE;
	}
	if (d->goal < GOAL_RESUME)
		d->goal = GOAL_RESUME;
	/* Never ready: the guest has not been told of anything that could be resumed. */
	if (d->goal == GOAL_RESUME && !d->served)
		d->goal = may_restart(d) ? GOAL_CLOSE : GOAL_FAIL;
	recover(d);
}

/* -- its timers and its birth -- */

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct kdev *d = timer->data;

	(void)loop;
	(void)events;
	if (d->state == KD_RECOVER) {
		recover(d);
	} else if (d->state == KD_STOPPING || d->state == KD_STARTING) {
		log_limited(&d->limit, LOG_WARN, "%s: worker does not answer, it is killed",
			    d->name);
		worker_kill(d);
	}
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	kdev_mark(timer->data);
}

void kdev_mark(struct kdev *d)
{
	d->dirty = true;
	keeper_kick(d->keeper);
}

struct kdev *kdev_new(struct keeper *k, uint16_t domid, uint32_t devid)
{
	struct kdev *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->keeper = k;
	d->domid = domid;
	d->devid = devid;
	d->key = (uint32_t)domid << 16 | devid;
	d->generation = ++k->generation;
	d->online = true;
	d->tokens = KDEV_TOKENS;
	d->limit = (struct log_limit){ .seconds = 10, .burst = 8 };
	snprintf(d->name, sizeof(d->name), "domain %u device %u", domid, devid);
	path_backend(d->be, k->self, domid, devid);
	path_frontend(d->fe, domid, devid);
	worker_init(d);
	d->hold_fd = -1;
	ev_timer_init(&d->timer, on_timer, 0., 0.);
	ev_timer_init(&d->retry, on_retry, 0., 0.);
	d->timer.data = d;
	d->retry.data = d;
	HASH_ADD(hh, k->devices, key, sizeof(d->key), d);
	if (!d->hh.tbl) { /* there was no memory for it */
		free(d);
		return NULL;
	}
	return d;
}

void kdev_free(struct kdev *d)
{
	struct keeper *k = d->keeper;

	ev_timer_stop(k->loop, &d->timer);
	ev_timer_stop(k->loop, &d->retry);
	HASH_DEL(k->devices, d);
	free(d);
}
