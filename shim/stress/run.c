/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper: starts workers, kills them and the other side, cleans up, and does the books. */
#include "stress/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS 2000000
#define STUCK_NS 180000000000ull
#define NEVER UINT64_MAX
#define REST_TRIES 3

struct keeper {
	struct stress_world *world;
	const struct stress_config *config;
	struct stress_result *res;
	struct stress_shared *sh;
	struct hv *hv;
	struct hv_dma dma;
	struct journal journal;
	uint64_t rng, begun, kill_at, moved, shown;
	uint64_t kill_in; /* ns from the worker's first round, where kill_at does not say when */
	uint64_t last_rounds;
	unsigned int epoch;
	pid_t pid;
};

static int blame(struct keeper *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int blame(struct keeper *k, const char *fmt, ...)
{
	char *text = k->res->story;
	size_t n = strlen(text), size = sizeof(k->res->story);
	va_list ap;

	/* The first thing found is the cause, what comes later may follow from it. */
	if (n && n + 8 < size)
		n += (size_t)snprintf(text + n, size - n, "; then ");
	va_start(ap, fmt);
	vsnprintf(text + n, size - n, fmt, ap);
	va_end(ap);
	return -EIO;
}

static uint32_t keeper_random(struct keeper *k, uint32_t below)
{
	k->rng = k->rng * 6364136223846793005ull + 1442695040888963407ull;
	return below ? (uint32_t)((k->rng >> 33) % below) : 0;
}

/*
 * A worker dies at any moment, while it starts as well. On a busy machine the start alone may
 * take longer than that, so that every other one is let live until it has done something.
 */
static void plan_kill(struct keeper *k)
{
	k->kill_in = (1 + keeper_random(k, 2 * k->config->kill_ms)) * 1000000ull;
	k->kill_at = NEVER;
	if (k->config->chaos && keeper_random(k, 2))
		k->kill_at = stats_now() + k->kill_in;
}

static int start_worker(struct keeper *k)
{
	pid_t keeper = getpid();
	struct worker *w;

	k->moved = stats_now();
	k->last_rounds = atomic_load(&k->sh->rounds);
	plan_kill(k);
	fflush(NULL);
	k->pid = fork();
	if (k->pid < 0)
		return blame(k, "cannot fork: %s", strerror(errno));
	if (k->pid)
		return 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		_exit(WORKER_FAILED);
	w->world = k->world;
	w->config = k->config;
	w->sh = k->sh;
	w->journal = &k->journal;
	w->epoch = k->epoch;
	w->keeper = keeper;
	worker_main(w, &k->dma);
}

/* What the worker held goes back; nothing may be left of it, and Xen has refused nothing. */
static int clean_up(struct keeper *k)
{
	int rc = journal_recover(&k->journal, k->hv, &k->dma);

	if (rc < 0)
		return blame(k, "recovery through the journal failed: %s", strerror(-rc));
	k->res->recovered += (unsigned int)rc;
	if (journal_live(&k->journal))
		return blame(k, "recovery left %u pages mapped", journal_live(&k->journal));
	if (atomic_load(&k->journal.data->leaked))
		return blame(k, "leak: Xen refused to unmap %u handles of the journal",
			     atomic_load(&k->journal.data->leaked));
	return 0;
}

static int audit(struct keeper *k, struct stress_books *books)
{
	int rc = k->world->audit(k->world, books);

	if (rc == -ENOBUFS)
		return blame(k, "Xen's log is smaller than its dump of the grant tables: boot Xen "
				"with conring_size=2M");
	return rc ? blame(k, "cannot read Xen's own count: %s", strerror(-rc)) : 0;
}

/*
 * The one that was killed is gone, and all of its books with it. Where nothing else is in the
 * books they begin anew with its successor.
 */
static int renew_peer(struct keeper *k)
{
	const uint64_t zombies = k->res->before.zombies;
	char why[400] = "";
	int rc;

	for (unsigned int i = 0; i < POOL_REGIONS; i++)
		k->sh->pool[i].live = false;
	rc = k->world->start_peer(k->world, why, sizeof(why));
	if (rc)
		return blame(k, "the other side does not come back: %s", why);
	atomic_store(&k->sh->peer_dying, false);
	k->res->peer_kills++;
	if (k->world->can & STRESS_BOOKS_OF_PEER)
		rc = audit(k, &k->res->before);
	k->res->before.zombies = zombies;
	return rc;
}

/* The worker is gone, killed or by itself because the other side is. */
static int go_on(struct keeper *k, bool peer_gone)
{
	int rc = clean_up(k);

	if (!rc && peer_gone)
		rc = renew_peer(k);
	k->epoch++;
	return rc ? rc : start_worker(k);
}

static int reap_worker(struct keeper *k)
{
	int status = 0;

	while (waitpid(k->pid, &status, 0) < 0 && errno == EINTR)
		;
	k->pid = 0;
	return status;
}

/* One kill: of the worker, or of the other side first or after it. */
static int strike(struct keeper *k)
{
	bool peer = k->config->peer_in && !keeper_random(k, k->config->peer_in);
	bool peer_first = peer && keeper_random(k, 2);
	int status;

	if (peer)
		atomic_store(&k->sh->peer_dying, true);
	if (peer_first)
		k->world->kill_peer(k->world);
	kill(k->pid, SIGKILL);
	status = reap_worker(k);
	if (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_FAILED)
		return blame(k, "%s", k->sh->story);
	k->res->kills++;
	if (peer && !peer_first)
		k->world->kill_peer(k->world);
	return go_on(k, peer);
}

static void show(struct keeper *k, uint64_t now)
{
	double s = (double)(now - k->begun) / 1e9;
	uint64_t ops = atomic_load(&k->sh->ops);

	if (!k->config->progress || now - k->shown < 500000000u)
		return;
	k->shown = now;
	fprintf(k->config->progress, "\r%6.0f s  %llu operations, %.0f/s, %u kills  ", s,
		(unsigned long long)ops, s > 0 ? (double)ops / s : 0, k->res->kills);
	fflush(k->config->progress);
}

static int watch_progress(struct keeper *k, uint64_t now)
{
	uint64_t rounds = atomic_load(&k->sh->rounds);

	if (rounds != k->last_rounds) {
		k->moved = now;
		if (k->config->chaos && k->kill_at == NEVER && !atomic_load(&k->sh->stop))
			k->kill_at = now + k->kill_in;
	}
	k->last_rounds = rounds;
	if (now - k->moved < STUCK_NS)
		return 0;
	kill(k->pid, SIGKILL);
	reap_worker(k);
	return blame(k, "the worker is stuck in one operation for three minutes");
}

static void watch_clock(struct keeper *k, uint64_t now)
{
	const struct stress_config *c = k->config;

	if ((c->duration && now - k->begun >= (uint64_t)c->duration * 1000000000u) ||
	    (c->kills && k->res->kills >= c->kills) || (c->interrupt && *c->interrupt)) {
		atomic_store(&k->sh->stop, true);
		k->kill_at = NEVER;
	}
}

/* 1: it ended in good order. */
static int worker_ended(struct keeper *k, int status)
{
	k->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_DONE)
		return 1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_FAILED)
		return blame(k, "%s", k->sh->story[0] ? k->sh->story : "the worker cannot start");
	return blame(k, "the worker ended by itself: %s %d",
		     WIFSIGNALED(status) ? "signal" : "status",
		     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static int supervise(struct keeper *k)
{
	static const struct timespec tick = { .tv_nsec = TICK_NS };
	int rc = start_worker(k), status;

	while (!rc) {
		uint64_t now = stats_now();

		if (waitpid(k->pid, &status, WNOHANG) == k->pid) {
			rc = worker_ended(k, status);
			break;
		}
		show(k, now);
		watch_clock(k, now);
		rc = now >= k->kill_at ? strike(k) : watch_progress(k, now);
		nanosleep(&tick, NULL);
	}
	return rc < 0 ? rc : 0;
}

/* Services of dom0 use the guest's pages too, for a moment each: what is at rest counts. */
static int audit_at_rest(struct keeper *k)
{
	static const struct timespec nap = { .tv_sec = 1 };
	const struct stress_books *b = &k->res->before, *a = &k->res->after;
	int rc = audit(k, &k->res->after);

	for (int i = 0; !rc && i < REST_TRIES && !k->res->story[0] &&
			(a->handles > b->handles || a->pages > b->pages || a->grants > b->grants);
	     i++) {
		nanosleep(&nap, NULL);
		rc = audit(k, &k->res->after);
	}
	return rc;
}

static void compare_books(struct keeper *k)
{
	const struct stress_books *b = &k->res->before, *a = &k->res->after;
	bool same_books = !k->res->peer_kills || k->world->can & STRESS_BOOKS_OF_PEER;

	if (a->handles > b->handles)
		blame(k, "leak: %llu handles too many by Xen's count",
		      (unsigned long long)(a->handles - b->handles));
	if (a->zombies > b->zombies)
		blame(k, "leak: %llu domains cannot go",
		      (unsigned long long)(a->zombies - b->zombies));
	if (same_books && a->pages > b->pages)
		blame(k, "leak: %llu mapped pages too many by Xen's count",
		      (unsigned long long)(a->pages - b->pages));
	if (same_books && a->grants > b->grants)
		blame(k, "leak: %llu grants in use too many by Xen's count",
		      (unsigned long long)(a->grants - b->grants));
}

static int keeper_open(struct keeper *k)
{
	const char *path = k->world->journal[0] ? k->world->journal : NULL;
	int rc = 0;

	k->hv = k->world->open(k->world, HV_CAP_GRANT | HV_CAP_STORE | HV_CAP_DOMAIN | HV_CAP_DMA,
			       &rc);
	if (!k->hv)
		return blame(k, "no access to the hypervisor: %s", strerror(-rc));
	rc = k->hv->ops->dma_alloc(k->hv, worker_dma_pages(), &k->dma);
	if (rc) {
		blame(k, "no memory for the operations, %u pages: %s", worker_dma_pages(),
		      strerror(-rc));
		goto err_close;
	}
	rc = journal_create(&k->journal, path);
	if (rc) {
		blame(k, "cannot create the journal%s%s: %s", path ? " " : "", path ? path : "",
		      strerror(-rc));
		goto err_free;
	}
	/* Held by every process of this run, until the last of them is gone. */
	if (path)
		flock(k->journal.fd, LOCK_EX | LOCK_NB);
	return journal_set_dma(&k->journal, &k->dma);

err_free:
	k->hv->ops->dma_free(k->hv, &k->dma);
err_close:
	hv_close(k->hv);
	return rc;
}

/* The journal goes last: until the pages are given back another keeper may need it. */
static void keeper_close(struct keeper *k)
{
	clean_up(k);
	journal_forget_dma(&k->journal);
	k->hv->ops->dma_free(k->hv, &k->dma);
	if (k->world->journal[0] && !journal_live(&k->journal))
		unlink(k->world->journal);
	journal_close(&k->journal);
	hv_close(k->hv);
}

static void take_result(struct keeper *k)
{
	struct stress_result *r = k->res;

	memcpy(r->kind, k->sh->kind, sizeof(r->kind));
	r->ops = atomic_load(&k->sh->ops);
	r->rounds = atomic_load(&k->sh->rounds);
	r->sequence = k->sh->sequence;
	r->checked = k->sh->checked;
	r->reused = k->sh->reused;
	r->late = k->sh->late;
	r->compare = k->sh->compare;
	r->ns = stats_now() - k->begun;
}

static int run_between_books(struct keeper *k)
{
	char why[400] = "";
	int rc = keeper_open(k);

	if (rc)
		return rc;
	rc = k->world->start_peer(k->world, why, sizeof(why));
	if (rc) {
		blame(k, "%s", why);
		goto out;
	}
	k->begun = stats_now();
	supervise(k);
	take_result(k);
	if (k->config->progress)
		fputs("\r\033[K", k->config->progress);
	k->world->stop_peer(k->world);
out:
	keeper_close(k);
	return rc;
}

int stress_run(struct stress_world *world, const struct stress_config *config,
	       struct stress_result *res)
{
	struct keeper k = { .world = world, .config = config, .res = res,
			    .rng = config->seed ^ 0x6368616f73ull, .journal.fd = -1 };
	int rc;

	memset(res, 0, sizeof(*res));
	k.sh = mmap(NULL, sizeof(*k.sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (k.sh == MAP_FAILED)
		return -errno;
	rc = audit(&k, &res->before);
	if (!rc)
		rc = run_between_books(&k);
	if (!rc)
		rc = audit_at_rest(&k);
	if (!rc)
		compare_books(&k);
	munmap(k.sh, sizeof(*k.sh));
	res->passed = !rc && !res->story[0];
	return rc;
}
