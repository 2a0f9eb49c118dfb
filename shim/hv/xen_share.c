/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hv/share.h"

#include "hv/xen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xengnttab.h>
#include <xenstore.h>

struct share {
	xengntshr_handle *handle;
};

struct share *share_open(int *err)
{
	struct share *s = calloc(1, sizeof(*s));

	*err = -ENOMEM;
	if (!s)
		return NULL;
	s->handle = xengntshr_open(xen_quiet(), 0);
	if (s->handle)
		return s;
	*err = -errno;
	free(s);
	return NULL;
}

void share_close(struct share *s)
{
	if (!s)
		return;
	xengntshr_close(s->handle);
	free(s);
}

int share_pages(struct share *s, uint16_t to, unsigned int n, bool readonly, uint32_t *ref,
		void **va)
{
	*va = xengntshr_share_pages(s->handle, to, (int)n, ref, !readonly);
	return *va ? 0 : -errno;
}

int share_end(struct share *s, void *va, unsigned int n)
{
	return xengntshr_unshare(s->handle, va, n) ? -errno : 0;
}

/* hv's store wants xenstored on this very machine, which a domU has not. */
int share_publish(struct share *s, const char *node, const char *value)
{
	struct xs_handle *xs;
	bool ok;

	(void)s;
	errno = 0;
	xs = xs_open(0);
	if (!xs)
		return errno ? -errno : -EIO;
	ok = value ? xs_write(xs, XBT_NULL, node, value, (unsigned int)strlen(value)) :
		     xs_rm(xs, XBT_NULL, node);
	xs_close(xs);
	return ok ? 0 : errno ? -errno : -EIO;
}
