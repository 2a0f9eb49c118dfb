/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Grants of other domains, mapped for a device, in batches. */
#include "lib/internal.h"

#include <errno.h>

/* Operations of one hypercall. */
#define OPS_PAGES 2u
#define BATCH ((unsigned int)(OPS_PAGES * XVS_FRAME_SIZE / sizeof(struct hv_map_op)))

_Static_assert(sizeof(struct hv_unmap_op) <= sizeof(struct hv_map_op), "batch");
/* Programs keep arrays of them in files. */
_Static_assert(sizeof(struct xvs_grant) == 24, "public layout");

/* No device reads operations, and a pin would outlive a process that is killed. */
static int unpin_ops(struct xvs *xvs)
{
	struct hv_unmap_op *op = xvs->ops.va;
	int rc;

	for (unsigned int i = 0; i < OPS_PAGES; i++)
		op[i] = (struct hv_unmap_op){
			.maddr = xvs->ops.maddr[i],
			.handle = xvs->ops.handle[i],
			.status = HV_STATUS_PENDING,
		};
	rc = xvs->hv->ops->gnt_unmap(xvs->hv, op, OPS_PAGES);
	for (unsigned int i = 0; i < OPS_PAGES; i++)
		if (op[i].status == HV_STATUS_OKAY)
			xvs->ops.handle[i] = HV_HANDLE_NONE;
	return rc;
}

/* Made at the first use: nothing but grants needs it. */
static int get_ops(struct xvs *xvs, void **ops)
{
	int rc = 0;

	if (!xvs->ops.va) {
		rc = xvs->hv->ops->dma_alloc(xvs->hv, OPS_PAGES, &xvs->ops);
		if (!rc)
			rc = unpin_ops(xvs);
	}
	*ops = xvs->ops.va;
	return rc;
}

static void note(int *first, int rc)
{
	if (rc && !*first)
		*first = rc;
}

/* Whatever became of the call, an element that says okay has a handle to be kept. */
static int map_batch(struct xvs *xvs, struct hv_map_op *op, struct xvs_grant *g, unsigned int n)
{
	int first = 0, rc;

	for (unsigned int i = 0; i < n; i++)
		op[i] = (struct hv_map_op){
			.flags = HV_MAP_DEVICE |
				 (g[i].flags & XVS_GRANT_READONLY ? HV_MAP_READONLY : 0),
			.gref = g[i].gref,
			.domid = g[i].domid,
			.status = HV_STATUS_PENDING,
		};
	rc = xvs->hv->ops->gnt_map(xvs->hv, op, n);
	for (unsigned int i = 0; i < n; i++) {
		bool pending = op[i].status == HV_STATUS_PENDING;

		g[i].error = pending && rc ? rc : hv_status_errno(op[i].status);
		if (!g[i].error) {
			g[i].handle = op[i].handle;
			g[i].maddr = op[i].maddr.a;
		}
		note(&first, g[i].error);
	}
	return first ? first : rc;
}

int xvs_grant_map(struct xvs *xvs, struct xvs_grant *grant, unsigned int n)
{
	int first = 0, rc;
	void *ops;

	if (!xvs || !(xvs->parts & XVS_GRANTS) || !grant || !n)
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++) {
		if (grant[i].flags & ~XVS_GRANT_READONLY)
			return -EINVAL;
		grant[i].error = -ECANCELED; /* until it is tried */
		grant[i].handle = XVS_NO_HANDLE;
		grant[i].maddr = 0;
	}
	rc = get_ops(xvs, &ops);
	for (unsigned int i = 0; !rc && i < n; i += BATCH)
		note(&first, map_batch(xvs, ops, grant + i, n - i < BATCH ? n - i : BATCH));
	return rc ? rc : first;
}

/* Takes elements from *at on until the batch is full. */
static unsigned int fill_unmap(struct hv_unmap_op *op, struct xvs_grant **who,
			       struct xvs_grant *g, unsigned int n, unsigned int *at)
{
	unsigned int used = 0;

	for (; *at < n && used < BATCH; (*at)++) {
		struct xvs_grant *e = &g[*at];

		if (e->handle == XVS_NO_HANDLE)
			continue;
		op[used] = (struct hv_unmap_op){
			.maddr = { e->maddr },
			.handle = e->handle,
			.status = HV_STATUS_PENDING,
		};
		who[used++] = e;
	}
	return used;
}

static int unmap_batch(struct xvs *xvs, struct hv_unmap_op *op, struct xvs_grant **who,
		       unsigned int n)
{
	int rc = xvs->hv->ops->gnt_unmap(xvs->hv, op, n), first = 0;

	for (unsigned int i = 0; i < n; i++) {
		bool pending = op[i].status == HV_STATUS_PENDING;

		who[i]->error = pending && rc ? rc : hv_status_errno(op[i].status);
		if (!who[i]->error)
			who[i]->handle = XVS_NO_HANDLE;
		note(&first, who[i]->error);
	}
	return first ? first : rc;
}

int xvs_grant_unmap(struct xvs *xvs, struct xvs_grant *grant, unsigned int n)
{
	struct xvs_grant *who[BATCH];
	unsigned int at = 0, used;
	int first = 0, rc;
	void *ops;

	if (!xvs || !(xvs->parts & XVS_GRANTS) || (!grant && n))
		return -EINVAL;
	rc = get_ops(xvs, &ops);
	if (rc)
		return rc;
	while ((used = fill_unmap(ops, who, grant, n, &at)))
		note(&first, unmap_batch(xvs, ops, who, used));
	return first;
}
