/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The messages are those of QEMU's "Vhost-user Protocol", without its protocol features. */
#include "dpdk_guest.h"

#include "serve.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
};

#define PAGE 4096u
#define MESSAGE_VERSION 1u
#define FEATURE_VERSION_1 (1ull << 32)
#define SPOTS 256u     /* buffers in use */
#define RING_PAGES 4u /* of each queue: table, available and used ring */
#define DATA_PAGES (2 * (GUEST_REGION_PAGES - 2 * RING_PAGES))
#define REGION_BYTES ((uint64_t)GUEST_REGION_PAGES * PAGE)
#define HIGH_MEMORY (1ull << 32) /* where the second region begins */

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t n, padding;
			struct {
				uint64_t gpa, size, user, offset;
			} region[GUEST_REGIONS];
		} memory;
	} u;
} __attribute__((packed));

#define HEADER 12u

static void send_message(const struct dpdk_guest *g, struct message *m, uint32_t size,
			 const int *fds, unsigned int n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * GUEST_REGIONS)];
	} control;
	struct iovec iov = { m, HEADER + size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	m->flags = MESSAGE_VERSION;
	m->size = size;
	if (n) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	}
	if (sendmsg(g->fd, &msg, 0) != (ssize_t)iov.iov_len)
		bench_fail("vhost-user: a message could not be sent");
}

static void send_memory(const struct dpdk_guest *g, int memfd)
{
	int fds[GUEST_REGIONS] = { memfd, memfd };
	struct message m = { .request = SET_MEM_TABLE };

	m.u.memory.n = GUEST_REGIONS;
	for (unsigned int i = 0; i < GUEST_REGIONS; i++) {
		m.u.memory.region[i].gpa = i ? HIGH_MEMORY : 0;
		m.u.memory.region[i].size = REGION_BYTES;
		m.u.memory.region[i].user = (uintptr_t)g->memory + i * REGION_BYTES;
		m.u.memory.region[i].offset = i * REGION_BYTES;
	}
	send_message(g, &m, sizeof(m.u.memory), fds, GUEST_REGIONS);
}

static void send_state(const struct dpdk_guest *g, uint32_t request, uint32_t index, uint32_t num)
{
	struct message m = { .request = request };

	m.u.state.index = index;
	m.u.state.num = num;
	send_message(g, &m, sizeof(m.u.state), NULL, 0);
}

static void send_eventfd(const struct dpdk_guest *g, uint32_t request, uint32_t index)
{
	struct message m = { .request = request };
	int fd = eventfd(0, EFD_NONBLOCK);

	m.u.u64 = index;
	send_message(g, &m, sizeof(m.u.u64), &fd, 1);
	close(fd);
}

static void start_queue(struct dpdk_guest *g, uint32_t index)
{
	char *base = g->memory + (size_t)index * RING_PAGES * PAGE;
	struct guest_queue *q = &g->queue[index];
	struct message m = { .request = SET_VRING_ADDR };

	q->desc = (void *)base;
	q->avail = (void *)(base + PAGE);
	q->used = (void *)(base + 2 * PAGE);
	q->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	for (unsigned int i = 0; i < GUEST_RING; i++)
		q->avail->ring[i] = (uint16_t)i;
	send_state(g, SET_VRING_NUM, index, GUEST_RING);
	send_state(g, SET_VRING_BASE, index, 0);
	m.u.addr.index = index;
	m.u.addr.desc = (uintptr_t)q->desc;
	m.u.addr.avail = (uintptr_t)q->avail;
	m.u.addr.used = (uintptr_t)q->used;
	send_message(g, &m, sizeof(m.u.addr), NULL, 0);
	send_eventfd(g, SET_VRING_CALL, index);
	send_eventfd(g, SET_VRING_KICK, index);
}

void dpdk_guest_start(struct dpdk_guest *g, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct message m = { .request = SET_OWNER };
	int memfd = memfd_create("guest", MFD_CLOEXEC);

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	g->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(g->fd, (struct sockaddr *)&addr, sizeof(addr)))
		bench_fail("vhost-user: %s: no connection", path);
	if (memfd < 0 || ftruncate(memfd, GUEST_REGIONS * REGION_BYTES))
		bench_fail("no shared memory");
	g->memory = mmap(NULL, GUEST_REGIONS * REGION_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, memfd, 0);
	if (g->memory == MAP_FAILED)
		bench_fail("no shared memory");
	send_message(g, &m, 0, NULL, 0);
	m.request = SET_FEATURES;
	m.u.u64 = FEATURE_VERSION_1;
	send_message(g, &m, sizeof(m.u.u64), NULL, 0);
	send_memory(g, memfd);
	close(memfd);
	for (uint32_t i = 0; i < 2; i++)
		start_queue(g, i);
}

/* SPOTS buffers in pages of both regions in turn, behind the rings, not all at one offset. */
static uint64_t buffer(unsigned int spot)
{
	unsigned int page = spot * (DATA_PAGES / SPOTS);
	uint64_t offset = (uint64_t)(2 * RING_PAGES + page / 2) * PAGE + spot % 30 * 64;

	return spot % 2 ? HIGH_MEMORY + offset : offset;
}

void dpdk_guest_post(struct guest_queue *q, unsigned int n, uint32_t len, uint16_t flags)
{
	for (unsigned int i = 0; i < n; i++)
		q->desc[(q->avail->idx + i) % GUEST_RING] = (struct vring_desc){
			.addr = buffer(q->next++ % SPOTS), .len = len, .flags = flags };
	__atomic_store_n(&q->avail->idx, (uint16_t)(q->avail->idx + n), __ATOMIC_RELEASE);
}
