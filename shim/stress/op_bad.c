/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must be refused, and what must hold while it is. */
#include "stress/internal.h"

#include <errno.h>
#include <string.h>

static int raw_map_one(struct worker *w, uint16_t domid, uint32_t ref, bool writable)
{
	struct hv_map_op *op = w->raw_map;
	int rc;

	*op = (struct hv_map_op){ .flags = HV_MAP_DEVICE | (writable ? 0 : HV_MAP_READONLY),
				  .gref = ref, .domid = domid, .status = HV_STATUS_PENDING,
				  .handle = HV_HANDLE_NONE };
	rc = w->hv->ops->gnt_map(w->hv, op, 1);
	if (rc)
		worker_fail(w, "the map hypercall failed: %s", strerror(-rc));
	return op->status;
}

static void raw_unmap(struct worker *w, unsigned int n)
{
	int rc = w->hv->ops->gnt_unmap(w->hv, w->raw_unmap, n);

	if (rc)
		worker_fail(w, "the unmap hypercall failed: %s", strerror(-rc));
}

static void raw_unmap_that(struct worker *w)
{
	w->raw_unmap[0] = (struct hv_unmap_op){ .maddr = w->raw_map->maddr,
						.handle = w->raw_map->handle,
						.status = HV_STATUS_PENDING };
	raw_unmap(w, 1);
}

/* To be refused; if it is not, it is undone first, so that the story is the only damage. */
static void expect_no_map(struct worker *w, uint16_t domid, uint32_t ref, bool writable,
			  const char *what)
{
	if (raw_map_one(w, domid, ref, writable))
		return;
	raw_unmap_that(w);
	worker_fail(w, "%s was mapped%s: domain %u, reference %u", what,
		    writable ? " to write" : "", domid, ref);
}

/* One bad reference in a batch: it is named, nothing stays mapped. (hazard 16) */
static void expect_no_batch(struct worker *w, uint32_t bad, bool writable, const char *what)
{
	unsigned int at = worker_random(w, w->n);
	uint32_t gref = 0;
	int rc;

	for (unsigned int i = 0; i < w->n; i++)
		pins_add(&w->pins, i == at ? bad : w->pick[i]->ref, writable);
	rc = pins_map(&w->pins, &gref);
	if (rc != -EFAULT || gref != bad)
		worker_fail(w, "a batch with %s, %u, at %u: %s, at reference %u", what, bad, at,
			    rc ? strerror(-rc) : "mapped", gref);
	if (journal_live(w->journal))
		worker_fail(w, "a batch was refused and %u pages stay mapped",
			    journal_live(w->journal));
}

/* Elements before and after a bad one are carried out all the same. */
static void expect_no_copy(struct worker *w, uint32_t ref, bool to, const char *what)
{
	for (unsigned int i = 0; i < 3; i++) {
		struct hv_copy_end mine = { .frame = mfn_of(w->own_maddr[i]).n,
					    .domid = HV_DOMID_SELF };
		struct hv_copy_end other = { .frame = i == 1 ? ref : w->pick[i / 2]->ref,
					     .domid = w->world->domid };
		bool dest = to && i == 1;

		w->copy[i] = (struct hv_copy_op){ .source = dest ? mine : other,
						  .dest = dest ? other : mine,
						  .len = XVS_FRAME_SIZE,
						  .flags = dest ? HV_COPY_DEST_GREF :
								  HV_COPY_SOURCE_GREF,
						  .status = HV_STATUS_PENDING };
	}
	if (w->hv->ops->gnt_copy(w->hv, w->copy, 3))
		worker_fail(w, "the copy hypercall failed");
	if (w->copy[0].status || !w->copy[1].status || w->copy[2].status)
		worker_fail(w, "copies around %s, %u: %s, %s, %s", what, ref,
			    hv_status_name(w->copy[0].status), hv_status_name(w->copy[1].status),
			    hv_status_name(w->copy[2].status));
	worker_check(w, w->pick[0], w->own, 0, XVS_FRAME_SIZE, "in a copy of");
	worker_check(w, w->pick[1], w->own + 2 * XVS_FRAME_SIZE, 0, XVS_FRAME_SIZE, "in a copy of");
}

static void expect_no_host_map(struct worker *w, uint32_t ref, bool writable, const char *what)
{
	void *va = NULL;

	if (w->hv->ops->host_map(w->hv, w->world->domid, &ref, 1, writable, &va))
		return;
	w->hv->ops->host_unmap(w->hv, va, 1);
	worker_fail(w, "%s was mapped into this process%s: reference %u", what,
		    writable ? " to write" : "", ref);
}

/* Any way to write to a page that may only be read. */
unsigned int op_rw_of_ro(struct worker *w)
{
	static const char what[] = "a reference that is granted read-only";
	uint32_t ref;

	w->n = w->n < 16 ? w->n + 2 : 16;
	worker_pick(w, PICK_READONLY);
	ref = w->pick[2]->ref;
	switch (worker_random(w, 4)) {
	case 0:
		expect_no_map(w, w->world->domid, ref, true, what);
		return 1;
	case 1:
		expect_no_host_map(w, ref, true, what);
		return 1;
	case 2:
		expect_no_copy(w, ref, true, what);
		return 3;
	default:
		worker_pick(w, PICK_WRITABLE);
		expect_no_batch(w, ref, true, what);
		return 2 * w->n - 1;
	}
}

/* In a way of its own each time; ref is no reference of this domain for us. */
static unsigned int refused_everywhere(struct worker *w, uint32_t ref, const char *what)
{
	worker_pick(w, PICK_ALL);
	switch (worker_random(w, 4)) {
	case 0:
		expect_no_map(w, w->world->domid, ref, worker_random(w, 2), what);
		return 1;
	case 1:
		expect_no_host_map(w, ref, worker_random(w, 2), what);
		return 1;
	case 2:
		expect_no_copy(w, ref, worker_random(w, 2), what);
		return 3;
	default:
		expect_no_batch(w, ref, false, what);
		return 2 * w->n - 1;
	}
}

unsigned int op_bad(struct worker *w)
{
	w->n = w->n > 1 ? w->n : 2;
	switch (worker_random(w, 4)) {
	case 0:
		return refused_everywhere(w, 0xfffffff0u + worker_random(w, 16),
					  "a reference at the end of all numbers");
	case 1:
		return refused_everywhere(w, 0x100000u + worker_random(w, 0x100000),
					  "a reference beyond the table");
	case 2:
		return refused_everywhere(w, w->foreign[worker_random(w, FOREIGN_PAGES)],
					  "a reference that is granted to another domain");
	default:
		worker_pick(w, PICK_ALL);
		expect_no_map(w, (uint16_t)(0x7000 + worker_random(w, 0xf00)), w->pick[0]->ref,
			      false, "a reference of a domain that is none");
		return 1;
	}
}

/*
 * A handle number that was given back may belong to another back end of this domain the next
 * moment, and to unmap that one's page would be a disaster. It cannot happen here: an unmap
 * names the handle *and* the machine address, and Xen refuses it, before it changes anything,
 * when the page of the handle is another one. The pages named are those of the other side of
 * this test, which nobody but this worker maps for a device, and it maps nothing between the
 * two unmaps. So the second one finds a free handle or one of another page, and is refused.
 * Never without the address: 0 there would mean "do not compare".
 */
unsigned int op_twice(struct worker *w)
{
	w->n = w->n < RAW_OPS ? w->n : RAW_OPS;
	worker_pick(w, PICK_ALL);
	map_picked(w, false);
	for (unsigned int i = 0; i < w->n; i++)
		w->raw_unmap[i] = (struct hv_unmap_op){
			.maddr = pins_maddr(&w->pins, w->pin[i]),
			.handle = w->pins.log->pin[w->pin[i]].handle,
			.status = HV_STATUS_PENDING,
		};
	unmap_picked(w);
	for (unsigned int i = 0; i < w->n; i++)
		if (!w->raw_unmap[i].maddr.a)
			worker_fail(w, "reference %u lies at machine address 0", w->pick[i]->ref);
	raw_unmap(w, w->n);
	for (unsigned int i = 0; i < w->n; i++)
		if (w->raw_unmap[i].status == HV_STATUS_OKAY)
			worker_fail(w, "handle %u, unmapped once, was unmapped again",
				    w->raw_unmap[i].handle);
	return 3 * w->n;
}

/* Xen keeps the page where it is until the last map of it is gone. (hazard 19) */
static void use_revoked(struct worker *w)
{
	maddr_t maddr[SERVER_REGION_PAGES];
	void *page[SERVER_REGION_PAGES];
	int rc;

	if (!(w->world->can & STRESS_CAN_PEEK))
		return;
	for (unsigned int i = 0; i < w->n; i++)
		maddr[i] = pins_maddr(&w->pins, w->pin[i]);
	rc = w->world->peek(w->world, w->hv, maddr, w->n, page);
	if (rc)
		worker_fail(w, "a page that is mapped went away: %s", strerror(-rc));
	for (unsigned int i = 0; i < w->n; i++)
		worker_check(w, w->pick[i], page[i], 0, XVS_FRAME_SIZE,
			     "revoked while mapped,");
	w->world->unpeek(w->world, w->hv, w->n);
}

/*
 * Where the other side's kernel defers the end of a grant that is in use, the number may be
 * given out again by then, perhaps to a front end that has nothing to do with us: a map that
 * works is counted, undone, and no failure. It is in the journal, since this process may be killed
 * before it is undone.
 */
static void expect_stale(struct worker *w, uint32_t ref)
{
	uint32_t gref = 0;
	int rc;

	w->pin[0] = pins_add(&w->pins, ref, false);
	rc = pins_map(&w->pins, &gref);
	if (rc == -EFAULT)
		return;
	if (rc)
		worker_fail(w, "map of reference %u after its end: %s", ref, strerror(-rc));
	pins_drop(&w->pins, w->pin[0]);
	rc = pins_unmap(&w->pins);
	if (rc)
		worker_fail(w, "Xen refuses to unmap what it mapped: %s", strerror(-rc));
	if (w->world->can & STRESS_STRICT_END)
		worker_fail(w, "reference %u was mapped after its end", ref);
	w->sh->reused++;
}

/* Grants a region and picks it. */
static void share_spare(struct worker *w, struct page *spare)
{
	int rc;

	w->sh->gen++;
	w->box->to = STRESS_DOMID;
	w->box->readonly = worker_random(w, 2);
	rc = peer_call(w, SERVER_SHARE, SPARE_REGION, w->n);
	if (rc)
		worker_fail(w, "the server cannot grant %u pages: %s", w->n, strerror(-rc));
	for (unsigned int i = 0; i < w->n; i++) {
		spare[i] = (struct page){ .ref = w->arg[i],
					  .is = { .owner = w->world->domid, .ref = w->arg[i],
						  .gen = w->sh->gen, .writer = PATTERN_SERVER } };
		w->pick[i] = &spare[i];
	}
}

static void revoke_mapped(struct worker *w)
{
	int rc = peer_call(w, SERVER_REVOKE, SPARE_REGION, w->n);

	if (rc != -EBUSY && ((w->world->can & STRESS_STRICT_END) || rc))
		worker_fail(w, "revoked while mapped: %s", rc ? strerror(-rc) : "no objection");
	use_revoked(w);
	unmap_picked(w);
	if (rc)
		rc = peer_call(w, SERVER_REVOKE, SPARE_REGION, 0);
	if (rc)
		worker_fail(w, "leak: unmapped, and it cannot be revoked: %s", strerror(-rc));
}

/* What the other side's kernel has to take out of its table later is kept small: server.h. */
static bool too_many_deferred(struct worker *w)
{
	return w->box->deferred + w->n > SERVER_DEFERRED_MAX;
}

static void revoke_unmapped(struct worker *w)
{
	int rc;

	unmap_picked(w);
	rc = peer_call(w, SERVER_REVOKE, SPARE_REGION, 0);
	if (rc)
		worker_fail(w, "unmapped, and it cannot be revoked: %s", strerror(-rc));
	w->sh->late++;
}

unsigned int op_revoke(struct worker *w)
{
	struct page spare[SERVER_REGION_PAGES];

	w->n = w->n < SERVER_REGION_PAGES ? w->n : SERVER_REGION_PAGES;
	share_spare(w, spare);
	map_picked(w, false);
	if (too_many_deferred(w))
		revoke_unmapped(w);
	else
		revoke_mapped(w);
	expect_stale(w, spare[worker_random(w, w->n)].ref);
	return 2 * w->n + 1;
}
