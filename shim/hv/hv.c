/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all implementations of the seam have in common: opening, closing, and the meaning of
 * the status that Xen leaves in each element of a batch.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "hv/hv.h"
#include "util/shared.h"

#include <errno.h>
#include <stdlib.h>

struct status {
	int err;
	const char *name;
};

/* Indexed by the negated status, in the order of the GNTST_ values of grant_table.h. */
static const struct status statuses[] = {
	{ 0, "okay" },
	{ -EIO, "general error" },
	{ -ESRCH, "bad domain" },
	{ -ENOENT, "bad grant reference" },
	{ -EBADF, "bad handle" },
	{ -EFAULT, "bad virtual address" },
	{ -EADDRNOTAVAIL, "bad device address" },
	{ -ENOSPC, "no device space" },
	{ -EACCES, "permission denied" },
	{ -ENXIO, "bad page" },
	{ -EINVAL, "bad copy argument" },
	{ -EOVERFLOW, "address too big" },
	{ -EAGAIN, "try again" },
	{ -ENOSPC, "no space" },
};

#define NR_STATUSES ((int)(sizeof(statuses) / sizeof(statuses[0])))

int hv_status_errno(int16_t status)
{
	if (status == HV_STATUS_PENDING)
		return -EINPROGRESS;
	if (status > 0 || status <= -NR_STATUSES)
		return -EPROTO;
	return statuses[-status].err;
}

const char *hv_status_name(int16_t status)
{
	if (status == HV_STATUS_PENDING)
		return "not carried out";
	if (status > 0 || status <= -NR_STATUSES)
		return "unknown status";
	return statuses[-status].name;
}

struct hv *hv_open(const struct hv_ops *ops, unsigned int caps, int *err)
{
	struct hv *hv;

	*err = -ENOSYS;
	if (!ops)
		return NULL;
	*err = -ENOMEM;
	hv = calloc(1, sizeof(*hv));
	if (!hv)
		return NULL;
	hv->ops = ops;
	hv->caps = caps;
	*err = ops->open(hv, caps);
	if (*err)
		goto err_free;
	return hv;

err_free:
	free(hv);
	return NULL;
}

void hv_close(struct hv *hv)
{
	if (!hv)
		return;
	hv->ops->close(hv);
	free(hv);
}

int hv_p2m_read(struct hv *hv, struct hv_p2m *p2m, pfn_t pfn, mfn_t *mfn)
{
	uint64_t leaf = pfn.n / HV_P2M_LEAF, entry;
	int rc;

	if (pfn.n >= p2m->npfns)
		return -ERANGE;
	if (!p2m->leaf[leaf]) {
		rc = hv->ops->p2m_leaf(hv, p2m, leaf);
		if (rc)
			return rc;
	}
	entry = shared_read(&p2m->leaf[leaf][pfn.n % HV_P2M_LEAF]);
	/* All bits set is "invalid"; frame 0 is the firmware's. */
	if (!entry || entry & (HV_P2M_IDENTITY | HV_P2M_FOREIGN))
		return -ENXIO;
	mfn->n = entry;
	return 0;
}

#ifndef HAVE_XEN
const struct hv_ops *hv_xen(void)
{
	return NULL;
}
#endif
