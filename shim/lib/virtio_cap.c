/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/virtio_cap.h"

#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <string.h>

/* As many as fit behind the standard header: more means that the list is looped. */
#define MAX_CAPS ((PCI_CONFIG_SIZE - PCI_STD_HEADER_SIZEOF) / 4)

/* What each structure must have at least ("Common configuration structure layout" ...). */
struct rule {
	uint32_t min_len, align;
};

static const struct rule rules[] = {
	[VIRTIO_PCI_CAP_COMMON_CFG] = { sizeof(struct virtio_pci_common_cfg), 4 },
	[VIRTIO_PCI_CAP_NOTIFY_CFG] = { 2, 2 },
	[VIRTIO_PCI_CAP_ISR_CFG] = { 1, 1 },
	[VIRTIO_PCI_CAP_DEVICE_CFG] = { 1, 4 },
};

static struct virtio_region *region_of(struct virtio_layout *layout, uint8_t type)
{
	switch (type) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		return &layout->common;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		return &layout->notify;
	case VIRTIO_PCI_CAP_ISR_CFG:
		return &layout->isr;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		return &layout->device;
	default:
		return NULL;
	}
}

static uint32_t le32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

/* A power of two that keeps every notification aligned, or zero: one address for all. */
static bool multiplier_ok(uint32_t m)
{
	return m == 0 || (m >= 2 && !(m & (m - 1)));
}

static int check_region(const struct virtio_region *r, const struct rule *rule, uint64_t bar_len)
{
	if (r->len < rule->min_len || r->off % rule->align)
		return -EPROTO;
	return (uint64_t)r->off + r->len <= bar_len ? 0 : -EPROTO;
}

/*
 * One vendor capability at config offset pos. Reserved BARs and types are to be ignored, and of
 * several for one structure the first that can be used counts; port I/O is none.
 */
static int take_cap(const uint8_t *cfg, unsigned int pos, const struct pci_bar *bar,
		    struct virtio_layout *layout)
{
	uint8_t type, index, len;
	struct virtio_region *region, r;
	int rc;

	if (pos + sizeof(struct virtio_pci_cap) > PCI_CONFIG_SIZE)
		return -EPROTO;
	len = cfg[pos + VIRTIO_PCI_CAP_LEN];
	type = cfg[pos + VIRTIO_PCI_CAP_CFG_TYPE];
	index = cfg[pos + VIRTIO_PCI_CAP_BAR];
	region = region_of(layout, type);
	if (!region || region->len || index >= PCI_NR_BARS || !bar[index].memory)
		return 0;
	if (len < sizeof(struct virtio_pci_cap) || pos + len > PCI_CONFIG_SIZE)
		return -EPROTO;
	r.bar = index;
	r.off = le32_at(cfg + pos + VIRTIO_PCI_CAP_OFFSET);
	r.len = le32_at(cfg + pos + VIRTIO_PCI_CAP_LENGTH);
	rc = check_region(&r, &rules[type], bar[index].len);
	if (rc)
		return rc;
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
		if (len < sizeof(struct virtio_pci_notify_cap))
			return -EPROTO;
		layout->notify_multiplier = le32_at(cfg + pos + VIRTIO_PCI_NOTIFY_CAP_MULT);
		if (!multiplier_ok(layout->notify_multiplier))
			return -EPROTO;
	}
	*region = r;
	return 0;
}

/* Whether a vendor capability looks like one of virtio's: other vendors use the id as well. */
static bool is_virtio_cap(const uint8_t *cfg, unsigned int pos)
{
	return cfg[pos] == PCI_CAP_ID_VNDR && pos + 3 < PCI_CONFIG_SIZE &&
	       cfg[pos + VIRTIO_PCI_CAP_LEN] >= sizeof(struct virtio_pci_cap) &&
	       cfg[pos + VIRTIO_PCI_CAP_CFG_TYPE] >= VIRTIO_PCI_CAP_COMMON_CFG;
}

int virtio_cap_parse(const uint8_t cfg[PCI_CONFIG_SIZE], const struct pci_bar bar[PCI_NR_BARS],
		     struct virtio_layout *layout)
{
	unsigned int pos, seen = 0, virtio = 0;
	int rc;

	memset(layout, 0, sizeof(*layout));
	if (!(cfg[PCI_STATUS] & PCI_STATUS_CAP_LIST))
		return -ENOENT;
	for (pos = cfg[PCI_CAPABILITY_LIST] & ~3u; pos; pos = cfg[pos + 1] & ~3u) {
		if (pos < PCI_STD_HEADER_SIZEOF || seen++ == MAX_CAPS)
			return -EPROTO;
		if (!is_virtio_cap(cfg, pos))
			continue;
		virtio++;
		rc = take_cap(cfg, pos, bar, layout);
		if (rc)
			return rc;
	}
	if (!virtio)
		return -ENOENT;
	return layout->common.len && layout->notify.len && layout->isr.len ? 0 : -ENOTSUP;
}
