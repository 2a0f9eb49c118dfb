/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest for DPDK's vhost: the front end of a vhost-user connection whose other end is the
 * library in this same process, with the rings of one queue pair in shared memory.
 */
#ifndef XVS_BENCH_DPDK_GUEST_H
#define XVS_BENCH_DPDK_GUEST_H

#include <linux/virtio_ring.h>
#include <stdint.h>

#define GUEST_RING 256u
#define GUEST_REGIONS 2u
#define GUEST_REGION_PAGES 1024u

struct guest_queue {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint64_t next; /* buffer to post */
};

struct dpdk_guest {
	int fd; /* the connection */
	char *memory;
	struct guest_queue queue[2]; /* the guest receives by 0 and sends by 1 */
};

/* Connects to the socket and starts both queues. Ends the program when it cannot. */
void dpdk_guest_start(struct dpdk_guest *g, const char *path);
/* Makes n chains of one buffer each available. */
void dpdk_guest_post(struct guest_queue *q, unsigned int n, uint32_t len, uint16_t flags);

#endif
