/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Target "device": a hostile nested device against a sound guest. It returns any id, length and
 * order, writes into every page of the rings, between two reads as well, and answers its registers
 * as it likes. The guest may see each of its chains completed once, with no more bytes than it has
 * room for; a device found out is broken and nothing of the guest's stays mapped.
 */
#include "world.h"

#include <sys/eventfd.h>

static struct hostile {
	struct xdev dev;
	uint64_t features;
	uint8_t status;
	bool stuck;          /* says something else than what was set */
	uint8_t config[128];
	int irq, cause;
	struct {
		bool enabled;
		uint64_t desc, driver, device;
	} queue[WORLD_QUEUES];
	/* the one that is written at the next access to shared memory but so many */
	unsigned int race, race_at;
	uint64_t race_value;
} h;

static int h_reset(struct xdev *dev)
{
	(void)dev;
	h.status = 0;
	memset(h.queue, 0, sizeof(h.queue));
	return 0;
}

static uint8_t h_get_status(struct xdev *dev)
{
	(void)dev;
	return h.status;
}

static void h_set_status(struct xdev *dev, uint8_t status)
{
	(void)dev;
	if (!h.stuck)
		h.status = status;
}

static uint64_t h_get_features(struct xdev *dev)
{
	(void)dev;
	return h.features;
}

static void h_set_features(struct xdev *dev, uint64_t features)
{
	(void)dev;
	FUZZ_CHECK(!(features & ~h.features), "features that the device does not offer");
}

static int h_config_read(struct xdev *dev, unsigned int off, void *buf, unsigned int len)
{
	FUZZ_CHECK(off <= dev->config_len && len <= dev->config_len - off, "config space");
	memcpy(buf, h.config + off, len);
	return h.cause == 0x7f ? -EIO : 0;
}

static int h_config_write(struct xdev *dev, unsigned int off, const void *buf, unsigned int len)
{
	FUZZ_CHECK(off <= dev->config_len && len <= dev->config_len - off, "config space");
	memcpy(h.config + off, buf, len);
	return 0;
}

static uint16_t h_queue_size_max(struct xdev *dev, unsigned int index)
{
	return index < dev->num_queues ? WORLD_SIZE : 0;
}

static int h_queue_enable(struct xdev *dev, unsigned int index, uint16_t size, maddr_t desc,
			  maddr_t driver, maddr_t device)
{
	FUZZ_CHECK(index < dev->num_queues && size <= WORLD_SIZE, "queue %u of %u", index, size);
	h.queue[index].enabled = true;
	h.queue[index].desc = desc.a;
	h.queue[index].driver = driver.a;
	h.queue[index].device = device.a;
	return 0;
}

static void h_notify(struct xdev *dev, unsigned int index)
{
	(void)dev;
	(void)index;
}

static int h_irq_fd(struct xdev *dev)
{
	(void)dev;
	return h.irq;
}

static int h_irq_ack(struct xdev *dev)
{
	int cause = h.cause == 0x7e ? -ENODEV : h.cause;
	eventfd_t n;

	(void)dev;
	if (eventfd_read(h.irq, &n))
		return 0;
	return cause;
}

static const struct xdev_ops h_ops = {
	.reset = h_reset,
	.get_status = h_get_status,
	.set_status = h_set_status,
	.get_features = h_get_features,
	.set_features = h_set_features,
	.config_read = h_config_read,
	.config_write = h_config_write,
	.queue_size_max = h_queue_size_max,
	.queue_enable = h_queue_enable,
	.notify = h_notify,
	.irq_fd = h_irq_fd,
	.irq_ack = h_irq_ack,
};

/* -- the guest -- */

static struct {
	bool there;
	uint32_t writable;
} chain[WORLD_QUEUES][WORLD_SIZE];
static uint16_t used_idx[WORLD_QUEUES];

/* A chain of one, two or three descriptors, from a place in the table where none is in use. */
static void post(struct fuzz *f)
{
	unsigned int queue = fuzz_below(f, 2), n = 1 + fuzz_below(f, 3), at = fuzz_below(f, 5) * 3;
	uint8_t form = fuzz_u8(f);
	uint32_t writable = 0;

	if (chain[queue][at].there || !w.s || w.s->broken)
		return;
	for (unsigned int i = 0; i < n; i++) {
		bool write = i >= (form & 3u);
		struct vring_desc d = {
			.addr = world_daddr(PAGE_DATA + i * 2, 4000), .len = 1u + (form >> 2),
			.flags = (uint16_t)((i + 1 < n ? VRING_DESC_F_NEXT : 0) |
					    (write ? VRING_DESC_F_WRITE : 0)),
			.next = (uint16_t)(at + i + 1),
		};

		if (form & 16)
			d.len += 100; /* over the edge of a page */
		if (form & 32)
			d.addr |= w.s->keep;
		writable += write ? d.len : 0;
		world_desc(queue, at + i, &d);
	}
	chain[queue][at].there = true;
	chain[queue][at].writable = writable;
	world_push(queue, (uint16_t)at);
}

static void take_used(unsigned int queue)
{
	const struct vring_used *used = (void *)(world_page(PAGE_RING + queue) + WORLD_USED);

	for (; used_idx[queue] != used->idx; used_idx[queue]++) {
		const struct vring_used_elem *e = &used->ring[used_idx[queue] % WORLD_SIZE];

		FUZZ_CHECK(e->id < WORLD_SIZE && chain[queue][e->id].there,
			   "the guest is given chain %u, which is not in flight", e->id);
		FUZZ_CHECK(e->len <= chain[queue][e->id].writable, "%u bytes of %u", e->len,
			   chain[queue][e->id].writable);
		chain[queue][e->id].there = false;
	}
}

static void check_guest(void)
{
	for (unsigned int i = 0; i < 2; i++)
		take_used(i);
	if (!w.s)
		return;
	FUZZ_CHECK(!w.s->broken || !journal_live(&w.journal), "a broken device holds pages");
	FUZZ_CHECK(!w.s->broken ||
		   (world_ctrl()->info.device_status & VIRTIO_CONFIG_S_NEEDS_RESET),
		   "the guest is not told");
}

/* After a reset the guest has nothing in flight. */
static void start_again(void)
{
	memset(chain, 0, sizeof(chain));
	for (unsigned int i = 0; i < 2; i++) {
		used_idx[i] = 0;
		memset(world_page(PAGE_RING + i), 0, XVS_FRAME_SIZE);
	}
	world_start(WORLD_FEATURE(VIRTIO_RING_F_EVENT_IDX), 2);
}

/* -- the device's mischief -- */

static void *device_va(uint64_t maddr, unsigned int offset)
{
	uint8_t *va = sim_maddr_va(w.m, (maddr_t){ maddr & ~XVS_FRAME_MASK }, XVS_FRAME_SIZE);

	return va + ((maddr & XVS_FRAME_MASK) + offset) % (XVS_FRAME_SIZE - 8);
}

static void complete(struct fuzz *f)
{
	unsigned int queue = fuzz_below(f, 2);
	uint32_t id = fuzz_u8(f), len = fuzz_u8(f);
	struct vring_used *used;

	if (!h.queue[queue].enabled)
		return;
	used = device_va(h.queue[queue].device, 0);
	if (len >= 0xf0)
		len = fuzz_u32(f);
	/* mostly what a device might do: a head that it finds in the available ring */
	if (id & 0x40) {
		const struct vring_avail *avail = device_va(h.queue[queue].driver, 0);

		id = avail->ring[id % WORLD_SIZE];
	} else if (id & 0x80) {
		id = fuzz_u32(f);
	}
	used->ring[used->idx % WORLD_SIZE] = (struct vring_used_elem){ id, len };
	used->idx = (uint16_t)(used->idx + 1);
}

static void scribble(struct fuzz *f)
{
	unsigned int queue = fuzz_below(f, 2), what = fuzz_below(f, 3), offset = fuzz_u16(f);
	uint64_t value = fuzz_u64(f), to = what == 0 ? h.queue[queue].desc :
					    what == 1 ? h.queue[queue].driver : h.queue[queue].device;

	if (h.queue[queue].enabled)
		memcpy(device_va(to, offset), &value, 8);
}

static void set_race(struct fuzz *f)
{
	w.race.left = 0;
	h.race = 1u + fuzz_u8(f);
	h.race_at = fuzz_u8(f) * 2u;
	h.race_value = fuzz_u64(f);
}

static void hook(void)
{
	if (h.race && !--h.race && h.queue[0].enabled)
		memcpy(device_va(h.queue[0].device, h.race_at), &h.race_value, 2);
}

static void interrupt(struct fuzz *f)
{
	h.cause = fuzz_u8(f) & 0x7f;
	h.status |= h.cause & VIRTIO_CONFIG_S_NEEDS_RESET;
	fuzz_bytes(f, h.config, fuzz_u8(f) & 63);
	if (eventfd_write(h.irq, 1))
		return;
}

static void step(struct fuzz *f)
{
	switch (fuzz_below(f, 8)) {
	case 0:
	case 1:
		post(f);
		break;
	case 2:
		complete(f);
		break;
	case 3:
		world_turn();
		check_guest();
		break;
	case 4:
		scribble(f);
		break;
	case 5:
		set_race(f);
		break;
	case 6:
		interrupt(f);
		break;
	default:
		if (w.s && w.s->broken && !h.stuck)
			start_again();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };
	uint8_t form = fuzz_u8(&f);
	unsigned int steps = 0;

	h = (struct hostile){ .dev = { .ops = &h_ops, .device_id = VIRTIO_ID_BLOCK,
				       .num_queues = 2, .config_len = sizeof(h.config) },
			      .irq = h.irq };
	if (!w.m)
		h.irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h.features = WORLD_FEATURE(VIRTIO_F_VERSION_1) |
		     (form & 1 ? WORLD_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
		     (form & 2 ? WORLD_FEATURE(VIRTIO_RING_F_EVENT_IDX) : 0);
	world_begin(&h.dev);
	w.hook = hook;
	w.params.protection = form & 4 ? XVS_PROTECTION_LAZY : XVS_PROTECTION_STRICT;
	w.params.keep_pages = 4;
	FUZZ_CHECK(!world_open(false), "no session");
	start_again();
	h.stuck = form & 8;
	while (fuzz_more(&f) && steps++ < 300)
		step(&f);
	h.race = 0;
	h.stuck = false;
	world_stop();
	world_recover();
	world_end();
	return 0;
}
