/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/internal.h"

#include <errno.h>
#include <stdlib.h>

/* Operations on grants lie in DMA memory, so these need both. */
static unsigned int caps_of(unsigned int parts)
{
	unsigned int caps = 0;

	if (parts & XVS_MEMORY)
		caps |= HV_CAP_DMA;
	if (parts & XVS_OWN)
		caps |= HV_CAP_DOMAIN;
	if (parts & XVS_GRANTS)
		caps |= HV_CAP_GRANT | HV_CAP_DMA;
	return caps;
}

int xvs_open_hv(struct hv *hv, unsigned int parts, struct xvs **xvs)
{
	struct xvs *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->hv = hv;
	x->parts = parts;
	*xvs = x;
	return 0;
}

int xvs_open(unsigned int parts, struct xvs **xvs)
{
	struct hv *hv;
	int rc;

	if (!xvs || !parts || parts & ~(unsigned int)(XVS_MEMORY | XVS_OWN | XVS_GRANTS))
		return -EINVAL;
	hv = hv_open(hv_xen(), caps_of(parts), &rc);
	if (!hv)
		return rc;
	rc = xvs_open_hv(hv, parts, xvs);
	if (rc)
		hv_close(hv);
	else
		(*xvs)->owner = true;
	return rc;
}

void xvs_close(struct xvs *xvs)
{
	if (!xvs)
		return;
	if (xvs->ops.va)
		xvs->hv->ops->dma_free(xvs->hv, &xvs->ops);
	if (xvs->owner)
		hv_close(xvs->hv);
	free(xvs);
}

const char *xvs_version(void)
{
	return PACKAGE_VERSION;
}
