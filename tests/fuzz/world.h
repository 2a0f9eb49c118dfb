/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world of the targets that run a session: a simulated machine, a guest that is nothing but
 * memory, grants and ports, a device, and the session's own turn() called step by step in this
 * thread. It is made once; between two inputs everything is given back and the books are compared,
 * so an input costs no process and no machine.
 *
 * loop.c is part of this file, since what it does in one turn has no name outside of it.
 */
#ifndef XVS_TESTS_FUZZ_WORLD_H
#define XVS_TESTS_FUZZ_WORLD_H

#include "fuzz.h"

#include "session/loop.c"

#include "dev/check.h"
#include "hv/sim_priv.h"
#include "mem/hold.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <unistd.h>

#define WORLD_BACK 0
#define WORLD_GUEST 3
#define WORLD_QUEUES 4u
#define WORLD_SIZE 16u /* entries of a queue */
#define WORLD_SECTORS 64u
#define WORLD_FRAMES 768u
#define WORLD_FEATURE(bit) (1ull << (bit))

/* Pages of the guest, by pfn. Each queue has one for its three parts. */
enum {
	PAGE_CTRL,
	PAGE_RING,
	PAGE_DATA = PAGE_RING + WORLD_QUEUES, /* granted for writing, references in a row */
	PAGE_READ = PAGE_DATA + 8,            /* granted read-only */
	PAGE_TABLE = PAGE_READ + 3,
	WORLD_PAGES = PAGE_TABLE + 2,
};

#define WORLD_DESC 0u
#define WORLD_AVAIL (16u * WORLD_SIZE)
#define WORLD_USED 512u

struct world_page {
	bool granted, readonly;
	uint32_t gref;
};

/* The guest writes this once so many accesses to shared memory were made. */
struct world_race {
	unsigned int left, page, offset, size;
	uint64_t value;
};

static struct world {
	struct sim_machine *m;
	struct sim_audit clean;
	struct hv *keeper, *hv, *holder_hv;
	const struct hv_ops *ops; /* of a worker; NULL: the simulation's */
	struct hold_table holder; /* in p2m; of no worker, so it outlives them */
	bool p2m;                 /* a worker is to serve in it */
	struct hv_dma dma;
	struct journal journal;
	struct xdev *dev;
	struct xdev *checking[2]; /* what it may be; NULL: it is none of ours */
	bool plain; /* to be the one without indirect descriptors and event index */
	void (*hook)(void); /* called at each access to shared memory; may be NULL */
	const volatile void *at; /* that access */
	/* each descriptor that the checking device finds; may be NULL */
	void (*trace)(void *arg, const struct check_trace *t);
	struct session *s;
	struct session_params params;
	int ended_fd; /* its other end is closed: a session that waits for it does not wait */
	struct world_page page[WORLD_PAGES];
	uint32_t ctrl_port, port[WORLD_QUEUES];
	uint16_t avail[WORLD_QUEUES];
	uint32_t seq;
	struct world_race race;
	unsigned int map; /* the one that was accessed last */
} w;

/* -- memory of the guest -- */

/* The page as the guest has it now, or NULL when it has none there. */
static inline uint8_t *world_page(unsigned int page)
{
	mfn_t mfn;

	if (sim_p2m(w.m, WORLD_GUEST, (pfn_t){ page }, &mfn))
		return NULL;
	return sim_maddr_va(w.m, maddr_of(mfn, 0), XVS_FRAME_SIZE);
}

static inline void world_write(unsigned int page, unsigned int offset, const void *from,
			       unsigned int n)
{
	uint8_t *va = world_page(page);

	if (va && offset + n <= XVS_FRAME_SIZE)
		memcpy(va + offset, from, n);
}

static inline struct xvs_control_page *world_ctrl(void)
{
	return (struct xvs_control_page *)world_page(PAGE_CTRL);
}

static inline uint64_t world_daddr(unsigned int page, unsigned int offset)
{
	if (w.p2m)
		return (uint64_t)page << XVS_FRAME_SHIFT | offset;
	return XVS_DADDR_GRANT | (uint64_t)w.page[page].gref << XVS_DADDR_GREF_SHIFT | offset;
}

static inline void world_push(unsigned int queue, uint16_t head)
{
	uint8_t *va = world_page(PAGE_RING + queue);
	struct vring_avail *avail;

	if (!va)
		return;
	avail = (void *)(va + WORLD_AVAIL);
	avail->ring[w.avail[queue] % WORLD_SIZE] = head;
	avail->idx = ++w.avail[queue];
}

static inline void world_desc(unsigned int queue, unsigned int index, const struct vring_desc *d)
{
	world_write(PAGE_RING + queue, WORLD_DESC + 16 * (index % WORLD_SIZE), d, sizeof(*d));
}

/* -- what the session touches -- */

FUZZ_QUIET static inline bool in_map(const struct sim_map *map, uintptr_t from, unsigned int n)
{
	uintptr_t start = (uintptr_t)map->va;

	return map->used && map->va && from >= start &&
	       from + n <= start + ((uintptr_t)map->n << XVS_FRAME_SHIFT);
}

/* The guest's own p2m, as it publishes it. */
FUZZ_QUIET static inline bool in_list(uintptr_t from, unsigned int n)
{
	uintptr_t list;

	if (!w.p2m)
		return false;
	list = (uintptr_t)sim_list(w.m, sim_dom_get(w.m->sh, WORLD_GUEST));
	return from >= list && from + n <= list + SIM_LIST * sizeof(uint64_t);
}

/* Memory of the guest that is mapped now, or DMA memory. Nothing else is shared with anybody. */
FUZZ_QUIET static inline bool is_shared(uintptr_t from, unsigned int n)
{
	const struct sim_map *map = w.m->sh->map;
	uintptr_t dma = (uintptr_t)w.dma.va;

	if (from >= dma && from + n <= dma + ((uintptr_t)w.dma.npages << XVS_FRAME_SHIFT))
		return true;
	if (in_list(from, n))
		return true;
	if (in_map(&map[w.map], from, n))
		return true;
	for (w.map = 0; w.map < 256; w.map++) /* the lowest are taken first */
		if (in_map(&map[w.map], from, n))
			return true;
	w.map = 0;
	return false;
}

void fuzz_shared(const volatile void *p, unsigned int n)
{
	FUZZ_CHECK(is_shared((uintptr_t)p, n), "%u bytes at %p are not mapped", n,
		   (const void *)(uintptr_t)p);
	if (w.race.left && !--w.race.left)
		world_write(w.race.page, w.race.offset, &w.race.value, w.race.size);
	w.at = p;
	if (w.hook)
		w.hook();
}

/* -- the holder: this process instead of one of its own, asked without a socket -- */

/* Asked by a worker, it works on the one table there is. */
static int world_hold(struct hold *h, const uint16_t *unpin, unsigned int nr_unpin,
		      struct hold_pin *pin, unsigned int nr_pin)
{
	(void)h;
	return w.holder.hold.change(&w.holder.hold, unpin, nr_unpin, pin, nr_pin);
}

void hold_client_init(struct hold_client *c, int fd)
{
	c->hold.change = world_hold;
	c->fd = fd;
}

static inline void world_end_holder(void)
{
	if (!w.holder_hv)
		return;
	FUZZ_CHECK(!hold_table_clear(&w.holder), "pages are still held");
	FUZZ_CHECK(!w.holder.held, "%u pages are still held", w.holder.held);
}

/* -- the back end -- */

static inline int world_open(bool resume)
{
	char why[160];
	int rc;

	w.hv = sim_hv_open(w.m, WORLD_BACK, HV_CAP_GRANT | HV_CAP_EVTCHN | HV_CAP_P2M, &rc);
	FUZZ_CHECK(w.hv, "no handle: %s", strerror(-rc));
	w.hv->ops = w.ops ? w.ops : w.hv->ops;
	w.params.hv = w.hv;
	w.params.resume = resume;
	rc = session_open(&w.s, &w.params, why, sizeof(why));
	if (!rc)
		return 0;
	w.s = NULL;
	hv_close(w.hv);
	w.hv = NULL;
	return rc;
}

/* Nothing goes wrong any more that would be in the way of an end. */
static inline void world_calm(void)
{
	sim_fault_clear(w.m);
	for (unsigned int i = 0; i < CHECK_MISCHIEFS && w.checking[0]; i++)
		check_dev_misbehave(w.dev, (enum check_mischief)i, 0);
}

static inline void world_recover(void)
{
	int rc;

	world_calm();
	if (w.checking[0])
		check_dev_unplug(w.dev, false); /* where it was taken away another one comes */
	rc = w.dev->ops->reset(w.dev);
	FUZZ_CHECK(!rc, "reset: %s", strerror(-rc));
	world_end_holder();
	rc = journal_recover(&w.journal, w.keeper, &w.dma);
	FUZZ_CHECK(rc >= 0, "recovery: %s", strerror(-rc));
	FUZZ_CHECK(!journal_live(&w.journal), "%u pages are left", journal_live(&w.journal));
}

/* The worker dies between two turns: what is its process's own goes, nothing else. */
static inline void world_kill(void)
{
	if (!w.s)
		return;
	world_calm();
	session_close(w.s);
	hv_close(w.hv);
	w.s = NULL;
	w.hv = NULL;
}

static inline void world_take_over(void)
{
	world_kill();
	world_recover();
	world_open(true);
}

/* A clean end: reset first, then everything is let go. */
static inline void world_stop(void)
{
	int rc;

	if (!w.s)
		return;
	world_calm();
	rc = session_quiesce(w.s, false);
	FUZZ_CHECK(!rc, "quiesce: %s", strerror(-rc));
	FUZZ_CHECK(!journal_live(&w.journal), "%u pages are left", journal_live(&w.journal));
	FUZZ_CHECK(!w.p2m || !w.holder.held, "%u pages are held", w.holder.held);
	world_kill();
}

/* As session_run() goes round, but for the polling. A worker that cannot go on is replaced. */
static inline void world_turn(void)
{
	if (!w.s)
		return;
	if (!turn(w.s) && !w.s->fatal)
		idle(w.s, w.ended_fd);
	if (w.s->fatal)
		world_take_over();
}

/* A request by a sound guest, answered in one turn. */
static inline int world_ask(struct xvs_request req)
{
	struct xvs_control_page *c = world_ctrl();

	FUZZ_CHECK(c && w.s, "there is nobody to ask");
	/* A guest that scribbled may have had an answer under the next number already. */
	if (++w.seq == w.s->ctrl.answered)
		w.seq++;
	req.seq = w.seq;
	c->req = req;
	turn(w.s);
	FUZZ_CHECK(c->rsp.seq == w.seq, "request %u was not answered", w.seq);
	return c->rsp.result;
}

static inline int world_status(uint32_t status)
{
	return world_ask((struct xvs_request){ .op = XVS_OP_SET_DEVICE_STATUS, .u.status = status });
}

/* The entry of the queue table as a sound guest fills it in. */
static inline struct xvs_queue world_queue(unsigned int queue)
{
	return (struct xvs_queue){
		.size_max = WORLD_SIZE,
		.size = WORLD_SIZE,
		.evtchn = w.port[queue],
		.desc_addr = world_daddr(PAGE_RING + queue, WORLD_DESC),
		.driver_addr = world_daddr(PAGE_RING + queue, WORLD_AVAIL),
		.device_addr = world_daddr(PAGE_RING + queue, WORLD_USED),
	};
}

/* Up to DRIVER_OK, as a sound guest does it. */
static inline void world_start(uint64_t features, unsigned int queues)
{
	struct xvs_control_page *c = world_ctrl();
	int rc = world_status(0);

	rc = rc ? rc : world_status(3);
	features |= WORLD_FEATURE(VIRTIO_F_VERSION_1) | WORLD_FEATURE(VIRTIO_F_ACCESS_PLATFORM);
	rc = rc ? rc : world_ask((struct xvs_request){ .op = XVS_OP_SET_DRIVER_FEATURES,
						       .u.features = features });
	rc = rc ? rc : world_status(11);
	for (unsigned int i = 0; i < queues && !rc; i++) {
		c->queue[i] = world_queue(i);
		w.avail[i] = 0;
		rc = world_ask((struct xvs_request){ .op = XVS_OP_SET_VQUEUE, .u.index = i });
	}
	rc = rc ? rc : world_status(15);
	FUZZ_CHECK(!rc, "a sound guest was refused: %d", rc);
}

/* -- the beginning and the end of an input -- */

static inline void grant_pages(unsigned int first, unsigned int n, bool readonly)
{
	uint32_t ref = 0;
	int rc = sim_grant_range(w.m, WORLD_GUEST, (pfn_t){ first }, n, WORLD_BACK, readonly, &ref);

	FUZZ_CHECK(!rc, "grant: %s", strerror(-rc));
	for (unsigned int i = 0; i < n; i++)
		w.page[first + i] = (struct world_page){ true, readonly, ref + i };
}

/* Everything that is counted on begins at the same number: an input has the same effect alone
 * as after a million others. */
FUZZ_QUIET static inline void rewind_machine(void)
{
	w.m->sh->rng = 1;
	for (unsigned int i = 0; i < SIM_DOMS; i++) {
		struct sim_dom *d = &w.m->sh->dom[i];

		if (d->state == SIM_DOM_NONE)
			continue;
		d->next_ref = SIM_FIRST_REF;
		d->next_track = d->domid == WORLD_BACK ? w.dma.npages : 0;
	}
}

static inline void make_world(struct xdev *dev)
{
	struct check_config c = { .num_queues = WORLD_QUEUES, .queue_size = WORLD_SIZE,
				  .sectors = WORLD_SECTORS, .stepped = true };
	int end[2], rc = 0;

	log_set_level((enum log_level)0);
	w.m = sim_machine_new(&(struct sim_config){ .seed = 1, .frames = WORLD_FRAMES }, &rc);
	FUZZ_CHECK(w.m, "machine: %s", strerror(-rc));
	rc = sim_domain_add(w.m, WORLD_BACK, 512, false);
	rc = rc ? rc : sim_domain_add(w.m, WORLD_GUEST, 64, false);
	FUZZ_CHECK(!rc, "domains: %s", strerror(-rc));
	c.machine = w.m;
	c.domid = WORLD_BACK;
	c.trace = w.trace;
	for (unsigned int i = 0; i < 2 && !dev; i++) {
		c.features = i ? 1ull << VIRTIO_BLK_F_FLUSH : 0;
		w.checking[i] = check_dev_open(&c, &rc);
		FUZZ_CHECK(w.checking[i], "device: %s", strerror(-rc));
	}
	w.dev = dev ? dev : w.checking[0];
	w.keeper = sim_hv_open(w.m, WORLD_BACK, HV_CAP_GRANT | HV_CAP_DMA, &rc);
	FUZZ_CHECK(w.keeper, "handle: %s", strerror(-rc));
	rc = w.keeper->ops->dma_alloc(w.keeper, session_dma_pages(w.dev), &w.dma);
	FUZZ_CHECK(!rc, "DMA memory: %s", strerror(-rc));
	w.holder_hv = sim_hv_open(w.m, WORLD_BACK, HV_CAP_P2M, &rc);
	FUZZ_CHECK(w.holder_hv, "handle: %s", strerror(-rc));
	hold_table_init(&w.holder, w.holder_hv, WORLD_GUEST);
	FUZZ_CHECK(!pipe2(end, O_CLOEXEC), "no pipe");
	close(end[1]);
	w.ended_fd = end[0];
	sim_audit(w.m, SIM_ANY, &w.clean);
}

/* dev NULL: the checking device, of which any violation ends the process. */
static inline void world_begin(struct xdev *dev)
{
	int rc;

	if (!w.m)
		make_world(dev);
	if (!dev)
		w.dev = w.checking[w.plain];
	rewind_machine();
	for (unsigned int i = 0; i < WORLD_PAGES; i++)
		memset(world_page(i), 0, XVS_FRAME_SIZE);
	memset(w.dma.va, 0, (size_t)w.dma.npages * XVS_FRAME_SIZE);
	grant_pages(PAGE_CTRL, PAGE_DATA, false);
	grant_pages(PAGE_DATA, PAGE_READ - PAGE_DATA, false);
	grant_pages(PAGE_READ, PAGE_TABLE - PAGE_READ, true);
	grant_pages(PAGE_TABLE, WORLD_PAGES - PAGE_TABLE, false);
	rc = sim_evtchn_alloc(w.m, WORLD_GUEST, WORLD_BACK, &w.ctrl_port);
	for (unsigned int i = 0; i < WORLD_QUEUES && !rc; i++)
		rc = sim_evtchn_alloc(w.m, WORLD_GUEST, WORLD_BACK, &w.port[i]);
	rc = rc ? rc : journal_create(&w.journal, NULL);
	rc = rc ? rc : journal_set_dma(&w.journal, &w.dma);
	FUZZ_CHECK(!rc, "cannot begin: %s", strerror(-rc));
	w.race.left = 0;
	w.seq = 0;
	w.params = (struct session_params){
		.dev = w.dev, .dma = &w.dma, .journal = &w.journal, .domid = WORLD_GUEST,
		.ctrl_ref = w.page[PAGE_CTRL].gref, .ctrl_port = w.ctrl_port,
		.addressing = w.p2m ? XVS_ADDRESSING_P2M : XVS_ADDRESSING_GRANT,
		.protection = XVS_PROTECTION_STRICT,
		.holder_fd = -1, .name = "fuzz",
	};
}

/* The guest takes back what is its own. Is everything as it was before the input? */
static inline bool world_clear(char why[600])
{
	struct sim_audit after;
	char was[256], is[256];
	unsigned int mapped = 0;

	w.race.left = 0;
	world_calm();
	journal_close(&w.journal);
	for (unsigned int i = 0; i < WORLD_PAGES; i++) {
		if (w.page[i].granted && sim_grant_end(w.m, WORLD_GUEST, w.page[i].gref, 1))
			mapped++;
		sim_balloon_in(w.m, WORLD_GUEST, (pfn_t){ i });
	}
	sim_evtchn_close(w.m, WORLD_GUEST, w.ctrl_port);
	for (unsigned int i = 0; i < WORLD_QUEUES; i++)
		sim_evtchn_close(w.m, WORLD_GUEST, w.port[i]);
	sim_audit(w.m, SIM_ANY, &after);
	if (!mapped && !memcmp(&w.clean, &after, sizeof(after)))
		return true;
	sim_audit_text(&w.clean, was, sizeof(was));
	sim_audit_text(&after, is, sizeof(is));
	snprintf(why, 600, "%u pages mapped; before %s, after %s", mapped, was, is);
	return false;
}

/* The back end is gone. Nothing of the guest's may be held by anybody. */
static inline void world_end(void)
{
	char why[600] = "";

	FUZZ_CHECK(!atomic_load(&w.journal.data->leaked), "handles are lost");
	FUZZ_CHECK(world_clear(why), "%s", why);
}

/* Another machine for the next input. */
static inline void world_drop(void)
{
	close(w.ended_fd);
	w.keeper->ops->dma_free(w.keeper, &w.dma);
	hv_close(w.keeper);
	hv_close(w.holder_hv);
	for (unsigned int i = 0; i < 2 && w.checking[i]; i++)
		w.checking[i]->ops->close(w.checking[i]);
	sim_machine_free(w.m);
	w = (struct world){ 0 };
}

#endif
