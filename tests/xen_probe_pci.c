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
#include <linux/pci_regs.h>
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

static struct xvs_pci *take(const char *bdf, const char *disk)
{
	struct xvs_pci *pci = NULL;
	char why[XVS_WHY_SIZE] = "", path[64];
	int fd, rc = xvs_pci_take(bdf, 0, &pci, why, sizeof(why));

	probe_check(rc == -EBUSY && !pci, "take unless told so: %s", why);
	snprintf(path, sizeof(path), "/dev/%s", disk);
	fd = open(path, O_RDONLY | O_EXCL);
	rc = xvs_pci_take(bdf, XVS_PCI_UNBIND, &pci, why, sizeof(why));
	probe_check(fd >= 0 && rc == -EBUSY && !pci, "take what is in use: %s", why);
	close(fd);
	rc = xvs_pci_take(bdf, XVS_PCI_UNBIND, &pci, why, sizeof(why));
	if (!probe_check(!rc && !strcmp(xvs_pci_driver(pci), "virtio-pci"), "take: %s",
			 rc ? why : xvs_pci_driver(pci)))
		return NULL;
	xvs_pci_close(pci);
	rc = xvs_pci_take(bdf, XVS_PCI_UNBIND, &pci, why, sizeof(why));
	probe_check(rc == -EBUSY, "take what another program may have: %s", why);
	rc = xvs_pci_take(bdf, XVS_PCI_RESUME, &pci, why, sizeof(why));
	if (!probe_check(!rc && !strcmp(xvs_pci_driver(pci), "uio_pci_generic"), "resume: %s",
			 rc ? why : xvs_pci_driver(pci)))
		return NULL;
	return pci;
}

static uint16_t command(struct xvs_pci *pci)
{
	uint16_t value = 0;

	xvs_pci_config_read(pci, PCI_COMMAND, &value, sizeof(value));
	return value;
}

static void probe_config(struct xvs_pci *pci)
{
	uint16_t vendor = 0, line = 0;
	volatile void *va;
	uint8_t byte = 0;

	probe_check(!xvs_pci_config_read(pci, PCI_VENDOR_ID, &vendor, 2) && vendor == 0x1af4 &&
			    xvs_pci_config_read(pci, 4096, &vendor, 2) == -ERANGE,
		    "config space is read, and has an end");
	probe_check(xvs_pci_config_write(pci, PCI_COMMAND, &vendor, 2) == -EPERM &&
			    xvs_pci_config_write(pci, PCI_COMMAND + 1, &byte, 1) == -EPERM &&
			    xvs_pci_config_write(pci, 0, &vendor, 8) == -EPERM,
		    "the command register is not written by accident");
	byte = 0x5a;
	xvs_pci_config_read(pci, PCI_CACHE_LINE_SIZE, &line, 1);
	probe_check(!xvs_pci_config_write(pci, PCI_CACHE_LINE_SIZE, &byte, 1) &&
			    !xvs_pci_config_read(pci, PCI_CACHE_LINE_SIZE, &byte, 1) &&
			    byte == 0x5a && !xvs_pci_config_write(pci, PCI_CACHE_LINE_SIZE, &line, 1),
		    "but others are");
	probe_check(!(command(pci) & PCI_COMMAND_MASTER), "bus mastering is off at first");
	probe_check(!xvs_pci_bus_master(pci, true) && command(pci) & PCI_COMMAND_MASTER &&
			    !xvs_pci_bus_master(pci, false) && !(command(pci) & PCI_COMMAND_MASTER),
		    "and goes on and off");
	probe_check(!xvs_pci_bar_size(pci, 6) && xvs_pci_bar(pci, 6, &va) == -ENOENT,
		    "there are six BARs");
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
	char why[XVS_WHY_SIZE] = "", disk[32], data[DATA], now[PCI_NAME_SIZE];
	int rc = xvs_pci_give_back(bdf, "no-such-driver", why, sizeof(why));

	probe_check(rc == -ENOENT, "give to a driver that is not there: %s", why);
	rc = xvs_pci_give_back(bdf, driver, why, sizeof(why));
	probe_check(!rc, "give back to %s: %s", driver, rc ? why : "done");
	rc = xvs_pci_give_back(bdf, driver, why, sizeof(why));
	probe_check(!rc, "give back once more");
	for (int i = 0; i < 20 && !find_disk(bdf, disk); i++)
		usleep(100000);
	probe_check(!pci_driver(bdf, now) && !strcmp(now, driver) && find_disk(bdf, disk) &&
			    read_disk(disk, data) && !memcmp(data, expect, DATA),
		    "dom0's %s has it again", now);
}

/* What was resumed goes back to where it was found: uio_pci_generic keeps it. */
static void release(struct xvs_pci *pci, const char *bdf)
{
	char why[XVS_WHY_SIZE] = "", now[PCI_NAME_SIZE];
	int rc = xvs_pci_release(pci, why, sizeof(why));

	probe_check(!rc && !pci_driver(bdf, now) && !strcmp(now, "uio_pci_generic"), "release: %s",
		    rc ? why : now);
}

void probe_pci(struct hv *hv, const char *bdf)
{
	struct disk d = { .dev = NULL };
	char disk[32], expect[DATA];
	struct xvs_pci *pci;

	if (!probe_check(find_disk(bdf, disk) && read_disk(disk, expect), "dom0 reads it first"))
		return;
	probe_checks(bdf, disk);
	pci = take(bdf, disk);
	if (!pci)
		return;
	probe_config(pci);
	if (!probe_need(hv->ops->dma_alloc(hv, PAGES, &d.dma), "dma_alloc"))
		goto err_release;
	if (!probe_need(xpci_open(pci, &d.dev), "xpci_open"))
		goto err_free;
	probe_check(d.dev->device_id == 2 && d.dev->num_queues >= 1, "type %u, %u queues",
		    d.dev->device_id, d.dev->num_queues);
	drive(&d, expect);
	d.dev->ops->close(d.dev);
err_free:
	hv->ops->dma_free(hv, &d.dma);
err_release:
	release(pci, bdf);
	give_back(bdf, "virtio-pci", expect);
}
