/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hv/share.h"

#include "hv/xen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

/* Events and the store are opened when they are first needed. */
struct share {
	xengntshr_handle *handle;
	struct xenevtchn_handle *evtchn;
	struct xs_handle *store;
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
	if (s->store)
		xs_close(s->store);
	if (s->evtchn)
		xenevtchn_close(s->evtchn);
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

/* Reads must not block: share_wait() takes what is there. */
static int share_events(struct share *s)
{
	int fd, flags;

	if (s->evtchn)
		return 0;
	s->evtchn = xenevtchn_open(xen_quiet(), 0);
	if (!s->evtchn)
		return -errno;
	fd = xenevtchn_fd(s->evtchn);
	flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
}

int share_port(struct share *s, uint16_t to, uint32_t *port)
{
	int rc = share_events(s);

	if (rc)
		return rc;
	rc = xenevtchn_bind_unbound_port(s->evtchn, to);
	if (rc < 0)
		return -errno;
	*port = (uint32_t)rc;
	return 0;
}

int share_port_close(struct share *s, uint32_t port)
{
	return xenevtchn_unbind(s->evtchn, port) ? -errno : 0;
}

int share_notify(struct share *s, uint32_t port)
{
	return xenevtchn_notify(s->evtchn, port) ? -errno : 0;
}

int share_wait(struct share *s, unsigned int ms)
{
	struct pollfd p = { .fd = xenevtchn_fd(s->evtchn), .events = POLLIN };
	int rc = poll(&p, 1, (int)ms), port;

	if (rc <= 0)
		return rc ? -errno : 0;
	while ((port = xenevtchn_pending(s->evtchn)) >= 0)
		xenevtchn_unmask(s->evtchn, (evtchn_port_t)port);
	return 1;
}

/* hv's store wants xenstored on this very machine, which a domU has not. */
static struct xs_handle *share_store(struct share *s)
{
	errno = 0;
	if (!s->store)
		s->store = xs_open(0);
	return s->store;
}

int share_publish(struct share *s, const char *node, const char *value)
{
	struct xs_handle *xs = share_store(s);
	bool ok;

	if (!xs)
		return errno ? -errno : -EIO;
	ok = value ? xs_write(xs, XBT_NULL, node, value, (unsigned int)strlen(value)) :
		     xs_rm(xs, XBT_NULL, node);
	return ok ? 0 : errno ? -errno : -EIO;
}

int share_read(struct share *s, const char *node, char *value, size_t size)
{
	struct xs_handle *xs = share_store(s);
	unsigned int len;
	char *text;

	if (!xs)
		return errno ? -errno : -EIO;
	text = xs_read(xs, XBT_NULL, node, &len);
	if (!text)
		return errno ? -errno : -EIO;
	snprintf(value, size, "%s", text);
	free(text);
	return 0;
}
