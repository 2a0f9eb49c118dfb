/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Grants that only a version 2 table has, and that only a copy may use: of a part of a page, and
 * handed on from another domain. Linux makes neither, so an entry of the server's is changed
 * behind its back for the moment, and put right again.
 */
#include "stress/internal.h"

#ifdef HAVE_XEN
#include "hv/share.h"
#include "hv/table.h"

#include <string.h>

static struct table *table_of(struct worker *w)
{
	int rc = 0;

	if (!w->table)
		w->table = table_open(w->world->domid, &rc);
	if (!w->table)
		worker_fail(w, "no access to the table itself: %s", strerror(-rc));
	return w->table;
}

/* Len bytes from offset of the page granted, to the same place of an own page. */
static int copy_part(struct worker *w, uint32_t ref, unsigned int offset, unsigned int len)
{
	w->copy[0] = (struct hv_copy_op){
		.source = { .frame = ref, .domid = w->world->domid, .offset = (uint16_t)offset },
		.dest = { .frame = mfn_of(w->own_maddr[0]).n, .domid = HV_DOMID_SELF,
			  .offset = (uint16_t)offset },
		.len = (uint16_t)len,
		.flags = HV_COPY_SOURCE_GREF,
		.status = HV_STATUS_PENDING,
	};
	memset(w->own, 0, XVS_FRAME_SIZE);
	if (w->hv->ops->gnt_copy(w->hv, w->copy, 1))
		worker_fail(w, "the copy hypercall failed");
	return w->copy[0].status;
}

static void expect_copy(struct worker *w, const struct page *page, unsigned int offset,
			unsigned int len, const char *what)
{
	int status = copy_part(w, page->ref, offset, len);

	if (status)
		worker_fail(w, "%s, reference %u, bytes %u to %u: %s", what, page->ref, offset,
			    offset + len - 1, hv_status_name((int16_t)status));
	worker_check(w, page, w->own + offset, offset, len, what);
}

static void expect_no_part(struct worker *w, uint32_t ref, unsigned int offset, unsigned int len)
{
	if (!copy_part(w, ref, offset, len))
		worker_fail(w, "bytes %u to %u were copied, reference %u does not grant them all",
			    offset, offset + len - 1, ref);
}

/* Such a grant is for copies alone. */
static void expect_no_map(struct worker *w, uint32_t ref, const char *what)
{
	struct hv_map_op *op = w->raw_map;

	*op = (struct hv_map_op){ .flags = HV_MAP_DEVICE | HV_MAP_READONLY, .gref = ref,
				  .domid = w->world->domid, .status = HV_STATUS_PENDING,
				  .handle = HV_HANDLE_NONE };
	if (w->hv->ops->gnt_map(w->hv, op, 1))
		worker_fail(w, "the map hypercall failed");
	if (op->status)
		return;
	w->raw_unmap[0] = (struct hv_unmap_op){ .maddr = op->maddr, .handle = op->handle,
						.status = HV_STATUS_PENDING };
	w->hv->ops->gnt_unmap(w->hv, w->raw_unmap, 1);
	worker_fail(w, "%s was mapped: reference %u", what, ref);
}

unsigned int op_subpage(struct worker *w)
{
	struct table *t = table_of(w);
	unsigned int from = 8 * (1 + worker_random(w, 255)), len = 8 * (1 + worker_random(w, 255));
	struct page *page;
	int rc;

	w->n = 1;
	worker_pick(w, PICK_ALL);
	page = w->pick[0];
	rc = table_make_sub_page(t, page->ref, (uint16_t)from, (uint16_t)len);
	if (rc)
		worker_fail(w, "the entry of reference %u: %s", page->ref, strerror(-rc));
	expect_copy(w, page, from, len, "a grant of a part of a page");
	expect_no_part(w, page->ref, from - 8, 16);
	expect_no_part(w, page->ref, from + len - 8, 16);
	expect_no_part(w, page->ref, 0, XVS_FRAME_SIZE);
	expect_no_map(w, page->ref, "a grant of a part of a page");
	table_restore(t);
	expect_copy(w, page, 0, XVS_FRAME_SIZE, "a page granted whole again");
	return 6;
}

unsigned int op_transitive(struct worker *w)
{
	struct table *t = table_of(w);
	struct page mine = { 0 }, *page;
	uint32_t gref = 0;
	void *va = NULL;
	int rc = 0;

	w->n = 1;
	worker_pick(w, PICK_ALL);
	page = w->pick[0];
	if (!w->share)
		w->share = share_open(&rc);
	if (w->share)
		rc = share_pages(w->share, w->world->domid, 1, true, &gref, &va);
	if (rc)
		worker_fail(w, "no page of this domain to hand on: %s", strerror(-rc));
	mine.is = (struct pattern){ .owner = STRESS_DOMID, .ref = gref, .gen = ++w->sh->gen,
				    .writer = PATTERN_TOOL };
	pattern_write(va, &mine.is);
	rc = table_make_transitive(t, page->ref, STRESS_DOMID, gref);
	if (rc)
		worker_fail(w, "the entry of reference %u: %s", page->ref, strerror(-rc));
	mine.ref = page->ref;
	expect_copy(w, &mine, 0, XVS_FRAME_SIZE, "a grant handed on");
	expect_no_map(w, page->ref, "a grant handed on");
	share_end(w->share, va, 1);
	if (!copy_part(w, page->ref, 0, XVS_FRAME_SIZE))
		worker_fail(w, "reference %u hands on reference %u of this domain after its end",
			    page->ref, gref);
	table_restore(t);
	expect_copy(w, page, 0, XVS_FRAME_SIZE, "a page granted by its owner again");
	return 4;
}

void v2_close(struct worker *w)
{
	table_close(w->table);
	share_close(w->share);
}

#else

unsigned int op_subpage(struct worker *w)
{
	worker_fail(w, "not without Xen");
}

unsigned int op_transitive(struct worker *w)
{
	worker_fail(w, "not without Xen");
}

void v2_close(struct worker *w)
{
	(void)w;
}

#endif
