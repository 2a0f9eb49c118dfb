/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/keeper.h"

#include "daemon/control.h"
#include "daemon/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TURN 16       /* devices looked at before other events get their turn */
#define PATROL 2.0    /* seconds between looks at domains nobody announced the end of */
#define QUIT_LIMIT 8.0
#define LOCK_TRIES 60 /* 3 s */

struct kdev *keeper_find(struct keeper *k, uint16_t domid, uint32_t devid)
{
	uint32_t key = (uint32_t)domid << 16 | devid;
	struct kdev *d;

	HASH_FIND(hh, k->devices, &key, sizeof(key), d);
	return d;
}

struct kdev *keeper_find_generation(struct keeper *k, uint64_t generation)
{
	for (struct kdev *d = k->devices; d; d = d->hh.next)
		if (d->generation == generation)
			return d;
	return NULL;
}

struct kdev *keeper_find_source(struct keeper *k, const char *source)
{
	for (struct kdev *d = k->devices; d; d = d->hh.next)
		if (d->taken && !strcmp(d->src.text, source))
			return d;
	return NULL;
}

bool keeper_domain_gone(struct keeper *k, uint16_t domid)
{
	struct hv_dominfo info;
	int rc = k->hv->ops->dom_info(k->hv, domid, &info);

	return rc == -ESRCH || (!rc && info.dying);
}

void keeper_path(const struct keeper *k, char path[RUN_PATH_SIZE], const struct kdev *d,
		 const char *kind)
{
	snprintf(path, RUN_PATH_SIZE, "%s/dev-%u-%u.%s", k->conf.run_dir, d->domid, d->devid, kind);
}

void keeper_kick(struct keeper *k)
{
	if (!ev_is_active(&k->work)) {
		ev_timer_set(&k->work, 0., 0.);
		ev_timer_start(k->loop, &k->work);
	}
}

/* -- the store -- */

static void on_store(struct ev_loop *loop, ev_io *io, int events)
{
	struct keeper *k = io->data;

	(void)events;
	if (k->hv->ops->store_dispatch(k->hv, keeper_on_watch, k) < 0) {
		log_line(LOG_ERROR, "the connection to the store is lost");
		ev_io_stop(loop, io);
		keeper_quit(k);
	}
}

/* -- one turn -- */

static void bury(struct keeper *k, struct kdev *d)
{
	int rc = d->goal == GOAL_QUIT ? 0 : kdev_remove_nodes(d);

	if (rc) {
		log_limited(&d->limit, LOG_WARN, "%s: its nodes cannot be removed yet: %s", d->name,
			    strerror(-rc));
		d->dirty = false;
		kdev_arm(d, &d->retry, 1.);
		return;
	}
	if (d->not_given_back[0])
		jobs_not_given_back(k, d->generation, d->not_given_back);
	keeper_unwatch(d);
	kdev_free(d);
}

static void work_on_devices(struct keeper *k)
{
	struct kdev *d, *next;
	unsigned int left = TURN;

	HASH_ITER(hh, k->devices, d, next) {
		if (!d->dirty)
			continue;
		if (!left--) {
			keeper_kick(k);
			return;
		}
		if (d->state != KD_GONE)
			kdev_evaluate(d);
		/* Here and nowhere else is a device freed (hazard 26). */
		if (d->state == KD_GONE && d->dirty)
			bury(k, d);
	}
}

static void on_work(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct keeper *k = timer->data;

	(void)events;
	if (k->rescan && !k->quitting)
		keeper_scan_store(k);
	if (k->check_domains)
		for (struct kdev *d = k->devices; d; d = d->hh.next)
			d->dirty = true;
	k->check_domains = false;
	guard_step(k); /* first: what is assigned may run any moment */
	work_on_devices(k);
	jobs_step(k);
	if (k->quitting && !k->devices)
		ev_break(loop, EVBREAK_ALL);
}

/* A directory may vanish a moment before its domain does, and that moment has no event. */
static void on_patrol(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct keeper *k = timer->data;

	(void)loop;
	(void)events;
	for (struct kdev *d = k->devices; d; d = d->hh.next)
		if (!d->watched || d->fe_state == XB_UNKNOWN || keeper_domain_gone(k, d->domid))
			kdev_mark(d);
	if (k->rescan)
		keeper_kick(k);
}

/* -- beginning and end -- */

void keeper_quit(struct keeper *k)
{
	if (k->quitting)
		return;
	k->quitting = true;
	log_line(LOG_INFO, "stopping; devices stay attached for the next start");
	jobs_cancel(k);
	ev_timer_start(k->loop, &k->quit_limit);
	for (struct kdev *d = k->devices; d; d = d->hh.next)
		kdev_want(d, GOAL_QUIT);
	keeper_kick(k);
}

static void on_signal(struct ev_loop *loop, ev_signal *sig, int events)
{
	(void)loop;
	(void)events;
	keeper_quit(sig->data);
}

/* What is left is what a killed keeper leaves, and the next start takes it up. */
static void on_quit_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)timer;
	(void)events;
	log_line(LOG_ERROR, "stopped with devices that did not come to rest");
	ev_break(loop, EVBREAK_ALL);
}

/*
 * Workers hold the lock with their keeper. One that was killed takes its workers with it, but
 * not in the same instant, and until they are gone they may drive their devices.
 */
static int wait_for_lock(int fd)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			break;
		usleep(50 * 1000);
	}
	return -errno;
}

static int take_lock(struct keeper *k, char *why, size_t size)
{
	char path[RUN_PATH_SIZE];
	int rc;

	if (mkdir(k->conf.run_dir, 0700) && errno != EEXIST) {
		rc = -errno;
		snprintf(why, size, "%s: %s", k->conf.run_dir, strerror(-rc));
		return rc;
	}
	snprintf(path, sizeof(path), "%s/lock", k->conf.run_dir);
	k->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	rc = k->lock_fd < 0 ? -errno : wait_for_lock(k->lock_fd);
	if (rc) {
		if (rc == -EWOULDBLOCK)
			snprintf(why, size, "another xvshimd runs (it holds %s)", path);
		else
			snprintf(why, size, "%s: %s", path, strerror(-rc));
		return rc;
	}
	return 0;
}

static const char *next_step(int rc)
{
	switch (rc) {
	case -ENODEV:
		return "this is not a Xen domain";
	case -EACCES:
	case -EPERM:
		return "xvshimd must run as root";
	case -ENOENT:
		return "a module is missing: modprobe -a xen-privcmd xen-gntdev xen-gntalloc "
		       "xen-evtchn";
	default:
		return strerror(-rc);
	}
}

static int open_hv(struct keeper *k, char *why, size_t size)
{
	uint64_t self;
	char *text;
	int rc;

	k->hv = hv_open(k->ops, KEEPER_CAPS, &rc);
	if (!k->hv) {
		snprintf(why, size, "no access to Xen: %s", next_step(rc));
		return rc;
	}
	rc = xvs_open_hv(k->hv, XVS_MEMORY, &k->xvs);
	if (rc) {
		snprintf(why, size, "%s", strerror(-rc));
		return rc;
	}
	/* A relative path: of this domain. */
	rc = k->hv->ops->store_read(k->hv, 0, "domid", &text);
	if (!rc) {
		rc = parse_number(text, 0x7fef, &self);
		free(text);
	}
	if (rc) {
		snprintf(why, size, "the store does not say which domain this is: %s",
			 strerror(-rc));
		return rc;
	}
	k->self = (uint16_t)self;
	path_backend_root(k->be_root, k->self);
	return 0;
}

static int watch_store(struct keeper *k, char *why, size_t size)
{
	const struct hv_ops *ops = k->hv->ops;
	int rc = ops->store_watch(k->hv, k->be_root, "backend");

	if (!rc)
		rc = ops->store_watch(k->hv, "@releaseDomain", "release");
	if (rc) {
		snprintf(why, size, "the store refused a watch: %s", strerror(-rc));
		return rc;
	}
	rc = ops->store_fd(k->hv);
	if (rc < 0) {
		snprintf(why, size, "the store cannot be listened to: %s", strerror(-rc));
		return rc;
	}
	ev_io_init(&k->store_io, on_store, rc, EV_READ);
	k->store_io.data = k;
	ev_io_start(k->loop, &k->store_io);
	return 0;
}

static void start_loop(struct keeper *k)
{
	ev_timer_init(&k->work, on_work, 0., 0.);
	ev_timer_init(&k->patrol, on_patrol, PATROL, PATROL);
	ev_timer_init(&k->quit_limit, on_quit_limit, QUIT_LIMIT, 0.);
	ev_signal_init(&k->term, on_signal, SIGTERM);
	ev_signal_init(&k->intr, on_signal, SIGINT);
	k->work.data = k->patrol.data = k->quit_limit.data = k;
	k->term.data = k->intr.data = k;
	ev_signal_start(k->loop, &k->term);
	ev_signal_start(k->loop, &k->intr);
	ev_timer_start(k->loop, &k->patrol);
	signal(SIGPIPE, SIG_IGN);
}

int keeper_open(struct keeper *k, const struct conf *conf, const struct hv_ops *ops, char *why,
		size_t size)
{
	int rc;

	*k = (struct keeper){ .conf = *conf, .ops = ops, .lock_fd = -1, .spawn = worker_start };
	k->loop = ev_default_loop(0);
	k->started = ev_now(k->loop);
	rc = open_hv(k, why, size); /* first: without Xen nothing is left behind */
	if (!rc)
		rc = take_lock(k, why, size);
	if (rc)
		goto err_close;
	start_loop(k);
	rc = leftover_adopt(k, why, size);
	if (rc)
		goto err_close;
	for (struct kdev *d = k->devices; d; d = d->hh.next)
		keeper_watch(d);
	rc = watch_store(k, why, size);
	if (!rc)
		rc = control_socket_open(k, why, size);
	if (rc)
		goto err_close;
	guard_open(k, NULL);
	k->rescan = true;
	keeper_kick(k);
	return 0;

err_close:
	keeper_close(k);
	return rc;
}

void keeper_run(struct keeper *k)
{
	ev_run(k->loop, 0);
}

void keeper_close(struct keeper *k)
{
	struct kdev *d, *next;

	guard_close(k);
	if (k->control)
		control_socket_close(k);
	HASH_ITER(hh, k->devices, d, next)
		kdev_free(d);
	ev_io_stop(k->loop, &k->store_io);
	ev_timer_stop(k->loop, &k->work);
	ev_timer_stop(k->loop, &k->patrol);
	ev_timer_stop(k->loop, &k->quit_limit);
	ev_signal_stop(k->loop, &k->term);
	ev_signal_stop(k->loop, &k->intr);
	xvs_close(k->xvs);
	if (k->hv)
		hv_close(k->hv);
	if (k->lock_fd >= 0)
		close(k->lock_fd);
	k->xvs = NULL;
	k->hv = NULL;
	k->lock_fd = -1;
}
