/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Target "p2m": a worker serves in addressing p2m while the guest writes anything into its own
 * p2m, changes its size and shape, balloons, makes page tables of its pages, and Xen refuses maps.
 * Memory and the table may change between any two reads. The device must only ever be given frames
 * that are held for it, in that direction, and that are or were the guest's.
 */
#include "world.h"

enum op {
	OP_LIST,
	OP_DESC,
	OP_WRITE,
	OP_PUSH,
	OP_TURN,
	OP_DEVICE,
	OP_SIZE,
	OP_SHAPE,
	OP_BALLOON,
	OP_TABLE,
	OP_FAULT,
	OP_RACE,
	OP_RACE_LIST,
	OP_AGE,
	OP_KILL,
	OP_REQUEST,
	OP_RESTART,
	OP_BATCH,
	OPS,
};

#define GUEST_PAGES 64u /* as make_world() gives it */
#define LIST_END 1024u  /* entries that an input may write */

/* The guest writes this entry once so many accesses to shared memory were made. */
static struct {
	unsigned int left;
	unsigned int pfn;
	uint64_t entry;
} list_race;

static unsigned int queues;
static uint64_t features;
static bool owned[WORLD_FRAMES + SIM_MFN_BASE]; /* the guest had this frame at any time */

static void note_frames(void)
{
	mfn_t mfn;

	for (unsigned int i = 0; i < GUEST_PAGES; i++)
		if (!sim_p2m(w.m, WORLD_GUEST, (pfn_t){ i }, &mfn))
			owned[mfn.n] = true;
}

/* What the device was given. That it is mapped, and how, is checked by the device itself. */
static void on_trace(void *arg, const struct check_trace *t)
{
	uint64_t last = t->maddr.a + (t->len ? t->len - 1 : 0);

	(void)arg;
	for (uint64_t mfn = t->maddr.a >> XVS_FRAME_SHIFT; mfn <= last >> XVS_FRAME_SHIFT; mfn++)
		FUZZ_CHECK(mfn < sizeof(owned) && owned[mfn], "frame %#llx was never the guest's",
			   (unsigned long long)mfn);
}

static void hook(void)
{
	if (list_race.left && !--list_race.left)
		sim_list(w.m, sim_dom_get(w.m->sh, WORLD_GUEST))[list_race.pfn] = list_race.entry;
}

static uint64_t mfn_at(uint16_t domid, unsigned int pfn)
{
	mfn_t mfn;

	return sim_p2m(w.m, domid, (pfn_t){ pfn }, &mfn) ? SIM_P2M_INVALID : mfn.n;
}

/* Mostly what is a frame, of whom ever. */
static uint64_t any_entry(struct fuzz *f)
{
	uint8_t form = fuzz_u8(f);
	uint64_t entry = mfn_at(form & 1 ? WORLD_BACK : WORLD_GUEST, fuzz_below(f, GUEST_PAGES));

	switch (form >> 4) {
	case 0:
		return SIM_P2M_INVALID;
	case 1:
		return 0;
	case 2:
		return entry | HV_P2M_FOREIGN;
	case 3:
		return entry | HV_P2M_IDENTITY;
	case 4:
		return fuzz_u64(f);
	case 5:
		return (1ull << 40) - 1 + (form & 2);
	case 6:
		return entry + (fuzz_u16(f) & 0x3ff);
	default:
		return entry;
	}
}

/* Its pages, and some that it has not, in the first leaf of its table and in the next. */
static unsigned int any_pfn(struct fuzz *f)
{
	uint8_t n = fuzz_u8(f);

	return n < 0xf0 ? n % (GUEST_PAGES + 16) : LIST_END - 0x100 + n;
}

static void right_entry(unsigned int pfn)
{
	sim_p2m_write(w.m, WORLD_GUEST, (pfn_t){ pfn }, mfn_at(WORLD_GUEST, pfn));
}

static struct vring_desc any_desc(struct fuzz *f)
{
	uint8_t form = fuzz_u8(f);
	uint64_t pfn = any_pfn(f);
	struct vring_desc d = { .flags = form & 7, .next = fuzz_u8(f) % (WORLD_SIZE + 1) };

	d.addr = pfn << XVS_FRAME_SHIFT | fuzz_u8(f) * 16u;
	d.len = fuzz_u8(f);
	if (form & 8)
		d.len *= 256;
	if (form & 16)
		d.addr += form >> 5;
	if ((form & 0xe0) == 0xe0)
		d.addr = fuzz_u64(f);
	if ((form & 0xe0) == 0xc0)
		d.len = fuzz_u32(f);
	return d;
}

static void put_desc_somewhere(struct fuzz *f)
{
	unsigned int where = fuzz_below(f, 4), index = fuzz_u8(f);
	struct vring_desc d = any_desc(f);

	if (where < 2)
		world_desc(where, index, &d);
	else
		world_write(PAGE_TABLE + where - 2, 16 * index, &d, sizeof(d));
}

static unsigned int any_offset(struct fuzz *f)
{
	unsigned int n = fuzz_u8(f);

	return n < 0xf0 ? n * 8 % XVS_FRAME_SIZE : fuzz_u16(f) % XVS_FRAME_SIZE;
}

static void scribble(struct fuzz *f)
{
	unsigned int page = fuzz_below(f, WORLD_PAGES), offset = any_offset(f);
	uint8_t bytes[16];
	unsigned int n = 1 + fuzz_below(f, sizeof(bytes));

	fuzz_bytes(f, bytes, n);
	world_write(page, offset, bytes, n);
}

static void set_race(struct fuzz *f)
{
	w.race.left = 1u + fuzz_u8(f);
	w.race.page = fuzz_below(f, WORLD_PAGES);
	w.race.offset = any_offset(f);
	w.race.size = 1u + fuzz_below(f, 8);
	w.race.value = fuzz_u64(f);
}

static void balloon(unsigned int pfn)
{
	if (sim_balloon_out(w.m, WORLD_GUEST, (pfn_t){ pfn }))
		sim_balloon_in(w.m, WORLD_GUEST, (pfn_t){ pfn });
	note_frames();
}

static void request(struct fuzz *f)
{
	struct xvs_control_page *c = world_ctrl();

	if (!c)
		return;
	c->req.op = fuzz_below(f, 8);
	if (c->req.op == XVS_OP_SET_DRIVER_FEATURES)
		c->req.u.features = fuzz_u64(f);
	else
		c->req.u.status = fuzz_u8(f);
	c->req.seq = ++w.seq;
}

/* What Xen, or the kernel, says of a map. A holder that cannot unmap is the end of a worker, and
 * what it holds is the next one's: that is no fault to go on after. */
static void fault(struct fuzz *f)
{
	static const int errors[] = { -EINVAL, -ENOMEM, -EAGAIN, -ENOENT };
	static const enum sim_op ops[] = { SIM_OP_FOREIGN_MAP, SIM_OP_P2M_SYNC, SIM_OP_P2M_LEAF };
	uint8_t how = fuzz_u8(f);
	unsigned int nth = 1u + fuzz_below(f, 8);

	if (how & 1)
		sim_fault_element(w.m, SIM_OP_FOREIGN_MAP, nth, errors[how >> 1 & 3]);
	else
		sim_fault_set(w.m, ops[(how >> 3) % 3], nth, errors[how >> 1 & 3]);
}

static void age(void)
{
	static uint64_t now = 1;

	w.s->p.keep_ms = 1;
	session_p2m_age(w.s, now += 10000000);
	w.s->p.keep_ms = 0;
}

/* The guest's memory is what it was, and its table says so. */
static void put_right(void)
{
	list_race.left = 0;
	for (unsigned int i = GUEST_PAGES; i < LIST_END; i++)
		sim_list(w.m, sim_dom_get(w.m->sh, WORLD_GUEST))[i] = SIM_P2M_INVALID;
	sim_p2m_resize(w.m, WORLD_GUEST, GUEST_PAGES);
	if (sim_dom_get(w.m->sh, WORLD_GUEST)->list_generation & 1)
		sim_p2m_reshape(w.m, WORLD_GUEST);
	for (unsigned int i = 0; i < GUEST_PAGES; i++) {
		sim_page_table(w.m, WORLD_GUEST, (pfn_t){ i }, false);
		sim_balloon_in(w.m, WORLD_GUEST, (pfn_t){ i });
		right_entry(i);
	}
	/* an input has the same effect alone as after others */
	sim_dom_get(w.m->sh, WORLD_GUEST)->list_generation = 2;
	note_frames();
}

static void begin(void)
{
	w.p2m = true;
	world_begin(NULL);
	put_right();
	w.params.keep_pages = 16;
	if (!world_open(false))
		world_start(features, queues);
}

static void end(void)
{
	w.race.left = 0;
	world_calm();
	put_right();
	world_stop();
	world_recover();
	world_end();
}

/* A whole request, in the ring or in a table. */
static void batch(struct fuzz *f)
{
	unsigned int queue = fuzz_below(f, queues), first = fuzz_below(f, WORLD_SIZE);
	unsigned int page = PAGE_DATA + fuzz_below(f, 6);
	uint8_t form = fuzz_u8(f);
	struct virtio_blk_outhdr hdr = { .type = form & 1 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
					 .sector = form >> 4 & 3 };
	struct vring_desc table = { world_daddr(PAGE_TABLE, first * 48), 48,
				    VRING_DESC_F_INDIRECT, 0 };
	struct vring_desc d[3] = {
		{ world_daddr(PAGE_DATA, 256), 16, VRING_DESC_F_NEXT, 0 },
		{ world_daddr(page, 1024), 512u << (form >> 2 & 7), VRING_DESC_F_NEXT, 0 },
		{ world_daddr(PAGE_DATA, 512), 1, VRING_DESC_F_WRITE, 0 },
	};

	d[1].flags |= form & 1 ? VRING_DESC_F_WRITE : 0;
	world_write(PAGE_DATA, 256, &hdr, sizeof(hdr));
	for (unsigned int i = 0; i < 3; i++) {
		d[i].next = (uint16_t)(form & 64 ? i + 1 : (first + i + 1) % WORLD_SIZE);
		if (form & 64)
			world_write(PAGE_TABLE, first * 48 + i * 16, &d[i], sizeof(d[i]));
		else
			world_desc(queue, first + i, &d[i]);
	}
	if (form & 64)
		world_desc(queue, first, &table);
	world_push(queue, (uint16_t)first);
}

/*
 * When the guest has been told of the last of its chains no page may be held any more so that a
 * device could write it: the guest may make a page table of it. Rings are the worker's own affair.
 */
static void turn_and_look(void)
{
	const struct session_stats *st = &w.journal.data->stats;
	uint64_t before = st->completions;
	mfn_t mfn;

	world_turn();
	if (!w.s || st->completions == before || st->inflight || w.s->batch.chain_n)
		return;
	for (unsigned int i = PAGE_DATA; i < WORLD_PAGES; i++)
		if (!sim_p2m(w.m, WORLD_GUEST, (pfn_t){ i }, &mfn))
			FUZZ_CHECK(!w.m->sh->frame[sim_frame_of(w.m, mfn)].dev_w,
				   "page %u is still held for writing", i);
}

static void step(struct fuzz *f)
{
	unsigned int pfn;

	switch (fuzz_below(f, OPS)) {
	case OP_LIST:
		pfn = any_pfn(f);
		if (fuzz_u8(f) & 1 && pfn < GUEST_PAGES)
			right_entry(pfn);
		else
			sim_p2m_write(w.m, WORLD_GUEST, (pfn_t){ pfn }, any_entry(f));
		break;
	case OP_DESC:
		put_desc_somewhere(f);
		break;
	case OP_WRITE:
		scribble(f);
		break;
	case OP_PUSH:
		world_push(fuzz_below(f, queues), fuzz_below(f, WORLD_SIZE + 1));
		break;
	case OP_TURN:
		turn_and_look();
		break;
	case OP_DEVICE:
		check_dev_step(w.dev, fuzz_u8(f));
		break;
	case OP_SIZE: /* none would mean: as it is */
		sim_p2m_resize(w.m, WORLD_GUEST, fuzz_u8(f) & 1 ? 1u + fuzz_u8(f) :
						 1u + ((uint64_t)fuzz_u32(f) & 0xfffffff));
		break;
	case OP_SHAPE:
		sim_p2m_reshape(w.m, WORLD_GUEST);
		break;
	case OP_BALLOON:
		balloon(fuzz_below(f, GUEST_PAGES));
		break;
	case OP_TABLE:
		pfn = fuzz_u8(f);
		sim_page_table(w.m, WORLD_GUEST, (pfn_t){ pfn % GUEST_PAGES }, !(pfn & 128));
		break;
	case OP_FAULT:
		fault(f);
		break;
	case OP_RACE:
		set_race(f);
		break;
	case OP_RACE_LIST:
		list_race.left = 1u + fuzz_u8(f);
		list_race.pfn = any_pfn(f);
		list_race.entry = any_entry(f);
		break;
	case OP_AGE:
		if (w.s)
			age();
		break;
	case OP_KILL:
		world_take_over();
		break;
	case OP_REQUEST:
		request(f);
		break;
	case OP_RESTART:
		end();
		begin();
		break;
	default:
		batch(f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };
	uint8_t form = fuzz_u8(&f);
	unsigned int steps = 0;

	w.hook = hook;
	w.trace = on_trace;
	w.plain = form & 4;
	features = (form & 1 ? WORLD_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
		   (form & 2 ? WORLD_FEATURE(VIRTIO_RING_F_EVENT_IDX) : 0);
	queues = 1 + (form >> 3 & 1);
	begin();
	while (fuzz_more(&f) && steps++ < 400)
		step(&f);
	if (form & 16)
		world_kill();
	end();
	return 0;
}
