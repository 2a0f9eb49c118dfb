/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Map and unmap of grants for a device in batches, against libxengnttab page by page, in turn. */
#include "xen_probe.h"

#include <stdio.h>
#include <sys/mman.h>
#include <xengnttab.h>

#define PAGES 64u
#define PAIRS 7
#define BATCHES 50

struct sides {
	struct hv *hv;
	struct hv_dma dma;
	xengnttab_handle *gnttab;
	uint32_t ref[PAGES];
};

/* Microseconds a page, mapped and unmapped. Negative: refused. */
static double device(struct sides *s)
{
	struct hv_map_op *map = s->dma.va;
	struct hv_unmap_op *unmap = (void *)((char *)s->dma.va + XVS_FRAME_SIZE);
	double begun = probe_now_us();

	for (int k = 0; k < BATCHES; k++) {
		for (unsigned int i = 0; i < PAGES; i++)
			map[i] = (struct hv_map_op){ .flags = HV_MAP_DEVICE, .gref = s->ref[i] };
		if (s->hv->ops->gnt_map(s->hv, map, PAGES) || map[PAGES - 1].status)
			return -1;
		for (unsigned int i = 0; i < PAGES; i++)
			unmap[i] = (struct hv_unmap_op){ .maddr = map[i].maddr,
							 .handle = map[i].handle };
		if (s->hv->ops->gnt_unmap(s->hv, unmap, PAGES) || unmap[PAGES - 1].status)
			return -1;
	}
	return (probe_now_us() - begun) / (BATCHES * PAGES);
}

static double one_by_one(struct sides *s)
{
	double begun = probe_now_us();

	for (int k = 0; k < BATCHES / 10; k++)
		for (unsigned int i = 0; i < PAGES; i++) {
			void *va = xengnttab_map_grant_ref(s->gnttab, 0, s->ref[i],
							   PROT_READ | PROT_WRITE);

			if (!va || xengnttab_unmap(s->gnttab, va, 1))
				return -1;
		}
	return (probe_now_us() - begun) / (BATCHES / 10 * PAGES);
}

static void pairs(struct sides *s)
{
	for (int round = 1; round <= PAIRS; round++) {
		double ours = device(s), other = one_by_one(s);

		if (!probe_check(ours > 0 && other > 0, "maps of round %d", round))
			return;
		printf("sample: {\"round\": %d, \"device_us\": %.3f, \"gnttab_us\": %.3f}\n", round,
		       ours, other);
	}
}

void probe_bench(struct hv *hv)
{
	xengntshr_handle *shr = xengntshr_open(NULL, 0);
	struct sides s = { .hv = hv, .gnttab = xengnttab_open(NULL, 0) };
	void *shared = shr ? xengntshr_share_pages(shr, 0, PAGES, s.ref, 1) : NULL;

	if (probe_check(shared && s.gnttab, "pages to map") &&
	    probe_need(hv->ops->dma_alloc(hv, 2, &s.dma), "dma_alloc")) {
		pairs(&s);
		hv->ops->dma_free(hv, &s.dma);
	}
	if (shared)
		xengntshr_unshare(shr, shared, PAGES);
	if (s.gnttab)
		xengnttab_close(s.gnttab);
	if (shr)
		xengntshr_close(shr);
}
