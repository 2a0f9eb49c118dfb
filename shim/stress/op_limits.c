/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other side's turn, and what runs out: handles, the allocator, the grant table. */
#include "stress/internal.h"

#include <errno.h>
#include <string.h>

unsigned int op_renew(struct worker *w)
{
	unsigned int region = worker_random(w, POOL_REGIONS);

	w->n = SERVER_REGION_PAGES;
	peer_check(w, region);
	peer_revoke(w, region);
	peer_share(w, region);
	return 2 * w->n;
}

unsigned int op_restamp(struct worker *w)
{
	unsigned int region = worker_random(w, POOL_REGIONS);

	w->n = SERVER_REGION_PAGES;
	peer_check(w, region);
	peer_stamp(w, region);
	return w->n;
}

static void drop_everything(struct worker *w)
{
	int rc = pins_unmap_all(&w->pins);

	if (rc || journal_live(w->journal))
		worker_fail(w, "out of handles, then unmapped: %s, %u pages stay",
			    rc ? strerror(-rc) : "no error", journal_live(w->journal));
	/* pins_unmap_all() leaves the list of free pins in another order, not incomplete. */
}

/* On Xen the table is everybody's in this domain, and by default longer than the journal. */
unsigned int op_maptrack(struct worker *w)
{
	uint32_t gref = 0;
	unsigned int ops = 0;
	int rc = 0;

	w->n = 512;
	while (!rc && pins_room(&w->pins, w->n)) {
		worker_pick(w, PICK_ALL);
		for (unsigned int i = 0; i < w->n; i++)
			w->pin[i] = pins_add(&w->pins, w->pick[i]->ref, false);
		rc = pins_map(&w->pins, &gref);
		ops += 2 * w->n;
	}
	if (rc != -ENOSPC)
		worker_fail(w, "%u handles taken, then: %s", journal_live(w->journal),
			    rc ? strerror(-rc) :
				 "no limit was met; boot Xen with gnttab_max_maptrack_frames=16");
	drop_everything(w);
	w->n = 16;
	worker_pick(w, PICK_ALL);
	map_picked(w, false);
	unmap_picked(w);
	return ops + 2 * w->n;
}

/* Refused in good order, then everything ended, then it works again. */
static unsigned int exhaust(struct worker *w, uint32_t mode)
{
	uint32_t got;
	int rc;

	w->box->to = STRESS_DOMID;
	w->n = 0;
	rc = peer_call(w, SERVER_EXHAUST, 0, mode);
	got = w->box->count;
	if (rc == -EOPNOTSUPP)
		return 0;
	if (!got || (rc != -ENOSPC && rc != -ENOMEM))
		worker_fail(w, "the server granted %u pages until it was out of them: %s", got,
			    rc ? strerror(-rc) : "no limit was met");
	/* Counted as one: how many there were depends on what came before, and --ops must not. */
	return 1 + op_renew(w);
}

unsigned int op_gntalloc(struct worker *w)
{
	return exhaust(w, EXHAUST_GNTALLOC);
}

unsigned int op_frames(struct worker *w)
{
	return exhaust(w, EXHAUST_FRAMES);
}
