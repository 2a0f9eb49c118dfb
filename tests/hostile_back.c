/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hostile_back DOMID: see hostile_back.h. */
#include "hostile_back.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 60000 /* ms: a guest that waits for an answer in vain does so for 30 s */

const char hb_pattern[16] = "xvshim-secret-45";

static void __attribute__((format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list ap;

	fputs("FAIL ", stdout);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t roll(void)
{
	static uint64_t x = 88172645463325252ull; /* xorshift64, the same every time */

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

static void put_state(struct hb *b, unsigned int state)
{
	if (node_put_number(b->hv, 0, b->be, "state", state))
		fail("cannot write to the store");
}

static unsigned int front_state(struct hb *b)
{
	enum xb_state state = XB_UNKNOWN;

	return node_get_state(b->hv, b->fe, &state) ? 0 : (unsigned int)state;
}

/* -- the control page -- */

static int carry_out(struct hb *b, const struct xvs_request *r)
{
	switch (r->op) {
	case XVS_OP_SET_DRIVER_FEATURES:
		return 0;
	case XVS_OP_SET_DEVICE_STATUS:
		b->status = (uint8_t)r->u.status;
		if (!b->status)
			hb_queue_off(b);
		return 0;
	case XVS_OP_SET_VQUEUE:
		return r->u.index || b->q.live ? XVS_EINVAL : hb_queue_on(b);
	case XVS_OP_RELEASE_GRANTS:
		return 0;
	default:
		return XVS_EOPNOTSUPP;
	}
}

static void serve_control(struct hb *b)
{
	struct xvs_request r = b->ctrl->req;
	uint32_t seq = __atomic_load_n(&b->ctrl->req.seq, __ATOMIC_ACQUIRE);

	if (seq == b->seq)
		return;
	r = b->ctrl->req;
	b->seq = seq;
	b->ctrl->rsp.result = carry_out(b, &r);
	b->ctrl->rsp.status = b->ctrl->info.device_status = b->status;
	__atomic_store_n(&b->ctrl->rsp.seq, seq, __ATOMIC_RELEASE);
	b->hv->ops->evtchn_notify(b->hv, b->port);
}

void hb_run(struct hb *b, unsigned int ms)
{
	uint64_t end = now_ms() + ms;
	struct pollfd p[2] = { { .fd = 0, .events = POLLIN },
			       { .fd = b->hv->ops->evtchn_fd(b->hv), .events = POLLIN } };
	uint32_t port;

	do {
		uint64_t now = now_ms();

		if (poll(p, 2, now < end ? (int)(end - now) : 0) < 0)
			fail("poll");
		while (b->hv->ops->evtchn_pending(b->hv, &port) == 1)
			b->hv->ops->evtchn_unmask(b->hv, port);
		if (b->ctrl) {
			serve_control(b);
			hb_serve(b);
		}
	} while (now_ms() < end && !(p[0].revents & (POLLIN | POLLHUP)));
}

/* The same until the front end is in one of two states; false: it is not in time. */
static bool run_until(struct hb *b, unsigned int one, unsigned int other)
{
	uint64_t end = now_ms() + PATIENCE;

	for (;;) {
		unsigned int state = front_state(b);

		if (state == one || state == other)
			return true;
		if (now_ms() > end)
			return false;
		hb_run(b, 20);
		if (now_ms() < end)
			usleep(1000); /* a line may wait at fd 0 */
	}
}

/* -- connecting, and the end of it -- */

static void fill_page(struct hb *b)
{
	struct xvs_control_page *c = b->ctrl;
	const uint64_t capacity = HB_SECTORS;
	bool pool = strcmp(b->protection, "strict");

	c->info = (struct xvs_device_info){
		.magic = XVS_MAGIC, .version = XVS_VERSION, .num_queues = 1, .device_id = 2,
		.config_len = 64,
		.device_features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
				   1ull << VIRTIO_RING_F_INDIRECT_DESC,
		.addressing = XVS_ADDRESSING_GRANT,
		.protection = pool ? XVS_PROTECTION_POOL : XVS_PROTECTION_STRICT,
	};
	c->queue[0].size_max = HB_SIZE;
	memcpy(c->config, &capacity, sizeof(capacity));
}

static void nodes_new(struct hb *b)
{
	const struct hv_ops *ops = b->hv->ops;
	int rc;

	snprintf(b->be, sizeof(b->be), "/local/domain/0/backend/virtio-hostile/%u/%u", b->domid,
		 b->dev);
	path_frontend(b->fe, b->domid, b->dev);
	rc = ops->store_grant(b->hv, 0, b->be, 0, b->domid) ?:
	     node_put(b->hv, 0, b->be, "frontend", b->fe) ?:
	     node_put_number(b->hv, 0, b->be, "frontend-id", b->domid) ?:
	     node_put(b->hv, 0, b->be, "online", "1") ?:
	     node_put(b->hv, 0, b->be, "versions", "1") ?:
	     node_put(b->hv, 0, b->be, "device-id", "2") ?:
	     node_put(b->hv, 0, b->be, "addressing-offered", "grant") ?:
	     node_put(b->hv, 0, b->be, "protection-offered", b->protection) ?:
	     node_put(b->hv, 0, b->be, "state", "2") ?:
	     ops->store_grant(b->hv, 0, b->fe, b->domid, 0) ?:
	     node_put(b->hv, 0, b->fe, "backend", b->be) ?:
	     node_put(b->hv, 0, b->fe, "backend-id", "0") ?:
	     node_put(b->hv, 0, b->fe, "state", "1");
	if (rc)
		fail("the store refused: %s", strerror(-rc));
	b->open = true;
}

/* The front end offered: everything of it is taken up. */
static void take_up(struct hb *b)
{
	uint64_t ref = 0, port = 0;

	if (node_get_number(b->hv, b->fe, "ctrl-ref", UINT32_MAX, &ref) ||
	    node_get_number(b->hv, b->fe, "event-channel", UINT32_MAX, &port))
		fail("nodes of the front end");
	b->ctrl = hb_map(b, (uint32_t)ref, true);
	if (!b->ctrl)
		fail("its control page cannot be mapped");
	if (b->hv->ops->evtchn_bind(b->hv, b->domid, (uint32_t)port, &b->port))
		fail("its port cannot be bound");
	b->seq = 0;
	b->status = 0;
	fill_page(b);
}

static void let_go(struct hb *b)
{
	hb_queue_off(b);
	if (!b->ctrl)
		return;
	b->hv->ops->evtchn_unbind(b->hv, b->port);
	hb_unmap(b, b->ctrl);
	b->ctrl = NULL;
}

static void nodes_end(struct hb *b)
{
	b->hv->ops->store_rm(b->hv, 0, b->fe);
	b->hv->ops->store_rm(b->hv, 0, b->be);
	b->open = false;
}

static void cmd_open(struct hb *b, const char *protection)
{
	snprintf(b->protection, sizeof(b->protection), "%s", protection);
	b->bug = HB_GOOD;
	b->done = false;
	nodes_new(b);
	if (!run_until(b, 3, 3))
		fail("the front end does not offer anything");
	take_up(b);
	put_state(b, 4);
	if (!run_until(b, 4, 6))
		fail("the front end does not come up: %u", front_state(b));
	printf("ok open\n");
}

static void cmd_close(struct hb *b)
{
	put_state(b, 5);
	if (!run_until(b, 6, 0))
		fail("the front end does not let go: %u", front_state(b));
	let_go(b);
	put_state(b, 6);
	nodes_end(b);
	b->dev++;
	printf("ok close\n");
}

/* Says nothing more about it; the guest keeps a disk that nobody serves. */
static void cmd_abandon(struct hb *b)
{
	let_go(b);
	b->open = false;
	b->dev++;
	printf("ok abandon\n");
}

/* -- what it does wrong beside requests -- */

/* 45: reads every page of the guest that Xen lets it read. */
static void cmd_scan(struct hb *b)
{
	unsigned int pages = 0, dirty = 0, found = 0;
	static const uint8_t zero[XVS_PAGE_SIZE];

	for (uint32_t ref = 0; ref < 16 * 512; ref++) {
		uint8_t *va = hb_map(b, ref, false);

		if (!va)
			continue;
		pages++;
		dirty += memcmp(va, zero, XVS_PAGE_SIZE) != 0;
		found += memmem(va, XVS_PAGE_SIZE, hb_pattern, sizeof(hb_pattern)) != NULL;
		hb_unmap(b, va);
	}
	printf("ok %u pages granted, %u of them not all zero, the secret in %u\n", pages, dirty,
	       found);
}

/* 46 */
static void cmd_storm(struct hb *b, unsigned int ms)
{
	uint64_t end = now_ms() + ms, n = 0;

	while (now_ms() < end) {
		for (unsigned int i = 0; i < 100; i++, n += 2) {
			b->hv->ops->evtchn_notify(b->hv, b->port);
			if (b->q.live)
				b->hv->ops->evtchn_notify(b->hv, b->q.port);
		}
		serve_control(b);
		hb_serve(b);
	}
	printf("ok %llu events in %u ms\n", (unsigned long long)n, ms);
}

/* 44: is it still what it was? */
static void cmd_kept(struct hb *b)
{
	if (!b->kept)
		fail("no page was kept");
	if (memcmp(b->kept, b->was, XVS_PAGE_SIZE))
		fail("the page that was kept has other contents");
	printf("ok the page has its contents\n");
}

static void cmd_unkeep(struct hb *b)
{
	hb_unmap(b, b->kept);
	b->kept = NULL;
	printf("ok\n");
}

/*
 * 47: states in any order, at any distance, each connection cut off at another point. What was taken
 * up is served until the front end is Closed: a request that nobody answers is the end of the disk.
 */
static void race(struct hb *b)
{
	nodes_new(b);
	hb_run(b, (unsigned int)(roll() % 100));
	if (roll() % 4)
		run_until(b, 3, 6);
	if (front_state(b) == 3) {
		take_up(b);
		put_state(b, 4);
		hb_run(b, (unsigned int)(roll() % 200));
	}
	for (unsigned int i = (unsigned int)(roll() % 4); i; i--) {
		static const unsigned int states[] = { 5, 5, 4, 3, 7, 8, 9 };

		put_state(b, states[roll() % 7]);
		hb_run(b, (unsigned int)(roll() % 30));
	}
	put_state(b, 5);
	hb_run(b, (unsigned int)(roll() % 50));
	if (roll() % 2)
		put_state(b, 5);
	if (!run_until(b, 6, 0))
		fail("the front end does not let go: %u", front_state(b));
	let_go(b);
	if (roll() % 2)
		put_state(b, 6);
	nodes_end(b);
}

static void cmd_races(struct hb *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		race(b);
		b->dev++;
	}
	printf("ok %u times\n", n);
}

static void obey(struct hb *b, char *line)
{
	static const struct { const char *name; enum hb_bug bug; } bugs[] = {
		{ "good", HB_GOOD }, { "used-range", HB_USED_RANGE },
		{ "used-never", HB_USED_NEVER }, { "used-len", HB_USED_LEN },
		{ "rewrite", HB_REWRITE }, { "keep", HB_KEEP },
	};
	char *word = strtok(line, " \n"), *arg = strtok(NULL, " \n");

	if (!word)
		return;
	if (!strcmp(word, "open"))
		return cmd_open(b, arg);
	if (!strcmp(word, "close"))
		return cmd_close(b);
	if (!strcmp(word, "abandon"))
		return cmd_abandon(b);
	if (!strcmp(word, "scan"))
		return cmd_scan(b);
	if (!strcmp(word, "storm"))
		return cmd_storm(b, (unsigned int)atoi(arg));
	if (!strcmp(word, "kept"))
		return cmd_kept(b);
	if (!strcmp(word, "unkeep"))
		return cmd_unkeep(b);
	if (!strcmp(word, "races"))
		return cmd_races(b, (unsigned int)atoi(arg));
	if (!strcmp(word, "check")) {
		printf("%s %u maps for writing refused\n", b->done ? "ok" : "FAIL", b->refused);
		return;
	}
	for (unsigned int i = 0; i < sizeof(bugs) / sizeof(bugs[0]); i++)
		if (!strcmp(word, bugs[i].name)) {
			b->bug = bugs[i].bug;
			b->done = false;
			printf("ok %s\n", word);
			return;
		}
	fail("what is %s?", word);
}

int main(int argc, char **argv)
{
	static char line[128];
	struct hb b = { .domid = argc > 1 ? (uint16_t)atoi(argv[1]) : 0 };
	struct pollfd p = { .fd = 0, .events = POLLIN };
	int err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	b.disk = calloc(HB_SECTORS, 512);
	b.hv = hv_open(hv_xen(), HV_CAP_GRANT | HV_CAP_EVTCHN | HV_CAP_STORE, &err);
	if (!b.hv || !b.disk || !b.domid)
		fail("cannot begin: %s", strerror(-err));
	for (;;) {
		/* by read(), so that nothing waits in a buffer that poll does not see */
		ssize_t n = 0;

		hb_run(&b, 1000);
		if (poll(&p, 1, 0) != 1)
			continue;
		n = read(0, line, sizeof(line) - 1);
		if (n <= 0)
			return 0;
		line[n] = '\0';
		obey(&b, line);
	}
}
