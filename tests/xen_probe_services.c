/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains, event channels, the store, and what a handle without a capability answers. */
#include "xen_probe.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenevtchn.h>

#define ROOT "/local/domain/0/xvshim-probe"
#define NO_SUCH_DOMAIN 777
#define ROUNDS 1000

static void probe_domain(struct hv *hv)
{
	struct hv_dominfo info;
	char version[64] = "";
	int rc = hv->ops->dom_info(hv, 0, &info);

	probe_check(!rc && !info.hvm && !info.dying && info.nr_pages > 1000,
		    "dom_info(0): %d, %lu pages", rc, (unsigned long)info.nr_pages);
	rc = hv->ops->dom_info(hv, NO_SUCH_DOMAIN, &info);
	probe_check(rc == -ESRCH, "dom_info of a missing domain: %s", strerror(-rc));
	rc = hv->ops->version(hv, version, sizeof(version));
	probe_check(!rc && version[0] == '4', "version: %s", version);
}

static void probe_foreign(struct hv *hv)
{
	gfn_t gfn[2] = { { 1 }, { 2 } };
	int err[2] = { 0, 0 };
	void *va = NULL;
	int rc = hv->ops->foreign_map(hv, NO_SUCH_DOMAIN, gfn, 2, false, &va, err);

	probe_check(rc < 0 || (err[0] < 0 && err[1] < 0),
		    "foreign_map of a missing domain: %d, %d %d", rc, err[0], err[1]);
	if (!rc)
		hv->ops->foreign_unmap(hv, va, 2);
}

static void probe_capabilities(void)
{
	struct hv_map_op op = { 0 };
	int err, rc;
	struct hv *hv = hv_open(hv_xen(), HV_CAP_STORE, &err);

	if (!probe_check(hv, "open for the store alone"))
		return;
	rc = hv->ops->gnt_map(hv, &op, 1);
	probe_check(rc == -EBADF, "no grants through it: %s", strerror(-rc));
	hv_close(hv);
}

static bool wait_fd(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 2000) == 1;
}

static bool ping(struct hv *hv, xenevtchn_handle *peer, uint32_t peer_port, uint32_t port)
{
	uint32_t got = 0, none;

	if (xenevtchn_notify(peer, peer_port) || !wait_fd(hv->ops->evtchn_fd(hv)))
		return false;
	if (hv->ops->evtchn_pending(hv, &got) != 1 || got != port ||
	    hv->ops->evtchn_pending(hv, &none) != 0)
		return false;
	return !hv->ops->evtchn_unmask(hv, port);
}

static void probe_evtchn(struct hv *hv)
{
	xenevtchn_handle *peer = xenevtchn_open(NULL, 0);
	int peer_port = peer ? xenevtchn_bind_unbound_port(peer, 0) : -1;
	uint32_t port = 0, none;
	bool all = true;
	double t0;
	int rc;

	if (!probe_check(peer_port > 0, "a port to connect to"))
		return;
	rc = hv->ops->evtchn_pending(hv, &none);
	probe_check(rc == 0, "nothing pending: %d", rc);
	rc = hv->ops->evtchn_bind(hv, 0, (uint32_t)peer_port, &port);
	probe_check(!rc, "evtchn_bind: %d, port %u", rc, port);
	t0 = probe_now_us();
	for (int i = 0; all && i < ROUNDS; i++)
		all = ping(hv, peer, (uint32_t)peer_port, port);
	probe_check(all, "%d events, %.1f us each", ROUNDS, (probe_now_us() - t0) / ROUNDS);
	rc = hv->ops->evtchn_notify(hv, port);
	probe_check(!rc && wait_fd(xenevtchn_fd(peer)) &&
			    xenevtchn_pending(peer) == peer_port,
		    "evtchn_notify reaches the peer");
	rc = hv->ops->evtchn_unbind(hv, port);
	probe_check(!rc, "evtchn_unbind");
	rc = hv->ops->evtchn_unbind(hv, port);
	probe_check(rc < 0, "evtchn_unbind again: %s", strerror(-rc));
	xenevtchn_close(peer);
}

struct seen {
	unsigned int fired;
	char path[128], token[32];
};

static void on_watch(void *arg, const char *path, const char *token)
{
	struct seen *seen = arg;

	seen->fired++;
	snprintf(seen->path, sizeof(seen->path), "%s", path);
	snprintf(seen->token, sizeof(seen->token), "%s", token);
}

static bool dispatch_until(struct hv *hv, struct seen *seen, const char *path)
{
	for (int i = 0; i < 10 && wait_fd(hv->ops->store_fd(hv)); i++) {
		if (hv->ops->store_dispatch(hv, on_watch, seen))
			return false;
		if (!strcmp(seen->path, path))
			return true;
	}
	return false;
}

static void probe_watch(struct hv *hv)
{
	struct seen seen = { 0 };

	if (!probe_need(hv->ops->store_watch(hv, ROOT, "tok"), "store_watch"))
		return;
	hv->ops->store_write(hv, 0, ROOT "/a", "1");
	probe_check(dispatch_until(hv, &seen, ROOT "/a") && !strcmp(seen.token, "tok"),
		    "the watch fires: %s %s", seen.path, seen.token);
	probe_check(hv->ops->store_dispatch(hv, on_watch, &seen) == 0, "dispatch of nothing");
	probe_check(!hv->ops->store_unwatch(hv, ROOT, "tok"), "store_unwatch");
	probe_check(hv->ops->store_unwatch(hv, ROOT, "tok") == -ENOENT, "store_unwatch again");
}

static void probe_transaction(struct hv *hv)
{
	char *value = NULL;
	uint32_t t = 0;
	int rc = hv->ops->store_begin(hv, &t);

	probe_check(!rc && t, "store_begin");
	hv->ops->store_write(hv, t, ROOT "/a", "in");
	hv->ops->store_write(hv, 0, ROOT "/a", "out");
	rc = hv->ops->store_end(hv, t, false);
	probe_check(rc == -EAGAIN, "a conflict: %s", strerror(-rc));
	rc = hv->ops->store_begin(hv, &t);
	if (!rc)
		rc = hv->ops->store_write(hv, t, ROOT "/a", "again");
	if (!rc)
		rc = hv->ops->store_end(hv, t, false);
	if (!rc)
		rc = hv->ops->store_read(hv, 0, ROOT "/a", &value);
	probe_check(!rc && !strcmp(value, "again"), "done again: %s", value ? value : "-");
	free(value);
	rc = hv->ops->store_begin(hv, &t);
	if (!rc)
		rc = hv->ops->store_write(hv, t, ROOT "/b", "never");
	if (!rc)
		rc = hv->ops->store_end(hv, t, true);
	probe_check(!rc && hv->ops->store_read(hv, 0, ROOT "/b", &value) == -ENOENT,
		    "an aborted write is not there");
}

static void probe_store(struct hv *hv)
{
	char **names = NULL;
	unsigned int n = 0;
	int rc;

	probe_watch(hv);
	probe_transaction(hv);
	rc = hv->ops->store_grant(hv, 0, ROOT "/g", 0, 0);
	if (!rc)
		rc = hv->ops->store_list(hv, 0, ROOT, &names, &n);
	probe_check(!rc && n == 2, "store_grant and store_list: %u nodes, %s", n, strerror(-rc));
	free(names);
	rc = hv->ops->store_grant(hv, 0, ROOT "/h", NO_SUCH_DOMAIN, 0);
	probe_check(rc < 0, "store_grant to a missing domain: %s", strerror(-rc));
	rc = hv->ops->store_rm(hv, 0, ROOT);
	probe_check(!rc, "store_rm");
	rc = hv->ops->store_list(hv, 0, ROOT, &names, &n);
	probe_check(rc == -ENOENT, "nothing there: %s", strerror(-rc));
}

/* A PV guest's page that dom0 knows of: the ring of its store. */
static uint64_t ring_frame(struct hv *hv, uint16_t domid)
{
	char path[64], *value = NULL;
	uint64_t frame = 0;

	snprintf(path, sizeof(path), "/local/domain/%u/store/ring-ref", domid);
	if (!hv->ops->store_read(hv, 0, path, &value))
		frame = strtoull(value, NULL, 10);
	free(value);
	return frame;
}

void probe_guest(struct hv *hv, uint16_t domid)
{
	gfn_t gfn[2] = { { ring_frame(hv, domid) }, { 1ull << 39 } };
	struct hv_dominfo info;
	int err[2] = { -1, -1 };
	void *va = NULL;
	int rc = hv->ops->dom_info(hv, domid, &info);

	probe_check(!rc && info.domid == domid && !info.dying, "dom_info(%u): %lu pages, hvm %d",
		    domid, (unsigned long)info.nr_pages, info.hvm);
	rc = hv->ops->foreign_map(hv, domid, gfn, 2, true, &va, err);
	probe_check(!rc && !err[0] && err[1] < 0, "foreign_map of %#lx and a bad frame: %d %d",
		    (unsigned long)gfn[0].n, err[0], err[1]);
	if (!rc)
		probe_check(!hv->ops->foreign_unmap(hv, va, 2), "foreign_unmap");
	rc = hv->ops->store_grant(hv, 0, ROOT "/guest", domid, 0);
	probe_check(!rc, "store_grant to the guest: %s", strerror(-rc));
	hv->ops->store_rm(hv, 0, ROOT);
}

void probe_services(struct hv *hv)
{
	probe_domain(hv);
	probe_foreign(hv);
	probe_capabilities();
	probe_evtchn(hv);
	probe_store(hv);
}
