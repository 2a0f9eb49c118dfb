/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stress test's machine in the simulation; the grant server is a process of its own. */
#include "stress/child.h"
#include "stress/server.h"
#include "stress/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BACK 0
#define GUEST 3u
#define BACK_PAGES 1024
#define GUEST_PAGES 6144
#define MAX_GRANTS 4096  /* fewer than pages: the table is what runs out */
#define MAX_HANDLES 3000 /* fewer than the journal's pins */
#define ALLOC_LIMIT 2048 /* pages, as gntalloc has one */
#define SIM_RUNS 128    /* ranges shared at once */

struct sim_world {
	struct stress_world base;
	struct sim_machine *m;
	pid_t server;
	bool guest; /* there is one */
	_Atomic bool *stop; /* shared with the server */
	unsigned int shared, limit; /* of the server */
};

static struct sim_world *of(struct stress_world *w)
{
	return w->priv;
}

static struct hv *open_back(struct stress_world *w, unsigned int caps, int *err)
{
	return sim_hv_open(of(w)->m, BACK, caps, err);
}

/* --- in the server's process ---------------------------------------------------------- */

/* The page number stands in a list, because unsharing is told an address only. */
struct guest_pages {
	struct sim_world *w;
	struct hv *hv;
	struct {
		void *va;
		pfn_t first;
	} run[SIM_RUNS];
};

static int slot_of(const struct guest_pages *g, const void *va)
{
	for (int i = 0; i < SIM_RUNS; i++)
		if (g->run[i].va == va)
			return i;
	return -1;
}

static int guest_share(void *priv, uint16_t to, unsigned int n, bool readonly, uint32_t *ref,
		       void **va)
{
	struct guest_pages *g = priv;
	struct sim_machine *m = g->w->m;
	int slot = slot_of(g, NULL), rc;
	pfn_t first;

	if (slot < 0 || g->w->shared + n > g->w->limit)
		return -ENOSPC;
	rc = sim_pages_alloc(m, GUEST, n, &first);
	if (rc)
		return rc;
	rc = sim_grant_range(m, GUEST, first, n, to, readonly, ref);
	if (rc)
		goto err_pages;
	for (unsigned int i = 1; i < n; i++)
		ref[i] = ref[0] + i;
	*va = sim_pages_map(m, GUEST, first, n);
	if (!*va) {
		rc = -ENOMEM;
		goto err_grant;
	}
	memset(*va, 0, (size_t)n * XVS_FRAME_SIZE);
	g->run[slot].va = *va;
	g->run[slot].first = first;
	g->w->shared += n;
	return 0;

err_grant:
	sim_grant_end(m, GUEST, ref[0], n);
err_pages:
	sim_pages_free(m, GUEST, first, n);
	return rc;
}

static int guest_unshare(void *priv, void *va, unsigned int n, const uint32_t *ref)
{
	struct guest_pages *g = priv;
	int slot = slot_of(g, va), rc;

	if (slot < 0)
		return -EINVAL;
	rc = sim_grant_end(g->w->m, GUEST, ref[0], n);
	if (rc)
		return rc;
	sim_pages_unmap(va, n);
	sim_pages_free(g->w->m, GUEST, g->run[slot].first, n);
	g->run[slot].va = NULL;
	g->w->shared -= n;
	return 0;
}

static int guest_lift_limit(void *priv, bool lift)
{
	struct guest_pages *g = priv;

	g->w->limit = lift ? GUEST_PAGES : ALLOC_LIMIT;
	return 0;
}

static int guest_publish(void *priv, const char *value)
{
	struct guest_pages *g = priv;

	if (!value)
		return g->hv->ops->store_rm(g->hv, 0, SERVER_NODE);
	return g->hv->ops->store_write(g->hv, 0, SERVER_NODE, value);
}

static void server_process(struct sim_world *s, pid_t keeper)
{
	struct guest_pages *g = calloc(1, sizeof(*g));
	struct server_pages pages = { guest_share, guest_unshare, guest_lift_limit, guest_publish, g };
	int rc;

	child_begin(keeper);
	if (!g)
		_exit(1);
	g->hv = sim_hv_open(s->m, GUEST, HV_CAP_STORE, &rc);
	if (!g->hv)
		_exit(1);
	g->w = s;
	s->limit = ALLOC_LIMIT;
	rc = server_run(&pages, BACK, s->stop);
	hv_close(g->hv);
	_exit(rc ? 1 : 0);
}

/* --- in the keeper -------------------------------------------------------------------- */

static bool node_there(struct hv *hv)
{
	char path[80], *value = NULL;
	int rc;

	snprintf(path, sizeof(path), "/local/domain/%u/" SERVER_NODE, GUEST);
	rc = hv->ops->store_read(hv, 0, path, &value);
	free(value);
	return !rc;
}

static int wait_node(struct sim_world *s, char *why, size_t size)
{
	static const struct timespec nap = { .tv_nsec = 500000 };
	int rc = 0, status;
	struct hv *hv = sim_hv_open(s->m, BACK, HV_CAP_STORE, &rc);

	while (hv && !rc && !node_there(hv)) {
		if (waitpid(s->server, &status, WNOHANG))
			rc = -ECHILD;
		nanosleep(&nap, NULL);
	}
	if (rc)
		snprintf(why, size, "the grant server does not start: %s", strerror(-rc));
	hv_close(hv);
	return rc;
}

static int sim_start_peer(struct stress_world *w, char *why, size_t size)
{
	struct sim_world *s = of(w);
	pid_t keeper = getpid();
	int rc;

	sim_reap(s->m); /* what a killed worker had mapped for itself */
	rc = s->guest ? 0 : sim_domain_add(s->m, GUEST, GUEST_PAGES, false);
	s->guest = !rc;
	if (rc) {
		snprintf(why, size, "no new guest: %s%s", strerror(-rc),
			 rc == -EEXIST ? ", the old one is a zombie: somebody holds its pages" : "");
		return rc;
	}
	atomic_store(s->stop, false);
	fflush(NULL);
	s->server = fork();
	if (!s->server)
		server_process(s, keeper);
	if (s->server < 0) {
		snprintf(why, size, "cannot fork: %s", strerror(errno));
		return -errno;
	}
	return wait_node(s, why, size);
}

static void reap_server(struct sim_world *s)
{
	while (waitpid(s->server, NULL, 0) < 0 && errno == EINTR)
		;
	s->server = 0;
}

static void remove_node(struct sim_world *s)
{
	char path[80];
	int rc;
	struct hv *hv = sim_hv_open(s->m, BACK, HV_CAP_STORE, &rc);

	if (!hv)
		return;
	snprintf(path, sizeof(path), "/local/domain/%u/" SERVER_NODE, GUEST);
	hv->ops->store_rm(hv, 0, path);
	hv_close(hv);
}

/* A domain's processors stop with it, so its process dies first. */
static void sim_kill_peer(struct stress_world *w)
{
	struct sim_world *s = of(w);

	kill(s->server, SIGKILL);
	reap_server(s);
	sim_domain_kill(s->m, GUEST);
	s->guest = false;
	remove_node(s);
}

/* The guest stays, so that the books show what it has in use. */
static void sim_stop_peer(struct stress_world *w)
{
	struct sim_world *s = of(w);

	atomic_store(s->stop, true);
	reap_server(s);
}

static int sim_peek(struct stress_world *w, struct hv *hv, const maddr_t *maddr, unsigned int n,
		    void **page)
{
	(void)hv;
	for (unsigned int i = 0; i < n; i++) {
		page[i] = sim_maddr_va(of(w)->m, maddr[i], XVS_FRAME_SIZE);
		if (!page[i])
			return -EFAULT;
	}
	return 0;
}

static void sim_unpeek(struct stress_world *w, struct hv *hv, unsigned int n)
{
	(void)w;
	(void)hv;
	(void)n;
}

static bool sim_pinned_for_write(struct stress_world *w, maddr_t maddr)
{
	char why[80];

	return !sim_device_reach(of(w)->m, BACK, maddr, 1, true, SIM_REACH_ANY, NULL, why,
				 sizeof(why));
}

static int sim_books(struct stress_world *w, struct stress_books *b)
{
	struct sim_audit back, guest;

	sim_audit(of(w)->m, BACK, &back);
	sim_audit(of(w)->m, GUEST, &guest);
	b->handles = back.device_handles;
	b->pages = back.host_pages + back.foreign_pages + back.self_pages + back.dma_pages +
		   back.opens + back.late_writes;
	b->grants = guest.grants;
	b->zombies = back.zombies;
	sim_audit_text(&back, b->text, sizeof(b->text));
	return 0;
}

struct sim_machine *world_sim_machine(struct stress_world *w)
{
	return of(w)->m;
}

static const struct stress_world template = {
	.name = "simulation",
	.can = STRESS_CAN_PEEK | STRESS_CAN_SEE_PINS | STRESS_STRICT_END,
	.domid = GUEST,
	.open = open_back,
	.start_peer = sim_start_peer,
	.stop_peer = sim_stop_peer,
	.kill_peer = sim_kill_peer,
	.peek = sim_peek,
	.unpeek = sim_unpeek,
	.pinned_for_write = sim_pinned_for_write,
	.audit = sim_books,
};

struct stress_world *world_sim_new(uint64_t seed, int *err)
{
	struct sim_config c = { .seed = seed, .max_grants = MAX_GRANTS, .max_handles = MAX_HANDLES };
	struct sim_world *s = calloc(1, sizeof(*s));

	*err = -ENOMEM;
	if (!s)
		return NULL;
	s->base = template;
	s->base.priv = s;
	s->stop = mmap(NULL, sizeof(*s->stop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (s->stop == MAP_FAILED)
		goto err_free;
	s->m = sim_machine_new(&c, err);
	if (!s->m)
		goto err_unmap;
	*err = sim_domain_add(s->m, BACK, BACK_PAGES, false);
	if (!*err)
		return &s->base;
	sim_machine_free(s->m);
err_unmap:
	munmap(s->stop, sizeof(*s->stop));
err_free:
	free(s);
	return NULL;
}

void world_sim_free(struct stress_world *w)
{
	struct sim_world *s = of(w);

	sim_machine_free(s->m);
	munmap(s->stop, sizeof(*s->stop));
	free(s);
}
