/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grant operations. The operations for devices go straight to Xen, because gntdev knows only
 * host mappings; the arrays of the caller are the hypercall's own arguments.
 */
#include "hv/xen.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include <xen/grant_table.h>
#include <xencall.h>
#include <xengnttab.h>

#define SAME(a, am, b, bm) \
	_Static_assert(offsetof(struct a, am) == offsetof(struct b, bm), "layout: " #a "." #am)
#define SAME_SIZE(a, b) _Static_assert(sizeof(struct a) == sizeof(struct b), "size: " #a)

SAME_SIZE(hv_map_op, gnttab_map_grant_ref);
SAME(hv_map_op, host_addr, gnttab_map_grant_ref, host_addr);
SAME(hv_map_op, flags, gnttab_map_grant_ref, flags);
SAME(hv_map_op, gref, gnttab_map_grant_ref, ref);
SAME(hv_map_op, domid, gnttab_map_grant_ref, dom);
SAME(hv_map_op, status, gnttab_map_grant_ref, status);
SAME(hv_map_op, handle, gnttab_map_grant_ref, handle);
SAME(hv_map_op, maddr, gnttab_map_grant_ref, dev_bus_addr);

SAME_SIZE(hv_unmap_op, gnttab_unmap_grant_ref);
SAME(hv_unmap_op, host_addr, gnttab_unmap_grant_ref, host_addr);
SAME(hv_unmap_op, maddr, gnttab_unmap_grant_ref, dev_bus_addr);
SAME(hv_unmap_op, handle, gnttab_unmap_grant_ref, handle);
SAME(hv_unmap_op, status, gnttab_unmap_grant_ref, status);

SAME_SIZE(hv_copy_op, gnttab_copy);
SAME_SIZE(hv_copy_end, gnttab_copy_ptr);
SAME(hv_copy_op, source, gnttab_copy, source);
SAME(hv_copy_op, dest, gnttab_copy, dest);
SAME(hv_copy_op, len, gnttab_copy, len);
SAME(hv_copy_op, flags, gnttab_copy, flags);
SAME(hv_copy_op, status, gnttab_copy, status);
SAME(hv_copy_end, frame, gnttab_copy_ptr, u);
SAME(hv_copy_end, domid, gnttab_copy_ptr, domid);
SAME(hv_copy_end, offset, gnttab_copy_ptr, offset);

_Static_assert(HV_MAP_DEVICE == GNTMAP_device_map, "flag");
_Static_assert(HV_MAP_READONLY == GNTMAP_readonly, "flag");
_Static_assert(HV_COPY_SOURCE_GREF == GNTCOPY_source_gref, "flag");
_Static_assert(HV_COPY_DEST_GREF == GNTCOPY_dest_gref, "flag");
_Static_assert(HV_STATUS_OKAY == GNTST_okay && HV_STATUS_PENDING > GNTST_okay, "status");
_Static_assert(HV_DOMID_SELF == DOMID_SELF, "domid");

/* A page that is being brought in from a pager: 1, 2, 4, ... ms, half a second at most. */
#define EAGAIN_ROUNDS 9
/* Calls in a row that got nowhere, before a batch is given up. */
#define IDLE_CALLS 16

/* One kind of operation as the loops below see it. */
struct kind {
	unsigned int cmd;
	size_t size, status;
};

static const struct kind map_kind = {
	GNTTABOP_map_grant_ref, sizeof(struct hv_map_op), offsetof(struct hv_map_op, status),
};
static const struct kind unmap_kind = {
	GNTTABOP_unmap_grant_ref, sizeof(struct hv_unmap_op),
	offsetof(struct hv_unmap_op, status),
};
static const struct kind copy_kind = {
	GNTTABOP_copy, sizeof(struct hv_copy_op), offsetof(struct hv_copy_op, status),
};

static void *element(const struct kind *kind, void *ops, unsigned int i)
{
	return (char *)ops + i * kind->size;
}

/* Volatile: Xen writes it behind the compiler's back. */
static volatile int16_t *status_of(const struct kind *kind, void *ops, unsigned int i)
{
	return (volatile int16_t *)((char *)element(kind, ops, i) + kind->status);
}

static int issue(struct xen_priv *x, const struct kind *kind, void *ops, unsigned int n,
		 uint64_t *calls)
{
	int rc;

	(*calls)++;
	rc = xencall3(x->call, __HYPERVISOR_grant_table_op, kind->cmd, (uintptr_t)ops, n);
	return rc < 0 ? -errno : 0;
}

/*
 * Carries out every element once. Xen works in order and leaves a status in each that it has
 * done, so after an interrupted call the rest is what still says PENDING.
 */
static int carry_out(struct xen_priv *x, const struct kind *kind, void *ops, unsigned int n,
		     uint64_t *calls)
{
	unsigned int done = 0, idle = 0;
	int rc;

	if (!x->call)
		return -EBADF;
	for (unsigned int i = 0; i < n; i++)
		*status_of(kind, ops, i) = HV_STATUS_PENDING;
	while (done < n) {
		unsigned int before = done;

		rc = issue(x, kind, element(kind, ops, done), n - done, calls);
		while (done < n && *status_of(kind, ops, done) != HV_STATUS_PENDING)
			done++;
		if (rc && rc != -EINTR && rc != -EAGAIN)
			return rc;
		idle = done == before ? idle + 1 : 0;
		if (idle == IDLE_CALLS)
			return rc ? rc : -EIO;
	}
	return 0;
}

static unsigned int count_status(const struct kind *kind, void *ops, unsigned int n, int16_t s)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < n; i++)
		count += *status_of(kind, ops, i) == s;
	return count;
}

static void sleep_ms(unsigned int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

/* What still says GNTST_eagain at the end keeps that status; the call did not fail. */
static int batch(struct xen_priv *x, const struct kind *kind, void *ops, unsigned int n,
		 uint64_t *calls)
{
	int rc = carry_out(x, kind, ops, n, calls);

	for (unsigned int round = 0; !rc && round < EAGAIN_ROUNDS; round++) {
		if (!count_status(kind, ops, n, GNTST_eagain))
			return 0;
		sleep_ms(1u << round);
		for (unsigned int i = 0; !rc && i < n; i++) {
			if (*status_of(kind, ops, i) == GNTST_eagain)
				rc = carry_out(x, kind, element(kind, ops, i), 1, calls);
		}
	}
	return rc;
}

int xen_raw_map(struct xen_priv *x, struct hv_map_op *ops, unsigned int n)
{
	uint64_t calls = 0;

	return batch(x, &map_kind, ops, n, &calls);
}

int xen_raw_unmap(struct xen_priv *x, struct hv_unmap_op *ops, unsigned int n)
{
	uint64_t calls = 0;

	return carry_out(x, &unmap_kind, ops, n, &calls);
}

int xen_gnt_map(struct hv *hv, struct hv_map_op *ops, unsigned int n)
{
	int rc = batch(xen_priv(hv), &map_kind, ops, n, &hv->counters.map_calls);

	hv->counters.map_pages += count_status(&map_kind, ops, n, GNTST_okay);
	return rc;
}

int xen_gnt_unmap(struct hv *hv, struct hv_unmap_op *ops, unsigned int n)
{
	int rc = carry_out(xen_priv(hv), &unmap_kind, ops, n, &hv->counters.unmap_calls);

	hv->counters.unmap_pages += count_status(&unmap_kind, ops, n, GNTST_okay);
	return rc;
}

int xen_gnt_copy(struct hv *hv, struct hv_copy_op *ops, unsigned int n)
{
	int rc = batch(xen_priv(hv), &copy_kind, ops, n, &hv->counters.copy_calls);

	for (unsigned int i = 0; i < n; i++) {
		if (ops[i].status != GNTST_okay)
			continue;
		hv->counters.copy_ops++;
		hv->counters.copy_bytes += ops[i].len;
	}
	return rc;
}

int xen_gnttab_open(struct xen_priv *x)
{
	x->gnttab = xengnttab_open(xen_quiet(), 0);
	return x->gnttab ? 0 : -errno;
}

void xen_gnttab_close(struct xen_priv *x)
{
	if (x->gnttab)
		xengnttab_close(x->gnttab);
}

int xen_host_map(struct hv *hv, uint16_t domid, const uint32_t *gref, unsigned int n,
		 bool writable, void **va)
{
	struct xen_priv *x = xen_priv(hv);
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;

	if (!x->gnttab)
		return -EBADF;
	/* The library only reads the references. */
	*va = xengnttab_map_domain_grant_refs(x->gnttab, n, domid, (uint32_t *)gref, prot);
	return *va ? 0 : -errno;
}

int xen_host_unmap(struct hv *hv, void *va, unsigned int n)
{
	struct xen_priv *x = xen_priv(hv);

	if (!x->gnttab)
		return -EBADF;
	return xengnttab_unmap(x->gnttab, va, n) ? -errno : 0;
}
