/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Target "session": a worker at work while its guest scribbles over everything it shares, revokes,
 * balloons and asks for resets, and the device completes in any order, misbehaves or hangs. The
 * input is a program of such steps. The checking device ends the process when it is given an
 * address that is not mapped for it, in that direction, from the chain's beginning to its end.
 */
#include "world.h"

enum op {
	OP_WRITE,
	OP_DESC,
	OP_PUSH,
	OP_KICK,
	OP_TURN,
	OP_DEVICE,
	OP_MISCHIEF,
	OP_REVOKE,
	OP_GRANT,
	OP_BALLOON,
	OP_REQUEST,
	OP_RACE,
	OP_FAULT,
	OP_KILL,
	OP_AGE,
	OP_EVENT,
	OP_RESTART,
	OP_BATCH,
	OPS,
};

static unsigned int queues;
static uint64_t features;

/* Mostly a buffer in the pages there are, sometimes anything. */
static struct vring_desc any_desc(struct fuzz *f)
{
	uint8_t form = fuzz_u8(f);
	unsigned int page = fuzz_below(f, WORLD_PAGES), offset = fuzz_u8(f) * 16u;
	struct vring_desc d = { .flags = form & 7, .next = fuzz_u8(f) % (WORLD_SIZE + 1) };

	d.addr = world_daddr(page, offset);
	if (form & 8)
		d.addr |= XVS_DADDR_KEEP;
	d.len = fuzz_u8(f);
	if (form & 16)
		d.len *= 128;
	if ((form & 0xe0) == 0xe0)
		d.addr = fuzz_u64(f);
	if ((form & 0xe0) == 0xc0)
		d.len = fuzz_u32(f);
	return d;
}

static void put_desc_somewhere(struct fuzz *f)
{
	unsigned int where = fuzz_below(f, WORLD_QUEUES + 2), index = fuzz_u8(f);
	struct vring_desc d = any_desc(f);

	if (where < WORLD_QUEUES)
		world_desc(where, index, &d);
	else
		world_write(PAGE_TABLE + where - WORLD_QUEUES, 16 * index, &d, sizeof(d));
}

/* Where it is hit most: fields of the rings and of the control page. */
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

static void take_back(unsigned int page)
{
	if (w.page[page].granted && !sim_grant_end(w.m, WORLD_GUEST, w.page[page].gref, 1))
		w.page[page].granted = false;
}

static void grant(struct fuzz *f, unsigned int page)
{
	bool readonly = fuzz_u8(f) & 1;

	take_back(page);
	if (!w.page[page].granted &&
	    !sim_grant(w.m, WORLD_GUEST, (pfn_t){ page }, WORLD_BACK, readonly,
		       &w.page[page].gref)) {
		w.page[page].granted = true;
		w.page[page].readonly = readonly;
	}
}

static void balloon(unsigned int page)
{
	if (sim_balloon_out(w.m, WORLD_GUEST, (pfn_t){ page }))
		sim_balloon_in(w.m, WORLD_GUEST, (pfn_t){ page });
}

/* As the guest likes, right or wrong. */
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

/* What can fail without the guest's doing. A handle that Xen will not unmap is lost for good,
 * so that is no fault to go on after. */
static void fault(struct fuzz *f)
{
	static const enum sim_op ops[] = { SIM_OP_GNT_MAP, SIM_OP_GNT_COPY, SIM_OP_GNT_UNMAP,
					   SIM_OP_HOST_MAP, SIM_OP_EVTCHN_BIND };
	enum sim_op op = ops[fuzz_below(f, 5)];
	unsigned int nth = 1u + fuzz_below(f, 8);
	uint8_t how = fuzz_u8(f);

	if (how & 1 || op == SIM_OP_GNT_UNMAP || op >= SIM_OP_HOST_MAP)
		sim_fault_set(w.m, op, nth, -EIO);
	else
		sim_fault_element(w.m, op, nth, how & 2 ? SIM_GNTST_EAGAIN :
						how & 4 ? SIM_GNTST_NO_SPACE :
							  SIM_GNTST_GENERAL_ERROR);
}

/* Looks for old pages as at a time that is far on. */
static void age(void)
{
	static uint64_t now = 1;

	w.s->p.keep_ms = 1;
	session_keep_age(w.s, now);
	session_keep_age(w.s, now += 10000);
	w.s->p.keep_ms = 0;
}

/* A sound guest again, if the worker still has a control page that is this guest's. */
static void restart(void)
{
	w.race.left = 0;
	world_stop();
	world_recover();
	world_end();
	world_begin(NULL);
	if (!world_open(false))
		world_start(features, queues);
}

/* The three descriptors as an indirect table, which may go over the edge of its page. */
static void put_table(unsigned int queue, unsigned int first, const struct vring_desc d[3],
		      unsigned int offset, bool keep)
{
	struct vring_desc table = { world_daddr(PAGE_TABLE, offset), 48, VRING_DESC_F_INDIRECT, 0 };

	for (unsigned int i = 0; i < 3; i++, offset += 16)
		world_write(PAGE_TABLE + offset / XVS_FRAME_SIZE, offset % XVS_FRAME_SIZE, &d[i],
			    sizeof(d[i]));
	table.addr |= keep ? XVS_DADDR_KEEP : 0;
	world_desc(queue, first, &table);
}

/* A whole request of a disk, header, data and status, so that inputs need not find it. */
static void batch(struct fuzz *f)
{
	unsigned int queue = fuzz_below(f, queues), first = fuzz_below(f, WORLD_SIZE);
	unsigned int page = PAGE_DATA + fuzz_below(f, 6);
	uint8_t form = fuzz_u8(f);
	bool in = form & 1, keep = form & 2;
	struct virtio_blk_outhdr hdr = { .type = in ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
					 .sector = form >> 4 & 3 };
	struct vring_desc d[3] = {
		{ world_daddr(PAGE_DATA, 256), 16, VRING_DESC_F_NEXT, 0 },
		{ world_daddr(page, 1024), 512u << (form >> 2 & 3), VRING_DESC_F_NEXT, 0 },
		{ world_daddr(PAGE_DATA, 512), 1, VRING_DESC_F_WRITE, 0 },
	};

	d[1].flags |= in ? VRING_DESC_F_WRITE : 0;
	world_write(PAGE_DATA, 256, &hdr, sizeof(hdr));
	for (unsigned int i = 0; i < 3; i++) {
		d[i].next = (uint16_t)(form & 64 ? i + 1 : (first + i + 1) % WORLD_SIZE);
		d[i].addr |= keep ? XVS_DADDR_KEEP : 0;
	}
	if (form & 64)
		put_table(queue, first, d, form & 128 ? XVS_FRAME_SIZE - 32 : first * 48, keep);
	else
		for (unsigned int i = 0; i < 3; i++)
			world_desc(queue, first + i, &d[i]);
	world_push(queue, (uint16_t)first);
}

static void step(struct fuzz *f)
{
	unsigned int queue, head;
	uint8_t event;

	switch (fuzz_below(f, OPS)) {
	case OP_WRITE:
		scribble(f);
		break;
	case OP_DESC:
		put_desc_somewhere(f);
		break;
	case OP_PUSH:
		queue = fuzz_below(f, WORLD_QUEUES);
		head = fuzz_u8(f) % (WORLD_SIZE + 2);
		world_push(queue, (uint16_t)(head <= WORLD_SIZE ? head : fuzz_u16(f)));
		break;
	case OP_KICK:
		sim_evtchn_send(w.m, WORLD_GUEST, w.port[fuzz_below(f, WORLD_QUEUES)]);
		break;
	case OP_TURN:
		world_turn();
		break;
	case OP_DEVICE:
		check_dev_step(w.dev, fuzz_u8(f));
		break;
	case OP_MISCHIEF:
		check_dev_misbehave(w.dev, (enum check_mischief)fuzz_below(f, CHECK_MISCHIEFS), 1);
		break;
	case OP_REVOKE:
		take_back(fuzz_below(f, WORLD_PAGES));
		break;
	case OP_GRANT:
		grant(f, fuzz_below(f, WORLD_PAGES));
		break;
	case OP_BALLOON:
		balloon(fuzz_below(f, WORLD_PAGES));
		break;
	case OP_REQUEST:
		request(f);
		break;
	case OP_RACE:
		set_race(f);
		break;
	case OP_FAULT:
		fault(f);
		break;
	case OP_KILL:
		world_take_over();
		break;
	case OP_AGE:
		if (w.s)
			age();
		break;
	case OP_EVENT:
		event = fuzz_u8(f);
		if (event & 1)
			check_dev_fail(w.dev);
		else if ((event & 14) == 14 && w.s)
			session_take_device(w.s);
		else if ((event & 6) == 6)
			check_dev_unplug(w.dev, true);
		else
			check_dev_resize(w.dev, fuzz_u8(f));
		break;
	case OP_RESTART:
		restart();
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

	w.plain = form & 64;
	world_begin(NULL);
	features = (form & 1 ? WORLD_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
		   (form & 2 ? WORLD_FEATURE(VIRTIO_RING_F_EVENT_IDX) : 0);
	queues = 1 + (form >> 2 & 1);
	w.params.protection = form & 8 ? XVS_PROTECTION_LAZY : XVS_PROTECTION_STRICT;
	w.params.keep_pages = form & 16 ? 3 : 64;
	FUZZ_CHECK(!world_open(false), "no session");
	world_start(features, queues);
	while (fuzz_more(&f) && steps++ < 400)
		step(&f);
	if (form & 32)
		world_kill();
	else
		world_stop();
	world_recover();
	world_end();
	return 0;
}
