/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Takes a nested virtio-blk, reads through a ring made by hand, gives it back. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_DIRECT */
#endif
#include "dev/virtio_pci.h"
#include "xen_probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RING 16u
#define ROUNDS 1000
#define DATA XVS_FRAME_SIZE

/* Pages of the DMA memory. */
enum { DESC, AVAIL, USED, REQUEST, BUFFER, PAGES };

struct disk {
	struct hv_dma dma;
	struct xdev *dev;
	uint16_t next; /* of the available ring */
	unsigned int spurious;
};

static char *page(struct disk *d, int i)
{
	return (char *)d->dma.va + (unsigned int)i * XVS_FRAME_SIZE;
}

/* The disk that dom0 has behind the device, by name; /sys/block knows no partitions. */
static bool find_disk(const char *bdf, char name[32])
{
	struct dirent *e;
	bool found = false;
	DIR *dir = opendir("/sys/block");

	while (dir && !found && (e = readdir(dir))) {
		char link[300], path[4096];

		snprintf(link, sizeof(link), "/sys/block/%s", e->d_name);
		found = realpath(link, path) && strstr(path, bdf) && strlen(e->d_name) < 32;
		if (found)
			strcpy(name, e->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool read_disk(const char *name, char *data)
{
	static char aligned[DATA] __attribute__((aligned(DATA)));
	char path[64];
	bool ok = false;
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	for (int i = 0; !ok && i < 50; i++) {
		fd = open(path, O_RDONLY | O_DIRECT);
		ok = fd >= 0 && pread(fd, aligned, DATA, 0) == DATA;
		if (fd >= 0)
			close(fd);
		if (!ok)
			usleep(100000);
	}
	memcpy(data, aligned, DATA);
	return ok;
}

static void probe_checks(const char *bdf, const char *disk)
{
	struct xpci_info info;
	char why[160], path[64];
	int fd, rc;

	rc = xpci_check("0:4.0", &info, why, sizeof(why));
	probe_check(rc == -EINVAL, "check: %s", why);
	rc = xpci_check("0000:ff:1f.7", &info, why, sizeof(why));
	probe_check(rc == -ENODEV, "check: %s", why);
	rc = xpci_check("0000:00:00.0", &info, why, sizeof(why));
	probe_check(rc == -ENOTSUP, "check: %s", why);
	snprintf(path, sizeof(path), "/dev/%s", disk);
	fd = open(path, O_RDONLY | O_EXCL);
	rc = xpci_check(bdf, &info, why, sizeof(why));
	probe_check(fd >= 0 && rc == -EBUSY, "check: %s", why);
	close(fd);
	why[0] = '\0';
	rc = xpci_check(bdf, &info, why, sizeof(why));
	probe_check(!rc && info.virtio_type == 2 && !strcmp(info.driver, "virtio-pci"),
		    "check: %s%s is a virtio disk of %s", why, info.bdf, info.driver);
}

static bool take(const char *bdf, char driver[PCI_NAME_SIZE])
{
	char why[160] = "";
	int rc = xpci_take(bdf, false, driver, why, sizeof(why));

	probe_check(rc == -EBUSY, "take unless told so: %s", why);
	rc = xpci_take(bdf, true, driver, why, sizeof(why));
	if (!probe_check(!rc && !strcmp(driver, "virtio-pci"), "take from %s: %s", driver,
			 rc ? why : "done"))
		return false;
	rc = xpci_take(bdf, true, driver, why, sizeof(why));
	probe_check(!rc && !strcmp(driver, "virtio-pci"), "take once more: earlier driver %s",
		    driver);
	return true;
}

static bool start(struct disk *d)
{
	const uint64_t want = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM;
	struct xdev *dev = d->dev;
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	int rc = dev->ops->reset(dev);

	if (!probe_need(rc, "reset"))
		return false;
	dev->ops->set_status(dev, status);
	dev->ops->set_features(dev, dev->ops->get_features(dev) & want);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	dev->ops->set_status(dev, status);
	if (!probe_check(dev->ops->get_status(dev) == status, "features accepted"))
		return false;
	probe_check(dev->ops->queue_enable(dev, 0, 0x8000, d->dma.maddr[DESC],
					   d->dma.maddr[AVAIL],
					   d->dma.maddr[USED]) == -ERANGE &&
			    dev->ops->queue_size_max(dev, 0x7fff) == 0,
		    "a queue too large, or none, is refused");
	rc = dev->ops->queue_enable(dev, 0, RING, d->dma.maddr[DESC], d->dma.maddr[AVAIL],
				    d->dma.maddr[USED]);
	if (!probe_need(rc, "queue_enable"))
		return false;
	rc = dev->ops->queue_enable(dev, 0, RING, d->dma.maddr[DESC], d->dma.maddr[AVAIL],
				    d->dma.maddr[USED]);
	probe_check(rc == -EBUSY, "but once only: %s", strerror(-rc));
	dev->ops->set_status(dev, status | VIRTIO_CONFIG_S_DRIVER_OK);
	d->next = 0;
	return true;
}

static void post(struct disk *d, uint64_t sector)
{
	struct vring_desc *desc = (void *)page(d, DESC);
	struct vring_avail *avail = (void *)page(d, AVAIL);
	struct virtio_blk_outhdr *header = (void *)page(d, REQUEST);
	maddr_t request = d->dma.maddr[REQUEST];

	*header = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN, .sector = sector };
	page(d, REQUEST)[64] = (char)0xff;
	desc[0] = (struct vring_desc){ request.a, sizeof(*header), VRING_DESC_F_NEXT, 1 };
	desc[1] = (struct vring_desc){
		d->dma.maddr[BUFFER].a, DATA, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2,
	};
	desc[2] = (struct vring_desc){ maddr_add(request, 64).a, 1, VRING_DESC_F_WRITE, 0 };
	avail->ring[d->next % RING] = 0;
	__sync_synchronize(); /* the ring before its index */
	*(volatile uint16_t *)&avail->idx = ++d->next;
	d->dev->ops->notify(d->dev, 0);
}

static bool used_up(struct disk *d)
{
	struct vring_used *used = (void *)page(d, USED);

	return *(volatile uint16_t *)&used->idx == d->next;
}

/* Waits by interrupt only: an interrupt that is lost shows. */
static bool finish(struct disk *d)
{
	struct pollfd p = { .fd = d->dev->ops->irq_fd(d->dev), .events = POLLIN };
	int rc;

	do {
		if (poll(&p, 1, 2000) != 1)
			return false;
		rc = d->dev->ops->irq_ack(d->dev);
		d->spurious += rc == 0;
	} while (rc >= 0 && !used_up(d));
	return rc >= 0 && page(d, REQUEST)[64] == VIRTIO_BLK_S_OK;
}

static void read_by_child(struct disk *d, const char *expect)
{
	pid_t child;
	int status = -1;

	memset(page(d, BUFFER), 0, DATA);
	child = fork();
	if (!child) {
		post(d, 0);
		_exit(finish(d) ? 0 : 1);
	}
	waitpid(child, &status, 0);
	/* Its count went with it. */
	d->next++;
	probe_check(!status && !memcmp(page(d, BUFFER), expect, DATA),
		    "a forked child drives the device");
}

static void drive(struct disk *d, const char *expect)
{
	uint64_t capacity = 0;
	bool all = true;
	double t0;
	int rc;

	if (!start(d))
		return;
	rc = d->dev->ops->config_read(d->dev, 0, &capacity, sizeof(capacity));
	probe_check(!rc && capacity, "capacity: %lu sectors", (unsigned long)capacity);
	rc = d->dev->ops->config_read(d->dev, d->dev->config_len - 1, &capacity, 2);
	probe_check(rc == -ERANGE, "config space has an end (%u)", d->dev->config_len);
	post(d, 0);
	probe_check(finish(d) && !memcmp(page(d, BUFFER), expect, DATA),
		    "the device reads what dom0 read");
	t0 = probe_now_us();
	for (int i = 0; all && i < ROUNDS; i++) {
		post(d, 0);
		all = finish(d);
	}
	probe_check(all, "%d requests by interrupt, %.1f us each, %u without a cause", ROUNDS,
		    (probe_now_us() - t0) / ROUNDS, d->spurious);
	read_by_child(d, expect);
	post(d, 0);
	probe_check(finish(d), "and its parent after it");
	rc = d->dev->ops->reset(d->dev);
	probe_check(!rc && d->dev->ops->get_status(d->dev) == 0, "reset: %d", rc);
}

static void give_back(const char *bdf, const char *driver, const char *expect)
{
	char why[160] = "", disk[32], data[DATA], now[PCI_NAME_SIZE];
	int rc = xpci_release(bdf, "no-such-driver", why, sizeof(why));

	probe_check(rc == -ENOENT, "give to a driver that is not there: %s", why);
	rc = xpci_release(bdf, driver, why, sizeof(why));
	probe_check(!rc, "give back to %s: %s", driver, rc ? why : "done");
	rc = xpci_release(bdf, driver, why, sizeof(why));
	probe_check(!rc, "give back once more");
	for (int i = 0; i < 20 && !find_disk(bdf, disk); i++)
		usleep(100000);
	probe_check(!pci_driver(bdf, now) && !strcmp(now, driver) && find_disk(bdf, disk) &&
			    read_disk(disk, data) && !memcmp(data, expect, DATA),
		    "dom0's %s has it again", now);
}

void probe_pci(struct hv *hv, const char *bdf)
{
	char driver[PCI_NAME_SIZE] = "", disk[32], expect[DATA], why[160] = "";
	struct disk d = { .dev = NULL };

	if (!probe_check(find_disk(bdf, disk) && read_disk(disk, expect), "dom0 reads it first"))
		return;
	probe_checks(bdf, disk);
	if (!take(bdf, driver))
		return;
	if (!probe_need(hv->ops->dma_alloc(hv, PAGES, &d.dma), "dma_alloc"))
		goto err_give_back;
	if (!probe_check(!xpci_open(bdf, &d.dev, why, sizeof(why)), "open %s", why))
		goto err_free;
	probe_check(d.dev->device_id == 2 && d.dev->num_queues >= 1, "type %u, %u queues",
		    d.dev->device_id, d.dev->num_queues);
	drive(&d, expect);
	d.dev->ops->close(d.dev);
err_free:
	hv->ops->dma_free(hv, &d.dma);
err_give_back:
	give_back(bdf, driver, expect);
}
