/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/mmio.h"
#include "lib/pci.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <time.h>
#include <unistd.h>

#define RESET_TIMEOUT_MS 1000

static long ms_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) * 1000 + (now.tv_nsec - start->tv_nsec) / 1000000;
}

/*
 * It may be gone, its memory decoding may be off, or it lies. Only if config space does not know it
 * either can it write nothing any more.
 */
static int gone_or_silent(struct xvs_pci *pci)
{
	uint16_t vendor;

	if (xvs_pci_config_read(pci, PCI_VENDOR_ID, &vendor, sizeof(vendor)))
		return -ENODEV;
	return vendor == 0xffff ? -ENODEV : -ETIMEDOUT;
}

/*
 * Registers that nobody decodes read as ones on real hosts, and as zeros on QEMU, where they look
 * like a reset that is complete. No virtio device is without queues ("Common configuration
 * structure layout").
 */
static bool answers(const struct xvs_pci *pci)
{
	const volatile uint8_t *common = pci->status - VIRTIO_PCI_COMMON_STATUS;
	uint16_t queues = mmio_read16(common + VIRTIO_PCI_COMMON_NUMQ);

	return queues && queues != 0xffff;
}

/* Opens nothing: a sandboxed worker of the daemon resets its device too. */
static int reset_virtio(struct xvs_pci *pci)
{
	const struct timespec step = { .tv_nsec = 500 * 1000 };
	struct timespec start;
	uint16_t vendor;
	uint8_t status;

	/* Where it was may be another device by now: its own file of config space went with it. */
	if (xvs_pci_config_read(pci, PCI_VENDOR_ID, &vendor, sizeof(vendor)) == -ENODEV)
		return -ENODEV;
	mmio_write8(pci->status, 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	while ((status = mmio_read8(pci->status)) != 0) {
		if (status == 0xff)
			return gone_or_silent(pci);
		if (ms_since(&start) >= RESET_TIMEOUT_MS)
			return -ETIMEDOUT;
		nanosleep(&step, NULL);
	}
	return answers(pci) ? 0 : gone_or_silent(pci);
}

/* There is such a file only where the kernel knows a way. It saves and restores config space. */
static int reset_by_kernel(struct xvs_pci *pci)
{
	int fd = pci_open(pci->bdf, "reset", O_WRONLY), rc = 0;

	if (fd == -ENOENT)
		return pci_exists(pci->bdf) ? -EOPNOTSUPP : -ENODEV;
	if (fd < 0)
		return fd;
	if (write(fd, "1", 1) != 1)
		rc = errno == ENOTTY ? -EOPNOTSUPP : -errno;
	close(fd);
	return rc;
}

int xvs_pci_reset(struct xvs_pci *pci)
{
	return pci->status ? reset_virtio(pci) : reset_by_kernel(pci);
}
