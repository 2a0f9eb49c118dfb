/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A simulated guest: the front end of virtio-xenbus and a small virtio-blk driver, in a domain
 * of a simulated machine. It keeps to docs/protocol.md and watches that the back end does: in
 * "strict" it ends every grant when a request completes, and a page that is still mapped then
 * is a violation.
 *
 * Order: sim_guest_new; a back end takes control reference and port, by sim_guest_handshake
 * through the store or directly; sim_guest_start; requests; sim_guest_reset; sim_guest_free.
 *
 * Threads: control functions from one thread, those of a queue from one thread a queue.
 * Errors: negative errno. Times are in ms.
 */
#ifndef XVS_SIM_GUEST_H
#define XVS_SIM_GUEST_H

#include "hv/sim.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <xvshim/protocol.h>

struct sim_guest;

/* One descriptor as the guest wrote it; gpa is what it stands for. */
struct sim_guest_trace {
	unsigned int queue;
	uint16_t head;
	uint64_t daddr;
	uint64_t gpa;
	uint32_t len;
	bool write; /* device-writable */
};

/* 0 or NULL in any field: the default. */
struct sim_guest_config {
	struct sim_machine *machine;
	uint16_t domid;
	uint16_t backend;
	uint64_t no_features;  /* refused though offered, e.g. 1 << VIRTIO_RING_F_EVENT_IDX */
	uint16_t queue_size;   /* at most; a power of two */
	unsigned int max_queues;
	unsigned int timeout;  /* of every wait for the back end; 5000 */
	enum xvs_addressing addressing; /* XVS_ADDRESSING_GRANT */
	enum xvs_protection protection; /* XVS_PROTECTION_STRICT; in others most grants stay */
	uint64_t seed;
	/* Called when the back end broke the protocol; NULL: only kept. */
	void (*violation)(void *arg, const char *story);
	void (*trace)(void *arg, const struct sim_guest_trace *t);
	void *arg;
};

/* Grants a zeroed control page and allocates the control port. */
struct sim_guest *sim_guest_new(const struct sim_guest_config *config, int *err);
/* Gives everything back; pages and grants the back end still holds are left behind. */
void sim_guest_free(struct sim_guest *g);
uint32_t sim_guest_ctrl_ref(const struct sim_guest *g);
uint32_t sim_guest_ctrl_port(const struct sim_guest *g);
struct xvs_control_page *sim_guest_ctrl(struct sim_guest *g);
/* The first violation, or NULL. */
const char *sim_guest_violation(struct sim_guest *g);

/*
 * The toolstack's part in the store, then the front end's: up to Connected; and the way back,
 * to Closed. handshake -ECONNREFUSED: the back end went to Closing; its reason is in why.
 */
int sim_toolstack_attach(struct sim_machine *m, uint16_t front, uint16_t back, unsigned int dev,
			 const char *source);
int sim_toolstack_detach(struct sim_machine *m, uint16_t front, uint16_t back, unsigned int dev);
int sim_toolstack_remove(struct sim_machine *m, uint16_t front, uint16_t back, unsigned int dev);
int sim_guest_handshake(struct sim_guest *g, unsigned int dev, char *why, size_t size);
int sim_guest_goodbye(struct sim_guest *g, unsigned int dev);

/* One request of the mailbox: op and u filled in. The result, or -ETIMEDOUT. */
int sim_guest_request(struct sim_guest *g, const struct xvs_request *req);
int sim_guest_set_status(struct sim_guest *g, uint32_t status, uint32_t *now);
int sim_guest_set_features(struct sim_guest *g, uint64_t features);
int sim_guest_config_read(struct sim_guest *g, unsigned int off, void *buf, unsigned int len);
int sim_guest_config_write(struct sim_guest *g, unsigned int off, const void *buf,
			   unsigned int len);
/* Waits for the back end to fill the control page, then checks it. */
int sim_guest_wait_info(struct sim_guest *g);
/* All of that: features, queues, DRIVER_OK. After a reset it may be called again. */
int sim_guest_start(struct sim_guest *g);
int sim_guest_setup_queue(struct sim_guest *g, unsigned int queue, uint16_t size);
/* Resets the device and takes back every request and ring. */
int sim_guest_reset(struct sim_guest *g);
/* Asks the back end for the grants it keeps and ends those nothing uses. How many runs stay. */
int sim_guest_release(struct sim_guest *g);
unsigned int sim_guest_kept(struct sim_guest *g);
uint64_t sim_guest_features(const struct sim_guest *g);
unsigned int sim_guest_queues(const struct sim_guest *g);
bool sim_guest_needs_reset(struct sim_guest *g);
/* 1: a control event came, 0: none within ms. */
int sim_guest_ctrl_event(struct sim_guest *g, unsigned int ms);

/* A piece of guest memory, contiguous in the guest's own view. */
struct sim_sg {
	uint64_t gpa;
	uint32_t len;
};

struct sim_blk_req;

/*
 * submit puts a request (VIRTIO_BLK_T_*) into the ring; -ENOSPC: no room for it now. kick
 * notifies if the back end wants it. After cork the back end sees nothing of what is submitted
 * until the next kick, and then all of it at once. wait returns the status byte of the request, which is gone
 * then, or a negative errno. done says without waiting.
 */
struct sim_blk_req *sim_blk_submit(struct sim_guest *g, unsigned int queue, uint32_t type,
				   uint64_t sector, const struct sim_sg *sg, unsigned int n,
				   int *err);
void sim_blk_cork(struct sim_guest *g, unsigned int queue);
int sim_blk_kick(struct sim_guest *g, unsigned int queue);
bool sim_blk_done(struct sim_guest *g, unsigned int queue, struct sim_blk_req *req);
int sim_blk_wait(struct sim_guest *g, unsigned int queue, struct sim_blk_req *req);
uint32_t sim_blk_used_len(const struct sim_blk_req *req);

/* One request for len bytes from or to buf, through guest memory in pieces at random places. */
int sim_blk_read(struct sim_guest *g, unsigned int queue, uint64_t sector, void *buf, size_t len);
int sim_blk_write(struct sim_guest *g, unsigned int queue, uint64_t sector, const void *buf,
		  size_t len);
int sim_blk_flush(struct sim_guest *g, unsigned int queue);
/* Such pieces by themselves: at most max of at most size_max bytes. buf NULL: left zero. */
int sim_sg_alloc(struct sim_guest *g, size_t len, uint32_t size_max, unsigned int max,
		 struct sim_sg *sg, unsigned int *n);
void sim_sg_free(struct sim_guest *g, const struct sim_sg *sg, unsigned int n);
int sim_sg_fill(struct sim_guest *g, const struct sim_sg *sg, unsigned int n, const void *buf);
int sim_sg_fetch(struct sim_guest *g, const struct sim_sg *sg, unsigned int n, void *buf);

/* Raw access, to do what a driver never would. */
struct sim_ring {
	uint16_t size;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint64_t desc_addr, driver_addr, device_addr; /* as told to the back end */
	uint32_t ref, npages, port;
};
struct sim_ring *sim_guest_ring(struct sim_guest *g, unsigned int queue);
/* Makes a buffer reachable for the back end. n references from *ref on; 0 without grants. */
int sim_guest_expose(struct sim_guest *g, uint64_t gpa, uint32_t len, bool readonly,
		     uint64_t *daddr, uint32_t *ref, uint32_t *n);
/* Puts a head into the available ring; notifies whether it is wanted or not. */
void sim_guest_push(struct sim_guest *g, unsigned int queue, uint16_t head);
int sim_guest_kick(struct sim_guest *g, unsigned int queue);
/* Takes the next used element; -EAGAIN: none within ms. */
int sim_guest_pop(struct sim_guest *g, unsigned int queue, unsigned int ms,
		  struct vring_used_elem *elem);

#endif
