/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stress/server_xen.h"

#include "hv/share.h"
#include "stress/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT "/sys/module/xen_gntalloc/parameters/limit"
#define LIFTED -1 /* compared unsigned: none */
#define SERVED 0       /* the domain that the tool runs in */

struct xen_pages {
	struct share *share;
	bool loopback;
	long limit; /* of the module, while it is lifted */
};

static int xen_share(void *priv, uint16_t to, unsigned int n, bool readonly, uint32_t *ref,
		     void **va)
{
	struct xen_pages *x = priv;

	return share_pages(x->share, to, n, readonly, ref, va);
}

static int xen_unshare(void *priv, void *va, unsigned int n, const uint32_t *ref)
{
	struct xen_pages *x = priv;

	(void)ref;
	return share_end(x->share, va, n);
}

static int write_limit(long n)
{
	FILE *f = fopen(LIMIT, "we");
	int rc;

	if (!f)
		return -EOPNOTSUPP;
	rc = fprintf(f, "%ld\n", n) < 0;
	return fclose(f) || rc ? -EOPNOTSUPP : 0;
}

static int read_limit(long *n)
{
	FILE *f = fopen(LIMIT, "re");
	int got;

	if (!f)
		return -ENOENT;
	got = fscanf(f, "%ld", n);
	fclose(f);
	return got == 1 ? 0 : -EINVAL;
}

/*
 * A request that gntalloc (Linux 6.1) cannot complete because the grant table is full leaves the
 * module's count of pages one too low: it takes back what the request still lacked, and once
 * more each page it had begun, so one of them twice. Below zero the count is a huge number, and
 * everything is refused, with a limit and without. So for each time that the table was full one
 * page more stays granted, until the server ends; the next server then may need the module anew.
 * (The page that found no entry is lost to the guest, which is its kernel's doing as well.)
 */
static int keep_count_right(struct xen_pages *x)
{
	uint32_t ref;
	void *va;

	return share_pages(x->share, SERVED, 1, true, &ref, &va);
}

/* In dom0 a full table may not be done to the others. */
static int xen_lift_limit(void *priv, bool lift)
{
	struct xen_pages *x = priv;
	int rc;

	if (x->loopback)
		return lift ? -EOPNOTSUPP : 0;
	if (lift) {
		rc = read_limit(&x->limit);
		return rc ? -EOPNOTSUPP : write_limit(LIFTED);
	}
	rc = keep_count_right(x);
	return write_limit(x->limit) ? -EOPNOTSUPP : rc;
}

static int xen_publish(void *priv, const char *value)
{
	struct xen_pages *x = priv;

	return share_publish(x->share, SERVER_NODE, value);
}

int server_run_xen(const _Atomic bool *stop, bool loopback, char *why, size_t size)
{
	struct xen_pages x = { .loopback = loopback };
	struct server_pages pages = { xen_share, xen_unshare, xen_lift_limit, xen_publish, &x };
	int rc;

	x.share = share_open(&rc);
	if (!x.share) {
		snprintf(why, size, "cannot grant pages: %s: modprobe xen-gntalloc, as root",
			 strerror(-rc));
		return rc;
	}
	rc = read_limit(&x.limit);
	if (!rc)
		rc = server_run(&pages, SERVED, stop);
	if (rc)
		snprintf(why, size, "no grant server here: %s%s", strerror(-rc),
			 rc == -ENOSPC ? "; after a full grant table xen-gntalloc has to be loaded anew" :
					 "");
	share_close(x.share);
	return rc;
}
