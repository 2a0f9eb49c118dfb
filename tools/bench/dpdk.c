/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DPDK's side of B1 and B2, the library as Debian built it.
 *
 *   lookup   rte_vhost_va_from_guest_pa over --extents N regions
 *   dequeue  rte_vhost_dequeue_burst of packets of 64 bytes, --batch N at a time. The clock
 *            stands while the guest posts and while the buffers are given back to their pool.
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
#define SPOTS 256u
#define QUEUE 1 /* that the guest sends by */

struct lookup {
	struct lookup_load load;
	struct rte_vhost_memory *memory;
};

struct dequeue {
	struct dpdk_guest guest;
	struct rte_mempool *pool;
	unsigned int batch;
	uint64_t next;
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
	for (unsigned int i = 0; i < GUEST_RING; i++)
		d->guest.avail->ring[i] = (uint16_t)i;
	return d;
}

static void post(struct dequeue *d)
{
	struct dpdk_guest *g = &d->guest;

	for (unsigned int i = 0; i < d->batch; i++) {
		unsigned int spot = d->next++ % SPOTS;

		g->desc[(g->avail->idx + i) % GUEST_RING] = (struct vring_desc){
			.addr = dpdk_guest_page(spot * (dpdk_guest_pages() / SPOTS)) +
				spot % 60 * 64,
			.len = PACKET_LEN };
	}
	__atomic_store_n(&g->avail->idx, (uint16_t)(g->avail->idx + d->batch), __ATOMIC_RELEASE);
}

static void round_dequeue(void *arg, uint64_t *units, uint64_t *cycles)
{
	struct dequeue *d = arg;
	struct rte_mbuf *packet[GUEST_RING];
	unsigned int n = 0;

	post(d);
	while (n < d->batch) {
		uint64_t start = bench_cycles();
		uint16_t got = rte_vhost_dequeue_burst(device, QUEUE, d->pool, packet,
						       (uint16_t)(d->batch - n));

		*cycles += bench_cycles() - start;
		if (!got)
			bench_fail("vhost dequeued nothing");
		if (packet[0]->pkt_len != PACKET_LEN - 12)
			bench_fail("vhost dequeued a packet of %u bytes", packet[0]->pkt_len);
		rte_pktmbuf_free_bulk(packet, got);
		n += got;
	}
	*units += d->batch;
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{ "lookup", open_lookup, round_lookup },
		{ "dequeue", open_dequeue, round_dequeue },
		{ 0 },
	};

	return bench_main(cases, argc, argv);
}
