/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Maps that are to work: for a device, through the journal, and into this process. */
#include "stress/internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void map_picked(struct worker *w, bool writable)
{
	uint32_t gref = 0;
	int rc;

	for (unsigned int i = 0; i < w->n; i++)
		w->pin[i] = pins_add(&w->pins, w->pick[i]->ref, writable);
	rc = pins_map(&w->pins, &gref);
	if (rc)
		worker_fail(w, "map for a device refused at reference %u: %s", gref, strerror(-rc));
}

void unmap_picked(struct worker *w)
{
	int rc;

	for (unsigned int i = 0; i < w->n; i++)
		pins_drop(&w->pins, w->pin[i]);
	rc = pins_unmap(&w->pins);
	if (rc)
		worker_fail(w, "Xen refuses to unmap what it mapped: %s", strerror(-rc));
}

/* A page mapped read-only must be out of reach of a device that writes, another one must not. */
static void check_direction(struct worker *w, bool writable)
{
	for (unsigned int i = 0; i < w->n; i++) {
		maddr_t maddr = pins_maddr(&w->pins, w->pin[i]);

		if (w->world->pinned_for_write(w->world, maddr) != writable)
			worker_fail(w, "reference %u was mapped %s, and a device %s write to it",
				    w->pick[i]->ref, writable ? "to write" : "read-only",
				    writable ? "cannot" : "can");
	}
}

/* Reads what a device would read at the addresses, and writes as one. */
static void act_as_device(struct worker *w, bool writable)
{
	maddr_t maddr[STRESS_BATCH];
	void *page[STRESS_BATCH];
	int rc;

	for (unsigned int i = 0; i < w->n; i++)
		maddr[i] = pins_maddr(&w->pins, w->pin[i]);
	rc = w->world->peek(w->world, w->hv, maddr, w->n, page);
	if (rc)
		worker_fail(w, "a machine address that the map returned is not the other side's "
			       "page: %s", strerror(-rc));
	for (unsigned int i = 0; i < w->n; i++)
		worker_check(w, w->pick[i], page[i], 0, XVS_FRAME_SIZE,
			     "at the machine address that the map returned for");
	for (unsigned int i = 0; writable && i < w->n; i++)
		worker_write(w, w->pick[i], page[i]);
	w->world->unpeek(w->world, w->hv, w->n);
}

static unsigned int devmap(struct worker *w, bool writable)
{
	worker_pick(w, writable ? PICK_WRITABLE : PICK_ALL);
	map_picked(w, writable);
	if (w->world->can & STRESS_CAN_SEE_PINS)
		check_direction(w, writable);
	if (w->world->can & STRESS_CAN_PEEK)
		act_as_device(w, writable);
	unmap_picked(w);
	return 2 * w->n;
}

unsigned int op_devmap(struct worker *w)
{
	return devmap(w, true);
}

unsigned int op_devmap_ro(struct worker *w)
{
	return devmap(w, false);
}

/*
 * The kernel says whether this process may write there, without a signal to catch. Xen looks at
 * the fault first and logs "Error mfn" with both domains: a note, not an error.
 */
static bool may_write(struct worker *w, void *va)
{
	return read(w->zero_fd, va, 1) == 1;
}

static unsigned int hostmap(struct worker *w, bool writable)
{
	uint32_t ref[STRESS_BATCH], try;
	char *va = NULL;
	int rc;

	worker_pick(w, writable ? PICK_WRITABLE : PICK_ALL);
	for (unsigned int i = 0; i < w->n; i++)
		ref[i] = w->pick[i]->ref;
	rc = w->hv->ops->host_map(w->hv, w->world->domid, ref, w->n, writable, (void **)&va);
	if (rc)
		worker_fail(w, "map into this process refused: %s", strerror(-rc));
	for (unsigned int i = 0; i < w->n; i++)
		worker_check(w, w->pick[i], va + (size_t)i * XVS_FRAME_SIZE, 0, XVS_FRAME_SIZE,
			     "in the mapping of");
	for (unsigned int i = 0; writable && i < w->n; i++)
		worker_write(w, w->pick[i], va + (size_t)i * XVS_FRAME_SIZE);
	try = worker_random(w, w->n);
	if (!writable && may_write(w, va + (size_t)try * XVS_FRAME_SIZE))
		worker_fail(w, "reference %u was mapped read-only into this process, which can "
			       "write to it", ref[try]);
	rc = w->hv->ops->host_unmap(w->hv, va, w->n);
	if (rc)
		worker_fail(w, "unmap from this process refused: %s", strerror(-rc));
	return 2 * w->n;
}

unsigned int op_hostmap(struct worker *w)
{
	return hostmap(w, true);
}

unsigned int op_hostmap_ro(struct worker *w)
{
	return hostmap(w, false);
}
