/* SPDX-License-Identifier: GPL-2.0-or-later */
/* docs/security.md, store, life cycle and exhaustion: what a guest can do of it. */
#include "hostile_guest.h"

#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE

/* -- 25 -- */

static void refused(struct hg *g, const char *node, const char *value, const char *reason)
{
	hg_wait_backend(g, 2);
	memset(g->ctrl, 0, sizeof(*g->ctrl));
	hg_put(g, XVS_KEY_VERSION, "1");
	hg_put(g, XVS_KEY_ADDRESSING, "grant");
	hg_put(g, XVS_KEY_PROTECTION, "strict");
	hg_put_number(g, XVS_KEY_CTRL_REF, g->page.ref);
	hg_put_number(g, XVS_KEY_CTRL_PORT, g->port);
	hg_put(g, node, value);
	if (strcmp(node, "state"))
		hg_put(g, "state", "3");
	/* a state that is none counts as Closed, so that the other side soon is, too */
	for (uint64_t end = hg_now() + HG_PATIENCE; hg_backend_state(g) < 5; usleep(5000))
		hg_must(hg_now() < end);
	hg_step(g, 25, "refused", "%s", reason);
	hg_put(g, "state", "6");
	hg_wait_backend(g, 6);
	hg_put(g, "state", "1");
}

static void bad_nodes(struct hg *g)
{
	static const char *const bad_number[] = { "", "-1", " 7", "7 ", "0x7", "4294967296",
						  "99999999999999999999999", "7\n" };
	char longer[301];

	memset(longer, '7', 300);
	longer[300] = '\0';
	hg_disconnect(g);
	for (unsigned int i = 0; i < 8; i++)
		refused(g, i % 2 ? XVS_KEY_CTRL_REF : XVS_KEY_CTRL_PORT, bad_number[i],
			"is malformed");
	refused(g, XVS_KEY_CTRL_REF, longer, "is over 256 bytes");
	refused(g, XVS_KEY_VERSION, "2", "picked version 2");
	refused(g, XVS_KEY_ADDRESSING, "p2m", "picked p2m, which it is not offered");
	refused(g, XVS_KEY_ADDRESSING, "grant,", "is malformed");
	refused(g, XVS_KEY_PROTECTION, "none", "is malformed");
	refused(g, "state", "3x", "'state' is malformed");
	refused(g, "state", "4", "Connected before the back end");
	/* well-formed, and not to be had */
	refused(g, XVS_KEY_CTRL_REF, "268369920", " ");
	hg_connect(g);
	hg_start(g);
	hg_good(g);
	hg_step(g, 25, "baseline", " ");
	hg_step(g, 25, "hazard", "16 bad nodes: each refused with its reason in the store, then served");
}

/* -- 26, 27, 28 -- */

/* Left at each point of the way in turn, with and without waiting. */
static void connect_and_go(struct hg *g)
{
	for (unsigned int round = 0; round < 24; round++) {
		hg_disconnect(g);
		hg_offer(g);
		if (round % 4 == 0)
			continue; /* Initialised is taken back at once */
		hg_wait_backend(g, 4);
		hg_put(g, "state", round % 4 == 1 ? "1" : "4");
		if (round % 4 == 1) {
			hg_wait_backend(g, 2);
			hg_offer(g);
			hg_wait_backend(g, 4);
			hg_put(g, "state", "4");
		}
		if (round % 4 < 3)
			continue;
		hg_start(g);
		hg_blk(g, 0, &g->buf[1], HG_READ, 0, 512);
		hg_push(g, 0);
		hg_kick(g); /* and goes with it in flight */
	}
	for (unsigned int i = 0; i < 200; i++)
		hg_put_number(g, "state", 1 + hg_random() % 8);
	hg_put(g, "state", "6");
	hg_wait_backend(g, 6);
	hg_put(g, "state", "1");
	hg_connect(g);
	hg_start(g);
	hg_good(g);
	hg_step(g, 26, "baseline", " ");
	hg_step(g, 26, "hazard", "connected and left 24 times at four points, 200 random states");
}

static void flood_the_store(struct hg *g)
{
	uint64_t end = hg_now() + 3000;
	unsigned int n = 0;

	hg_step(g, 27, "flood", " ");
	for (; hg_now() < end; n++)
		hg_put(g, n % 2 ? "state" : "error", "4");
	hg_step(g, 27, "calm", " ");
	hg_good(g);
	hg_step(g, 27, "served", " ");
	hg_step(g, 27, "hazard", "%u writes to watched nodes in 3 s", n);
}

static void port_goes(struct hg *g)
{
	struct vring_used_elem e;

	for (unsigned int round = 0; round < 20; round++) {
		for (uint16_t i = 0; i < 16; i++) {
			hg_blk(g, 3u * i, &g->buf[1], HG_READ, i, 512);
			hg_push(g, (uint16_t)(3 * i));
		}
		hg_kick(g);
		if (round % 2)
			hg_pop(g, HG_PATIENCE, &e);
		share_port_close(g->share, g->q.port);
		g->q.port = 0;
		hg_must(!hg_needs_reset(g));
		hg_start(g);
	}
	hg_good(g);
	hg_step(g, 28, "served", " ");
	hg_step(g, 28, "hazard", "the guest closes its port 20 times with completions under way");
}

void hg_store(struct hg *g)
{
	bad_nodes(g);
	connect_and_go(g);
	flood_the_store(g);
	port_goes(g);
}

/* -- exhaustion -- */

static void storm(struct hg *g)
{
	uint64_t end = hg_now() + 4000;
	unsigned int n = 0;

	hg_step(g, 38, "flood", " ");
	for (; hg_now() < end; n += 2) {
		share_notify(g->share, g->q.port);
		share_notify(g->share, g->port);
	}
	hg_step(g, 38, "calm", " ");
	hg_good(g);
	hg_step(g, 38, "served", " ");
	hg_step(g, 38, "hazard", "%u events for nothing in 4 s", n);
}

/* Completions are not looked at; the ring is filled again by their number alone. */
static void never_reads(struct hg *g)
{
	unsigned int rounds = 40;
	uint64_t end;

	for (unsigned int round = 0; round < rounds; round++) {
		for (uint16_t i = 0; i < 20; i++) {
			hg_blk(g, 3u * i, &g->buf[1], HG_READ, i, 512);
			hg_push(g, (uint16_t)(3 * i));
		}
		hg_kick(g);
		end = hg_now() + HG_PATIENCE;
		while (__atomic_load_n(&g->q.used->idx, __ATOMIC_ACQUIRE) != g->q.next) {
			hg_must(hg_now() < end);
			hg_must(!hg_needs_reset(g));
			usleep(1000);
		}
	}
	g->q.seen = g->q.next;
	hg_good(g);
	hg_step(g, 39, "served", " ");
	hg_step(g, 39, "hazard", "%u completions that nobody looked at", 20 * rounds);
}

#define FULL_PAGES 48 /* of a chain */

/* A ring full of chains, all by the same table, over many pages in turn. */
static void push_full_ring(struct hg *g, const struct hg_page *page, unsigned int pages)
{
	struct vring_desc *t = (void *)g->run[0].va;

	hg_blk(g, 0, &g->buf[1], HG_READ, 0, 512);
	memcpy(t, g->q.desc, sizeof(*t));
	for (unsigned int i = 1; i <= FULL_PAGES; i++)
		t[i] = (struct vring_desc){ hg_daddr(&page[i % pages], HG_DATA), 512, NEXT | WRITE,
					    (uint16_t)(i + 1) };
	t[FULL_PAGES + 1] = (struct vring_desc){ hg_daddr(&g->buf[1], HG_STATUS), 1, WRITE, 0 };
	for (uint16_t i = 0; i < HG_SIZE; i++) {
		hg_desc(g, i, hg_daddr(&g->run[0], 0), (FULL_PAGES + 2) * 16,
			VRING_DESC_F_INDIRECT, 0);
		hg_push(g, i);
	}
	hg_kick(g);
}

/* More than fits at once: some chains wait for others. */
static void fill_up(struct hg *g)
{
	struct vring_used_elem e;
	struct hg_page page[32];

	hg_pages(g, page, 32, false);
	for (unsigned int round = 0; round < 4; round++) {
		push_full_ring(g, page, 32);
		for (unsigned int i = 0; i < HG_SIZE; i++)
			hg_must(hg_pop(g, HG_PATIENCE, &e));
		hg_must(!hg_needs_reset(g));
	}
	hg_good(g);
	hg_step(g, 40, "served", " ");
	/* one reference too often: Xen counts its maps in 8 bits, and refuses the 129th */
	push_full_ring(g, page, 1);
	hg_broken(g, 40, "cannot be mapped");
	hg_blk(g, 0, &g->buf[1], HG_READ, 0, 512);
	g->q.desc[1].len = 1100 * XVS_PAGE_SIZE;
	hg_breaks(g, 40, 0, "more pages than the queue");
	hg_step(g, 40, "pins", "0");
	hg_step(g, 40, "hazard", "a full ring of chains of %u pages each is served; a reference "
				 "named 3000 times and a chain of 1100 pages are refused",
		FULL_PAGES + 2);
	for (unsigned int i = 0; i < 32; i++)
		hg_pages_end(g, &page[i]);
}

void hg_floods(struct hg *g)
{
	storm(g);
	never_reads(g);
	fill_up(g);
}
