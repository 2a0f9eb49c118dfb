/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checking device as its driver and its test see it: registers. */
#include "dev/check_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CHECK_BLK_FEATURES                                                                         \
	(1ull << VIRTIO_BLK_F_SIZE_MAX | 1ull << VIRTIO_BLK_F_SEG_MAX |                            \
	 1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_MQ)
#define CHECK_NET_FEATURES (1ull << VIRTIO_NET_F_MAC)
#define CHECK_RING_FEATURES                                                                        \
	(1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |                   \
	 1ull << VIRTIO_F_ACCESS_PLATFORM)

int64_t check_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

uint32_t check_random(struct check_dev *d, uint32_t below)
{
	d->rng = d->rng * 6364136223846793005ull + 1442695040888963407ull;
	return below ? (uint32_t)(d->rng >> 33) % below : 0;
}

static void check_lock(struct check_dev *d)
{
	/* A driver that was killed leaves registers half written; so does a real one. */
	if (pthread_mutex_lock(&d->regs->lock) == EOWNERDEAD)
		pthread_mutex_consistent(&d->regs->lock);
}

static void check_unlock(struct check_dev *d)
{
	pthread_mutex_unlock(&d->regs->lock);
}

static void check_ring_bell(struct check_dev *d)
{
	if (eventfd_write(d->doorbell, 1))
		return;
}

static void check_raise(struct check_dev *d, uint32_t cause)
{
	d->regs->isr |= cause;
	d->regs->stats.irqs++;
	if (eventfd_write(d->irq, 1))
		return;
}

bool check_mischief(struct check_dev *d, enum check_mischief what)
{
	if (!d->regs->mischief[what])
		return false;
	d->regs->mischief[what]--;
	return true;
}

void check_violate(struct check_dev *d, const char *fmt, ...)
{
	struct check_regs *r = d->regs;
	va_list ap;

	if (r->violated)
		return;
	va_start(ap, fmt);
	vsnprintf(r->story, sizeof(r->story), fmt, ap);
	va_end(ap);
	r->violated = true;
	r->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (d->cfg.violation) {
		d->cfg.violation(d->cfg.arg, r->story);
		return;
	}
	fprintf(stderr, "checking device: %s\n", r->story);
	abort();
}

static uint8_t check_get_status(struct xdev *dev)
{
	struct check_dev *d = check_of(dev);
	uint8_t status;

	check_lock(d);
	status = d->regs->unplugged ? 0xff : d->regs->status;
	check_unlock(d);
	return status;
}

static int check_reset(struct xdev *dev)
{
	struct check_dev *d = check_of(dev);
	int64_t end = check_now() + (int64_t)d->cfg.reset_timeout_ms * 1000000;
	bool done;

	check_lock(d);
	if (d->regs->unplugged) {
		check_unlock(d);
		return -ENODEV;
	}
	d->regs->reset = true;
	if (d->cfg.stepped) {
		check_pass(d);
		done = !d->regs->reset;
		check_unlock(d);
		return done ? 0 : -ETIMEDOUT;
	}
	check_unlock(d);
	check_ring_bell(d);
	for (;;) {
		check_lock(d);
		done = !d->regs->reset || d->regs->unplugged;
		check_unlock(d);
		if (done)
			return 0;
		if (check_now() > end)
			return -ETIMEDOUT;
		usleep(100);
	}
}

static bool check_features_ok(const struct check_dev *d)
{
	uint64_t f = d->regs->driver_features;

	return !(f & ~d->features) && f >> VIRTIO_F_VERSION_1 & 1;
}

static void check_set_status(struct xdev *dev, uint8_t status)
{
	struct check_dev *d = check_of(dev);

	check_lock(d);
	if (!status) {
		d->regs->reset = true;
	} else if (!d->regs->reset) {
		if ((status & VIRTIO_CONFIG_S_FEATURES_OK) && !check_features_ok(d))
			status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
		d->regs->status |= status;
	}
	check_unlock(d);
	check_ring_bell(d);
}

static uint64_t check_get_features(struct xdev *dev)
{
	return check_of(dev)->features;
}

static void check_set_features(struct xdev *dev, uint64_t features)
{
	struct check_dev *d = check_of(dev);

	check_lock(d);
	d->regs->driver_features = features;
	check_unlock(d);
}

static int check_config_read(struct xdev *dev, unsigned int off, void *buf, unsigned int len)
{
	struct check_dev *d = check_of(dev);
	bool gone;

	if (len > dev->config_len || off > dev->config_len - len)
		return -EINVAL;
	check_lock(d);
	memcpy(buf, d->regs->config + off, len);
	gone = d->regs->unplugged;
	check_unlock(d);
	return gone ? -ENODEV : 0;
}

static int check_config_write(struct xdev *dev, unsigned int off, const void *buf, unsigned int len)
{
	struct check_dev *d = check_of(dev);

	if (len > dev->config_len || off > dev->config_len - len)
		return -EINVAL;
	check_lock(d);
	d->regs->stats.config_writes++;
	/* The one field a driver may write; writes to others do nothing. */
	if (dev->device_id == VIRTIO_ID_BLOCK && len == 1 &&
	    off == offsetof(struct virtio_blk_config, wce))
		d->regs->config[off] = *(const uint8_t *)buf & 1;
	check_unlock(d);
	return 0;
}

static uint16_t check_queue_size_max(struct xdev *dev, unsigned int index)
{
	return index < dev->num_queues ? check_of(dev)->cfg.queue_size : 0;
}

static int check_queue_enable(struct xdev *dev, unsigned int index, uint16_t size, maddr_t desc,
			      maddr_t driver, maddr_t device)
{
	struct check_dev *d = check_of(dev);

	if (index >= dev->num_queues || !size || size > d->cfg.queue_size || size & (size - 1) ||
	    desc.a % 16 || driver.a % 2 || device.a % 4)
		return -EINVAL;
	check_lock(d);
	if (d->regs->unplugged) {
		check_unlock(d);
		return -ENODEV;
	}
	d->queue[index].last_avail = 0;
	d->regs->queue[index] = (struct check_queue_regs){
		.enabled = true, .kicked = false, .size = size,
		.desc = desc, .driver = driver, .device = device,
	};
	check_unlock(d);
	return 0;
}

static void check_notify(struct xdev *dev, unsigned int index)
{
	struct check_dev *d = check_of(dev);

	if (index >= dev->num_queues)
		return;
	check_lock(d);
	d->regs->queue[index].kicked = true;
	d->regs->stats.notifies++;
	check_unlock(d);
	check_ring_bell(d);
}

static int check_irq_fd(struct xdev *dev)
{
	return check_of(dev)->irq;
}

static int check_irq_ack(struct xdev *dev)
{
	struct check_dev *d = check_of(dev);
	eventfd_t n;
	int cause;

	check_lock(d);
	if (eventfd_read(d->irq, &n))
		n = 0;
	cause = d->regs->unplugged ? -ENODEV : (int)d->regs->isr;
	d->regs->isr = 0;
	check_unlock(d);
	return cause;
}

static void check_free(struct check_dev *d)
{
	while (d->inflight) {
		struct check_req *r = d->inflight;

		d->inflight = r->next;
		check_req_free(r);
	}
	if (d->doorbell >= 0)
		close(d->doorbell);
	if (d->irq >= 0)
		close(d->irq);
	if (d->regs)
		munmap(d->regs, sizeof(*d->regs));
	free(d->durable);
	free(d->disk);
	free(d);
}

static void check_close(struct xdev *dev)
{
	struct check_dev *d = check_of(dev);

	check_lock(d);
	d->regs->stop = true;
	check_unlock(d);
	check_ring_bell(d);
	if (!d->cfg.stepped)
		pthread_join(d->thread, NULL);
	check_free(d);
}

static const struct xdev_ops check_ops = {
	.reset = check_reset,
	.get_status = check_get_status,
	.set_status = check_set_status,
	.get_features = check_get_features,
	.set_features = check_set_features,
	.config_read = check_config_read,
	.config_write = check_config_write,
	.queue_size_max = check_queue_size_max,
	.queue_enable = check_queue_enable,
	.notify = check_notify,
	.irq_fd = check_irq_fd,
	.irq_ack = check_irq_ack,
	.close = check_close,
};

const char *check_dev_violation(struct xdev *dev)
{
	struct check_dev *d = check_of(dev);
	bool violated;

	check_lock(d);
	violated = d->regs->violated;
	check_unlock(d);
	return violated ? d->regs->story : NULL;
}

void check_dev_misbehave(struct xdev *dev, enum check_mischief what, unsigned int count)
{
	struct check_dev *d = check_of(dev);

	check_lock(d);
	d->regs->mischief[what] = count;
	check_unlock(d);
	check_ring_bell(d);
}

void check_dev_pause(struct xdev *dev, bool pause)
{
	struct check_dev *d = check_of(dev);

	check_lock(d);
	d->regs->paused = pause;
	check_unlock(d);
	check_ring_bell(d);
}

void check_dev_linger(struct xdev *dev, unsigned int ms)
{
	struct check_dev *d = check_of(dev);

	check_lock(d);
	d->regs->linger_ms = ms;
	check_unlock(d);
}

void check_dev_unplug(struct xdev *dev, bool out)
{
	struct check_dev *d = check_of(dev);

	check_lock(d);
	d->regs->unplugged = out;
	d->regs->status = 0;
	d->regs->reset = false;
	d->reset_at = 0;
	if (out) /* the kernel tells whoever waits for its interrupt */
		check_raise(d, XDEV_IRQ_CONFIG);
	check_unlock(d);
	check_ring_bell(d);
}

void check_dev_fail(struct xdev *dev)
{
	struct check_dev *d = check_of(dev);

	check_lock(d);
	d->regs->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	check_raise(d, XDEV_IRQ_CONFIG);
	check_unlock(d);
}

bool check_dev_step(struct xdev *dev, unsigned int pick)
{
	struct check_dev *d = check_of(dev);
	bool done;

	check_lock(d);
	check_pass(d);
	done = check_complete_one(d, pick);
	check_unlock(d);
	return done;
}

/* The disk is made large enough for the size at first; it may shrink and grow back. */
void check_dev_resize(struct xdev *dev, uint64_t sectors)
{
	struct check_dev *d = check_of(dev);
	struct virtio_blk_config *c = (struct virtio_blk_config *)d->regs->config;

	check_lock(d);
	c->capacity = sectors < d->cfg.sectors ? sectors : d->cfg.sectors;
	d->regs->config_gen++;
	check_raise(d, XDEV_IRQ_CONFIG);
	check_unlock(d);
}

void *check_dev_disk(struct xdev *dev, size_t *size)
{
	struct check_dev *d = check_of(dev);

	*size = d->cfg.sectors * 512;
	return d->disk;
}

void check_dev_peek(struct xdev *dev, bool durable, uint64_t sector, void *buf, size_t len)
{
	struct check_dev *d = check_of(dev);

	check_lock(d);
	memcpy(buf, (durable && d->durable ? d->durable : d->disk) + sector * 512, len);
	check_unlock(d);
}

uint64_t check_dev_driver_features(struct xdev *dev)
{
	struct check_dev *d = check_of(dev);
	uint64_t features;

	check_lock(d);
	features = d->regs->driver_features;
	check_unlock(d);
	return features;
}

void check_dev_stats(struct xdev *dev, struct check_stats *stats)
{
	struct check_dev *d = check_of(dev);

	check_lock(d);
	*stats = d->regs->stats;
	check_unlock(d);
}

static int check_regs_init(struct check_dev *d)
{
	pthread_mutexattr_t attr;

	d->regs = mmap(NULL, sizeof(*d->regs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (d->regs == MAP_FAILED) {
		d->regs = NULL;
		return -errno;
	}
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&d->regs->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	d->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return d->doorbell < 0 || d->irq < 0 ? -errno : 0;
}

static void check_defaults(struct check_dev *d)
{
	struct check_config *c = &d->cfg;
	bool net = c->device_id == VIRTIO_ID_NET;

	if (!c->device_id)
		c->device_id = VIRTIO_ID_BLOCK;
	if (!c->num_queues)
		c->num_queues = net ? 2 : 1;
	if (!c->queue_size)
		c->queue_size = 128;
	if (!c->sectors)
		c->sectors = 2048;
	if (!c->blk_size)
		c->blk_size = 512;
	if (!c->seg_max)
		c->seg_max = c->queue_size - 2u;
	if (!c->size_max)
		c->size_max = 65536;
	if (!c->reset_timeout_ms)
		c->reset_timeout_ms = 1000;
	if (!c->features)
		c->features = CHECK_RING_FEATURES |
			      (net ? CHECK_NET_FEATURES : CHECK_BLK_FEATURES);
	if (c->readonly)
		c->features |= 1ull << VIRTIO_BLK_F_RO;
	d->features = c->features | 1ull << VIRTIO_F_VERSION_1;
	d->rng = c->seed + 1;
	d->dev = (struct xdev){ .ops = &check_ops, .device_id = c->device_id,
				.vendor_id = 0x554d4551, .num_queues = c->num_queues };
}

struct xdev *check_dev_open(const struct check_config *config, int *err)
{
	struct check_dev *d = calloc(1, sizeof(*d));
	int rc = -ENOMEM;

	if (!d)
		goto err_out;
	d->cfg = *config;
	d->doorbell = d->irq = -1;
	check_defaults(d);
	rc = -EINVAL;
	if (!config->machine || d->cfg.num_queues > XVS_MAX_QUEUES ||
	    d->cfg.queue_size > XVS_QUEUE_SIZE_MAX)
		goto err_free;
	rc = check_regs_init(d);
	if (rc)
		goto err_free;
	d->disk = calloc(d->cfg.sectors, 512);
	d->durable = d->cfg.writeback ? calloc(d->cfg.sectors, 512) : NULL;
	rc = -ENOMEM;
	if (!d->disk || (d->cfg.writeback && !d->durable))
		goto err_free;
	if (d->dev.device_id == VIRTIO_ID_NET)
		check_net_config(d);
	else
		check_blk_config(d);
	rc = d->cfg.stepped ? 0 : check_thread_start(d);
	if (!rc)
		return &d->dev;
err_free:
	check_free(d);
err_out:
	if (err)
		*err = rc;
	return NULL;
}
