/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A nested virtio device, driven with machine addresses. Implementations know registers and
 * nothing of guests, rings or grants.
 *
 * Errors: negative errno. Calls come from one thread. Reads of a device are not trusted: the
 * caller checks what it gets.
 */
#ifndef XVS_DEV_DEV_H
#define XVS_DEV_DEV_H

#include "hv/frames.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xdev;

enum { XDEV_IRQ_QUEUE = 1, XDEV_IRQ_CONFIG = 2 };

struct xdev_ops {
	/* Writes status 0 and waits until it reads back 0. -ETIMEDOUT: the device may still
	 * write memory, nothing it can reach may be let go. -ENODEV: it was unplugged, nothing
	 * is left that could write. */
	int (*reset)(struct xdev *dev);
	uint8_t (*get_status)(struct xdev *dev);
	void (*set_status)(struct xdev *dev, uint8_t status);

	uint64_t (*get_features)(struct xdev *dev);
	void (*set_features)(struct xdev *dev, uint64_t features);

	/* Config space ("Device Configuration Space"); atomic through the generation. */
	int (*config_read)(struct xdev *dev, unsigned int off, void *buf, unsigned int len);
	int (*config_write)(struct xdev *dev, unsigned int off, const void *buf, unsigned int len);

	/* 0: no such queue. */
	uint16_t (*queue_size_max)(struct xdev *dev, unsigned int index);
	int (*queue_enable)(struct xdev *dev, unsigned int index, uint16_t size, maddr_t desc,
			    maddr_t driver, maddr_t device);
	void (*notify)(struct xdev *dev, unsigned int index);

	/* A file descriptor that polls readable on an interrupt; irq_ack reads and clears the
	 * cause (XDEV_IRQ_*) and lets the next interrupt through. */
	int (*irq_fd)(struct xdev *dev);
	int (*irq_ack)(struct xdev *dev);

	void (*close)(struct xdev *dev);
};

struct xdev {
	const struct xdev_ops *ops;
	uint32_t device_id; /* virtio device type */
	uint32_t vendor_id;
	unsigned int num_queues;
	unsigned int config_len;
};

#endif
