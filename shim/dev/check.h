/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checking device: a virtio device on a simulated machine that reaches memory by machine
 * addresses only, and stops the test when one is wrong. An address is right when each frame of
 * it is pinned by a live device-map handle of the back end's domain, of the right direction,
 * from the moment the device takes a chain until its used element is there. Rings and indirect
 * tables must lie in DMA memory of the back end.
 *
 * The device runs in a thread of the process that made it. Its registers are shared memory, so
 * a process forked later may drive it through struct xdev.
 */
#ifndef XVS_DEV_CHECK_H
#define XVS_DEV_CHECK_H

#include "dev/dev.h"
#include "hv/sim.h"

/* One descriptor as the device found it, in a chain that starts at head. */
struct check_trace {
	unsigned int queue;
	uint16_t head;
	maddr_t maddr;
	uint32_t len;
	bool write; /* device-writable */
};

/* 0 or NULL in any field: the default. */
struct check_config {
	struct sim_machine *machine;
	uint16_t domid;         /* the back end's domain */
	uint32_t device_id;     /* 2, block; 1, net */
	uint64_t features;      /* offered besides VERSION_1; 0: everything it can */
	unsigned int num_queues; /* 1; net: 2 */
	uint16_t queue_size;    /* 128 */
	uint64_t sectors;       /* 2048 */
	uint32_t blk_size, seg_max, size_max; /* 512, queue_size - 2, 65536 */
	bool readonly;
	bool suppress; /* asks for no notifications while it is busy, as real devices do */
	bool shuffle;  /* completes out of order */
	bool writeback; /* what it writes is durable when a flush has completed, not before */
	bool stepped;  /* has no thread: works in check_dev_step() alone, and resets at once */
	unsigned int delay_us;        /* from taking a request to completing it, at most */
	unsigned int reset_delay_ms;  /* it goes on until then, late as it is */
	unsigned int reset_timeout_ms; /* 1000 */
	uint64_t seed;
	/* Called in the device's thread. violation NULL: prints the story and aborts. */
	void (*violation)(void *arg, const char *story);
	void (*trace)(void *arg, const struct check_trace *t);
	/* Also in its thread, with the registers locked: a disk has stored len bytes. */
	void (*wrote)(void *arg, uint64_t sector, const void *data, uint64_t len);
	void *arg;
};

/* -ENOMEM, -EINVAL, or what the system says about threads and descriptors. */
struct xdev *check_dev_open(const struct check_config *config, int *err);

/* The first violation since it was opened, or NULL. A device with one stands still. */
const char *check_dev_violation(struct xdev *dev);

/* What it does wrong, as a hostile or a broken device would. */
enum check_mischief {
	CHECK_BAD_ID,      /* a used id outside the queue */
	CHECK_STALE_ID,    /* a used id within the queue that was not posted */
	CHECK_TWICE,       /* the same used id twice */
	CHECK_LONG,        /* a used length above the buffers' */
	CHECK_RUNAWAY,     /* a used index further ahead than the queue is long */
	CHECK_LOSE,        /* the request never completes */
	CHECK_IO_ERROR,    /* the request fails */
	CHECK_LIE,         /* the request succeeds, nothing was done, length 0 */
	CHECK_HANG_RESET,  /* does not confirm a reset; until set to 0 */
	CHECK_MISCHIEFS,
};
/* The next count occasions. */
void check_dev_misbehave(struct xdev *dev, enum check_mischief what, unsigned int count);

/* Paused it takes nothing and completes nothing, but resets. */
void check_dev_pause(struct xdev *dev, bool pause);
/*
 * One step of a device that has no thread: it takes what it was notified of, then completes number
 * pick, modulo, of the requests in flight. false: it had none. The same calls have the same effect
 * every time.
 */
bool check_dev_step(struct xdev *dev, unsigned int pick);
/*
 * From now on it completes nothing, and confirms the next reset so many ms after it was asked. Until
 * then it goes on: it takes what it is notified of, a disk does all that it has in flight over and
 * over again, and at the end it completes it. Whatever it touches must still be pinned.
 */
void check_dev_linger(struct xdev *dev, unsigned int ms);
/* A surprise removal: its registers read as all ones, requests in flight are lost. And back again. */
void check_dev_unplug(struct xdev *dev, bool out);
/* Says DEVICE_NEEDS_RESET, or a new size of the disk. */
void check_dev_fail(struct xdev *dev);
void check_dev_resize(struct xdev *dev, uint64_t sectors);
/* The disk; only while no request is under way. */
void *check_dev_disk(struct xdev *dev, size_t *size);
/* A part of the disk, at any time. durable: as a loss of power would leave it; with writeback only. */
void check_dev_peek(struct xdev *dev, bool durable, uint64_t sector, void *buf, size_t len);

struct check_stats {
	uint64_t requests, completed, descs, bytes;
	uint64_t notifies, irqs, resets, config_writes;
	uint64_t again; /* requests done once more while it lingered */
	uint32_t inflight;
};
void check_dev_stats(struct xdev *dev, struct check_stats *stats);
/* What the driver, that is the daemon, has accepted. */
uint64_t check_dev_driver_features(struct xdev *dev);

#endif
