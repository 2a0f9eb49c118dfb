/* SPDX-License-Identifier: GPL-2.0-or-later */
/* docs/security.md, rings and descriptors, grants and memory: what a guest can do of it. */
#include "hostile_guest.h"

#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define NOBODYS 0x0fff0000u /* a reference no grant table has */

/* A plain read at descriptors 0 to 2. */
static void plain(struct hg *g)
{
	hg_blk(g, 0, &g->buf[0], HG_READ, 0, 512);
}

/* -- 1: words that change while the other side looks -- */

static void flip(struct hg *g, unsigned int what, bool odd)
{
	volatile struct vring_desc *d = g->q.desc;

	switch (what) {
	case 0:
		d[0].len = odd ? 0x7fffffff : 16;
		break;
	case 1:
		d[1].addr = odd ? 0x1000 : hg_daddr(&g->buf[0], HG_DATA);
		break;
	case 2:
		d[0].next = odd ? 9999 : 1;
		break;
	case 3:
		d[1].flags = odd ? INDIRECT | WRITE : NEXT | WRITE;
		break;
	default:
		*(volatile uint16_t *)&g->q.avail->ring[(uint16_t)(g->q.next - 1) % HG_SIZE] =
			odd ? 40000 : 0;
	}
}

static void changing_words(struct hg *g)
{
	unsigned int served = 0, broken = 0;
	struct vring_used_elem e;

	for (unsigned int round = 0; round < 400 && broken < 40; round++) {
		uint64_t end = hg_now() + HG_PATIENCE;
		bool odd = false, done = false;

		plain(g);
		hg_push(g, 0);
		hg_kick(g);
		while (!done && !hg_needs_reset(g)) {
			for (unsigned int i = 0; i < 4096; i++)
				flip(g, round % 5, odd = !odd);
			flip(g, round % 5, false);
			done = hg_pop(g, 0, &e);
			hg_must(hg_now() < end);
		}
		served += done;
		if (done)
			continue;
		broken++;
		hg_start(g);
		hg_good(g);
	}
	hg_good(g);
	hg_step(g, 1, "baseline", " ");
	hg_step(g, 1, "hazard", "words changed %u times while they were read: %u served, %u broken",
		served + broken, served, broken);
}

/* -- 2 to 9 -- */

static void indices(struct hg *g)
{
	plain(g);
	g->q.next = (uint16_t)(g->q.next + HG_SIZE + 1);
	hg_kick(g);
	hg_broken(g, 2, "available index runs ahead of the ring");
	hg_step(g, 2, "hazard", "available index ahead by more than the ring");
	hg_breaks(g, 3, HG_SIZE, "head outside the descriptor table");
	plain(g);
	g->q.desc[1].next = HG_SIZE + 5;
	hg_breaks(g, 3, 0, "descriptor index outside the table");
	hg_step(g, 3, "hazard", "head and next outside the table");
	plain(g);
	hg_desc(g, 2, hg_daddr(&g->buf[0], HG_STATUS), 1, NEXT | WRITE, 1);
	hg_breaks(g, 4, 0, "loops");
	hg_step(g, 4, "hazard", "looped chain");
}

/* A read by an indirect table at offset bytes of the run of two pages. */
static void put_table(struct hg *g, uint32_t offset)
{
	struct vring_desc t[3];

	plain(g);
	memcpy(t, g->q.desc, sizeof(t));
	for (size_t i = 0; i < sizeof(t); i++) {
		size_t at = offset + i;

		g->run[at / XVS_PAGE_SIZE].va[at % XVS_PAGE_SIZE] = ((uint8_t *)t)[i];
	}
	hg_desc(g, 8, hg_daddr(&g->run[0], offset), sizeof(t), INDIRECT, 0);
}

static void indirect(struct hg *g)
{
	struct vring_desc *t = (void *)g->run[0].va;

	put_table(g, 0);
	g->q.desc[8].len = 0;
	hg_breaks(g, 5, 8, "indirect table of length 0");
	put_table(g, 0);
	g->q.desc[8].len = 24;
	hg_breaks(g, 5, 8, "not a multiple of 16");
	put_table(g, 0);
	g->q.desc[8].len = (HG_SIZE + 1) * 16;
	hg_breaks(g, 5, 8, "longer than the queue");
	put_table(g, 0);
	g->q.desc[8].flags = INDIRECT | NEXT;
	hg_breaks(g, 5, 8, "within a chain");
	put_table(g, 0);
	t[1].flags |= INDIRECT;
	hg_breaks(g, 5, 8, "within an indirect table");
	put_table(g, 0);
	t[2].flags |= NEXT;
	t[2].next = 0;
	hg_breaks(g, 4, 8, "indirect descriptor chain loops");
	put_table(g, XVS_PAGE_SIZE - 24);
	hg_must(hg_run(g, 8, &g->buf[0], NULL) == VIRTIO_BLK_S_OK);
	hg_step(g, 5, "served", " ");
	hg_step(g, 5, "hazard", "five forms of indirect tables refused, one over a page edge works");
}

static void addresses(struct hg *g)
{
	struct hg_page two[2];

	plain(g);
	g->q.desc[1].len = 0;
	hg_breaks(g, 6, 0, "descriptor of length 0");
	hg_step(g, 6, "hazard", "buffer of length 0");
	plain(g);
	g->q.desc[1].addr = XVS_DADDR_GRANT | 0xffffffffull << XVS_DADDR_GREF_SHIFT;
	g->q.desc[1].len = 2 * XVS_PAGE_SIZE;
	hg_breaks(g, 7, 0, "address is not a grant");
	plain(g);
	g->q.desc[1].addr = UINT64_MAX - 100;
	hg_breaks(g, 7, 0, "address is not a grant");
	plain(g);
	g->q.desc[1].len = UINT32_MAX;
	hg_breaks(g, 7, 0, "more pages than the queue");
	hg_step(g, 7, "hazard", "address and length that overflow");
	hg_run_of_two(g, two);
	hg_pages_end(g, &two[1]);
	plain(g);
	g->q.desc[1].addr = hg_daddr(&two[0], 0);
	g->q.desc[1].len = XVS_PAGE_SIZE;
	hg_must(hg_run(g, 0, &g->buf[0], NULL) == VIRTIO_BLK_S_OK);
	g->q.desc[1].len = XVS_PAGE_SIZE + 512;
	hg_breaks(g, 8, 0, "cannot be mapped");
	hg_step(g, 8, "hazard", "only the first page of a long buffer is granted");
	plain(g);
	g->q.desc[2].flags = 0;
	hg_breaks(g, 9, 0, "device-readable descriptor behind");
	hg_step(g, 9, "hazard", "device-readable behind device-writable");
}

/* -- 10, 12, 13: what is the device's own business -- */

static void headers(struct hg *g)
{
	struct hg_page *b = &g->buf[0];

	plain(g);
	for (uint16_t i = 0; i < 16; i++)
		hg_desc(g, i, hg_daddr(b, i), 1, NEXT, (uint16_t)(i + 1));
	hg_desc(g, 16, hg_daddr(b, HG_DATA), 511, NEXT | WRITE, 17);
	hg_desc(g, 17, hg_daddr(b, HG_DATA + 511), 1, NEXT | WRITE, 18);
	hg_desc(g, 18, hg_daddr(b, HG_STATUS), 1, WRITE, 0);
	hg_must(hg_run(g, 0, b, NULL) == VIRTIO_BLK_S_OK);
	hg_step(g, 10, "served", " ");
	/* QEMU's device takes offence at these, by itself */
	plain(g);
	g->q.desc[0].len = 15;
	g->q.desc[0].next = 2;
	hg_breaks(g, 10, 0, "nested device needs a reset");
	hg_desc(g, 0, hg_daddr(b, HG_STATUS), 1, WRITE, 0);
	hg_breaks(g, 10, 0, "nested device needs a reset");
	hg_desc(g, 0, hg_daddr(b, HG_HEADER), 16, 0, 0);
	hg_breaks(g, 10, 0, "nested device needs a reset");
	hg_step(g, 10, "hazard", "header in 16 pieces works; short, missing, or no status: the "
				 "nested device breaks");
}

static void lengths(struct hg *g)
{
	struct hg_page *b = &g->buf[0];
	uint32_t used;

	hg_blk(g, 0, b, 8 /* VIRTIO_BLK_T_GET_ID */, 0, 512);
	memset(b->va + HG_DATA, 0x5a, XVS_PAGE_SIZE - HG_DATA);
	hg_must(hg_run(g, 0, b, &used) == VIRTIO_BLK_S_OK);
	hg_must(used >= VIRTIO_BLK_ID_BYTES + 1 && used <= 513);
	for (unsigned int i = HG_DATA + VIRTIO_BLK_ID_BYTES; i < XVS_PAGE_SIZE; i++)
		hg_must(b->va[i] == 0x5a);
	hg_step(g, 12, "served", " ");
	hg_step(g, 12, "hazard", "a device that writes 20 of 512 bytes: used length %u, the rest "
				 "untouched", used);
}

static void bad_requests(struct hg *g)
{
	struct hg_page *b = &g->buf[0];

	for (uint32_t type = HG_READ; type <= HG_WRITE; type++) {
		hg_blk(g, 0, b, type, 1ull << 40, 512);
		hg_must(hg_run(g, 0, b, NULL) == VIRTIO_BLK_S_IOERR);
		hg_blk(g, 0, b, type, UINT64_MAX, 512);
		hg_must(hg_run(g, 0, b, NULL) == VIRTIO_BLK_S_IOERR);
		hg_blk(g, 0, b, type, 0, 100);
		hg_must(hg_run(g, 0, b, NULL) == VIRTIO_BLK_S_IOERR);
	}
	hg_blk(g, 0, b, 77, 0, 512);
	hg_must(hg_run(g, 0, b, NULL) == VIRTIO_BLK_S_UNSUPP);
	hg_good(g);
	hg_step(g, 13, "served", " ");
	hg_step(g, 13, "hazard", "past the end, misaligned, unknown: the request fails, the device "
				 "goes on");
}

/* -- 11, 14 -- */

static void in_flight(struct hg *g)
{
	plain(g);
	hg_push(g, 0);
	hg_breaks(g, 11, 0, "head is in flight already");
	hg_step(g, 11, "throttle", "1");
	for (uint16_t i = 0; i < 8; i++) {
		hg_blk(g, 3u * i, &g->buf[1], HG_READ, 0, 512);
		hg_push(g, (uint16_t)(3 * i));
	}
	hg_kick(g);
	hg_step(g, 11, "inflight", "1");
	g->q.next = (uint16_t)(g->q.next + HG_SIZE);
	hg_kick(g);
	hg_step(g, 11, "throttle", "0");
	hg_broken(g, 11, "available index runs ahead of the ring");
	hg_step(g, 11, "hazard", "a head twice, more in flight than the ring");
}

static void own_pages(struct hg *g)
{
	static const char *const reason = "lies in a ring or the control page";

	plain(g);
	g->q.desc[1].addr = hg_daddr(&g->q.page[2], HG_DATA);
	hg_breaks(g, 14, 0, reason);
	plain(g);
	g->q.desc[1].addr = hg_daddr(&g->page, HG_DATA);
	hg_breaks(g, 14, 0, reason);
	put_table(g, 0);
	g->q.desc[8].addr = hg_daddr(&g->q.page[0], 0);
	hg_breaks(g, 14, 8, reason);
	put_table(g, 0);
	((struct vring_desc *)(void *)g->run[0].va)[1].addr = hg_daddr(&g->run[0], 16);
	hg_breaks(g, 14, 8, "its own indirect table");
	hg_step(g, 14, "hazard", "buffers in ring, control page and own table");
}

void hg_rings(struct hg *g)
{
	changing_words(g);
	indices(g);
	indirect(g);
	addresses(g);
	headers(g);
	in_flight(g);
	lengths(g);
	bad_requests(g);
	own_pages(g);
}

/* -- grants and memory -- */

static void one_of_a_batch(struct hg *g)
{
	for (uint16_t i = 0; i < 8; i++) {
		hg_blk(g, 3u * i, &g->buf[i % 4], HG_READ, i, 512);
		hg_push(g, (uint16_t)(3 * i));
	}
	g->q.desc[3 * 5 + 1].addr = XVS_DADDR_GRANT | (uint64_t)NOBODYS << XVS_DADDR_GREF_SHIFT;
	hg_kick(g);
	hg_broken(g, 16, "cannot be mapped");
	put_table(g, 0);
	g->q.desc[8].addr = XVS_DADDR_GRANT | (uint64_t)NOBODYS << XVS_DADDR_GREF_SHIFT;
	hg_breaks(g, 16, 8, "indirect table cannot be read");
	hg_step(g, 16, "pins", "0");
	hg_step(g, 16, "hazard", "one entry of a batch fails: Xen counts no page of it as mapped");
}

static uint64_t odd_address(struct hg *g)
{
	switch (hg_random() % 8) {
	case 0:
		return hg_random();
	case 1:
		return hg_daddr(&g->q.page[hg_random() % 3], 0);
	case 2:
		return hg_daddr(&g->readonly, 0);
	case 3:
		return XVS_DADDR_GRANT | (hg_random() & 0xffffff) << XVS_DADDR_GREF_SHIFT;
	default:
		return hg_daddr(&g->buf[1 + hg_random() % 3], hg_random() % XVS_PAGE_SIZE);
	}
}

static void rubbish_in_rings(struct hg *g)
{
	unsigned int broken = 0, served = 0;
	struct vring_used_elem e;

	for (unsigned int round = 0; round < 120; round++) {
		for (unsigned int i = 0; i < 8; i++)
			hg_desc(g, i, odd_address(g), hg_random() % 3 ? 16 : (uint32_t)hg_random(),
				(uint16_t)(hg_random() % 5), (uint16_t)(hg_random() % 9));
		for (uint64_t n = hg_random() % 4; n; n--)
			hg_push(g, (uint16_t)(hg_random() % 10));
		hg_kick(g);
		/* a good one behind it: either it comes back or the device is broken */
		plain(g);
		hg_push(g, 0);
		hg_kick(g);
		for (uint64_t end = hg_now() + HG_PATIENCE;
		     !hg_needs_reset(g) && g->q.seen != g->q.next; hg_must(hg_now() < end))
			hg_pop(g, 20, &e);
		served += !hg_needs_reset(g);
		if (!hg_needs_reset(g))
			continue;
		broken++;
		hg_start(g);
	}
	hg_good(g);
	hg_must(broken);
	hg_step(g, 17, "baseline", " ");
	hg_step(g, 17, "hazard", "120 rings of rubbish: %u broken, %u served", broken, served);
}

/* Whatever is asked for is answered. */
static void rubbish_in_requests(struct hg *g)
{
	for (unsigned int round = 0; round < 300; round++) {
		struct xvs_request req = { .op = (uint32_t)(hg_random() % 9) };
		struct xvs_queue *e = &g->ctrl->queue[hg_random() % 3];

		for (unsigned int i = 0; i < sizeof(req.u.raw); i++)
			req.u.raw[i] = (uint8_t)(hg_random() % 3 ? 0 : hg_random() % 20);
		e->size = (uint16_t)(hg_random() % 2 ? 64 : hg_random());
		e->evtchn = (uint32_t)(hg_random() % 2 ? hg_random() : g->q.port);
		e->desc_addr = odd_address(g);
		e->driver_addr = odd_address(g);
		e->device_addr = odd_address(g);
		hg_request(g, &req);
	}
	hg_start(g);
	hg_good(g);
	hg_step(g, 17, "baseline", " ");
	hg_step(g, 17, "hazard", "300 requests of rubbish, each answered");
}

/* The kernel keeps the page until the other side has let go of it, and ends the grant then. */
static void revoked(struct hg *g)
{
	uint64_t end = hg_now() + HG_PATIENCE;
	struct vring_used_elem e;
	struct hg_page gone;

	hg_pages(g, &gone, 1, false);
	hg_step(g, 19, "throttle", "1");
	for (uint16_t i = 0; i < 4; i++) {
		hg_blk(g, 3u * i, i == 3 ? &gone : &g->buf[1], HG_WRITE, 2000, 512);
		hg_push(g, (uint16_t)(3 * i));
	}
	g->q.desc[11].addr = hg_daddr(&g->buf[1], HG_STATUS);
	hg_kick(g);
	hg_step(g, 19, "inflight", "1");
	hg_pages_end(g, &gone);
	hg_step(g, 19, "throttle", "0");
	for (unsigned int i = 0; i < 4; i++)
		hg_must(hg_pop(g, HG_PATIENCE, &e));
	hg_must(!hg_needs_reset(g));
	hg_step(g, 19, "served", " ");
	while (!hg_needs_reset(g)) {
		hg_must(hg_now() < end);
		if (g->q.seen == g->q.next) {
			hg_push(g, 9);
			hg_kick(g);
		}
		hg_pop(g, 20, &e);
		usleep(20000);
	}
	hg_broken(g, 19, "cannot be mapped");
	hg_step(g, 19, "hazard", "grant revoked in use: the request completes, the next one is refused");
}

void hg_grants(struct hg *g)
{
	one_of_a_batch(g);
	rubbish_in_rings(g);
	rubbish_in_requests(g);
	plain(g);
	g->q.desc[1].addr = hg_daddr(&g->readonly, HG_DATA);
	hg_breaks(g, 18, 0, "read-only under a device-writable");
	hg_step(g, 18, "hazard", "page granted read-only under a device-writable descriptor");
	revoked(g);
	hg_version(g);
	hg_step(g, 21, "pins", "0");
	hg_step(g, 21, "hazard", "pages mapped for both directions at once, and unmapped as they were");
}
