/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mem/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_OP_PAGES (JOURNAL_BATCH * sizeof(struct hv_map_op) / XVS_FRAME_SIZE)
#define UNMAP_OP_PAGES (JOURNAL_BATCH * sizeof(struct hv_unmap_op) / XVS_FRAME_SIZE)
_Static_assert(MAP_OP_PAGES * XVS_FRAME_SIZE == JOURNAL_BATCH * sizeof(struct hv_map_op),
	       "map operations fill whole pages");
_Static_assert(UNMAP_OP_PAGES * XVS_FRAME_SIZE == JOURNAL_BATCH * sizeof(struct hv_unmap_op),
	       "unmap operations fill whole pages");

static int map_data(struct journal *j, int fd)
{
	int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;

	j->data = mmap(NULL, sizeof(*j->data), PROT_READ | PROT_WRITE, flags, fd, 0);
	if (j->data == MAP_FAILED) {
		j->data = NULL;
		return -errno;
	}
	j->fd = fd;
	return 0;
}

static void init_data(struct journal_data *d)
{
	/* The analyzer takes -errno for 0. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	d->version = JOURNAL_VERSION;
	d->size = sizeof(*d);
	for (unsigned int i = 0; i < JOURNAL_PINS; i++)
		d->pin[i].handle = HV_HANDLE_NONE;
	atomic_thread_fence(memory_order_release);
	d->magic = JOURNAL_MAGIC; /* last: an unfinished file is no journal */
}

int journal_create(struct journal *j, const char *path)
{
	int fd = -1, rc;

	if (path) {
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
		/* All blocks now: a full file system must not become a SIGBUS later. */
		rc = posix_fallocate(fd, 0, sizeof(struct journal_data));
		if (rc) {
			rc = -rc;
			goto err_unlink;
		}
	}
	rc = map_data(j, fd);
	if (rc)
		goto err_unlink;
	init_data(j->data);
	return 0;

err_unlink:
	if (fd >= 0) {
		unlink(path);
		close(fd);
	}
	return rc;
}

static bool data_valid(const struct journal_data *d)
{
	return d->magic == JOURNAL_MAGIC && d->version == JOURNAL_VERSION &&
	       d->size == sizeof(*d) && d->dma_pages <= JOURNAL_DMA_PAGES_MAX;
}

int journal_open(struct journal *j, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), rc;

	if (fd < 0)
		return -errno;
	rc = -EINVAL;
	if (fstat(fd, &st))
		goto err_close;
	rc = st.st_size ? -EINVAL : -ENODATA;
	if (st.st_size != sizeof(struct journal_data))
		goto err_close;
	rc = map_data(j, fd);
	if (rc)
		goto err_close;
	/* The same. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	rc = j->data->magic ? -EINVAL : -ENODATA;
	if (!data_valid(j->data))
		goto err_unmap;
	return 0;

err_unmap:
	munmap(j->data, sizeof(*j->data));
	j->data = NULL;
err_close:
	close(fd);
	return rc;
}

void journal_close(struct journal *j)
{
	if (j->data)
		munmap(j->data, sizeof(*j->data));
	if (j->fd >= 0)
		close(j->fd);
	j->data = NULL;
	j->fd = -1;
}

int journal_set_dma(struct journal *j, const struct hv_dma *dma)
{
	struct journal_data *d = j->data;

	if (dma->npages > JOURNAL_DMA_PAGES_MAX)
		return -E2BIG;
	memcpy(d->dma_maddr, dma->maddr, dma->npages * sizeof(*dma->maddr));
	memcpy(d->dma_handle, dma->handle, dma->npages * sizeof(*dma->handle));
	atomic_store_explicit(&d->dma_pages, dma->npages, memory_order_release);
	return 0;
}

void journal_forget_dma(struct journal *j)
{
	atomic_store(&j->data->dma_pages, 0);
}

unsigned int journal_live(const struct journal *j)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < JOURNAL_PINS; i++)
		n += j->data->pin[i].handle != HV_HANDLE_NONE;
	return n;
}

/* The operation arrays of the dead worker, wherever they can still be reached. */
struct op_arrays {
	struct hv_map_op *map;
	struct hv_unmap_op *unmap;
	void *map_va, *unmap_va; /* to be unmapped; NULL when they lie in live DMA memory */
};

static int self_map_pages(struct hv *hv, const struct journal_data *d, uint32_t first,
			  unsigned int n, void **va)
{
	mfn_t mfn[MAP_OP_PAGES];

	if (first > d->dma_pages || n > d->dma_pages - first)
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++)
		mfn[i] = mfn_of(d->dma_maddr[first + i]);
	return hv->ops->self_map(hv, mfn, n, true, va);
}

static int ops_reach(struct op_arrays *ops, const struct journal_data *d, struct hv *hv,
		     const struct hv_dma *dma)
{
	int rc;

	memset(ops, 0, sizeof(*ops));
	if (dma) {
		/* the worker wrote these two */
		if (d->map_page > dma->npages || MAP_OP_PAGES > dma->npages - d->map_page ||
		    d->unmap_page > dma->npages || UNMAP_OP_PAGES > dma->npages - d->unmap_page)
			return -EINVAL;
		ops->map = (void *)((char *)dma->va + (size_t)d->map_page * XVS_FRAME_SIZE);
		ops->unmap = (void *)((char *)dma->va + (size_t)d->unmap_page * XVS_FRAME_SIZE);
		return 0;
	}
	rc = self_map_pages(hv, d, d->map_page, MAP_OP_PAGES, &ops->map_va);
	if (rc)
		return rc;
	rc = self_map_pages(hv, d, d->unmap_page, UNMAP_OP_PAGES, &ops->unmap_va);
	if (rc) {
		hv->ops->self_unmap(hv, ops->map_va, MAP_OP_PAGES);
		return rc;
	}
	ops->map = ops->map_va;
	ops->unmap = ops->unmap_va;
	return 0;
}

static void ops_leave(struct op_arrays *ops, struct hv *hv)
{
	if (ops->map_va)
		hv->ops->self_unmap(hv, ops->map_va, MAP_OP_PAGES);
	if (ops->unmap_va)
		hv->ops->self_unmap(hv, ops->unmap_va, UNMAP_OP_PAGES);
}

static struct journal_pin *pin_of_handle(struct journal_data *d, uint32_t handle)
{
	for (unsigned int i = 0; i < JOURNAL_PINS; i++)
		if (d->pin[i].handle == handle)
			return &d->pin[i];
	return NULL;
}

/* Takes note of what an interrupted unmap did: a status is there once Xen did the element. */
static void settle_unmap(struct journal_data *d, const struct hv_unmap_op *op)
{
	uint32_t n = atomic_load(&d->unmap_n);

	for (uint32_t i = 0; i < n && i < JOURNAL_BATCH; i++) {
		struct journal_pin *pin;

		if (op[i].status == HV_STATUS_PENDING || op[i].handle == HV_HANDLE_NONE)
			continue;
		pin = pin_of_handle(d, op[i].handle);
		if (!pin)
			continue;
		if (op[i].status != HV_STATUS_OKAY)
			atomic_fetch_add(&d->leaked, 1);
		pin->handle = HV_HANDLE_NONE;
	}
	atomic_store(&d->unmap_n, 0);
}

/* Takes over the handles of an interrupted map that are not among the pins yet. */
static void settle_map(struct journal_data *d, const struct hv_map_op *op)
{
	uint32_t n = atomic_load(&d->map_n);

	for (uint32_t i = 0; i < n && i < JOURNAL_BATCH; i++) {
		struct journal_pin *pin;

		if (op[i].status != HV_STATUS_OKAY || op[i].handle == HV_HANDLE_NONE ||
		    pin_of_handle(d, op[i].handle))
			continue;
		/* There is a free one: the worker took pins before it mapped. */
		pin = pin_of_handle(d, HV_HANDLE_NONE);
		if (!pin) {
			atomic_fetch_add(&d->leaked, 1);
			continue;
		}
		pin->maddr = op[i].maddr;
		pin->gref = op[i].gref;
		atomic_thread_fence(memory_order_release);
		pin->handle = op[i].handle;
	}
	atomic_store(&d->map_n, 0);
}

static unsigned int fill_unmap(struct journal_data *d, struct hv_unmap_op *op, unsigned int *from)
{
	unsigned int n = 0, i;

	for (i = *from; i < JOURNAL_PINS && n < JOURNAL_BATCH; i++) {
		if (d->pin[i].handle == HV_HANDLE_NONE)
			continue;
		op[n++] = (struct hv_unmap_op){
			.maddr = d->pin[i].maddr,
			.handle = d->pin[i].handle,
			.status = HV_STATUS_PENDING,
		};
	}
	*from = i;
	return n;
}

/* The same protocol as the worker's, so that a recovery may itself be interrupted. */
static int unmap_all(struct journal_data *d, struct hv *hv, struct hv_unmap_op *op)
{
	unsigned int from = 0, n;
	int done = 0, rc;

	while ((n = fill_unmap(d, op, &from))) {
		atomic_store(&d->unmap_n, n);
		rc = hv->ops->gnt_unmap(hv, op, n);
		settle_unmap(d, op);
		if (rc)
			return rc;
		done += (int)n;
	}
	return done;
}

int journal_recover(struct journal *j, struct hv *hv, const struct hv_dma *dma)
{
	struct journal_data *d = j->data;
	struct op_arrays ops;
	int rc;

	if (!d->dma_pages || d->map_page == d->unmap_page)
		return 0; /* no session ever started on it */
	rc = ops_reach(&ops, d, hv, dma);
	if (rc)
		return rc;
	settle_unmap(d, ops.unmap);
	settle_map(d, ops.map);
	rc = unmap_all(d, hv, ops.unmap);
	ops_leave(&ops, hv);
	return rc;
}

static void count_refused(struct journal_data *d, const struct hv_unmap_op *op, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (op[i].status != HV_STATUS_OKAY && op[i].status != HV_STATUS_PENDING)
			atomic_fetch_add(&d->leaked, 1);
}

/*
 * The operations must lie in DMA memory, which is what is being given back: a page of its own
 * is allocated for the purpose.
 */
int journal_release_dma(struct journal *j, struct hv *hv)
{
	struct journal_data *d = j->data;
	const unsigned int batch = XVS_FRAME_SIZE / sizeof(struct hv_unmap_op);
	uint32_t n = atomic_load(&d->dma_pages);
	struct hv_dma own;
	struct hv_unmap_op *op;
	int rc = hv->ops->dma_alloc(hv, 1, &own);

	if (rc)
		return rc;
	op = own.va;
	while (n) {
		unsigned int k = n < batch ? n : batch;

		for (unsigned int i = 0; i < k; i++)
			op[i] = (struct hv_unmap_op){ .maddr = d->dma_maddr[n - 1 - i],
						      .handle = d->dma_handle[n - 1 - i],
						      .status = HV_STATUS_PENDING };
		/* First, so that a handle is never unmapped twice: it could be somebody else's by
		 * then. Interrupted here, at most a page of operations' worth of this domain's
		 * own pages stays pinned. */
		n -= k;
		atomic_store(&d->dma_pages, n);
		rc = hv->ops->gnt_unmap(hv, op, k);
		count_refused(d, op, k);
		if (!rc)
			continue;
		/* Those that it did not come to are still there for the next attempt. */
		while (k && op[k - 1].status == HV_STATUS_PENDING) {
			k--;
			n++;
		}
		atomic_store(&d->dma_pages, n);
		break;
	}
	hv->ops->dma_free(hv, &own);
	return rc;
}
