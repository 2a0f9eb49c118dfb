/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device that somebody else may be driving: its feature bits, and its end. */
#include "lib/mmio.h"
#include "lib/virtio_cap.h"
#include "dev/virtio_pci.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <sys/mman.h>
#include <unistd.h>

/* 0 and the offset of the common structure in its BAR. */
static int find_common(const char *bdf, struct virtio_region *common, size_t *off, size_t *len)
{
	struct pci_bar bar[PCI_NR_BARS];
	uint8_t cfg[PCI_CONFIG_SIZE];
	struct virtio_layout layout;
	int rc = pci_config(bdf, cfg, sizeof(cfg));

	if (!rc)
		rc = pci_bars(bdf, bar);
	if (!rc)
		rc = virtio_cap_parse(cfg, bar, &layout);
	if (rc)
		return rc;
	/* Nobody would answer, and switching it on is not ours to do. */
	if (!(cfg[PCI_COMMAND] & PCI_COMMAND_MEMORY))
		return -ENXIO;
	*common = layout.common;
	*off = bar[common->bar].start % (size_t)sysconf(_SC_PAGESIZE) + common->off;
	*len = bar[common->bar].start % (size_t)sysconf(_SC_PAGESIZE) + bar[common->bar].len;
	return 0;
}

/*
 * Without a write there is only the half that was selected last: the upper one, after a driver
 * that read both in their order.
 */
static void read_selected(const volatile uint8_t *c, uint64_t *features, uint64_t *known)
{
	uint32_t select = mmio_read32(c + VIRTIO_PCI_COMMON_DFSELECT);
	uint64_t value = mmio_read32(c + VIRTIO_PCI_COMMON_DF);

	if (select > 1 || select != mmio_read32(c + VIRTIO_PCI_COMMON_DFSELECT))
		return;
	*features = value << 32 * select;
	*known = 0xffffffffull << 32 * select;
}

static void read_both(volatile uint8_t *c, uint64_t *features, uint64_t *known)
{
	uint32_t before = mmio_read32(c + VIRTIO_PCI_COMMON_DFSELECT);

	*features = 0;
	for (uint32_t i = 0; i < 2; i++) {
		mmio_write32(c + VIRTIO_PCI_COMMON_DFSELECT, i);
		*features |= (uint64_t)mmio_read32(c + VIRTIO_PCI_COMMON_DF) << 32 * i;
	}
	mmio_write32(c + VIRTIO_PCI_COMMON_DFSELECT, before);
	*known = UINT64_MAX;
}

struct mapped {
	void *va;
	size_t len;
	volatile uint8_t *common;
};

static int map_common(const char *bdf, bool writable, struct mapped *m)
{
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ, fd, rc;
	struct virtio_region common;
	char file[] = "resource0";
	size_t off;

	rc = find_common(bdf, &common, &off, &m->len);
	if (rc)
		return rc;
	file[8] = (char)('0' + common.bar);
	fd = pci_open(bdf, file, writable ? O_RDWR : O_RDONLY);
	if (fd < 0)
		return fd;
	m->va = mmap(NULL, m->len, prot, MAP_SHARED, fd, 0);
	rc = m->va == MAP_FAILED ? -errno : 0;
	close(fd);
	if (rc)
		return rc;
	m->common = (volatile uint8_t *)m->va + off;
	if (mmio_read16(m->common + VIRTIO_PCI_COMMON_NUMQ) != 0xffff)
		return 0;
	munmap(m->va, m->len);
	return -ENODEV;
}

int xpci_peek(const char *bdf, bool may_select, uint64_t *features, uint64_t *known)
{
	struct mapped m;
	int rc = map_common(bdf, may_select, &m);

	*features = *known = 0;
	if (rc)
		return rc;
	if (may_select)
		read_both(m.common, features, known);
	else
		read_selected(m.common, features, known);
	munmap(m.va, m.len);
	return 0;
}

int xpci_stop(const char *bdf)
{
	enum { TRIES = 1000, PAUSE_US = 1000 };
	struct mapped m;
	int rc = map_common(bdf, true, &m);

	if (rc)
		return rc;
	mmio_write8(m.common + VIRTIO_PCI_COMMON_STATUS, 0);
	rc = -ETIMEDOUT;
	for (int i = 0; i < TRIES && rc; i++) {
		if (!mmio_read8(m.common + VIRTIO_PCI_COMMON_STATUS))
			rc = 0;
		else
			usleep(PAUSE_US);
	}
	munmap(m.va, m.len);
	return rc;
}
