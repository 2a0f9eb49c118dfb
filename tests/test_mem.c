/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The books of what is mapped when something goes wrong: files that are no journal, Xen saying no. */
#include "mem/daddr.h"
#include "mem/hold.h"
#include "mem/kept.h"
#include "sim_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- the journal's file -- */

static char dir[32], path[64];

static void file_setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/xvshim-mem-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/journal", dir);
}

static void file_teardown(void)
{
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0); /* not with a file of another name in it */
}

/* Lowest free descriptor: what was opened and not closed moves it. */
static int next_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

static void put_at(size_t offset, const void *value, size_t n)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, value, n, (off_t)offset), (ssize_t)n);
	close(fd);
}

static void expect_refused(int error)
{
	struct journal j = { .fd = -1 };
	int fd = next_fd();

	ck_assert_int_eq(journal_open(&j, path), error);
	ck_assert_ptr_null(j.data);
	ck_assert_int_eq(next_fd(), fd);
}

START_TEST(journal_is_what_it_says)
{
	const uint64_t wrong_size = sizeof(struct journal_data) + 1;
	const uint32_t zero = 0, magic = JOURNAL_MAGIC, version = JOURNAL_VERSION + 1,
		       pages = JOURNAL_DMA_PAGES_MAX + 1, right = JOURNAL_VERSION;
	const uint64_t size = sizeof(struct journal_data);
	struct journal j;

	expect_refused(-ENOENT);
	ck_assert_int_eq(journal_create(&j, path), 0);
	journal_close(&j);
	ck_assert_int_eq(journal_open(&j, path), 0);
	journal_close(&j);
	put_at(offsetof(struct journal_data, version), &version, 4);
	expect_refused(-EINVAL);
	put_at(offsetof(struct journal_data, version), &right, 4);
	put_at(offsetof(struct journal_data, size), &wrong_size, 8);
	expect_refused(-EINVAL);
	put_at(offsetof(struct journal_data, size), &size, 8);
	put_at(offsetof(struct journal_data, dma_pages), &pages, 4);
	expect_refused(-EINVAL);
	put_at(offsetof(struct journal_data, dma_pages), &zero, 4);
	put_at(0, &(uint32_t){ magic + 1 }, 4);
	expect_refused(-EINVAL);
	put_at(0, &zero, 4); /* its maker died before it was one */
	expect_refused(-ENODATA);
	put_at(0, &magic, 4);
	ck_assert_int_eq(journal_open(&j, path), 0); /* each was the only thing wrong */
	journal_close(&j);
	ck_assert_int_eq(truncate(path, (off_t)size - 1), 0);
	expect_refused(-EINVAL);
	ck_assert_int_eq(truncate(path, 0), 0);
	expect_refused(-ENODATA);
}
END_TEST

/* A link is not followed: the folder may not be ours alone. */
START_TEST(journal_is_no_link)
{
	char target[80];
	struct journal j;

	snprintf(target, sizeof(target), "%s/other", dir);
	ck_assert_int_eq(journal_create(&j, target), 0);
	journal_close(&j);
	ck_assert_int_eq(symlink(target, path), 0);
	expect_refused(-ELOOP);
	ck_assert_int_eq(journal_create(&j, path), -EEXIST);
	unlink(target);
}
END_TEST

START_TEST(journal_is_made_once_and_whole)
{
	struct rlimit limit, small;
	struct journal j;
	struct stat st;
	int fd = next_fd();

	ck_assert_int_eq(journal_create(&j, path), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	journal_close(&j);
	ck_assert_int_eq(journal_create(&j, path), -EEXIST);
	unlink(path);
	/* no room for all of it: no file then */
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = (struct rlimit){ 4096, limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	ck_assert_int_eq(journal_create(&j, path), -EFBIG);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_int_eq(next_fd(), fd);
}
END_TEST

/* -- pins -- */

static struct journal log_file;
static struct pins *p;
static struct hv_dma dma; /* of the operations */

static void pins_setup(void)
{
	setup();
	ck_assert_int_eq(hv->ops->dma_alloc(hv, pins_dma_pages(), &dma), 0);
	ck_assert_int_eq(journal_create(&log_file, NULL), 0);
	ck_assert_int_eq(journal_set_dma(&log_file, &dma), 0);
	p = calloc(1, sizeof(*p));
	ck_assert_ptr_nonnull(p);
	pins_open(p, hv, &log_file, &dma, 0, GUEST);
}

static void pins_teardown(void)
{
	ck_assert_uint_eq(journal_live(&log_file), 0);
	free(p);
	journal_forget_dma(&log_file);
	journal_close(&log_file);
	hv->ops->dma_free(hv, &dma);
	teardown();
}

static uint32_t leaked(void)
{
	return atomic_load(&log_file.data->leaked);
}

/* The page of one reference, n times over. */
static void map_many(uint32_t ref, unsigned int n, uint16_t *pin)
{
	uint32_t bad;

	for (unsigned int i = 0; i < n; i++)
		pin[i] = pins_add(p, ref, true);
	ck_assert_int_eq(pins_map(p, &bad), 0);
	ck_assert_uint_eq(p->map_n, 0);
}

/* The nth pin that is mapped, in their order in the journal. */
static const struct journal_pin *live_pin(unsigned int nth)
{
	const struct journal_pin *pin = log_file.data->pin;

	while (pin->handle == HV_HANDLE_NONE || --nth)
		pin++;
	return pin;
}

/* What Xen was short of is no fault of the guest's, unless it made one in the same batch. */
START_TEST(map_failures_are_told_apart)
{
	static const struct {
		int status, other, rc; /* of the second element and, where not 0, of the third */
	} of[] = {
		{ SIM_GNTST_NO_SPACE, 0, -ENOSPC },
		{ SIM_GNTST_EAGAIN, 0, -ENOSPC },
		{ SIM_GNTST_NO_DEVICE_SPACE, 0, -ENOSPC },
		{ SIM_GNTST_BAD_GNTREF, 0, -EFAULT },
		{ SIM_GNTST_NO_SPACE, SIM_GNTST_PERMISSION_DENIED, -EFAULT },
		{ SIM_GNTST_PERMISSION_DENIED, SIM_GNTST_NO_SPACE, -EFAULT },
		{ SIM_GNTST_NO_SPACE, SIM_GNTST_EAGAIN, -ENOSPC },
	};
	uint32_t ref[4], bad = 0;
	pfn_t pfn;

	for (unsigned int i = 0; i < 4; i++) {
		ref[i] = granted(false, &pfn);
		pins_add(p, ref[i], true);
	}
	sim_fault_element(m, SIM_OP_GNT_MAP, 2, of[_i].status);
	if (of[_i].other)
		sim_fault_element(m, SIM_OP_GNT_MAP, 3, of[_i].other);
	ck_assert_int_eq(pins_map(p, &bad), of[_i].rc);
	ck_assert_uint_eq(bad, ref[_i == 4 ? 2 : 1]); /* the guest's, if there is one */
	/* all or nothing */
	ck_assert_uint_eq(journal_live(&log_file), 0);
	ck_assert_uint_eq(p->free_n, JOURNAL_PINS);
	ck_assert_uint_eq(leaked(), 0);
}
END_TEST

START_TEST(map_of_nothing_and_map_that_fails)
{
	uint64_t before = sim_op_calls(m, SIM_OP_GNT_MAP);
	uint32_t bad = 77;
	pfn_t pfn;

	ck_assert_int_eq(pins_map(p, &bad), 0);
	ck_assert_uint_eq(sim_op_calls(m, SIM_OP_GNT_MAP), before);
	pins_add(p, granted(false, &pfn), true);
	sim_fault_set(m, SIM_OP_GNT_MAP, 1, -EIO);
	ck_assert_int_eq(pins_map(p, &bad), -EIO);
	ck_assert_uint_eq(p->map_n, 0);
	ck_assert_uint_eq(p->free_n, JOURNAL_PINS);
	ck_assert_uint_eq(atomic_load(&log_file.data->map_n), 0);
}
END_TEST

/* A partial map is undone though the unmap batch is full of other pages. */
START_TEST(undo_beside_a_full_batch)
{
	static uint16_t pin[JOURNAL_BATCH];
	uint32_t ref, bad;
	pfn_t pfn;

	ref = granted(false, &pfn);
	map_many(ref, JOURNAL_BATCH, pin);
	for (unsigned int i = 0; i < JOURNAL_BATCH; i++)
		ck_assert(pins_drop(p, pin[i]));
	ck_assert(!pins_drop(p, pin[0]));
	for (unsigned int i = 0; i < 3; i++)
		pins_add(p, ref, true);
	sim_fault_element(m, SIM_OP_GNT_MAP, 2, SIM_GNTST_NO_SPACE);
	ck_assert_int_eq(pins_map(p, &bad), -ENOSPC);
	ck_assert_uint_eq(journal_live(&log_file), 0);
	ck_assert_uint_eq(p->free_n, JOURNAL_PINS);
}
END_TEST

/* A batch that failed and cannot be undone: the page that stays is what counts, not the reason. */
START_TEST(undo_that_fails)
{
	uint32_t ref, bad, handle;
	maddr_t maddr;
	pfn_t pfn;

	ref = granted(false, &pfn);
	for (unsigned int i = 0; i < 3; i++)
		pins_add(p, ref, true);
	sim_fault_element(m, SIM_OP_GNT_MAP, 2, SIM_GNTST_NO_SPACE);
	if (_i)
		sim_fault_element(m, SIM_OP_GNT_UNMAP, 1, SIM_GNTST_GENERAL_ERROR);
	else
		sim_fault_set(m, SIM_OP_GNT_UNMAP, 1, -EINTR);
	ck_assert_int_eq(pins_map(p, &bad), _i ? -EIO : -EINTR);
	ck_assert_uint_eq(leaked(), _i ? 1 : 0);
	ck_assert_uint_eq(journal_live(&log_file), _i ? 0 : 2);
	if (_i) {
		handle = p->unmap_op[0].handle;
		maddr = p->unmap_op[0].maddr;
		ck_assert_int_eq(unmap_one(handle, maddr), SIM_GNTST_OKAY);
	}
	ck_assert_int_eq(pins_unmap_all(p), 0);
}
END_TEST

START_TEST(everything_is_more_than_a_batch)
{
	static uint16_t pin[JOURNAL_BATCH];
	struct journal_pin lost;
	uint64_t calls;
	pfn_t pfn;
	uint32_t ref = granted(false, &pfn);

	map_many(ref, JOURNAL_BATCH, pin);
	map_many(ref, 10, pin);
	ck_assert_uint_eq(journal_live(&log_file), JOURNAL_BATCH + 10);
	calls = sim_op_calls(m, SIM_OP_GNT_UNMAP);
	ck_assert_int_eq(pins_unmap_all(p), 0);
	ck_assert_uint_eq(sim_op_calls(m, SIM_OP_GNT_UNMAP), calls + 2);
	ck_assert_uint_eq(p->free_n, JOURNAL_PINS);
	/* the first error counts, and the others go all the same */
	map_many(ref, JOURNAL_BATCH, pin);
	map_many(ref, 10, pin);
	lost = *live_pin(5);
	sim_fault_element(m, SIM_OP_GNT_UNMAP, 5, SIM_GNTST_GENERAL_ERROR);
	ck_assert_int_eq(pins_unmap_all(p), -EIO);
	ck_assert_uint_eq(leaked(), 1);
	ck_assert_uint_eq(journal_live(&log_file), 0);
	ck_assert_int_eq(unmap_one(lost.handle, lost.maddr), SIM_GNTST_OKAY);
}
END_TEST

/* Where an unmap fails as a whole the pages are still mapped, on record, and unmapped later. */
START_TEST(unmap_that_fails)
{
	uint16_t pin[2];
	uint32_t handle;
	maddr_t maddr;
	pfn_t pfn;

	map_many(granted(false, &pfn), 2, pin);
	handle = log_file.data->pin[pin[1]].handle;
	maddr = pins_maddr(p, pin[1]);
	ck_assert(pins_drop(p, pin[0]));
	sim_fault_set(m, SIM_OP_GNT_UNMAP, 1, -EIO);
	ck_assert_int_eq(pins_unmap(p), -EIO);
	ck_assert_uint_eq(journal_live(&log_file), 2);
	ck_assert_uint_eq(p->free_n, JOURNAL_PINS - 2);
	ck_assert_uint_eq(leaked(), 0);
	ck_assert(pins_drop(p, pin[0]));
	ck_assert_int_eq(pins_unmap(p), 0);
	ck_assert_uint_eq(journal_live(&log_file), 1);
	/* one that Xen refuses is counted, and not tried again: its handle may be another's by then */
	ck_assert(pins_drop(p, pin[1]));
	sim_fault_element(m, SIM_OP_GNT_UNMAP, 1, SIM_GNTST_BAD_HANDLE);
	ck_assert_int_eq(pins_unmap(p), -EIO);
	ck_assert_uint_eq(leaked(), 1);
	ck_assert_uint_eq(p->free_n, JOURNAL_PINS);
	ck_assert_int_eq(unmap_one(handle, maddr), SIM_GNTST_OKAY);
}
END_TEST

/* -- what a dead worker left -- */

START_TEST(record_of_pages_that_are_not_there)
{
	struct journal_data *d = log_file.data;
	const uint32_t n = dma.npages;
	const struct {
		uint32_t map, unmap;
	} bad[] = { { n + 1, 0 }, { n - 1, 0 }, { 0, n + 1 }, { 0, n }, { UINT32_MAX, 1 } };

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		d->map_page = bad[i].map;
		d->unmap_page = bad[i].unmap;
		ck_assert_int_eq(journal_recover(&log_file, hv, &dma), -EINVAL);
		ck_assert_int_eq(journal_recover(&log_file, hv, NULL), -EINVAL);
	}
	d->map_page = d->unmap_page = 3; /* no session ever began */
	ck_assert_int_eq(journal_recover(&log_file, hv, &dma), 0);
	pins_open(p, hv, &log_file, &dma, 0, GUEST);
}
END_TEST

/* The operations are reached by machine frame; what cannot be mapped now is tried again later. */
START_TEST(recovery_that_fails_is_done_again)
{
	uint16_t pin[3];
	pfn_t pfn;

	map_many(granted(false, &pfn), 3, pin);
	for (uint64_t nth = 1; nth <= 2; nth++) {
		sim_fault_set(m, SIM_OP_SELF_MAP, nth, -ENOMEM);
		ck_assert_int_eq(journal_recover(&log_file, hv, NULL), -ENOMEM);
		ck_assert_uint_eq(journal_live(&log_file), 3);
	}
	sim_fault_set(m, SIM_OP_GNT_UNMAP, 1, -EIO);
	ck_assert_int_eq(journal_recover(&log_file, hv, NULL), -EIO);
	ck_assert_uint_eq(journal_live(&log_file), 3);
	ck_assert_int_eq(journal_recover(&log_file, hv, NULL), 3);
	ck_assert_int_eq(journal_recover(&log_file, hv, NULL), 0);
	ck_assert_uint_eq(leaked(), 0);
}
END_TEST

/* An unmap that was interrupted: done, refused, not come to, and one that is nobody's. */
START_TEST(recovery_of_an_unmap)
{
	struct journal_data *d = log_file.data;
	uint32_t handle[4];
	maddr_t maddr[4];
	uint16_t pin[4];
	pfn_t pfn;

	map_many(granted(false, &pfn), 4, pin);
	for (unsigned int i = 0; i < 4; i++) {
		handle[i] = d->pin[pin[i]].handle;
		maddr[i] = d->pin[pin[i]].maddr;
		pins_drop(p, pin[i]);
	}
	sim_fault_element(m, SIM_OP_GNT_UNMAP, 2, SIM_GNTST_GENERAL_ERROR);
	ck_assert_int_eq(hv->ops->gnt_unmap(hv, p->unmap_op, 3), 0);
	p->unmap_op[2].handle = HV_HANDLE_NONE; /* never was one: its pin is looked for nowhere */
	p->unmap_op[3].status = HV_STATUS_PENDING;
	atomic_store(&d->unmap_n, 4);
	d->pin[pin[2]].handle = HV_HANDLE_NONE;
	ck_assert_int_eq(journal_recover(&log_file, hv, &dma), 1); /* pin 3 alone */
	ck_assert_uint_eq(leaked(), 1);
	ck_assert_uint_eq(atomic_load(&d->unmap_n), 0);
	ck_assert_int_eq(unmap_one(handle[1], maddr[1]), SIM_GNTST_OKAY);
	/* a number beyond the batch is rubbish and no reason to read past it */
	p->unmap_op[0] = (struct hv_unmap_op){ .handle = 9999, .status = HV_STATUS_OKAY };
	for (unsigned int i = 0; i < JOURNAL_BATCH; i++)
		p->map_op[i].status = HV_STATUS_PENDING;
	atomic_store(&d->unmap_n, UINT32_MAX);
	atomic_store(&d->map_n, UINT32_MAX);
	ck_assert_int_eq(journal_recover(&log_file, hv, &dma), 0);
	ck_assert_uint_eq(leaked(), 1);
}
END_TEST

/* A map that was interrupted, and the record says that every pin is taken: it cannot be so. */
START_TEST(recovery_of_a_map_without_a_free_pin)
{
	struct journal_data *d = log_file.data;
	uint16_t pin;
	uint32_t handle;
	maddr_t maddr;
	pfn_t pfn;

	map_many(granted(false, &pfn), 1, &pin);
	handle = d->pin[pin].handle;
	maddr = d->pin[pin].maddr;
	for (unsigned int i = 0; i < JOURNAL_PINS; i++)
		d->pin[i].handle = 0x10000 + i;
	p->map_op[1] = (struct hv_map_op){ .status = HV_STATUS_OKAY, .handle = HV_HANDLE_NONE };
	p->map_op[2] = (struct hv_map_op){ .status = HV_STATUS_PENDING, .handle = 5 };
	atomic_store(&d->map_n, 3);
	sim_fault_set(m, SIM_OP_GNT_UNMAP, 1, -EIO); /* those are not ours to unmap */
	ck_assert_int_eq(journal_recover(&log_file, hv, &dma), -EIO);
	ck_assert_uint_eq(leaked(), 1);
	for (unsigned int i = 0; i < JOURNAL_PINS; i++)
		d->pin[i].handle = HV_HANDLE_NONE;
	atomic_store(&d->unmap_n, 0);
	ck_assert_int_eq(unmap_one(handle, maddr), SIM_GNTST_OKAY);
}
END_TEST

/* -- pages that stay -- */

static struct kept *k;

static void kept_setup(void)
{
	pins_setup();
	k = calloc(1, sizeof(*k));
	ck_assert_ptr_nonnull(k);
	ck_assert_int_eq(kept_open(k, p, KEPT_PAGES_MAX + 1), 0);
	ck_assert_uint_eq(k->max, KEPT_PAGES_MAX);
}

static void kept_end(void)
{
	kept_close(k);
	free(k);
	pins_teardown();
}

static uint16_t keep_one(uint32_t ref)
{
	uint16_t pin = kept_add(k, ref);
	uint32_t bad;

	ck_assert_uint_ne(pin, PIN_NONE);
	ck_assert(kept_pending(k, pin));
	ck_assert_int_eq(pins_map(p, &bad), 0);
	ck_assert(!kept_pending(k, pin));
	ck_assert_uint_eq(kept_find(k, ref), pin);
	return pin;
}

START_TEST(kept_until_nobody_uses_it)
{
	struct journal_pin lost;
	uint32_t ref[3];
	uint16_t node;
	pfn_t pfn;

	for (unsigned int i = 0; i < 3; i++) {
		ref[i] = granted(false, &pfn);
		node = kept_get(k, keep_one(ref[i]), i + 1);
		if (i)
			kept_put(k, node);
	}
	ck_assert_uint_eq(kept_find(k, KEPT_REFS), PIN_NONE);
	ck_assert_uint_eq(kept_add(k, KEPT_REFS), PIN_NONE);
	ck_assert_int_eq(kept_drop(k, 2, 0), 1); /* not in use, used last in batch 2 */
	ck_assert_uint_eq(kept_find(k, ref[1]), PIN_NONE);
	ck_assert_uint_ne(kept_find(k, ref[2]), PIN_NONE);
	ck_assert_int_eq(kept_drop(k, UINT64_MAX, 2), 0); /* there are no more than may be left */
	lost = log_file.data->pin[kept_find(k, ref[2])];
	sim_fault_element(m, SIM_OP_GNT_UNMAP, 1, SIM_GNTST_GENERAL_ERROR);
	ck_assert_int_eq(kept_drop(k, UINT64_MAX, 0), -EIO);
	ck_assert_int_eq(unmap_one(lost.handle, lost.maddr), SIM_GNTST_OKAY);
	ck_assert_uint_eq(k->n, 1); /* the one in use */
	ck_assert_int_eq(pins_unmap_all(p), 0);
	ck_assert_int_eq(kept_reset(k), 0);
	ck_assert_uint_eq(k->n, 0);
	ck_assert_uint_eq(kept_find(k, ref[0]), PIN_NONE);
}
END_TEST

/* Pages of chains wait in the unmap batch already; the first error of two is the one told. */
START_TEST(kept_go_beside_a_full_batch)
{
	static uint16_t pin[JOURNAL_BATCH];
	uint32_t ref, handle;
	maddr_t maddr;
	pfn_t pfn;

	ref = granted(false, &pfn);
	keep_one(ref);
	map_many(granted(false, &pfn), JOURNAL_BATCH, pin);
	handle = log_file.data->pin[pin[0]].handle;
	maddr = pins_maddr(p, pin[0]);
	for (unsigned int i = 0; i < JOURNAL_BATCH; i++)
		ck_assert(pins_drop(p, pin[i]));
	sim_fault_element(m, SIM_OP_GNT_UNMAP, 1, SIM_GNTST_GENERAL_ERROR);
	ck_assert_int_eq(kept_drop(k, UINT64_MAX, 0), -EIO);
	ck_assert_uint_eq(journal_live(&log_file), 0);
	ck_assert_uint_eq(kept_find(k, ref), PIN_NONE);
	ck_assert_int_eq(unmap_one(handle, maddr), SIM_GNTST_OKAY);
}
END_TEST

/* A table that cannot be unmapped is not forgotten; one that cannot be mapped is copied instead. */
START_TEST(kept_tables)
{
	uint32_t ref[KEPT_TABLES_MAX + 1];
	pfn_t first;
	char text[4] = "tab";

	ck_assert_int_eq(sim_pages_alloc(m, GUEST, 1, &first), 0);
	ck_assert_int_eq(sim_mem_write(m, GUEST, first.n << XVS_FRAME_SHIFT, text, 4), 0);
	for (unsigned int i = 0; i <= KEPT_TABLES_MAX; i++)
		ck_assert_int_eq(sim_grant(m, GUEST, first, BACK, true, &ref[i]), 0);
	ck_assert_ptr_null(kept_table(k, KEPT_REFS, 1));
	sim_fault_set(m, SIM_OP_HOST_MAP, 1, -ENOMEM);
	ck_assert_ptr_null(kept_table(k, ref[0], 1));
	ck_assert_uint_eq(k->table_n, 0);
	for (unsigned int i = 0; i < KEPT_TABLES_MAX; i++)
		ck_assert_ptr_nonnull(kept_table(k, ref[i], 1));
	ck_assert_uint_eq(k->table_n, KEPT_TABLES_MAX);
	ck_assert_int_eq(memcmp(kept_table(k, ref[7], 9), text, 4), 0);
	/* those of batch 9 stay */
	ck_assert_int_eq(kept_drop(k, 8, 0), 0);
	ck_assert_uint_eq(k->table_n, 1);
	ck_assert_int_eq(memcmp(kept_table(k, ref[7], 9), text, 4), 0);
	for (unsigned int i = 0; i < KEPT_TABLES_MAX; i++)
		kept_table(k, ref[i], 10);
	sim_fault_set(m, SIM_OP_HOST_UNMAP, 3, -EIO);
	ck_assert_ptr_null(kept_table(k, ref[KEPT_TABLES_MAX], 11)); /* one of all is left */
	ck_assert_uint_eq(k->table_n, 1);
	ck_assert_ptr_nonnull(kept_table(k, ref[KEPT_TABLES_MAX], 11));
	sim_fault_set(m, SIM_OP_HOST_UNMAP, 1, -EIO);
	ck_assert_int_eq(kept_drop(k, UINT64_MAX, 0), -EIO);
	ck_assert_int_eq(kept_reset(k), 0);
	ck_assert_uint_eq(k->table_n, 0);
}
END_TEST

/* -- the holder's client -- */

static void answer(int fd, uint32_t magic, int rc, size_t n)
{
	struct hold_reply reply = { .magic = magic, .rc = rc, .held = 3 };

	memset(reply.name, 'x', sizeof(reply.name));
	ck_assert_int_eq(send(fd, &reply, n, 0), (ssize_t)n);
}

START_TEST(holder_that_answers_nonsense)
{
	struct hold_pin pin = { .slot = 1, .err = -1 };
	static struct hold_client c;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	hold_client_init(&c, pair[0]);
	answer(pair[1], HOLD_MAGIC + 1, 0, HOLD_REPLY_SIZE(0));
	ck_assert_int_eq(hold_client_call(&c, HOLD_HELLO, -1), -EPROTO);
	answer(pair[1], HOLD_MAGIC, 0, HOLD_REPLY_SIZE(0) - 1);
	ck_assert_int_eq(hold_client_call(&c, HOLD_HELLO, -1), -EPROTO);
	answer(pair[1], HOLD_MAGIC, 0, HOLD_REPLY_SIZE(1));
	ck_assert_int_eq(hold_client_call(&c, HOLD_HELLO, -1), -EPROTO);
	answer(pair[1], HOLD_MAGIC, 0, HOLD_REPLY_SIZE(0)); /* no word of the pin */
	ck_assert_int_eq(c.hold.change(&c.hold, NULL, 0, &pin, 1), -EPROTO);
	ck_assert_int_eq(pin.err, -1);
	answer(pair[1], HOLD_MAGIC, -ENOMEM, HOLD_REPLY_SIZE(0)); /* needs none then */
	ck_assert_int_eq(c.hold.change(&c.hold, NULL, 0, &pin, 1), -ENOMEM);
	answer(pair[1], HOLD_MAGIC, 0, HOLD_REPLY_SIZE(0));
	ck_assert_int_eq(hold_client_call(&c, HOLD_HELLO, -1), 0);
	ck_assert_uint_eq(strlen(c.reply.name), sizeof(c.reply.name) - 1);
	close(pair[1]); /* with requests that it never read */
	ck_assert_int_eq(hold_client_call(&c, HOLD_HELLO, -1), -ECONNRESET);
	ck_assert_int_eq(hold_client_call(&c, HOLD_HELLO, -1), -EPIPE);
	close(pair[0]);
}
END_TEST

/* It took the request and is gone: no answer is no success. */
START_TEST(holder_that_goes)
{
	static struct hold_client c;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	hold_client_init(&c, pair[0]);
	ck_assert_int_eq(shutdown(pair[1], SHUT_WR), 0);
	ck_assert_int_eq(hold_client_call(&c, HOLD_HELLO, -1), -EPIPE);
	close(pair[0]);
	ck_assert_int_eq(hold_client_call(&c, HOLD_HELLO, -1), -EBADF);
	close(pair[1]);
}
END_TEST

/* -- addresses -- */

START_TEST(addresses_of_nothing)
{
	struct gref_range r;

	ck_assert_int_eq(daddr_decode_p2m(0x1000, 0, &r), -EINVAL);
	ck_assert_int_eq(daddr_decode_p2m((1ull << XVS_P2M_BITS) - 1, 2, &r), -ERANGE);
	ck_assert_int_eq(daddr_decode_p2m(1ull << XVS_P2M_BITS, 1, &r), -ERANGE);
	ck_assert_int_eq(daddr_decode_p2m(UINT64_MAX, 2, &r), -ERANGE); /* wraps around to 0 */
	ck_assert_int_eq(daddr_decode_p2m((1ull << XVS_P2M_BITS) - 1, 1, &r), 0);
	ck_assert_uint_eq(r.npages, 1);
	ck_assert_int_eq(daddr_decode_p2m(0x1fff, 4098, &r), 0);
	ck_assert_uint_eq(r.npages, 3);
}
END_TEST

static TCase *tcase(Suite *s, const char *name, SFun up, SFun down)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, up, down);
	suite_add_tcase(s, tc);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("memory");
	TCase *tc = tcase(s, "file", file_setup, file_teardown);

	tcase_add_test(tc, journal_is_what_it_says);
	tcase_add_test(tc, journal_is_no_link);
	tcase_add_test(tc, journal_is_made_once_and_whole);
	tc = tcase(s, "pins", pins_setup, pins_teardown);
	tcase_add_loop_test(tc, map_failures_are_told_apart, 0, 7);
	tcase_add_test(tc, map_of_nothing_and_map_that_fails);
	tcase_add_test(tc, undo_beside_a_full_batch);
	tcase_add_loop_test(tc, undo_that_fails, 0, 2);
	tcase_add_test(tc, everything_is_more_than_a_batch);
	tcase_add_test(tc, unmap_that_fails);
	tcase_add_test(tc, record_of_pages_that_are_not_there);
	tcase_add_test(tc, recovery_that_fails_is_done_again);
	tcase_add_test(tc, recovery_of_an_unmap);
	tcase_add_test(tc, recovery_of_a_map_without_a_free_pin);
	tc = tcase(s, "kept", kept_setup, kept_end);
	tcase_add_test(tc, kept_until_nobody_uses_it);
	tcase_add_test(tc, kept_go_beside_a_full_batch);
	tcase_add_test(tc, kept_tables);
	tc = tcase_create("holder");
	tcase_add_test(tc, holder_that_answers_nonsense);
	tcase_add_test(tc, holder_that_goes);
	tcase_add_test(tc, addresses_of_nothing);
	suite_add_tcase(s, tc);
	return check_main(s);
}
