/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies: from granted pages, to them, from one to another. A batch of up to OWN_PAGES elements
 * copies whole pages; a larger one pieces, PIECES of each page, so that every element has a
 * place of its own in this domain's pages.
 */
#include "stress/internal.h"

#include <errno.h>
#include <string.h>

struct cut {
	unsigned int pages, pieces, len;
};

static struct cut cut_of(struct worker *w, unsigned int max_pages)
{
	struct cut c = { .pages = w->n, .pieces = 1, .len = XVS_FRAME_SIZE };

	if (w->n > max_pages)
		c = (struct cut){ .pages = (w->n + PIECES - 1) / PIECES, .pieces = PIECES,
				  .len = PIECE };
	w->n = c.pages;
	return c;
}

static struct hv_copy_end granted(struct worker *w, uint32_t ref, unsigned int offset)
{
	return (struct hv_copy_end){ .frame = ref, .domid = w->world->domid,
				     .offset = (uint16_t)offset };
}

static struct hv_copy_end own(struct worker *w, unsigned int page, unsigned int offset)
{
	return (struct hv_copy_end){ .frame = mfn_of(w->own_maddr[page]).n, .domid = HV_DOMID_SELF,
				     .offset = (uint16_t)offset };
}

static void copy_all(struct worker *w, unsigned int n)
{
	int rc;

	for (unsigned int i = 0; i < n; i++)
		w->copy[i].status = HV_STATUS_PENDING;
	rc = w->hv->ops->gnt_copy(w->hv, w->copy, n);
	if (rc)
		worker_fail(w, "the copy hypercall failed: %s", strerror(-rc));
	for (unsigned int i = 0; i < n; i++)
		if (w->copy[i].status != HV_STATUS_OKAY)
			worker_fail(w, "copy %u of %u, reference %llu to %llu: %s", i, n,
				    (unsigned long long)w->copy[i].source.frame,
				    (unsigned long long)w->copy[i].dest.frame,
				    hv_status_name(w->copy[i].status));
}

static uint8_t *own_page(struct worker *w, unsigned int page)
{
	return w->own + (size_t)page * XVS_FRAME_SIZE;
}

unsigned int op_copy_from(struct worker *w)
{
	struct cut c = cut_of(w, OWN_PAGES);
	unsigned int n = 0;

	worker_pick(w, PICK_ALL);
	for (unsigned int i = 0; i < c.pages; i++)
		for (unsigned int k = 0; k < c.pieces; k++)
			w->copy[n++] = (struct hv_copy_op){
				.source = granted(w, w->pick[i]->ref, k * c.len),
				.dest = own(w, i, k * c.len),
				.len = (uint16_t)c.len,
				.flags = HV_COPY_SOURCE_GREF,
			};
	memset(w->own, 0, (size_t)c.pages * XVS_FRAME_SIZE);
	copy_all(w, n);
	for (unsigned int i = 0; i < c.pages; i++)
		worker_check(w, w->pick[i], own_page(w, i), 0, XVS_FRAME_SIZE, "in a copy of");
	return n;
}

unsigned int op_copy_to(struct worker *w)
{
	struct cut c = cut_of(w, OWN_PAGES);
	unsigned int n = 0;

	worker_pick(w, PICK_WRITABLE);
	for (unsigned int i = 0; i < c.pages; i++) {
		page_pending(w->pick[i], true);
		w->pick[i]->is = worker_next(w, w->pick[i]);
		pattern_write(own_page(w, i), &w->pick[i]->is);
		for (unsigned int k = 0; k < c.pieces; k++)
			w->copy[n++] = (struct hv_copy_op){
				.source = own(w, i, k * c.len),
				.dest = granted(w, w->pick[i]->ref, k * c.len),
				.len = (uint16_t)c.len,
				.flags = HV_COPY_DEST_GREF,
			};
	}
	copy_all(w, n);
	for (unsigned int i = 0; i < c.pages; i++)
		page_pending(w->pick[i], false);
	return n;
}

/* The page copied to holds the other one's pattern from then on, and so is expected to. */
unsigned int op_copy_across(struct worker *w)
{
	struct cut c = cut_of(w, WRITABLE_PAGES / 2);
	unsigned int n = 0;

	w->n = 2 * c.pages;
	worker_pick(w, PICK_WRITABLE);
	for (unsigned int i = 0; i < c.pages; i++) {
		struct page *from = w->pick[i], *to = w->pick[c.pages + i];

		page_pending(to, true);
		to->is = from->is;
		for (unsigned int k = 0; k < c.pieces; k++)
			w->copy[n++] = (struct hv_copy_op){
				.source = granted(w, from->ref, k * c.len),
				.dest = granted(w, to->ref, k * c.len),
				.len = (uint16_t)c.len,
				.flags = HV_COPY_SOURCE_GREF | HV_COPY_DEST_GREF,
			};
	}
	copy_all(w, n);
	for (unsigned int i = 0; i < c.pages; i++)
		page_pending(w->pick[c.pages + i], false);
	return n;
}
