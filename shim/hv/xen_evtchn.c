/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Event channels. */
#include "hv/xen.h"

#include <errno.h>
#include <fcntl.h>
#include <xenevtchn.h>

/*
 * Reads must not block: pending is also called to see that nothing is. The library warns of
 * kernels before 4.0 that ignored the flag.
 */
int xen_evtchn_open(struct xen_priv *x)
{
	int fd, flags;

	x->evtchn = xenevtchn_open(xen_quiet(), 0);
	if (!x->evtchn)
		return -errno;
	fd = xenevtchn_fd(x->evtchn);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	return 0;
}

void xen_evtchn_close(struct xen_priv *x)
{
	if (x->evtchn)
		xenevtchn_close(x->evtchn);
}

int xen_evtchn_fd(struct hv *hv)
{
	struct xen_priv *x = xen_priv(hv);

	return x->evtchn ? xenevtchn_fd(x->evtchn) : -EBADF;
}

int xen_evtchn_bind(struct hv *hv, uint16_t domid, uint32_t remote, uint32_t *port)
{
	struct xen_priv *x = xen_priv(hv);
	int rc;

	if (!x->evtchn)
		return -EBADF;
	rc = xenevtchn_bind_interdomain(x->evtchn, domid, remote);
	if (rc < 0)
		return -errno;
	*port = (uint32_t)rc;
	return 0;
}

int xen_evtchn_unbind(struct hv *hv, uint32_t port)
{
	struct xen_priv *x = xen_priv(hv);

	if (!x->evtchn)
		return -EBADF;
	return xenevtchn_unbind(x->evtchn, port) < 0 ? -errno : 0;
}

int xen_evtchn_notify(struct hv *hv, uint32_t port)
{
	struct xen_priv *x = xen_priv(hv);

	if (!x->evtchn)
		return -EBADF;
	hv->counters.notify_calls++;
	return xenevtchn_notify(x->evtchn, port) < 0 ? -errno : 0;
}

int xen_evtchn_pending(struct hv *hv, uint32_t *port)
{
	struct xen_priv *x = xen_priv(hv);
	int rc;

	if (!x->evtchn)
		return -EBADF;
	do {
		rc = xenevtchn_pending(x->evtchn);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return errno == EAGAIN ? 0 : -errno;
	*port = (uint32_t)rc;
	return 1;
}

int xen_evtchn_unmask(struct hv *hv, uint32_t port)
{
	struct xen_priv *x = xen_priv(hv);

	if (!x->evtchn)
		return -EBADF;
	return xenevtchn_unmask(x->evtchn, port) < 0 ? -errno : 0;
}
