/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the checking device. Everything here runs with the registers locked. */
#ifndef XVS_DEV_CHECK_PRIV_H
#define XVS_DEV_CHECK_PRIV_H

#include "dev/check.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <semaphore.h>
#include <xvshim/protocol.h>

/* What the driver sees of a queue. */
struct check_queue_regs {
	bool enabled;
	bool kicked;
	uint16_t size;
	maddr_t desc, driver, device;
};

struct check_regs {
	pthread_mutex_t lock;
	uint8_t status;
	bool reset, stop, paused, unplugged;
	unsigned int linger_ms;
	uint32_t isr;
	uint64_t driver_features;
	uint32_t config_gen;
	_Alignas(8) uint8_t config[128];
	struct check_queue_regs queue[XVS_MAX_QUEUES];
	unsigned int mischief[CHECK_MISCHIEFS];
	struct check_stats stats;
	bool violated;
	char story[256];
};

/* A part of a buffer within one frame, and the pin that held when the chain was taken. */
struct check_piece {
	maddr_t maddr;
	uint32_t len;
	uint32_t gen;
	bool write;
};

struct check_req {
	struct check_req *next;
	unsigned int queue;
	uint16_t head;
	int64_t due; /* ns */
	uint64_t readable, writable;
	uint32_t npieces, room;
	struct check_piece *piece;
};

struct check_queue {
	uint16_t last_avail, used;
	uint8_t busy[XVS_QUEUE_SIZE_MAX]; /* heads in flight */
};

struct check_dev {
	struct xdev dev;
	struct check_config cfg;
	struct check_regs *regs;
	uint64_t features;
	int doorbell, irq;
	pthread_t thread;
	sem_t up; /* posted by it */
	uint8_t *disk, *durable; /* durable NULL: the same */
	uint64_t dirty_from, dirty_to; /* bytes of the disk that are not durable yet */
	uint64_t rng;
	int64_t reset_at; /* 0: none seen */
	struct check_queue queue[XVS_MAX_QUEUES];
	struct check_req *inflight; /* the oldest first */
};

static inline struct check_dev *check_of(struct xdev *dev)
{
	return (struct check_dev *)dev; /* the first member */
}

static inline bool check_has(const struct check_dev *d, unsigned int bit)
{
	return d->regs->driver_features >> bit & 1;
}

/* check.c */
int64_t check_now(void);
uint32_t check_random(struct check_dev *d, uint32_t below);
bool check_mischief(struct check_dev *d, enum check_mischief what);
__attribute__((format(printf, 2, 3))) void check_violate(struct check_dev *d, const char *fmt, ...);

/* check_ring.c */
void check_fetch(struct check_dev *d, unsigned int queue);
void check_busy(struct check_dev *d, unsigned int queue);
bool check_recheck(struct check_dev *d, const struct check_req *r, const char *when);
uint64_t check_copy(struct check_dev *d, const struct check_req *r, bool write, uint64_t off,
		    void *buf, uint64_t len);
void check_publish(struct check_dev *d, const struct check_req *r, uint32_t len);
void check_req_free(struct check_req *r);

/* check_blk.c */
uint32_t check_blk_serve(struct check_dev *d, const struct check_req *r);
void check_blk_config(struct check_dev *d);
/* check_net.c */
void check_net_config(struct check_dev *d);
void check_net_complete(struct check_dev *d, struct check_req *tx);

/* check_thread.c */
void check_pass(struct check_dev *d);
bool check_complete_one(struct check_dev *d, unsigned int pick);
int check_thread_start(struct check_dev *d);

#endif
