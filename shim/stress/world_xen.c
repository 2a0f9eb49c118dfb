/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stress test on Xen: against a domU, or dom0 with itself. */
#include "stress/world.h"

#include "stress/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_XEN
#include "daemon/domain.h"
#include "hv/table.h"
#include "stress/books_xen.h"
#include "stress/child.h"
#include "stress/server_xen.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PEER_TIMEOUT 180 /* s: a domU that is made anew boots meanwhile */
#define GONE_TIMEOUT 60  /* s */
#define PEEK_CHUNK 256u  /* pages mapped at once */

struct xen_world {
	struct stress_world base;
	char name[80], restart[400];
	pid_t server; /* loopback */
	bool destroyed; /* to be made again */
	_Atomic bool *stop;
	void *va[STRESS_BATCH / PEEK_CHUNK];
};

static struct xen_world *of(struct stress_world *w)
{
	return w->priv;
}

static struct hv *xen_world_open(struct stress_world *w, unsigned int caps, int *err)
{
	(void)w;
	return hv_open(hv_xen(), caps, err);
}

static int map_chunk(struct stress_world *w, struct hv *hv, const maddr_t *maddr, unsigned int n,
		     void **va)
{
	mfn_t mfn[PEEK_CHUNK];
	gfn_t gfn[PEEK_CHUNK];
	int err[PEEK_CHUNK], rc;

	for (unsigned int i = 0; i < n; i++) {
		mfn[i] = mfn_of(maddr[i]);
		gfn[i] = (gfn_t){ mfn[i].n }; /* of a PV domain they are the same */
	}
	if (w->loopback)
		return hv->ops->self_map(hv, mfn, n, true, va);
	rc = hv->ops->foreign_map(hv, w->domid, gfn, n, true, va, err);
	for (unsigned int i = 0; !rc && i < n; i++)
		if (err[i]) {
			rc = err[i];
			hv->ops->foreign_unmap(hv, *va, n);
		}
	return rc;
}

static unsigned int chunk_len(unsigned int n, unsigned int from)
{
	return n - from < PEEK_CHUNK ? n - from : PEEK_CHUNK;
}

static void xen_unpeek(struct stress_world *w, struct hv *hv, unsigned int n)
{
	for (unsigned int i = 0; i < n; i += PEEK_CHUNK)
		hv->ops->foreign_unmap(hv, of(w)->va[i / PEEK_CHUNK], chunk_len(n, i));
}

static int xen_peek(struct stress_world *w, struct hv *hv, const maddr_t *maddr, unsigned int n,
		    void **page)
{
	for (unsigned int i = 0; i < n; i += PEEK_CHUNK) {
		void **va = &of(w)->va[i / PEEK_CHUNK];
		unsigned int len = chunk_len(n, i);
		int rc = map_chunk(w, hv, maddr + i, len, va);

		if (rc) {
			xen_unpeek(w, hv, i);
			return rc;
		}
		for (unsigned int k = 0; k < len; k++)
			page[i + k] = (char *)*va + (size_t)k * XVS_FRAME_SIZE;
	}
	return 0;
}

/* --- the other side ------------------------------------------------------------------- */

static bool node_there(struct hv *hv, uint16_t domid)
{
	char path[80], *value = NULL;
	int rc;

	snprintf(path, sizeof(path), "/local/domain/%u/" SERVER_NODE, domid);
	rc = hv->ops->store_read(hv, 0, path, &value);
	free(value);
	return !rc;
}

static void loopback_process(struct xen_world *x, pid_t keeper)
{
	char why[200] = "";
	int rc;

	child_begin(keeper);
	rc = server_run_xen(x->stop, true, why, sizeof(why));
	if (rc)
		fprintf(stderr, "xvshim: %s\n", why);
	_exit(rc ? 1 : 0);
}

static int start_loopback(struct xen_world *x)
{
	pid_t keeper = getpid();

	atomic_store(x->stop, false);
	fflush(NULL);
	x->server = fork();
	if (!x->server)
		loopback_process(x, keeper);
	return x->server < 0 ? -errno : 0;
}

/* The worker is gone and the journal is empty: now nothing may keep the domain. */
static int wait_gone(struct xen_world *x, struct hv *hv, char *why, size_t size)
{
	static const struct timespec nap = { .tv_nsec = 50000000 };
	uint64_t begun = stats_now();
	struct hv_dominfo info;

	while (stats_now() - begun < GONE_TIMEOUT * 1000000000ull) {
		if (hv->ops->dom_info(hv, x->base.domid, &info) == -ESRCH)
			return 0;
		nanosleep(&nap, NULL);
	}
	snprintf(why, size, "leak: domain %u was destroyed and does not go", x->base.domid);
	return -EBUSY;
}

static int make_again(struct xen_world *x, struct hv *hv, char *why, size_t size)
{
	int rc = wait_gone(x, hv, why, size);

	if (rc)
		return rc;
	x->destroyed = false;
	if (!system(x->restart))
		return 0;
	snprintf(why, size, "'%s' failed", x->restart);
	return -EIO;
}

static int look_up(struct xen_world *x, struct hv *hv, char *why, size_t size)
{
	uint16_t domid = 0;
	int rc = x->base.loopback ? 0 : domain_resolve(hv, x->name, &domid, why, size);

	if (rc)
		return rc;
	x->base.domid = domid;
	if (node_there(hv, domid))
		return 0;
	snprintf(why, size, "no grant server in domain %u: start xvshim-gntserver there", domid);
	return -ENOENT;
}

static int xen_start_peer(struct stress_world *w, char *why, size_t size)
{
	static const struct timespec nap = { .tv_nsec = 200000000 };
	struct xen_world *x = of(w);
	int rc = w->loopback ? start_loopback(x) : 0;
	struct hv *hv = rc ? NULL : hv_open(hv_xen(), HV_CAP_STORE | HV_CAP_DOMAIN, &rc);
	uint64_t begun = stats_now();

	if (!hv) {
		snprintf(why, size, "cannot open the store: %s", strerror(-rc));
		return rc;
	}
	rc = x->destroyed ? make_again(x, hv, why, size) : 0;
	for (bool again = !rc; again;) {
		rc = look_up(x, hv, why, size);
		again = rc && stats_now() - begun < PEER_TIMEOUT * 1000000000ull;
		if (again)
			nanosleep(&nap, NULL);
	}
	hv_close(hv);
	return rc;
}

static void xen_stop_peer(struct stress_world *w)
{
	struct xen_world *x = of(w);

	if (!x->server)
		return;
	atomic_store(x->stop, true);
	while (waitpid(x->server, NULL, 0) < 0 && errno == EINTR)
		;
	x->server = 0;
}

/*
 * No more than the destruction: while a worker that lives has pages of it the domain stays, as a
 * zombie, and nothing may wait for its end here.
 */
static void xen_kill_peer(struct stress_world *w)
{
	char command[64];

	snprintf(command, sizeof(command), "xl destroy %u", w->domid);
	if (system(command))
		fprintf(stderr, "xvshim: '%s' failed\n", command);
	of(w)->destroyed = true;
}

/* --- Xen's own count ------------------------------------------------------------------ */

static int current_domid(struct xen_world *x)
{
	char why[200];
	struct hv *hv;
	uint16_t domid = 0;
	int rc = 0;

	if (x->base.loopback)
		return 0;
	hv = hv_open(hv_xen(), HV_CAP_STORE | HV_CAP_DOMAIN, &rc);
	if (!hv)
		return rc;
	rc = domain_resolve(hv, x->name, &domid, why, sizeof(why));
	hv_close(hv);
	return rc ? rc : domid;
}

static int xen_audit(struct stress_world *w, struct stress_books *b)
{
	int domid = current_domid(of(w));

	if (domid < 0)
		return domid;
	w->domid = (uint16_t)domid;
	return books_of_xen(w->domid, b);
}

/* --- making one ----------------------------------------------------------------------- */

static const struct stress_world template = {
	.name = "xen",
	.can = STRESS_BOOKS_OF_PEER,
	.open = xen_world_open,
	.start_peer = xen_start_peer,
	.stop_peer = xen_stop_peer,
	.kill_peer = xen_kill_peer,
	.peek = xen_peek,
	.unpeek = xen_unpeek,
	.audit = xen_audit,
};

static int probe(struct xen_world *x, char *why, size_t size)
{
	struct hv_dominfo info = { 0 };
	int rc = 0, domid;
	struct hv *hv;

	domid = current_domid(x);
	if (domid < 0) {
		snprintf(why, size, "no domain %s", x->name);
		return domid;
	}
	if (!domid && !x->base.loopback) {
		snprintf(why, size, "domain 0 is this one: leave DOMAIN out for loopback");
		return -EINVAL;
	}
	hv = hv_open(hv_xen(), HV_CAP_DOMAIN, &rc);
	if (hv)
		rc = hv->ops->dom_info(hv, (uint16_t)domid, &info);
	if (hv)
		hv_close(hv);
	if (rc)
		snprintf(why, size, "no access to Xen: %s", strerror(-rc));
	else if (!info.hvm)
		x->base.can |= STRESS_CAN_PEEK;
	/* In loopback the entries would be of dom0's own table: no guest to hand on to. */
	if (!rc && !x->base.loopback && table_version((uint16_t)domid) == 2)
		x->base.can |= STRESS_CAN_V2;
	x->base.domid = (uint16_t)domid;
	return rc;
}

struct stress_world *world_xen_new(const char *domain, const char *restart, const char *run_dir,
				   char *why, size_t size)
{
	struct xen_world *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->base = template;
	x->base.priv = x;
	x->base.loopback = !domain;
	snprintf(x->name, sizeof(x->name), "%s", domain ? domain : "0");
	snprintf(x->restart, sizeof(x->restart), "%s", restart ? restart : "");
	snprintf(x->base.journal, sizeof(x->base.journal), "%.170s/gntstress.journal", run_dir);
	x->stop = mmap(NULL, sizeof(*x->stop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (x->stop == MAP_FAILED) {
		snprintf(why, size, "no memory");
		goto err_free;
	}
	if (!probe(x, why, size))
		return &x->base;
	munmap(x->stop, sizeof(*x->stop));
err_free:
	free(x);
	return NULL;
}

void world_xen_free(struct stress_world *w)
{
	munmap(of(w)->stop, sizeof(*of(w)->stop));
	free(w->priv);
}

#else

struct stress_world *world_xen_new(const char *domain, const char *restart, const char *run_dir,
				   char *why, size_t size)
{
	(void)domain;
	(void)restart;
	(void)run_dir;
	snprintf(why, size, "built without Xen: ./configure found no libxen-dev");
	return NULL;
}

void world_xen_free(struct stress_world *w)
{
	(void)w;
}

#endif
