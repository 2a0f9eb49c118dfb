/* SPDX-License-Identifier: GPL-2.0-or-later */
/* translate: one address, the way the data path does it. */
#include "cmd.h"

#include "daemon/domain.h"
#include "daemon/parse.h"
#include "hv/hv.h"
#include "mem/daddr.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_MAX 64u /* what fits into one page of operations of either kind */
_Static_assert(PAGES_MAX * sizeof(struct hv_map_op) <= XVS_FRAME_SIZE, "one page");
_Static_assert(PAGES_MAX * sizeof(struct hv_unmap_op) <= XVS_FRAME_SIZE, "one page");

static struct hv *open_hv(unsigned int caps)
{
	const char *obstacle = host_obstacle();
	struct hv *hv;
	int rc;

	if (obstacle) {
		fail("%s", obstacle);
		return NULL;
	}
	if (!hv_xen()) {
		fail("built without Xen: ./configure found no libxen-dev");
		return NULL;
	}
	hv = hv_open(hv_xen(), caps, &rc);
	if (!hv)
		fail("no access to Xen: %s", strerror(-rc));
	return hv;
}

static void add_hex(json_object *o, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	json_object_object_add(o, key, json_object_new_string(text));
}

static int translate_pfn(const struct options *o)
{
	json_object *facts;
	uint64_t number;
	struct hv *hv;
	mfn_t mfn;
	int rc;

	if (parse_address(o->arg[1], &number)) {
		fail("'%s' is not a frame number", o->arg[1]);
		return EXIT_USAGE;
	}
	hv = open_hv(HV_CAP_DOMAIN);
	if (!hv)
		return EXIT_FAILURE;
	rc = hv->ops->self_p2m(hv, (pfn_t){ number }, &mfn);
	hv_close(hv);
	if (rc)
		return fail("pfn 0x%" PRIx64 " of this domain has no machine frame: %s", number,
			    strerror(-rc));
	facts = json_object_new_object();
	add_hex(facts, "pfn", number);
	add_hex(facts, "mfn", mfn.n);
	add_hex(facts, "maddr", maddr_of(mfn, 0).a);
	if (o->json)
		print_json(facts);
	else
		printf("pfn 0x%" PRIx64 " -> mfn 0x%" PRIx64 ", machine address 0x%" PRIx64 "\n",
		       number, mfn.n, maddr_of(mfn, 0).a);
	json_object_put(facts);
	return EXIT_SUCCESS;
}

/*
 * Maps and unmaps the pages. No signal may come between: a handle that is lost keeps the
 * guest's page for ever.
 */
static int map_and_unmap(struct hv *hv, const struct hv_dma *dma, uint16_t domid,
			 const struct gref_range *range, struct hv_map_op *result)
{
	struct hv_map_op *map = dma->va;
	struct hv_unmap_op *unmap = (void *)((char *)dma->va + XVS_FRAME_SIZE);
	unsigned int n = 0;
	sigset_t all, old;
	int rc, rc2 = 0;

	for (uint32_t i = 0; i < range->npages; i++)
		map[i] = (struct hv_map_op){ .flags = HV_MAP_DEVICE | HV_MAP_READONLY,
					     .gref = range->gref + i,
					     .domid = domid,
					     .status = HV_STATUS_PENDING };
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	rc = hv->ops->gnt_map(hv, map, range->npages);
	for (uint32_t i = 0; i < range->npages; i++)
		if (map[i].status == HV_STATUS_OKAY)
			unmap[n++] = (struct hv_unmap_op){ .maddr = map[i].maddr,
							   .handle = map[i].handle };
	if (n)
		rc2 = hv->ops->gnt_unmap(hv, unmap, n);
	sigprocmask(SIG_SETMASK, &old, NULL);
	memcpy(result, map, range->npages * sizeof(*map));
	return rc ? rc : rc2;
}

/* Page by page; returns how many could not be translated. */
static int show_pages(const struct options *o, uint32_t len, const struct gref_range *range,
		      const struct hv_map_op *map)
{
	json_object *list = json_object_new_array(), *e;
	uint32_t offset = range->offset;
	int bad = 0;

	for (uint32_t i = 0; i < range->npages; i++, offset = 0) {
		uint32_t part = XVS_FRAME_SIZE - offset < len ? XVS_FRAME_SIZE - offset : len;
		bool ok = map[i].status == HV_STATUS_OKAY;
		uint64_t maddr = maddr_add(map[i].maddr, offset).a;

		e = json_object_new_object();
		json_object_object_add(e, "gref", json_object_new_int64(map[i].gref));
		json_object_object_add(e, "len", json_object_new_int64(part));
		if (ok)
			add_hex(e, "maddr", maddr);
		else
			json_object_object_add(e, "error", json_object_new_string(
								   hv_status_name(map[i].status)));
		json_object_array_add(list, e);
		if (!o->json && ok)
			printf("grant %u, %u bytes -> machine address 0x%" PRIx64 "\n", map[i].gref,
			       part, maddr);
		else if (!o->json)
			printf("grant %u, %u bytes -> %s\n", map[i].gref, part,
			       hv_status_name(map[i].status));
		bad += !ok;
		len -= part;
	}
	if (o->json)
		print_json(list);
	json_object_put(list);
	return bad;
}

static int translate_range(const struct options *o, struct hv *hv, uint32_t len,
			   const struct gref_range *range)
{
	struct hv_map_op map[PAGES_MAX];
	struct hv_dma dma = { 0 };
	char why[200];
	uint16_t domid;
	int rc;

	if (domain_resolve(hv, o->arg[0], &domid, why, sizeof(why)))
		return fail("%s", why);
	rc = hv->ops->dma_alloc(hv, 2, &dma);
	if (rc)
		return fail("no memory for the operations: %s", strerror(-rc));
	rc = map_and_unmap(hv, &dma, domid, range, map);
	hv->ops->dma_free(hv, &dma);
	if (rc)
		return fail("the hypercall failed: %s", strerror(-rc));
	if (show_pages(o, len, range, map))
		return fail("not all of it is granted to this domain");
	return EXIT_SUCCESS;
}

static int translate_address(const struct options *o)
{
	struct gref_range range;
	uint64_t daddr, len = 1;
	struct hv *hv;
	int rc;

	if (parse_address(o->arg[1], &daddr) ||
	    (o->narg > 2 && (parse_address(o->arg[2], &len) || !len || len > UINT32_MAX))) {
		fail("ADDRESS and LENGTH are numbers, see xvshim translate --help");
		return EXIT_USAGE;
	}
	if (daddr_decode_grant(daddr, (uint32_t)len, &range))
		return fail("0x%" PRIx64 " is no grant address: bit 63 set, 62 to 44 clear, then "
			    "the reference and 12 bits of offset",
			    daddr);
	if (range.npages > PAGES_MAX)
		return fail("at most %u pages at once", PAGES_MAX);
	hv = open_hv(HV_CAP_GRANT | HV_CAP_STORE | HV_CAP_DOMAIN | HV_CAP_DMA);
	if (!hv)
		return EXIT_FAILURE;
	rc = translate_range(o, hv, (uint32_t)len, &range);
	hv_close(hv);
	return rc;
}

static void print_trace(json_object *device)
{
	json_object *trace = field(device, "trace");
	size_t n = json_object_array_length(trace);

	printf("%s device %" PRIu64 " (%s)%s\n", field_text(device, "domain"),
	       field_number(device, "device"), field_text(device, "source"),
	       n ? ":" : ": nothing was translated yet");
	for (size_t i = 0; i < n; i++) {
		json_object *e = json_object_array_get_idx(trace, i);

		printf("  queue %" PRIu64 "  %s -> %s  %" PRIu64 " bytes, %s\n",
		       field_number(e, "queue"), field_text(e, "daddr"), field_text(e, "maddr"),
		       field_number(e, "len"), field_text(e, "access"));
	}
}

static int translate_recent(const struct options *o)
{
	json_object *answer = daemon_ask(o, request_new("trace", o)), *list;

	if (!answer)
		return EXIT_FAILURE;
	list = field(answer, "devices");
	if (o->json) {
		print_json(list);
	} else {
		for (size_t i = 0; i < json_object_array_length(list); i++)
			print_trace(json_object_array_get_idx(list, i));
	}
	json_object_put(answer);
	return EXIT_SUCCESS;
}

int cmd_translate(const struct options *o)
{
	if (o->recent)
		return translate_recent(o);
	if (o->narg < 2) {
		fail("translate what? see xvshim translate --help");
		return EXIT_USAGE;
	}
	if (!strcmp(o->arg[0], "pfn") && o->narg == 2)
		return translate_pfn(o);
	return translate_address(o);
}
