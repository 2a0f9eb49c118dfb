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

struct dpdk_guest {
	int fd; /* the connection */
	char *memory;
	struct vring_desc *desc; /* of queue 1, which the guest sends by */
	struct vring_avail *avail;
	struct vring_used *used;
};

/* Connects to the socket and starts both queues. Ends the program when it cannot. */
void dpdk_guest_start(struct dpdk_guest *g, const char *path);
/* The guest's address of a data page; 0 <= page < dpdk_guest_pages(). */
uint64_t dpdk_guest_page(unsigned int page);
unsigned int dpdk_guest_pages(void);

#endif
