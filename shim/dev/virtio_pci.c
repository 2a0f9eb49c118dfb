/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of a modern virtio-pci device ("PCI Device Layout") from user space, interrupt
 * by INTx through UIO.
 */
#include "dev/xpci.h"
#include "lib/mmio.h"

#include <errno.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>

#define GENERATION_TRIES 64
/* What reads as this is no device any more: a surprise removal. */
#define GONE8 0xff
#define GONE16 0xffff

static struct xpci *xpci(struct xdev *dev)
{
	return (struct xpci *)((char *)dev - offsetof(struct xpci, dev));
}

static uint8_t xpci_get_status(struct xdev *dev)
{
	return mmio_read8(xpci(dev)->common + VIRTIO_PCI_COMMON_STATUS);
}

static void xpci_set_status(struct xdev *dev, uint8_t status)
{
	mmio_write8(xpci(dev)->common + VIRTIO_PCI_COMMON_STATUS, status);
}

static int xpci_reset(struct xdev *dev)
{
	return xvs_pci_reset(xpci(dev)->pci);
}

static uint64_t xpci_get_features(struct xdev *dev)
{
	volatile uint8_t *c = xpci(dev)->common;
	uint64_t low;

	mmio_write32(c + VIRTIO_PCI_COMMON_DFSELECT, 0);
	low = mmio_read32(c + VIRTIO_PCI_COMMON_DF);
	mmio_write32(c + VIRTIO_PCI_COMMON_DFSELECT, 1);
	return (uint64_t)mmio_read32(c + VIRTIO_PCI_COMMON_DF) << 32 | low;
}

static void xpci_set_features(struct xdev *dev, uint64_t features)
{
	volatile uint8_t *c = xpci(dev)->common;

	for (uint32_t i = 0; i < 2; i++) {
		mmio_write32(c + VIRTIO_PCI_COMMON_GFSELECT, i);
		mmio_write32(c + VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> 32 * i));
	}
}

/* A field as wide as it is; a field of 64 bits as two; anything else by bytes. */
static unsigned int access_width(unsigned int off, unsigned int len)
{
	if ((len == 8 || len == 4) && off % 4 == 0)
		return 4;
	return len == 2 && off % 2 == 0 ? 2 : 1;
}

static void read_fields(const volatile uint8_t *p, uint8_t *buf, unsigned int len,
			unsigned int width)
{
	for (unsigned int i = 0; i < len; i += width) {
		/* Config space is little endian and stays so: the caller knows the fields. */
		uint32_t v32 = width == 4 ? *(const volatile uint32_t *)(p + i) : 0;
		uint16_t v16 = width == 2 ? *(const volatile uint16_t *)(p + i) : 0;

		if (width == 4)
			memcpy(buf + i, &v32, 4);
		else if (width == 2)
			memcpy(buf + i, &v16, 2);
		else
			buf[i] = p[i];
	}
}

static bool config_range_ok(const struct xdev *dev, unsigned int off, unsigned int len)
{
	return off <= dev->config_len && len <= dev->config_len - off;
}

static int xpci_config_read(struct xdev *dev, unsigned int off, void *buf, unsigned int len)
{
	struct xpci *x = xpci(dev);
	unsigned int width = access_width(off, len);
	uint8_t before;

	if (!config_range_ok(dev, off, len))
		return -ERANGE;
	for (int i = 0; i < GENERATION_TRIES; i++) {
		before = mmio_read8(x->common + VIRTIO_PCI_COMMON_CFGGENERATION);
		read_fields(x->device + off, buf, len, width);
		if (before == mmio_read8(x->common + VIRTIO_PCI_COMMON_CFGGENERATION))
			return xpci_get_status(dev) == GONE8 ? -ENODEV : 0;
	}
	return -EAGAIN;
}

static int xpci_config_write(struct xdev *dev, unsigned int off, const void *buf,
			     unsigned int len)
{
	volatile uint8_t *p = xpci(dev)->device + off;
	unsigned int width = access_width(off, len);
	const uint8_t *from = buf;

	if (!config_range_ok(dev, off, len))
		return -ERANGE;
	for (unsigned int i = 0; i < len; i += width) {
		uint32_t v32;
		uint16_t v16;

		if (width == 4) {
			memcpy(&v32, from + i, 4);
			*(volatile uint32_t *)(p + i) = v32;
		} else if (width == 2) {
			memcpy(&v16, from + i, 2);
			*(volatile uint16_t *)(p + i) = v16;
		} else {
			p[i] = from[i];
		}
	}
	return xpci_get_status(dev) == GONE8 ? -ENODEV : 0;
}

static uint16_t xpci_queue_size_max(struct xdev *dev, unsigned int index)
{
	volatile uint8_t *c = xpci(dev)->common;
	uint16_t size;

	if (index >= dev->num_queues)
		return 0;
	mmio_write16(c + VIRTIO_PCI_COMMON_Q_SELECT, (uint16_t)index);
	size = mmio_read16(c + VIRTIO_PCI_COMMON_Q_SIZE);
	return size == GONE16 ? 0 : size;
}

static void write64(volatile uint8_t *c, unsigned int low, maddr_t value)
{
	mmio_write32(c + low, (uint32_t)value.a);
	mmio_write32(c + low + 4, (uint32_t)(value.a >> 32));
}

/* Of the selected queue ("Notification structure layout"). */
static volatile uint8_t *find_doorbell(struct xpci *x)
{
	uint64_t off = mmio_read16(x->common + VIRTIO_PCI_COMMON_Q_NOFF);

	off *= x->notify_multiplier;
	return off + sizeof(uint16_t) <= x->notify_len ? x->notify + off : NULL;
}

static int xpci_queue_enable(struct xdev *dev, unsigned int index, uint16_t size, maddr_t desc,
			     maddr_t driver, maddr_t device)
{
	struct xpci *x = xpci(dev);
	volatile uint8_t *c = x->common;

	/* "Virtqueues": the alignment of each part; packed rings need no more. */
	if (!size || desc.a % 16 || driver.a % 2 || device.a % 4)
		return -EINVAL;
	if (size > xpci_queue_size_max(dev, index)) /* selects the queue */
		return xpci_get_status(dev) == GONE8 ? -ENODEV : -ERANGE;
	if (mmio_read16(c + VIRTIO_PCI_COMMON_Q_ENABLE))
		return -EBUSY;
	x->doorbell[index] = find_doorbell(x);
	if (!x->doorbell[index])
		return -EPROTO;
	mmio_write16(c + VIRTIO_PCI_COMMON_Q_SIZE, size);
	if (mmio_read16(c + VIRTIO_PCI_COMMON_Q_SIZE) != size)
		return -EPROTO;
	write64(c, VIRTIO_PCI_COMMON_Q_DESCLO, desc);
	write64(c, VIRTIO_PCI_COMMON_Q_AVAILLO, driver);
	write64(c, VIRTIO_PCI_COMMON_Q_USEDLO, device);
	mmio_write16(c + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	return mmio_read16(c + VIRTIO_PCI_COMMON_Q_ENABLE) == 1 ? 0 : -EPROTO;
}

static void xpci_notify(struct xdev *dev, unsigned int index)
{
	struct xpci *x = xpci(dev);

	if (index >= dev->num_queues || !x->doorbell[index])
		return;
	/* Pairs with the device's own: it sees the ring as it was when it was told to look. */
	__sync_synchronize();
	mmio_write16(x->doorbell[index], (uint16_t)index);
}

static int xpci_irq_fd(struct xdev *dev)
{
	return xvs_pci_irq_fd(xpci(dev)->pci);
}

/*
 * The kernel has masked the interrupt in the command register. Reading ISR lowers the line, so
 * that unmasking lets through only what came since.
 */
static int xpci_irq_ack(struct xdev *dev)
{
	struct xpci *x = xpci(dev);
	int rc = xvs_pci_irq_take(x->pci);
	uint8_t cause;

	if (rc <= 0)
		return rc;
	cause = mmio_read8(x->isr);
	if (cause == GONE8)
		return -ENODEV;
	rc = xvs_pci_irq_unmask(x->pci);
	return rc ? rc : cause & (XDEV_IRQ_QUEUE | XDEV_IRQ_CONFIG);
}

static void xpci_close(struct xdev *dev)
{
	struct xpci *x = xpci(dev);

	free(x->doorbell);
	free(x);
}

const struct xdev_ops xpci_ops = {
	.reset = xpci_reset,
	.get_status = xpci_get_status,
	.set_status = xpci_set_status,
	.get_features = xpci_get_features,
	.set_features = xpci_set_features,
	.config_read = xpci_config_read,
	.config_write = xpci_config_write,
	.queue_size_max = xpci_queue_size_max,
	.queue_enable = xpci_queue_enable,
	.notify = xpci_notify,
	.irq_fd = xpci_irq_fd,
	.irq_ack = xpci_irq_ack,
	.close = xpci_close,
};
