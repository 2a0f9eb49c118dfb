/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Target "control": the control page of virtio-xenbus v1, requests in any order with any arguments,
 * a page that changes between two reads, and workers that die in between. What the session believes
 * of itself, what it wrote down and what it answers have to agree after each turn.
 */
#include "world.h"

enum op {
	OP_REQUEST,
	OP_ENTRY,
	OP_WRITE,
	OP_RACE,
	OP_TURN,
	OP_KILL,
	OP_EVENT,
	OP_PUSH,
	OPS,
};

/* Answers that the protocol has. */
static bool known(int32_t result)
{
	return !result || result == XVS_EIO || result == XVS_EBUSY || result == XVS_EINVAL ||
	       result == XVS_EOPNOTSUPP;
}

static void check_queues(const struct session *s)
{
	unsigned int enabled = 0;

	for (unsigned int i = 0; i < s->num_queues; i++) {
		const struct squeue *q = &s->queue[i];
		uint16_t size = q->ring.size;

		if (!q->enabled)
			continue;
		enabled++;
		FUZZ_CHECK(size && !(size & (size - 1)) && size <= WORLD_SIZE, "queue %u has %u",
			   i, size);
		FUZZ_CHECK(s->log->queue[i].size == size, "queue %u is not on record", i);
		for (unsigned int part = 0; part < 3; part++)
			FUZZ_CHECK(q->map[part].npages, "part %u of queue %u is not mapped", part,
				   i);
	}
	FUZZ_CHECK(!enabled || (s->status & VIRTIO_CONFIG_S_FEATURES_OK),
		   "a queue works before FEATURES_OK");
	FUZZ_CHECK(!enabled || !s->broken, "a queue of a broken device works");
}

static void check_state(void)
{
	const struct session *s = w.s;

	if (!s)
		return;
	check_queues(s);
	FUZZ_CHECK(atomic_load(&s->log->driver_status) == s->status, "status is not on record");
	FUZZ_CHECK(!(s->features & ~s->offered), "features that were not offered");
	FUZZ_CHECK(!s->live || (s->status & VIRTIO_CONFIG_S_DRIVER_OK) || s->fatal ||
		   w.dev->ops->get_status(w.dev) & VIRTIO_CONFIG_S_DRIVER_OK,
		   "chains move before DRIVER_OK");
	FUZZ_CHECK(!s->broken || (s->status & VIRTIO_CONFIG_S_NEEDS_RESET), "broken in secret");
	FUZZ_CHECK(s->live || s->fatal || !journal_live(&w.journal), "pages of an idle device");
	FUZZ_CHECK(!(s->status & VIRTIO_CONFIG_S_FEATURES_OK) ||
		   (s->features & WORLD_FEATURE(VIRTIO_F_VERSION_1)), "a legacy driver");
	FUZZ_CHECK(!(s->ctrl.generation & 1), "config never becomes stable");
}

/* A guest may call its control page a ring, and then finds used elements in its answers. */
static bool page_is_ring(const struct session *s)
{
	for (unsigned int i = 1; i < s->refs.n; i++)
		if (s->p.ctrl_ref - s->refs.range[i].gref < s->refs.range[i].npages)
			return true;
	return false;
}

/* One turn; what was asked before it has its answer after it. */
static void turn_and_check(void)
{
	struct xvs_control_page *c = world_ctrl();
	struct session *s = w.s;
	uint32_t seq = c->req.seq;
	bool racing = w.race.left, asked = s && seq && seq != s->ctrl.answered;

	world_turn();
	if (!racing && asked && w.s == s && !page_is_ring(s)) {
		FUZZ_CHECK(c->rsp.seq == seq, "request %u, answer to %u", seq, c->rsp.seq);
		FUZZ_CHECK(known(c->rsp.result), "result %d", c->rsp.result);
	}
	check_state();
}

static void request(struct fuzz *f)
{
	struct xvs_request *req = &world_ctrl()->req;

	req->op = fuzz_below(f, 8);
	switch (req->op) {
	case XVS_OP_SET_DRIVER_FEATURES:
		req->u.features = fuzz_u8(f) & 1 ? fuzz_u64(f) :
				  WORLD_FEATURE(VIRTIO_F_VERSION_1) |
				  WORLD_FEATURE(VIRTIO_F_ACCESS_PLATFORM);
		break;
	case XVS_OP_SET_CONFIG:
		fuzz_bytes(f, &req->u.config, 9);
		break;
	default:
		req->u.status = fuzz_u8(f);
		req->u.status = req->u.status < 0xfe ? req->u.status : fuzz_u32(f);
	}
	req->seq = ++w.seq;
}

/* A queue's entry, sound but for what the input says. */
static void entry(struct fuzz *f)
{
	unsigned int index = fuzz_below(f, XVS_MAX_QUEUES), of = fuzz_below(f, WORLD_QUEUES);
	struct xvs_queue e = world_queue(of);
	uint64_t *part[3] = { &e.desc_addr, &e.driver_addr, &e.device_addr };
	uint8_t form = fuzz_u8(f);

	if (form & 1)
		e.size = fuzz_u16(f);
	if (form & 2)
		e.evtchn = fuzz_u8(f);
	for (unsigned int i = 0; i < 3; i++) {
		if (form & 4u << i)
			*part[i] = world_daddr(fuzz_below(f, WORLD_PAGES), fuzz_u8(f) * 16u);
		if (form & 32u << i)
			*part[i] ^= fuzz_u64(f);
	}
	world_ctrl()->queue[index] = e;
	w.avail[of] = 0;
}

static unsigned int any_offset(struct fuzz *f)
{
	return fuzz_u16(f) % XVS_FRAME_SIZE;
}

static void scribble(struct fuzz *f)
{
	unsigned int offset = any_offset(f), n = 1 + fuzz_below(f, 16);
	uint8_t bytes[16];

	fuzz_bytes(f, bytes, n);
	world_write(PAGE_CTRL, offset, bytes, n);
}

static void step(struct fuzz *f)
{
	struct vring_desc d;

	switch (fuzz_below(f, OPS)) {
	case OP_REQUEST:
		request(f);
		turn_and_check();
		break;
	case OP_ENTRY:
		entry(f);
		break;
	case OP_WRITE:
		scribble(f);
		break;
	case OP_RACE:
		w.race.left = 1u + fuzz_u8(f);
		w.race.page = PAGE_CTRL;
		w.race.offset = any_offset(f);
		w.race.size = 1u + fuzz_below(f, 8);
		w.race.value = fuzz_u64(f);
		break;
	case OP_TURN:
		turn_and_check();
		break;
	case OP_KILL:
		world_take_over();
		check_state();
		break;
	case OP_EVENT:
		if (fuzz_u8(f) & 1)
			check_dev_resize(w.dev, fuzz_u8(f));
		else
			check_dev_fail(w.dev);
		break;
	default:
		d = (struct vring_desc){ world_daddr(PAGE_DATA, 0), 17, VRING_DESC_F_WRITE, 0 };
		world_desc(fuzz_below(f, WORLD_QUEUES), 0, &d);
		world_push(fuzz_below(f, WORLD_QUEUES), 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };
	uint8_t form = fuzz_u8(&f);
	unsigned int steps = 0;

	world_begin(NULL);
	w.params.protection = form & 1 ? XVS_PROTECTION_LAZY : XVS_PROTECTION_STRICT;
	w.params.keep_pages = 16;
	FUZZ_CHECK(!world_open(false), "no session");
	if (form & 2)
		world_start(0, 1 + (form >> 2 & 3));
	while (fuzz_more(&f) && steps++ < 200)
		step(&f);
	world_stop();
	world_recover();
	world_end();
	return 0;
}
