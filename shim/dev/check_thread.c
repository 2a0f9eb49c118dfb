/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checking device at work: takes chains, completes them when due, resets. */
#include "dev/check_priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

static bool check_waits(const struct check_dev *d, const struct check_req *r)
{
	/* A receive buffer waits for a packet. */
	return d->dev.device_id == VIRTIO_ID_NET && r->queue % 2 == 0;
}

static void check_complete(struct check_dev *d, struct check_req *r)
{
	uint32_t len;

	d->regs->stats.inflight--;
	if (check_mischief(d, CHECK_LOSE) || !check_recheck(d, r, "at its completion"))
		goto out;
	if (d->dev.device_id == VIRTIO_ID_NET) {
		check_net_complete(d, r);
		goto out;
	}
	len = check_blk_serve(d, r);
	if (check_recheck(d, r, "before it was published"))
		check_publish(d, r, len);
out:
	check_req_free(r);
}

/* Takes one request that is due out of the list: the oldest, or any when it shuffles. */
static struct check_req *check_due(struct check_dev *d, int64_t now)
{
	struct check_req **at, **pick = NULL, *r;
	uint32_t n = 0;

	for (at = &d->inflight; *at; at = &(*at)->next) {
		if (check_waits(d, *at) || (*at)->due > now)
			continue;
		n++;
		if (!pick || (d->cfg.shuffle && !check_random(d, n)))
			pick = at;
	}
	if (!pick)
		return NULL;
	r = *pick;
	*pick = r->next;
	return r;
}

static void check_complete_due(struct check_dev *d, int64_t now)
{
	struct check_req *r;

	while (!d->regs->violated && (r = check_due(d, now)))
		check_complete(d, r);
}

bool check_complete_one(struct check_dev *d, unsigned int pick)
{
	struct check_req **at = &d->inflight, *r;

	if (d->regs->violated || d->regs->paused || !d->regs->stats.inflight)
		return false;
	for (pick %= d->regs->stats.inflight; pick; pick--)
		at = &(*at)->next;
	r = *at;
	*at = r->next;
	check_complete(d, r);
	return true;
}

static void check_forget(struct check_dev *d)
{
	while (d->inflight) {
		struct check_req *r = d->inflight;

		d->inflight = r->next;
		check_req_free(r);
	}
	d->regs->stats.inflight = 0;
	memset(d->queue, 0, sizeof(d->queue));
}

static void check_fetch_all(struct check_dev *d)
{
	struct check_regs *r = d->regs;

	for (unsigned int i = 0; i < d->dev.num_queues && !r->violated; i++)
		if (r->queue[i].enabled && r->queue[i].kicked)
			check_fetch(d, i);
}

/* Late DMA: all that it was given before it was told to stop, once more. */
static void check_do_again(struct check_dev *d)
{
	if (!(d->regs->status & VIRTIO_CONFIG_S_DRIVER_OK) || d->regs->paused)
		return;
	check_fetch_all(d);
	for (const struct check_req *r = d->inflight; r && !d->regs->violated; r = r->next)
		if (check_recheck(d, r, "when it had been told to reset") &&
		    d->dev.device_id == VIRTIO_ID_BLOCK) {
			check_blk_serve(d, r);
			d->regs->stats.again++;
		}
}

/*
 * A reset is over when the device says so; until then it works on, which is why nobody may let
 * go of a page before.
 */
static void check_do_reset(struct check_dev *d)
{
	struct check_regs *r = d->regs;
	unsigned int ms = r->linger_ms ? r->linger_ms : d->cfg.reset_delay_ms;

	if (!d->reset_at) /* one that was reset before has nothing to go on with */
		d->reset_at = check_now() + (r->status ? (int64_t)ms * 1000000 : 0);
	if (r->mischief[CHECK_HANG_RESET] || check_now() < d->reset_at) {
		if (ms)
			check_do_again(d);
		return;
	}
	if (ms)
		check_complete_due(d, INT64_MAX);
	r->linger_ms = 0;
	check_forget(d);
	memset(r->queue, 0, sizeof(r->queue));
	r->status = 0;
	r->isr = 0;
	r->driver_features = 0;
	r->reset = false;
	r->stats.resets++;
	d->reset_at = 0;
}

/* Everything that can be done now; without a thread nothing completes by itself. */
void check_pass(struct check_dev *d)
{
	struct check_regs *r = d->regs;

	if (r->unplugged) {
		check_forget(d);
		memset(r->queue, 0, sizeof(r->queue));
		return;
	}
	if (r->reset) {
		check_do_reset(d);
		return;
	}
	if (r->violated || r->paused || !(r->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	check_fetch_all(d);
	if (d->cfg.stepped)
		return;
	if (!r->linger_ms)
		check_complete_due(d, check_now());
	/* Idle again: what came unannounced while notifications were unwanted. */
	for (unsigned int i = 0; d->cfg.suppress && !d->inflight && i < d->dev.num_queues; i++)
		if (r->queue[i].enabled && !r->violated)
			check_fetch(d, i);
}

/* ns until there is something to do without being told; -1: never. */
static int64_t check_idle(const struct check_dev *d)
{
	int64_t now = check_now(), next = -1;

	if (d->regs->unplugged)
		return -1;
	if (d->regs->reset)
		return d->regs->mischief[CHECK_HANG_RESET] ? -1 : 200000;
	if (d->regs->violated || d->regs->paused || d->regs->linger_ms)
		return -1;
	for (const struct check_req *r = d->inflight; r; r = r->next)
		if (!check_waits(d, r) && (next < 0 || r->due - now < next))
			next = r->due > now ? r->due - now : 0;
	return next;
}

static void check_sleep(struct check_dev *d, int64_t ns)
{
	struct pollfd pfd = { .fd = d->doorbell, .events = POLLIN };
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	eventfd_t n;

	if (ppoll(&pfd, 1, ns < 0 ? NULL : &ts, NULL) > 0 && eventfd_read(d->doorbell, &n))
		return;
}

/*
 * A process that forks while a device of it works would leave its child an allocator that is locked
 * for ever (the sanitizers' own is not made for that): fork waits until they are between two passes.
 */
static const pthread_rwlock_t check_at_rest = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_rwlock_t check_at_work = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static void check_before_fork(void)
{
	pthread_rwlock_wrlock(&check_at_work);
}

static void check_after_fork(void)
{
	pthread_rwlock_unlock(&check_at_work);
}

/* Threads that wait for the lock are noted in it, and the child has none of them. */
static void check_in_child(void)
{
	check_at_work = check_at_rest;
}

static void check_mind_forks(void)
{
	pthread_atfork(check_before_fork, check_after_fork, check_in_child);
}

static void *check_thread(void *arg)
{
	struct check_dev *d = arg;
	bool stop;
	int64_t ns;

	sem_post(&d->up);
	do {
		pthread_rwlock_rdlock(&check_at_work);
		if (pthread_mutex_lock(&d->regs->lock) == EOWNERDEAD)
			pthread_mutex_consistent(&d->regs->lock);
		check_pass(d);
		stop = d->regs->stop;
		ns = check_idle(d);
		pthread_mutex_unlock(&d->regs->lock);
		pthread_rwlock_unlock(&check_at_work);
		if (!stop)
			check_sleep(d, ns);
	} while (!stop);
	return NULL;
}

int check_thread_start(struct check_dev *d)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int rc;

	pthread_once(&once, check_mind_forks);
	sem_init(&d->up, 0, 0);
	rc = -pthread_create(&d->thread, NULL, check_thread, d);
	while (!rc && sem_wait(&d->up) && errno == EINTR)
		; /* a thread that begins allocates as well */
	return rc;
}
