/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front end as such, which keeps to the rules. */
#include "hostile_guest.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE

/* Each by itself: of pages shared together the kernel takes none back alone. */
void hg_pages(struct hg *g, struct hg_page *page, unsigned int n, bool readonly)
{
	void *va;

	for (unsigned int i = 0; i < n; i++) {
		hg_must(!share_pages(g->share, g->backend, 1, readonly, &page[i].ref, &va));
		page[i].va = va;
	}
}

void hg_pages_end(struct hg *g, struct hg_page *page)
{
	hg_must(!share_end(g->share, page->va, 1));
	page->va = NULL;
}

/* References come as the kernel has them, so two side by side are looked for. What is left over
 * stays granted. */
void hg_run_of_two(struct hg *g, struct hg_page run[2])
{
	struct hg_page some[8];

	for (unsigned int round = 0; round < 16; round++) {
		hg_pages(g, some, 8, false);
		for (unsigned int i = 0; i < 8; i++)
			for (unsigned int j = 0; j < 8; j++)
				if (some[j].ref == some[i].ref + 1) {
					run[0] = some[i];
					run[1] = some[j];
					return;
				}
	}
	hg_must(!"two references side by side");
}

void hg_open(struct hg *g)
{
	char text[16], node[96];
	int err;

	g->share = share_open(&err);
	hg_must(g->share);
	snprintf(g->fe, sizeof(g->fe), "device/" XVS_DEVICE_KIND "/0");
	snprintf(node, sizeof(node), "%s/backend", g->fe);
	hg_must(!share_read(g->share, node, g->be, sizeof(g->be)));
	snprintf(node, sizeof(node), "%s/backend-id", g->fe);
	hg_must(!share_read(g->share, node, text, sizeof(text)));
	g->backend = (uint16_t)atoi(text);
	hg_pages(g, &g->page, 1, false);
	g->ctrl = (void *)g->page.va;
	hg_pages(g, g->q.page, 2, true);
	hg_pages(g, &g->q.page[2], 1, false);
	g->q.desc = (void *)g->q.page[0].va;
	g->q.avail = (void *)g->q.page[1].va;
	g->q.used = (void *)g->q.page[2].va;
	for (unsigned int i = 0; i < 4; i++)
		hg_pages(g, &g->buf[i], 1, false);
	hg_pages(g, &g->readonly, 1, true);
	hg_run_of_two(g, g->run);
}

void hg_put(struct hg *g, const char *node, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", g->fe, node);
	hg_must(!share_publish(g->share, path, value));
}

void hg_put_number(struct hg *g, const char *node, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	hg_put(g, node, text);
}

unsigned int hg_backend_state(struct hg *g)
{
	char path[160], text[16];

	snprintf(path, sizeof(path), "%s/state", g->be);
	return share_read(g->share, path, text, sizeof(text)) ? 0 : (unsigned int)atoi(text);
}

void hg_wait_backend(struct hg *g, unsigned int state)
{
	uint64_t end = hg_now() + HG_PATIENCE;

	while (hg_backend_state(g) != state) {
		hg_must(hg_now() < end);
		usleep(5000);
	}
}

static void renew_port(struct hg *g, uint32_t *port)
{
	if (*port)
		share_port_close(g->share, *port);
	hg_must(!share_port(g->share, g->backend, port));
}

void hg_offer(struct hg *g)
{
	hg_wait_backend(g, 2);
	memset(g->ctrl, 0, sizeof(*g->ctrl));
	g->seq = 0;
	renew_port(g, &g->port);
	hg_put(g, XVS_KEY_VERSION, "1");
	hg_put(g, XVS_KEY_ADDRESSING, "grant");
	hg_put(g, XVS_KEY_PROTECTION, "strict");
	hg_put_number(g, XVS_KEY_CTRL_REF, g->page.ref);
	hg_put_number(g, XVS_KEY_CTRL_PORT, g->port);
	hg_put(g, "state", "3");
}

void hg_connect(struct hg *g)
{
	hg_offer(g);
	hg_wait_backend(g, 4);
	hg_must(g->ctrl->info.magic == XVS_MAGIC && g->ctrl->info.num_queues);
	hg_put(g, "state", "4");
}

void hg_disconnect(struct hg *g)
{
	hg_put(g, "state", "5");
	hg_wait_backend(g, 5);
	hg_put(g, "state", "6");
	hg_wait_backend(g, 6);
	hg_put(g, "state", "1");
	hg_wait_backend(g, 2);
}

int hg_request(struct hg *g, struct xvs_request *req)
{
	uint64_t end = hg_now() + HG_PATIENCE;

	g->seq = g->seq + 1 ? g->seq + 1 : 1;
	g->ctrl->req.op = req->op;
	memcpy(&g->ctrl->req.u, &req->u, sizeof(req->u));
	__atomic_store_n(&g->ctrl->req.seq, g->seq, __ATOMIC_RELEASE);
	share_notify(g->share, g->port);
	while (__atomic_load_n(&g->ctrl->rsp.seq, __ATOMIC_ACQUIRE) != g->seq) {
		hg_must(hg_now() < end);
		share_wait(g->share, 50);
	}
	return g->ctrl->rsp.result;
}

int hg_status(struct hg *g, uint32_t status)
{
	struct xvs_request req = { .op = XVS_OP_SET_DEVICE_STATUS, .u.status = status };

	return hg_request(g, &req);
}

int hg_set_queue(struct hg *g)
{
	struct xvs_request req = { .op = XVS_OP_SET_VQUEUE, .u.index = 0 };
	struct xvs_queue *e = &g->ctrl->queue[0];

	for (unsigned int i = 0; i < 3; i++)
		memset(g->q.page[i].va, 0, XVS_PAGE_SIZE);
	g->q.next = g->q.seen = 0;
	renew_port(g, &g->q.port);
	e->size = HG_SIZE;
	e->evtchn = g->q.port;
	e->desc_addr = hg_daddr(&g->q.page[0], 0);
	e->driver_addr = hg_daddr(&g->q.page[1], 0);
	e->device_addr = hg_daddr(&g->q.page[2], 0);
	return hg_request(g, &req);
}

void hg_start(struct hg *g)
{
	struct xvs_request req = { .op = XVS_OP_SET_DRIVER_FEATURES };

	hg_must(!hg_status(g, 0));
	hg_must(!hg_status(g, 3));
	req.u.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
			 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	hg_must(!hg_request(g, &req));
	hg_must(!hg_status(g, 11));
	hg_must(!hg_set_queue(g));
	hg_must(!hg_status(g, 15));
}

bool hg_needs_reset(struct hg *g)
{
	return __atomic_load_n(&g->ctrl->info.device_status, __ATOMIC_ACQUIRE) &
	       VIRTIO_CONFIG_S_NEEDS_RESET;
}

void hg_push(struct hg *g, uint16_t head)
{
	g->q.avail->ring[g->q.next++ % HG_SIZE] = head;
}

void hg_kick(struct hg *g)
{
	__atomic_store_n(&g->q.avail->idx, g->q.next, __ATOMIC_SEQ_CST);
	share_notify(g->share, g->q.port);
}

bool hg_pop(struct hg *g, unsigned int ms, struct vring_used_elem *e)
{
	uint64_t end = hg_now() + ms;

	while (__atomic_load_n(&g->q.used->idx, __ATOMIC_ACQUIRE) == g->q.seen) {
		if (hg_now() >= end)
			return false;
		share_wait(g->share, ms < 50 ? ms : 50);
	}
	*e = g->q.used->ring[g->q.seen++ % HG_SIZE];
	return true;
}

uint64_t hg_daddr(const struct hg_page *page, uint32_t offset)
{
	return XVS_DADDR_GRANT | (uint64_t)page->ref << XVS_DADDR_GREF_SHIFT | offset;
}

void hg_desc(struct hg *g, unsigned int i, uint64_t addr, uint32_t len, uint16_t flags,
	     uint16_t next)
{
	g->q.desc[i] = (struct vring_desc){ addr, len, flags, next };
}

void hg_blk(struct hg *g, unsigned int i, struct hg_page *page, uint32_t type, uint64_t sector,
	    uint32_t len)
{
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };

	memcpy(page->va + HG_HEADER, &hdr, sizeof(hdr));
	page->va[HG_STATUS] = 0xee;
	hg_desc(g, i, hg_daddr(page, HG_HEADER), sizeof(hdr), NEXT, (uint16_t)(i + 1));
	hg_desc(g, i + 1, hg_daddr(page, HG_DATA), len,
		(uint16_t)(NEXT | (type == HG_WRITE ? 0 : WRITE)), (uint16_t)(i + 2));
	hg_desc(g, i + 2, hg_daddr(page, HG_STATUS), 1, WRITE, 0);
}

uint8_t hg_run(struct hg *g, uint16_t head, struct hg_page *page, uint32_t *used)
{
	struct vring_used_elem e;

	page->va[HG_STATUS] = 0xee;
	hg_push(g, head);
	hg_kick(g);
	hg_must(hg_pop(g, HG_PATIENCE, &e));
	hg_must(e.id == head && !hg_needs_reset(g));
	if (used)
		*used = e.len;
	return page->va[HG_STATUS];
}

void hg_good(struct hg *g)
{
	static uint8_t round;
	uint8_t *data = g->buf[0].va + HG_DATA;
	uint64_t sector = hg_random() % 1024;

	memset(data, ++round, 512);
	hg_blk(g, 0, &g->buf[0], HG_WRITE, sector, 512);
	hg_must(hg_run(g, 0, &g->buf[0], NULL) == VIRTIO_BLK_S_OK);
	memset(data, 0, 512);
	hg_blk(g, 0, &g->buf[0], HG_READ, sector, 512);
	hg_must(hg_run(g, 0, &g->buf[0], NULL) == VIRTIO_BLK_S_OK);
	for (unsigned int i = 0; i < 512; i++)
		hg_must(data[i] == round);
}

void hg_broken(struct hg *g, unsigned int number, const char *reason)
{
	uint64_t end = hg_now() + HG_PATIENCE;

	while (!hg_needs_reset(g)) {
		if (hg_now() >= end)
			printf("hazard %u: not broken, expected: %s\n", number, reason);
		hg_must(hg_now() < end);
		share_wait(g->share, 50);
	}
	hg_step(g, number, "broken", "%s", reason);
	hg_start(g);
	hg_good(g);
}

void hg_breaks(struct hg *g, unsigned int number, uint16_t head, const char *reason)
{
	hg_push(g, head);
	hg_kick(g);
	hg_broken(g, number, reason);
}
