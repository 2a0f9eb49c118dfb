/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Grants and DMA memory. The grants are this domain's own, made with libxengntshr. */
#include "xen_probe.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xengnttab.h>

#define DMA_PAGES 32u
#define SHARED 64u
#define ROUNDS 500
#define BAD_REF 0xfffffu

static char *page(const struct hv_dma *dma, unsigned int i)
{
	return (char *)dma->va + i * XVS_FRAME_SIZE;
}

static bool all_bytes(const char *p, size_t n, char want)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != want)
			return false;
	return true;
}

static unsigned int count_addresses(struct hv *hv, const struct hv_dma *dma,
				    unsigned int *differ)
{
	unsigned int same = 0;
	pfn_t pfn;
	mfn_t mfn;

	for (unsigned int i = 0; i < dma->npages; i++) {
		if (hv->ops->self_pfn(hv, page(dma, i), &pfn) ||
		    hv->ops->self_p2m(hv, pfn, &mfn))
			continue;
		same += mfn.n == mfn_of(dma->maddr[i]).n && !(dma->maddr[i].a & XVS_FRAME_MASK);
		*differ += pfn.n != mfn.n;
	}
	return same;
}

static void probe_addresses(struct hv *hv, const struct hv_dma *dma)
{
	unsigned int differ = 0, same = count_addresses(hv, dma, &differ);
	const int rounds = 10000;
	mfn_t mfn = { 0 };
	pfn_t pfn;
	double t0;

	probe_check(same == dma->npages, "maddr equals p2m of pfn for %u pages", same);
	probe_check(differ > 0, "pfn is not mfn for %u of them", differ);
	if (!probe_need(hv->ops->self_pfn(hv, dma->va, &pfn), "self_pfn"))
		return;
	t0 = probe_now_us();
	for (int i = 0; i < rounds; i++)
		hv->ops->self_p2m(hv, pfn, &mfn);
	probe_check(mfn.n == mfn_of(dma->maddr[0]).n, "warm self_p2m: %.3f us",
		    (probe_now_us() - t0) / rounds);
	probe_check(hv->ops->self_pfn(hv, NULL, &pfn) < 0, "self_pfn of nothing fails");
	probe_check(hv->ops->self_p2m(hv, (pfn_t){ 1ull << 36 }, &mfn) < 0,
		    "self_p2m beyond the end fails");
}

static void probe_self_map(struct hv *hv, const struct hv_dma *dma)
{
	mfn_t mfn[DMA_PAGES];
	bool good = true;
	void *va;

	for (unsigned int i = 0; i < DMA_PAGES; i++) {
		memset(page(dma, i), 'a' + (int)i, XVS_FRAME_SIZE);
		mfn[i] = mfn_of(dma->maddr[i]);
	}
	if (!probe_need(hv->ops->self_map(hv, mfn, DMA_PAGES, false, &va), "self_map"))
		return;
	for (unsigned int i = 0; i < DMA_PAGES; i++)
		good &= all_bytes((char *)va + i * XVS_FRAME_SIZE, XVS_FRAME_SIZE,
				  (char)('a' + (int)i));
	probe_check(good, "bytes written are in those machine frames");
	probe_check(!hv->ops->self_unmap(hv, va, DMA_PAGES), "self_unmap");
}

/* A worker: memory of its parent, a handle of its own. */
static int child_work(const struct hv_dma *dma)
{
	struct hv_map_op *op = (void *)page(dma, 6);
	int err, rc;
	struct hv *hv = hv_open(hv_xen(), HV_CAP_GRANT, &err);

	if (!hv)
		return 1;
	strcpy(page(dma, 5), "from the child");
	*op = (struct hv_map_op){ .flags = HV_MAP_DEVICE, .gref = BAD_REF };
	rc = hv->ops->gnt_map(hv, op, 1);
	hv_close(hv);
	return rc ? 1 : 0;
}

static void probe_fork(const struct hv_dma *dma)
{
	struct hv_map_op *op = (void *)page(dma, 6);
	pid_t child = fork();
	int status = 0;

	if (!child)
		_exit(child_work(dma));
	waitpid(child, &status, 0);
	probe_check(!status && hv_status_errno(op->status) == -ENOENT,
		    "a child's hypercalls on DMA memory leave their status there");
	probe_check(child > 0 && !status && !strcmp(page(dma, 5), "from the child"),
		    "a child's writes to DMA memory are seen after its end");
	strcpy(page(dma, 5), "still here");
	probe_check(!strcmp(page(dma, 5), "still here"), "and the memory stays");
}

struct left {
	maddr_t maddr;
	uint32_t handle;
};

/* Allocates, tells its parent where, and waits for the end. */
static void doomed(int fd)
{
	struct left left = { { 0 }, 0 };
	struct hv_dma dma;
	struct hv *hv;
	int err;

	hv = hv_open(hv_xen(), HV_CAP_DMA, &err);
	if (hv && !hv->ops->dma_alloc(hv, 1, &dma)) {
		strcpy(dma.va, "I was here");
		left = (struct left){ dma.maddr[0], dma.handle[0] };
	}
	if (write(fd, &left, sizeof(left)) != sizeof(left))
		_exit(1);
	pause();
	_exit(1);
}

static void probe_outlive(struct hv *hv, struct hv_unmap_op *op)
{
	struct left left = { { 0 }, 0 };
	int fd[2], rc = -1;
	void *va = NULL;
	mfn_t mfn;
	pid_t child;

	if (!probe_need(pipe(fd), "pipe"))
		return;
	child = fork();
	if (!child)
		doomed(fd[1]);
	if (read(fd[0], &left, sizeof(left)) != sizeof(left))
		left.maddr.a = 0;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(fd[0]);
	close(fd[1]);
	mfn = mfn_of(left.maddr);
	if (left.maddr.a)
		rc = hv->ops->self_map(hv, &mfn, 1, false, &va);
	probe_check(!rc && !strcmp(va, "I was here"), "a page of a killed process is pinned");
	if (!rc)
		hv->ops->self_unmap(hv, va, 1);
	*op = (struct hv_unmap_op){ .maddr = left.maddr, .handle = left.handle };
	rc = hv->ops->gnt_unmap(hv, op, 1);
	probe_check(!rc && !op->status, "and let go by its handle: %s",
		    hv_status_name(op->status));
}

static void probe_limit(struct hv *hv)
{
	struct hv_dma dma;
	int rc = hv->ops->dma_alloc(hv, 5000, &dma);

	probe_check(rc == -ENOSPC, "dma_alloc beyond the limit: %s", strerror(-rc));
	rc = hv->ops->dma_alloc(hv, 300, &dma);
	probe_check(!rc, "dma_alloc of 300 pages after that: %s", strerror(-rc));
	if (!rc)
		hv->ops->dma_free(hv, &dma);
	rc = hv->ops->dma_alloc(hv, 0, &dma);
	probe_check(rc == -EINVAL, "dma_alloc of nothing: %s", strerror(-rc));
}

void probe_dma(struct hv *hv)
{
	struct hv_dma dma;

	if (!probe_check(!hv->ops->dma_alloc(hv, DMA_PAGES, &dma), "dma_alloc"))
		return;
	probe_check(all_bytes(dma.va, DMA_PAGES * XVS_FRAME_SIZE, 0), "DMA memory is zeroed");
	probe_addresses(hv, &dma);
	probe_self_map(hv, &dma);
	probe_fork(&dma);
	probe_outlive(hv, dma.va);
	hv->ops->dma_free(hv, &dma);
	probe_check(!dma.va, "dma_free");
	probe_limit(hv);
}

/* What the grant tests work with. The operations lie in DMA memory, a page each. */
struct bench {
	struct hv *hv;
	struct hv_dma dma;
	struct hv_map_op *map;
	struct hv_unmap_op *unmap;
	struct hv_copy_op *copy;
	char *target;
	xengntshr_handle *shr;
	char *shared;
	uint32_t ref[SHARED];
};

static void fill_map(struct bench *b, unsigned int n, uint32_t flags)
{
	for (unsigned int i = 0; i < n; i++)
		b->map[i] = (struct hv_map_op){ .flags = flags, .gref = b->ref[i] };
}

static void fill_unmap(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		b->unmap[i] = (struct hv_unmap_op){
			.maddr = b->map[i].maddr,
			.handle = b->map[i].handle,
		};
}

static void cycle(struct bench *b, unsigned int n)
{
	double map = 0, unmap = 0, t0;
	unsigned int bad = 0;

	for (int k = 0; k < ROUNDS; k++) {
		fill_map(b, n, HV_MAP_DEVICE);
		t0 = probe_now_us();
		bad += b->hv->ops->gnt_map(b->hv, b->map, n) != 0;
		map += probe_now_us() - t0;
		fill_unmap(b, n);
		t0 = probe_now_us();
		bad += b->hv->ops->gnt_unmap(b->hv, b->unmap, n) != 0;
		unmap += probe_now_us() - t0;
		for (unsigned int i = 0; i < n; i++)
			bad += b->map[i].status || b->unmap[i].status;
	}
	probe_check(!bad, "%2u pages: map %.1f us a batch, unmap %.1f us", n, map / ROUNDS,
		    unmap / ROUNDS);
}

static void probe_statuses(struct bench *b)
{
	struct hv *hv = b->hv;
	int rc;

	fill_map(b, 3, HV_MAP_DEVICE);
	b->map[1].gref = BAD_REF;
	rc = hv->ops->gnt_map(hv, b->map, 3);
	probe_check(!rc && !b->map[0].status && !b->map[2].status &&
			    hv_status_errno(b->map[1].status) == -ENOENT,
		    "a bad reference fails alone: %s", hv_status_name(b->map[1].status));
	fill_unmap(b, 3);
	b->unmap[1] = b->unmap[0];
	rc = hv->ops->gnt_unmap(hv, b->unmap, 3);
	probe_check(!rc && !b->unmap[0].status && !b->unmap[2].status &&
			    hv_status_errno(b->unmap[1].status) == -EBADF,
		    "a second unmap fails alone: %s", hv_status_name(b->unmap[1].status));
	fill_map(b, 1, HV_MAP_DEVICE);
	b->map[0].domid = 777;
	rc = hv->ops->gnt_map(hv, b->map, 1);
	probe_check(!rc && hv_status_errno(b->map[0].status) == -ESRCH, "a missing domain: %s",
		    hv_status_name(b->map[0].status));
	rc = hv->ops->gnt_map(hv, b->map, 0);
	probe_check(!rc, "a batch of nothing");
}

static void probe_readonly(struct bench *b)
{
	uint32_t ref;
	char *p = xengntshr_share_pages(b->shr, 0, 1, &ref, 0);
	int rc;

	if (!probe_check(p, "a read-only grant"))
		return;
	b->map[0] = (struct hv_map_op){ .flags = HV_MAP_DEVICE, .gref = ref };
	rc = b->hv->ops->gnt_map(b->hv, b->map, 1);
	probe_check(!rc && b->map[0].status, "is not mapped writable: %s",
		    hv_status_name(b->map[0].status));
	b->map[0] = (struct hv_map_op){
		.flags = HV_MAP_DEVICE | HV_MAP_READONLY,
		.gref = ref,
	};
	rc = b->hv->ops->gnt_map(b->hv, b->map, 1);
	probe_check(!rc && !b->map[0].status, "but read-only");
	fill_unmap(b, 1);
	rc = b->hv->ops->gnt_unmap(b->hv, b->unmap, 1);
	probe_check(!rc && !b->unmap[0].status, "and unmapped");
	xengntshr_unshare(b->shr, p, 1);
}

static void fill_copy(struct bench *b, unsigned int n, uint16_t len)
{
	for (unsigned int i = 0; i < n; i++)
		b->copy[i] = (struct hv_copy_op){
			.source = { .frame = b->ref[i] },
			.dest = {
				.frame = mfn_of(b->dma.maddr[4]).n,
				.domid = HV_DOMID_SELF,
				.offset = (uint16_t)(i * len % XVS_FRAME_SIZE),
			},
			.len = len,
			.flags = HV_COPY_SOURCE_GREF,
		};
}

static void probe_copy(struct bench *b, unsigned int n, uint16_t len)
{
	double t0 = probe_now_us();
	unsigned int bad = 0;
	int rc = 0;

	for (int k = 0; !rc && k < ROUNDS; k++) {
		fill_copy(b, n, len);
		rc = b->hv->ops->gnt_copy(b->hv, b->copy, n);
		for (unsigned int i = 0; i < n; i++)
			bad += b->copy[i].status != 0;
	}
	probe_check(!rc && !bad && b->target[b->copy[n - 1].dest.offset] == (char)(n - 1),
		    "%2u copies of %4u bytes: %.1f us a batch", n, len,
		    (probe_now_us() - t0) / ROUNDS);
}

static void probe_bad_copy(struct bench *b)
{
	int rc;

	fill_copy(b, 3, 64);
	b->copy[0].source.frame = BAD_REF;
	b->copy[1].dest.offset = 4090;
	rc = b->hv->ops->gnt_copy(b->hv, b->copy, 3);
	probe_check(!rc && hv_status_errno(b->copy[0].status) == -ENOENT &&
			    hv_status_errno(b->copy[1].status) == -EINVAL &&
			    !b->copy[2].status,
		    "bad copies fail alone: %s, %s", hv_status_name(b->copy[0].status),
		    hv_status_name(b->copy[1].status));
}

static void probe_host_map(struct bench *b)
{
	void *va = NULL;
	int rc = b->hv->ops->host_map(b->hv, 0, b->ref, 3, true, &va);
	char *p = va;

	if (!probe_need(rc, "host_map"))
		return;
	p[2 * XVS_FRAME_SIZE] = 'x';
	probe_check(p[XVS_FRAME_SIZE] == 1 && b->shared[2 * XVS_FRAME_SIZE] == 'x', "host_map");
	b->shared[2 * XVS_FRAME_SIZE] = 2;
	probe_check(!b->hv->ops->host_unmap(b->hv, va, 3), "host_unmap");
	rc = b->hv->ops->host_map(b->hv, 0, &(uint32_t){ BAD_REF }, 1, true, &va);
	probe_check(rc < 0, "host_map of a bad reference: %s", strerror(-rc));
}

static void run_grants(struct bench *b)
{
	static const unsigned int sizes[] = { 1, 8, 32, 64 };
	struct hv_counters *c = &b->hv->counters;
	uint64_t pages = 0;

	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		cycle(b, sizes[i]);
		pages += (uint64_t)sizes[i] * ROUNDS;
	}
	probe_check(c->map_pages == pages && c->unmap_pages == pages &&
			    c->map_calls == 4 * ROUNDS && c->unmap_calls == 4 * ROUNDS,
		    "counters: %lu maps of %lu pages", (unsigned long)c->map_calls,
		    (unsigned long)c->map_pages);
	probe_statuses(b);
	probe_readonly(b);
	probe_copy(b, 1, 16);
	probe_copy(b, 32, 16);
	probe_copy(b, 32, 4096);
	probe_check(c->copy_calls == 3 * ROUNDS && c->copy_ops == 65 * ROUNDS &&
			    c->copy_bytes == (16ull + 32 * 16 + 32 * 4096) * ROUNDS,
		    "counters: %lu copies in %lu calls", (unsigned long)c->copy_ops,
		    (unsigned long)c->copy_calls);
	probe_bad_copy(b);
	probe_host_map(b);
}

void probe_grants(struct hv *hv)
{
	struct bench b = { .hv = hv };

	if (!probe_need(hv->ops->dma_alloc(hv, 5, &b.dma), "dma_alloc"))
		return;
	b.map = (void *)page(&b.dma, 0);
	b.unmap = (void *)page(&b.dma, 1);
	b.copy = (void *)page(&b.dma, 2);
	b.target = page(&b.dma, 4);
	b.shr = xengntshr_open(NULL, 0);
	if (b.shr)
		b.shared = xengntshr_share_pages(b.shr, 0, SHARED, b.ref, 1);
	if (probe_check(b.shared, "pages to map")) {
		for (unsigned int i = 0; i < SHARED; i++)
			memset(b.shared + i * XVS_FRAME_SIZE, (int)i, XVS_FRAME_SIZE);
		run_grants(&b);
		xengntshr_unshare(b.shr, b.shared, SHARED);
	}
	if (b.shr)
		xengntshr_close(b.shr);
	hv->ops->dma_free(hv, &b.dma);
}
