/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Target "journal": a worker dies with chains in flight, the file it leaves is damaged in any way,
 * and the next keeper opens it, recovers, and has a new worker resume from it. Where only the
 * record of chains is damaged nothing may stay mapped; where that of handles is, some may be lost,
 * but no memory is touched that is not the journal's, and the device is given no bad address.
 */
#include "world.h"

static char path[64];

static void remove_file(void)
{
	unlink(path);
}

static void write_journal(const struct journal_data *d, size_t size)
{
	static int fd = -1;

	if (fd < 0) {
		snprintf(path, sizeof(path), "%s/xvshim-fuzz-XXXXXX",
			 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
		fd = mkstemp(path);
		atexit(remove_file);
	}
	FUZZ_CHECK(fd >= 0 && pwrite(fd, d, sizeof(*d), 0) == (ssize_t)sizeof(*d) &&
		   !ftruncate(fd, (off_t)size), "%s cannot be written", path);
}

/* Some chains; those of queue 0 with three descriptors each. */
static void post(unsigned int queue, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		unsigned int at = i * 3;

		for (unsigned int k = 0; k < 3; k++) {
			struct vring_desc d = {
				world_daddr(PAGE_DATA + k * 2, 64 * i), 32,
				(uint16_t)((k < 2 ? VRING_DESC_F_NEXT : 0) |
					   (k ? VRING_DESC_F_WRITE : 0)),
				(uint16_t)(at + k + 1) };

			world_desc(queue, at + k, &d);
		}
		world_push(queue, (uint16_t)at);
	}
}

/* A number that is often one that means something here. */
static uint32_t any_number(struct fuzz *f)
{
	uint8_t n = fuzz_u8(f);

	if (n < 0x80)
		return n;
	if (n < 0xa0)
		return w.dma.handle[n - 0x80];
	if (n < 0xb0)
		return w.journal.data->pin[JOURNAL_PINS - 1 - (n - 0xa0)].handle;
	return n < 0xb8 ? 1u << (n & 31) : fuzz_u32(f);
}

static void damage_queue(struct fuzz *f, struct journal_queue *q)
{
	unsigned int i = fuzz_below(f, WORLD_SIZE + 2);

	switch (fuzz_below(f, 5)) {
	case 0:
		q->size = (uint16_t)any_number(f);
		break;
	case 1:
		q->last_avail = any_number(f);
		break;
	case 2: /* as if it had died while it published, where the guest's index is */
		i &= 3;
		atomic_store(&q->used, i << 16 | (atomic_load(&q->used) & 0xffff));
		while (i--)
			q->pub[i] = (struct journal_used){ any_number(f), any_number(f) };
		break;
	case 3:
		atomic_store(&q->used, any_number(f));
		break;
	default:
		atomic_store(&q->inflight[i], 1u << 31 | any_number(f));
	}
}

static void damage_pin(struct fuzz *f, struct journal_data *d)
{
	unsigned int n = fuzz_u8(f);
	struct journal_pin *pin = &d->pin[n < 0x80 ? n : JOURNAL_PINS - 1 - (n & 31)];

	switch (fuzz_below(f, 3)) {
	case 0:
		pin->handle = any_number(f);
		break;
	case 1:
		pin->maddr.a = (uint64_t)any_number(f) << 12;
		break;
	default:
		pin->gref = any_number(f);
	}
}

static void damage_head(struct fuzz *f, struct journal_data *d)
{
	uint32_t n = any_number(f);

	switch (fuzz_below(f, 10)) {
	case 0:
		d->magic = n;
		break;
	case 1:
		d->version = n;
		break;
	case 2:
		d->size = n;
		break;
	case 3:
		atomic_store(&d->dma_pages, n);
		break;
	case 4:
		d->map_page = n;
		break;
	case 5:
		d->unmap_page = n;
		break;
	case 6:
		atomic_store(&d->map_n, n);
		break;
	case 7:
		atomic_store(&d->unmap_n, n);
		break;
	case 8:
		d->dma_maddr[n % w.dma.npages].a = (uint64_t)any_number(f) << 12;
		break;
	default:
		d->dma_handle[n % w.dma.npages] = any_number(f);
	}
}

/* What lay in the operations when the worker died. */
static void damage_ops(struct fuzz *f)
{
	const struct journal_data *d = w.journal.data;
	char *va = w.dma.va;
	struct hv_map_op *map = (void *)(va + d->map_page * XVS_FRAME_SIZE);
	struct hv_unmap_op *unmap = (void *)(va + d->unmap_page * XVS_FRAME_SIZE);
	unsigned int i = fuzz_below(f, 8);

	if (fuzz_u8(f) & 1) {
		map[i].status = (int16_t)fuzz_u8(f);
		map[i].handle = any_number(f);
		map[i].maddr.a = (uint64_t)any_number(f) << 12;
	} else {
		unmap[i].status = (int16_t)fuzz_u8(f);
		unmap[i].handle = any_number(f);
	}
}

/* Returns whether the books of handles may be wrong now. */
static bool damage(struct fuzz *f, struct journal_data *d)
{
	uint64_t value;
	size_t at;

	switch (fuzz_below(f, 9)) {
	case 0:
		damage_pin(f, d);
		return true;
	case 1:
		damage_head(f, d);
		return true;
	case 2:
		damage_ops(f);
		return true;
	case 3:
		at = (fuzz_u32(f) & 0xffffff) % (sizeof(*d) - 8);
		value = fuzz_u64(f);
		memcpy((char *)d + at, &value, 8);
		return true;
	case 4:
		d->driver_features = fuzz_u64(f);
		return false;
	case 5:
		atomic_store(&d->driver_status, fuzz_u8(f));
		return false;
	case 6: /* and what the guest did meanwhile */
		value = fuzz_u64(f);
		world_write(PAGE_RING + fuzz_below(f, 2), fuzz_u8(f) * 4u, &value,
			    1 + fuzz_below(f, 8));
		return false;
	default:
		damage_queue(f, &d->queue[fuzz_below(f, 3)]);
		return false;
	}
}

/* Are the rings still pinned? Where they are not the device rightly refuses them. */
static bool dma_is_whole(void)
{
	const struct sim_dom *back = sim_dom_get(w.m->sh, WORLD_BACK);

	for (unsigned int i = 0; i < w.dma.npages; i++) {
		const struct sim_track *t = &back->track[w.dma.handle[i]];

		if (t->kind != SIM_TRACK_DEVICE ||
		    sim_mfn(t->frame).n != mfn_of(w.dma.maddr[i]).n)
			return false;
	}
	return true;
}

static void resume(struct fuzz *f, struct journal *j)
{
	struct session *s;

	w.params.journal = j;
	if (world_open(true))
		return;
	s = w.s;
	for (unsigned int i = 0; i < 6 && !s->fatal; i++) {
		turn(s);
		check_dev_step(w.dev, fuzz_u8(f));
	}
	world_calm();
	if (s->fatal || session_quiesce(s, false))
		w.dev->ops->reset(w.dev);
	world_kill();
	world_calm();
	journal_recover(j, w.keeper, &w.dma);
}

/* The next keeper. whole: of the old one's DMA memory this process has the addresses. */
static void recover(struct fuzz *f, struct journal *j, bool hard, bool whole, bool release)
{
	int rc = w.dev->ops->reset(w.dev);

	FUZZ_CHECK(!rc, "reset: %d", rc);
	rc = journal_recover(j, w.keeper, whole ? &w.dma : NULL);
	FUZZ_CHECK(rc >= 0 || hard, "recovery: %s", strerror(-rc));
	/* without these two nothing says that there ever was a session */
	if (rc >= 0 && j->data->dma_pages && j->data->map_page != j->data->unmap_page) {
		FUZZ_CHECK(!journal_live(j), "%u pages are left", journal_live(j));
		rc = journal_recover(j, w.keeper, whole ? &w.dma : NULL);
		FUZZ_CHECK(rc <= 0, "%d pages unmapped twice", rc);
	}
	if (!journal_live(j) && dma_is_whole() && !release)
		resume(f, j);
	if (release)
		journal_release_dma(j, w.keeper);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct journal_data copy;
	struct fuzz f = { data, data + size };
	uint8_t form = fuzz_u8(&f), cut = fuzz_u8(&f), step = fuzz_u8(&f);
	bool hard = false, whole = form & 1, release = (form & 0xf0) == 0xf0;
	struct journal j = { .fd = -1 };
	unsigned int damages = 0;
	char why[600];

	world_begin(NULL);
	FUZZ_CHECK(!world_open(false), "no session");
	world_start(form & 2 ? WORLD_FEATURE(VIRTIO_RING_F_EVENT_IDX) : 0, 2);
	post(0, form >> 2 & 3);
	post(1, cut & 3);
	world_turn();
	for (unsigned int i = 0; i < (step & 3); i++)
		check_dev_step(w.dev, step >> 2);
	if (step & 0x80)
		world_turn();
	world_kill();
	memcpy(&copy, w.journal.data, sizeof(copy));
	while (fuzz_more(&f) && damages++ < 12)
		hard |= damage(&f, &copy);
	write_journal(&copy, cut < 0xf0 ? sizeof(copy) : sizeof(copy) + 0xf8 - cut);
	if (!journal_open(&j, path)) {
		recover(&f, &j, hard, whole, release);
		journal_close(&j);
	}
	/* what the damaged one did not tell of; some of it is gone already */
	w.dev->ops->reset(w.dev);
	if (!hard && !release)
		FUZZ_CHECK(!journal_recover(&w.journal, w.keeper, &w.dma) ||
			   cut >= 0xf0 || atomic_load(&w.journal.data->leaked), "pages were left");
	else
		journal_recover(&w.journal, w.keeper, &w.dma);
	if (world_clear(why) && dma_is_whole())
		return 0;
	FUZZ_CHECK(hard || release, "%s", why);
	world_drop();
	return 0;
}
