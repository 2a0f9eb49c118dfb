/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DPDK's side of B1 and B2, the library as Debian built it.
 *
 *   lookup   rte_vhost_va_from_guest_pa over --extents N regions
 *   dequeue  rte_vhost_dequeue_burst of packets of 64 bytes, --batch N at a time. The clock
 *            stands while the guest posts and while the buffers are given back to their pool.
 *   forward  the same, and each packet enqueued into another ring: two rings, as the session has
 */
#include "dpdk_guest.h"
#include "lookup.h"
#include "serve.h"

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_vhost.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define PACKET_LEN 76u
#define BUFFER_LEN 2048u
enum { TO_GUEST, FROM_GUEST };

struct lookup {
	struct lookup_load load;
	struct rte_vhost_memory *memory;
};

struct dequeue {
	struct dpdk_guest guest;
	struct rte_mempool *pool;
	unsigned int batch;
};

static struct lookup lookup;
static struct dequeue dequeue;
static char socket_path[108];
static volatile int device = -1;

static void *open_lookup(int argc, char **argv)
{
	struct lookup *l = &lookup;

	lookup_load(&l->load, argc, argv);
	l->memory = calloc(1, sizeof(*l->memory) + l->load.extents * sizeof(*l->memory->regions));
	if (!l->memory)
		bench_fail("out of memory");
	l->memory->nregions = (uint32_t)l->load.extents;
	for (uint32_t i = 0; i < l->memory->nregions; i++) {
		l->memory->regions[i].guest_phys_addr = lookup_start(&l->load, i);
		l->memory->regions[i].host_user_addr = ((uint64_t)(i * 0x9e3779b1u)) << 12;
		l->memory->regions[i].size = l->load.pages << 12;
	}
	return l;
}

static void round_lookup(void *arg, uint64_t *units, uint64_t *cycles)
{
	struct lookup *l = arg;
	uint64_t start = bench_cycles(), sum = 0;

	for (unsigned int i = 0; i < LOOKUPS; i++) {
		uint64_t len = LOOKUP_LEN;

		sum += rte_vhost_va_from_guest_pa(l->memory, l->load.addr[i], &len);
		sum += len;
	}
	*cycles += bench_cycles() - start;
	*units += LOOKUPS;
	lookup_sink = sum;
}

static int new_device(int vid)
{
	device = vid;
	return 0;
}

static void destroy_device(int vid)
{
	(void)vid;
}

static void remove_socket(void)
{
	unlink(socket_path);
}

static void start_library(void)
{
	static const struct rte_vhost_device_ops ops = {
		.new_device = new_device,
		.destroy_device = destroy_device,
	};
	char lcores[32];
	char *argv[] = { (char *)"bench", (char *)"--no-huge", (char *)"--no-pci",
			 (char *)"--no-shconf", (char *)"--no-telemetry", (char *)"-m",
			 (char *)"128", (char *)"--log-level=1", (char *)"--lcores", lcores, NULL };

	snprintf(lcores, sizeof(lcores), "0@%d", sched_getcpu());
	if (rte_eal_init(sizeof(argv) / sizeof(*argv) - 1, argv) < 0)
		bench_fail("DPDK does not start here");
	snprintf(socket_path, sizeof(socket_path), "/tmp/xvshim-bench.%d", getpid());
	atexit(remove_socket);
	if (rte_vhost_driver_register(socket_path, 0) ||
	    rte_vhost_driver_callback_register(socket_path, &ops) ||
	    rte_vhost_driver_start(socket_path))
		bench_fail("vhost does not start here");
}

static void *open_dequeue(int argc, char **argv)
{
	struct dequeue *d = &dequeue;

	d->batch = (unsigned int)bench_arg(argc, argv, "--batch", 32);
	if (!d->batch || d->batch > GUEST_RING)
		bench_fail("--batch 1 to 256");
	start_library();
	d->pool = rte_pktmbuf_pool_create("packets", 4095, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					  (int)rte_socket_id());
	if (!d->pool)
		bench_fail("no packet buffers");
	dpdk_guest_start(&d->guest, socket_path);
	for (int ms = 0; device < 0 && ms < 5000; ms++)
		usleep(1000); /* the library has a thread of its own for messages */
	if (device < 0)
		bench_fail("vhost did not take the guest");
	return d;
}

static unsigned int take(struct dequeue *d, struct rte_mbuf **packet, unsigned int n,
			 uint64_t *cycles)
{
	uint64_t start = bench_cycles();
	unsigned int got = rte_vhost_dequeue_burst(device, FROM_GUEST, d->pool, packet,
						   (uint16_t)n);

	*cycles += bench_cycles() - start;
	if (!got)
		bench_fail("vhost dequeued nothing");
	if (packet[0]->pkt_len != PACKET_LEN - 12)
		bench_fail("vhost dequeued a packet of %u bytes", packet[0]->pkt_len);
	return got;
}

static void round_dequeue(void *arg, uint64_t *units, uint64_t *cycles)
{
	struct dequeue *d = arg;
	struct rte_mbuf *packet[GUEST_RING];

	dpdk_guest_post(&d->guest.queue[FROM_GUEST], d->batch, PACKET_LEN, 0);
	for (unsigned int n = 0, got; n < d->batch; n += got) {
		got = take(d, packet, d->batch - n, cycles);
		rte_pktmbuf_free_bulk(packet, got);
	}
	*units += d->batch;
}

static void round_forward(void *arg, uint64_t *units, uint64_t *cycles)
{
	struct dequeue *d = arg;
	struct rte_mbuf *packet[GUEST_RING];

	dpdk_guest_post(&d->guest.queue[FROM_GUEST], d->batch, PACKET_LEN, 0);
	dpdk_guest_post(&d->guest.queue[TO_GUEST], d->batch, BUFFER_LEN, VRING_DESC_F_WRITE);
	for (unsigned int n = 0, got; n < d->batch; n += got) {
		uint64_t start;

		got = take(d, packet, d->batch - n, cycles);
		start = bench_cycles();
		if (rte_vhost_enqueue_burst(device, TO_GUEST, packet, (uint16_t)got) != got)
			bench_fail("vhost did not enqueue all");
		*cycles += bench_cycles() - start;
		rte_pktmbuf_free_bulk(packet, got);
	}
	*units += d->batch;
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{ "lookup", open_lookup, round_lookup },
		{ "dequeue", open_dequeue, round_dequeue },
		{ "forward", open_dequeue, round_forward },
		{ 0 },
	};

	return bench_main(cases, argc, argv);
}
