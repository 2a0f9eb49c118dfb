/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared memory is read once: a guest in a thread of its own flips every byte it shares with a
 * worker, all the time, while it also asks for what a sound guest asks for. The worker, in this
 * thread, is the session's own turn(); the device checks each address, and ends the process when
 * one is not mapped for it, in that direction, from the chain's beginning to its end.
 *
 * Two things find a second read of what was checked. The guest sees which word the worker looked
 * at last and flips that one first, so that a second read gives another value and leads to a bad
 * address soon. And ThreadSanitizer sees the same memory: what the worker reads through
 * util/shared.h is atomic to it, and any other read beside the guest's writes is a race.
 *
 * SINGLE_FETCH_SECONDS says how long (5); SINGLE_FETCH_SEED which guest (1).
 */
#include "check_main.h"
#include "world.h"

#include "views.h"

#include <linux/virtio_config.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#define SLOTS (WORLD_SIZE / 3) /* chains of three descriptors in a ring */
#define TURNS 100u /* of a life at most */
#define SWEEP 64u  /* bytes in one go */
#define LIVES 8u   /* of a round */

/* What a life is about. A flip in the first three ends it soon, so not every guest does that. */
enum area {
	AREA_CTRL = 1,
	AREA_RINGS = 2,
	AREA_TABLES = 4,
	AREA_DATA = 8,
	AREA_LIST = 16, /* the guest's p2m */
	AREA_DEVICE = 32, /* what the device writes besides its indices: it is as little trusted */
};

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool wanted, runs, end; /* wanted is looked at without the lock as well */
	uint32_t focus;         /* page and offset + 1 of what the worker read last; 0: taken */

	/* of the life that begins; set while it does not run */
	unsigned int areas, queues;
	bool indirect, keep;
	bool patient; /* mostly waits for the worker to read something before it flips that */
	uint8_t *ram[WORLD_PAGES];
	uint64_t *list;
	struct vring_used *shadow[WORLD_QUEUES];

	/* its own */
	uint64_t rng;
	unsigned int cursor; /* where the sweep over all bytes has come to */
	uint16_t slots[WORLD_QUEUES], taken[WORLD_QUEUES];
	uint64_t flips, focused, posted, swept;
} guest = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

/* -- the guest's thread -- */

static uint32_t any(uint32_t below)
{
	uint64_t z = guest.rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	return (uint32_t)((z ^ (z >> 27)) * 0x94d049bb133111ebull >> 33) % below;
}

/* Without util/shared.h, which here announces what the worker does. */
static uint64_t load(const void *va, unsigned int size)
{
	switch (size) {
	case 2:
		return __atomic_load_n((const uint16_t *)va, __ATOMIC_RELAXED);
	case 4:
		return __atomic_load_n((const uint32_t *)va, __ATOMIC_RELAXED);
	default:
		return __atomic_load_n((const uint64_t *)va, __ATOMIC_RELAXED);
	}
}

static void store(void *va, unsigned int size, uint64_t value)
{
	if (size == 2)
		__atomic_store_n((uint16_t *)va, (uint16_t)value, __ATOMIC_RELEASE);
	else if (size == 4)
		__atomic_store_n((uint32_t *)va, (uint32_t)value, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint64_t *)va, value, __ATOMIC_RELEASE);
}

/* Everywhere the page is: it is the same memory, but not to ThreadSanitizer. */
static void put(unsigned int page, unsigned int offset, unsigned int size, uint64_t value)
{
	store(guest.ram[page] + offset, size, value);
	pthread_mutex_lock(&views.lock);
	for (unsigned int i = 0; i < views.n; i++)
		if (views.view[i].page == page)
			store(views.view[i].va + offset, size, value);
	pthread_mutex_unlock(&views.lock);
}

static void moment(void)
{
	for (uint32_t n = any(128); n; n--)
		__builtin_ia32_pause();
	if (!any(64))
		sched_yield();
}

static uint64_t any_mask(unsigned int size)
{
	switch (any(4)) {
	case 0:
		return 1ull << any(size * 8);
	case 1:
		return 0xffull << any(size) * 8;
	case 2: /* a length, or a page, or flags */
		return 0x1000ull << any(4);
	default:
		return any(UINT32_MAX) | (uint64_t)any(UINT32_MAX) << 32;
	}
}

/* Most are put back, so that the worker does not only see rubbish. */
static void flip(unsigned int page, unsigned int offset, unsigned int size)
{
	uint64_t was = load(guest.ram[page] + offset, size);

	put(page, offset, size, was ^ any_mask(size));
	moment();
	if (any(16))
		put(page, offset, size, was);
	guest.flips++;
}

static bool page_is_meant(unsigned int page)
{
	if (page == PAGE_CTRL)
		return guest.areas & AREA_CTRL;
	if (page < PAGE_DATA)
		return guest.areas & AREA_RINGS;
	return guest.areas & (page < PAGE_TABLE ? AREA_DATA : AREA_TABLES);
}

static void flip_focus(void)
{
	uint32_t at = __atomic_exchange_n(&guest.focus, 0, __ATOMIC_RELAXED);
	unsigned int size = 2u << any(3);

	if (!at-- || !page_is_meant(at / XVS_FRAME_SIZE))
		return;
	flip(at / XVS_FRAME_SIZE, at % XVS_FRAME_SIZE & ~(size - 1), size);
	guest.focused++;
}

/* Where it matters: the parts of rings, tables, the control page's beginning. */
static void flip_any(void)
{
	unsigned int page = any(WORLD_PAGES), size = 2u << any(3), reach = XVS_FRAME_SIZE;

	if (!page_is_meant(page))
		return;
	if (page < PAGE_DATA || page >= PAGE_TABLE)
		reach = 768;
	flip(page, any(reach) & ~(size - 1), size);
}

/* Every byte there is, in turn; all of a word at once. */
static void sweep(void)
{
	unsigned int page = guest.cursor / XVS_FRAME_SIZE, offset = guest.cursor % XVS_FRAME_SIZE;

	guest.cursor = (guest.cursor + SWEEP) % (WORLD_PAGES * XVS_FRAME_SIZE);
	if (!page_is_meant(page))
		return;
	for (unsigned int end = offset + SWEEP; offset < end; offset += 8) {
		uint64_t was = load(guest.ram[page] + offset, 8);

		put(page, offset, 8, ~was);
		put(page, offset, 8, was);
	}
	guest.swept += SWEEP;
}

static void flip_list(void)
{
	uint64_t *entry, was;

	if (!(guest.areas & AREA_LIST))
		return;
	entry = &guest.list[any(WORLD_PAGES)];
	was = load(entry, 8);
	store(entry, 8, any(2) ? guest.list == entry ? 0 : load(entry - 1, 8) : was ^ any_mask(8));
	moment();
	store(entry, 8, was);
	guest.flips++;
}

/* A length, a wish. Indices and ids are the device's side of an agreement that the checking device
 * keeps: the target "device" has one that does not. */
static void flip_device(void)
{
	struct vring_used *used = guest.shadow[any(guest.queues)];
	void *at = any(2) ? (void *)&used->ring[any(WORLD_SIZE)].len : (void *)&used->flags;
	unsigned int size = at == (void *)&used->flags ? 2 : 4;
	uint64_t was;

	if (!(guest.areas & AREA_DEVICE))
		return;
	was = load(at, size);
	store(at, size, was ^ any_mask(size));
	moment();
	store(at, size, was);
	guest.flips++;
}

static void put_desc(unsigned int page, unsigned int offset, const struct vring_desc *d)
{
	uint64_t word[2];

	memcpy(word, d, sizeof(word));
	put(page, offset, 8, word[0]);
	put(page, offset + 8, 8, word[1]);
}

/* A request of a disk: header, data, status; in the ring or in a table. */
static void post(unsigned int queue)
{
	unsigned int slot = guest.slots[queue] % SLOTS, first = slot * 3;
	unsigned int page = PAGE_RING + queue, table = (queue * SLOTS + slot) * 48;
	uint64_t keep = guest.keep && any(2) ? XVS_DADDR_KEEP : 0;
	bool in = any(2), indirect = guest.indirect && any(2);
	struct vring_desc d[3] = {
		{ world_daddr(PAGE_DATA, 256) | keep, 16, VRING_DESC_F_NEXT, 0 },
		{ world_daddr(PAGE_DATA + any(6), 1024) | keep, 512u << any(3),
		  VRING_DESC_F_NEXT, 0 },
		{ world_daddr(PAGE_DATA, 512) | keep, 1, VRING_DESC_F_WRITE, 0 },
	};
	struct vring_desc list = { world_daddr(PAGE_TABLE, table) | keep, 48,
				   VRING_DESC_F_INDIRECT, 0 };

	d[1].flags |= in ? VRING_DESC_F_WRITE : 0;
	put(PAGE_DATA, 256, 8, in ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT);
	put(PAGE_DATA, 264, 8, any(8));
	for (unsigned int i = 0; i < 3; i++) {
		d[i].next = (uint16_t)((indirect ? 0 : first) + i + 1);
		if (indirect)
			put_desc(PAGE_TABLE, table + i * 16, &d[i]);
		else
			put_desc(page, (first + i) * 16, &d[i]);
	}
	if (indirect)
		put_desc(page, first * 16, &list);
	put(page, WORLD_AVAIL + 4 + 2u * (w.avail[queue] % WORLD_SIZE), 2, first);
	put(page, WORLD_AVAIL + 2, 2, ++w.avail[queue]);
	guest.slots[queue]++;
	guest.posted++;
}

/* As much as is completed, by an index that this very thread may have flipped just now. */
static void post_some(void)
{
	unsigned int queue = any(guest.queues);
	uint16_t used = (uint16_t)load(guest.ram[PAGE_RING + queue] + WORLD_USED + 2, 2);

	if ((uint16_t)(guest.slots[queue] - used) < SLOTS)
		post(queue);
}

static void act(void)
{
	if (__atomic_load_n(&guest.focus, __ATOMIC_RELAXED))
		flip_focus();
	else if (guest.patient && any(64))
		post_some();
	else
		switch (any(6)) {
		case 0:
		case 1:
			flip_any();
			break;
		case 2:
			sweep();
			break;
		case 3:
			post_some();
			break;
		case 4:
			flip_list();
			break;
		default:
			flip_device();
		}
}

static void *be_guest(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&guest.lock);
	while (!guest.end) {
		guest.runs = guest.wanted;
		pthread_cond_broadcast(&guest.cond);
		if (!guest.runs) {
			pthread_cond_wait(&guest.cond, &guest.lock);
			continue;
		}
		pthread_mutex_unlock(&guest.lock);
		while (__atomic_load_n(&guest.wanted, __ATOMIC_RELAXED))
			act();
		pthread_mutex_lock(&guest.lock);
	}
	pthread_mutex_unlock(&guest.lock);
	return NULL;
}

/* Returns when it does. */
static void let_guest(bool run)
{
	pthread_mutex_lock(&guest.lock);
	__atomic_store_n(&guest.wanted, run, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&guest.cond);
	while (guest.runs != run)
		pthread_cond_wait(&guest.cond, &guest.lock);
	pthread_mutex_unlock(&guest.lock);
}

static void end_guest(void)
{
	pthread_mutex_lock(&guest.lock);
	guest.end = true;
	__atomic_store_n(&guest.wanted, false, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&guest.cond);
	pthread_mutex_unlock(&guest.lock);
	ck_assert_int_eq(pthread_join(guest.thread, NULL), 0);
}

/* -- the worker's thread -- */

/*
 * Tells the guest where the worker reads, and now and then gives it the time to write there.
 * Without any order between the two, or ThreadSanitizer would take this for a lock.
 */
static void tell_guest(void)
{
	static unsigned int count;
	uintptr_t at = (uintptr_t)w.at;

	for (unsigned int i = 0; i < views.n; i++) {
		uintptr_t offset = at - (uintptr_t)views.view[i].va;

		if (offset >= XVS_FRAME_SIZE)
			continue;
		__atomic_store_n(&guest.focus, views.view[i].page * XVS_FRAME_SIZE +
					       (uint32_t)offset + 1, __ATOMIC_RELAXED);
		if (++count % 4)
			return;
		for (unsigned int k = 0; k < 256; k++) {
			if (!__atomic_load_n(&guest.focus, __ATOMIC_RELAXED))
				return;
			__builtin_ia32_pause();
		}
		if (count % 16 == 0)
			sched_yield();
		return;
	}
}

static struct {
	uint64_t lives, broken, chains, completions, tables;
} sum;

static uint64_t random_seed(void)
{
	const char *seed = getenv("SINGLE_FETCH_SEED");

	return seed ? strtoull(seed, NULL, 0) : 1;
}

static unsigned int seconds(void)
{
	const char *text = getenv("SINGLE_FETCH_SECONDS");

	return text ? (unsigned int)strtoul(text, NULL, 10) : 5;
}

static void begin_life(uint64_t features)
{
	static const unsigned int meant[] = {
		AREA_DATA, AREA_RINGS, AREA_RINGS | AREA_DATA, AREA_TABLES | AREA_DATA, AREA_CTRL,
		AREA_LIST | AREA_DATA, AREA_DEVICE, AREA_RINGS | AREA_TABLES | AREA_LIST,
		AREA_CTRL | AREA_RINGS | AREA_TABLES | AREA_DATA | AREA_LIST | AREA_DEVICE,
	};

	world_start(features, guest.queues);
	guest.areas = meant[sum.lives++ % (sizeof(meant) / sizeof(meant[0]))];
	guest.patient = sum.lives % 3;
	guest.indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	for (unsigned int i = 0; i < WORLD_QUEUES; i++) {
		guest.slots[i] = 0;
		guest.shadow[i] = w.s->queue[i].shadow.used;
	}
	let_guest(true);
}

/* extra: what a mutant of the worker does besides. */
static void live(void (*extra)(void))
{
	for (unsigned int i = 0; i < TURNS && w.s && w.s->live && !w.s->broken; i++) {
		world_turn();
		check_dev_step(w.dev, i);
		if (extra)
			extra();
		if (i % 16 == 0)
			sched_yield();
	}
}

static void add_up(void)
{
	const struct session_stats *st = &w.journal.data->stats;

	sum.broken += st->broken;
	sum.chains += st->chains;
	sum.completions += st->completions;
	sum.tables += st->table_reads;
}

/* A guest with its device from the beginning to the end, reset many times in between. */
static void round_of_lives(unsigned int form, void (*extra)(void))
{
	uint64_t features = (form & 1 ? WORLD_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
			    (form & 2 ? WORLD_FEATURE(VIRTIO_RING_F_EVENT_IDX) : 0);

	w.p2m = form % 4 == 3;
	w.plain = form & 8;
	world_begin(NULL);
	w.params.protection = form & 4 ? XVS_PROTECTION_LAZY : XVS_PROTECTION_STRICT;
	w.params.keep_pages = 64;
	guest.keep = form & 4 && !w.p2m;
	guest.queues = 1 + (form >> 4 & 1);
	guest.list = sim_list(w.m, sim_dom_get(w.m->sh, WORLD_GUEST));
	for (unsigned int i = 0; i < WORLD_PAGES; i++)
		guest.ram[i] = world_page(i);
	ck_assert_int_eq(world_open(false), 0);
	for (unsigned int i = 0; i < LIVES && w.s; i++) {
		begin_life(features);
		live(extra);
		let_guest(false);
	}
	add_up();
	world_stop();
	world_recover();
	world_end();
}

/* A world that no chain gets through would show nothing. A slow machine takes longer. */
static bool enough(void)
{
	return sum.completions > 10 && sum.tables && sum.broken && guest.focused &&
	       guest.swept > WORLD_PAGES * XVS_FRAME_SIZE;
}

static void run(unsigned int time, void (*extra)(void))
{
	const uint64_t end = now_us(CLOCK_MONOTONIC) + time * 1000000ull;

	w.ops = views_ops();
	w.hook = tell_guest;
	guest.rng = random_seed();
	ck_assert_int_eq(pthread_create(&guest.thread, NULL, be_guest, NULL), 0);
	/* in an order that has something of each kind among the first */
	for (unsigned int i = 0; !enough() || now_us(CLOCK_MONOTONIC) < end; i++)
		round_of_lives((i * 11 + 5) % 32, extra);
	end_guest();
	world_drop();
}

START_TEST(hazard_01_every_byte_flips)
{
	run(seconds(), NULL);
	printf("%llu lives, %llu broken; %llu chains posted, %llu taken, %llu completed; "
	       "%llu tables read in place; %llu flips, %llu of a word just read; "
	       "%llu times every byte\n",
	       (unsigned long long)sum.lives, (unsigned long long)sum.broken,
	       (unsigned long long)guest.posted, (unsigned long long)sum.chains,
	       (unsigned long long)sum.completions, (unsigned long long)sum.tables,
	       (unsigned long long)guest.flips, (unsigned long long)guest.focused,
	       (unsigned long long)guest.swept / (WORLD_PAGES * XVS_FRAME_SIZE));
}
END_TEST

#if defined(__SANITIZE_THREAD__)
#define REPORTED 42

/* ThreadSanitizer calls it. */
void __tsan_on_report(void *report);
static bool report_expected;

void __tsan_on_report(void *report)
{
	(void)report;
	if (report_expected)
		_exit(REPORTED);
}

/* Past the helper, as a worker must not. */
static void read_plainly(void)
{
	const struct squeue *q = w.s ? &w.s->queue[0] : NULL;

	if (q && q->enabled)
		(void)*(volatile uint16_t *)&q->ring.avail->idx;
}

/* What this test is for is seen, as long as the tool sees it: a mutant of the worker is found. */
START_TEST(a_plain_read_is_found)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		report_expected = true;
		if (!freopen("/dev/null", "w", stderr)) /* the report is none of a failure */
			_exit(1);
		run(60, read_plainly);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), REPORTED);
}
END_TEST
#endif

int main(void)
{
	Suite *suite = suite_create("single fetch");
	TCase *tc = tcase_create("flips");

	tcase_set_timeout(tc, seconds() * 2 + 240);
	tcase_add_test(tc, hazard_01_every_byte_flips);
#if defined(__SANITIZE_THREAD__)
	tcase_add_test(tc, a_plain_read_is_found);
#endif
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
