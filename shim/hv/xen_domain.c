/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one user of libxenctrl, whose ABI changes with every release of Xen. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/* Before all others: it defines __XEN_TOOLS__, without which xen.h hides what this header needs. */
#include <xenctrl.h>

#include "hv/xen.h"

#include <errno.h>
#include <stdlib.h>
#include <xen/sched.h>

/* What both shapes of the library's answer have in common. */
struct answer {
	struct hv_dominfo info;
	uint64_t shared_info_frame;
};

#ifdef HAVE_XC_DOMAIN_GETINFO_SINGLE

static int ask(xc_interface *xch, uint16_t domid, struct answer *a)
{
	xc_domaininfo_t di;

	if (xc_domain_getinfo_single(xch, domid, &di) < 0)
		return -errno;
	a->info.domid = domid;
	a->info.dying = di.flags & XEN_DOMINF_dying ||
			(di.flags & XEN_DOMINF_shutdown &&
			 (di.flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask) !=
				 SHUTDOWN_suspend);
	a->info.hvm = di.flags & XEN_DOMINF_hvm_guest;
	a->info.nr_pages = di.tot_pages;
	a->shared_info_frame = di.shared_info_frame;
	return 0;
}

#else

static int ask(xc_interface *xch, uint16_t domid, struct answer *a)
{
	xc_dominfo_t di;
	int n = xc_domain_getinfo(xch, domid, 1, &di);

	if (n < 0)
		return -errno;
	/* It answers for the first domain from domid upwards. */
	if (n != 1 || di.domid != domid)
		return -ESRCH;
	a->info.domid = domid;
	a->info.dying = di.dying || (di.shutdown && di.shutdown_reason != SHUTDOWN_suspend);
	a->info.hvm = di.hvm;
	a->info.nr_pages = di.nr_pages;
	a->shared_info_frame = di.shared_info_frame;
	return 0;
}

#endif

int xen_domain_open(struct xen_priv *x)
{
	x->xch = xc_interface_open(xen_quiet(), xen_quiet(), 0);
	return x->xch ? 0 : -errno;
}

void xen_domain_close(struct xen_priv *x)
{
	if (x->xch)
		xc_interface_close(x->xch);
}

int xen_dom_info(struct hv *hv, uint16_t domid, struct hv_dominfo *info)
{
	struct xen_priv *x = xen_priv(hv);
	struct answer a = { 0 };
	int rc;

	if (!x->xch)
		return -EBADF;
	rc = ask(x->xch, domid, &a);
	if (!rc)
		*info = a.info;
	return rc;
}

int xen_shared_info_frame(struct xen_priv *x, uint64_t *frame)
{
	struct answer a = { 0 };
	int rc = ask(x->xch, XEN_OWN_DOMID, &a);

	if (!rc)
		*frame = a.shared_info_frame;
	return rc;
}

int xen_dom_pause(struct hv *hv, uint16_t domid, bool pause)
{
	struct xen_priv *x = xen_priv(hv);
	int rc;

	if (!x->xch)
		return -EBADF;
	rc = pause ? xc_domain_pause(x->xch, domid) : xc_domain_unpause(x->xch, domid);
	return rc < 0 ? -errno : 0;
}

int xen_physinfo_iommu(struct xen_priv *x, bool *iommu)
{
	xc_physinfo_t info = { 0 };

	if (xc_physinfo(x->xch, &info) < 0)
		return -errno;
	*iommu = info.capabilities & XEN_SYSCTL_PHYSCAP_directio;
	return 0;
}

int xen_console_ring(struct xen_priv *x, char **text)
{
	enum { RING = 128 * 1024 };
	unsigned int count = RING;
	uint32_t index = 0;

	*text = calloc(1, RING + 1);
	if (!*text)
		return -ENOMEM;
	if (xc_readconsolering(x->xch, *text, &count, 0, 0, &index) < 0) {
		free(*text);
		*text = NULL;
		return -errno;
	}
	(*text)[count] = '\0';
	return 0;
}

int xen_guest_shared_info(uint16_t domid, uint64_t *frame)
{
	xc_interface *xch = xc_interface_open(xen_quiet(), xen_quiet(), 0);
	struct answer a = { 0 };
	int rc;

	if (!xch)
		return -errno;
	rc = ask(xch, domid, &a);
	xc_interface_close(xch);
	if (!rc)
		rc = a.info.hvm ? -EOPNOTSUPP : a.info.dying ? -ESRCH : 0;
	*frame = a.shared_info_frame;
	return rc;
}
