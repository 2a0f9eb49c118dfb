/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a worker has pages of the guest mapped. ThreadSanitizer knows memory by its address, so a
 * guest that is to be seen beside the worker writes to each of these places, not only to its own.
 */
#ifndef XVS_TESTS_FUZZ_VIEWS_H
#define XVS_TESTS_FUZZ_VIEWS_H

#include "world.h"

#include <pthread.h>
#include <sys/mman.h>

#define VIEWS 64u

/* A page of the guest where a worker has it mapped. */
static struct {
	pthread_mutex_t lock; /* what is written to is not unmapped meanwhile */
	struct {
		uint8_t *va;
		unsigned int page;
	} view[VIEWS];
	unsigned int n;
} views = { .lock = PTHREAD_MUTEX_INITIALIZER };

static unsigned int page_of_gref(uint32_t gref)
{
	unsigned int page = 0;

	while (page < WORLD_PAGES && !(w.page[page].granted && w.page[page].gref == gref))
		page++;
	return page;
}

static unsigned int page_of_gfn(gfn_t gfn)
{
	unsigned int page = 0;
	mfn_t mfn;

	while (page < WORLD_PAGES &&
	       (sim_p2m(w.m, WORLD_GUEST, (pfn_t){ page }, &mfn) || mfn.n != gfn.n))
		page++;
	return page;
}

/* From now on the guest writes there as well, though the worker may perhaps only read. */
static void see(void *va, unsigned int page)
{
	if (page == WORLD_PAGES)
		return;
	FUZZ_CHECK(!mprotect(va, XVS_FRAME_SIZE, PROT_READ | PROT_WRITE), "no view");
	pthread_mutex_lock(&views.lock);
	FUZZ_CHECK(views.n < VIEWS, "too many views");
	views.view[views.n].va = va;
	views.view[views.n++].page = page;
	pthread_mutex_unlock(&views.lock);
}

static void unsee(const void *va, size_t bytes)
{
	pthread_mutex_lock(&views.lock);
	for (unsigned int i = views.n; i--;)
		if ((uintptr_t)views.view[i].va - (uintptr_t)va < bytes)
			views.view[i] = views.view[--views.n];
	pthread_mutex_unlock(&views.lock);
}

static int seen_host_map(struct hv *hv, uint16_t domid, const uint32_t *gref, unsigned int n,
			 bool writable, void **va)
{
	int rc = sim_host_map(hv, domid, gref, n, writable, va);

	for (unsigned int i = 0; i < n && !rc; i++)
		see((char *)*va + i * XVS_FRAME_SIZE, page_of_gref(gref[i]));
	return rc;
}

static int seen_host_unmap(struct hv *hv, void *va, unsigned int n)
{
	unsee(va, n * XVS_FRAME_SIZE);
	return sim_host_unmap(hv, va, n);
}

static int seen_foreign_map(struct hv *hv, uint16_t domid, const gfn_t *gfn, unsigned int n,
			    bool writable, void **va, int *err)
{
	int rc = sim_foreign_map(hv, domid, gfn, n, writable, va, err);

	for (unsigned int i = 0; i < n && !rc; i++)
		if (!err[i])
			see((char *)*va + i * XVS_FRAME_SIZE, page_of_gfn(gfn[i]));
	return rc;
}

static int seen_foreign_unmap(struct hv *hv, void *va, unsigned int n)
{
	unsee(va, n * XVS_FRAME_SIZE);
	return sim_foreign_unmap(hv, va, n);
}

/* A worker that goes takes its maps along. */
static void seen_close(struct hv *hv)
{
	unsee(NULL, SIZE_MAX);
	hv_sim()->close(hv);
}

/* The simulation's, and the views are kept up to date. For w.ops. */
static const struct hv_ops *views_ops(void)
{
	static struct hv_ops ops;

	ops = *hv_sim();
	ops.host_map = seen_host_map;
	ops.host_unmap = seen_host_unmap;
	ops.foreign_map = seen_foreign_map;
	ops.foreign_unmap = seen_foreign_unmap;
	ops.close = seen_close;
	return &ops;
}

#endif
