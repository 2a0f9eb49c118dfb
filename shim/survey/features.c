/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "survey/features.h"

#include <linux/virtio_ids.h>
#include <stddef.h>

/* virtio 1.x, "Reserved Feature Bits", and the legacy ones below 32. */
static const char *const transport[64] = {
	[24] = "NOTIFY_ON_EMPTY", [27] = "ANY_LAYOUT",	     [28] = "RING_INDIRECT_DESC",
	[29] = "RING_EVENT_IDX",  [32] = "VERSION_1",	     [33] = "ACCESS_PLATFORM",
	[34] = "RING_PACKED",	  [35] = "IN_ORDER",	     [36] = "ORDER_PLATFORM",
	[37] = "SR_IOV",	  [38] = "NOTIFICATION_DATA", [39] = "NOTIF_CONFIG_DATA",
	[40] = "RING_RESET",	  [41] = "ADMIN_VQ",
};

static const char *const net[64] = {
	"CSUM", "GUEST_CSUM", "CTRL_GUEST_OFFLOADS", "MTU", NULL, "MAC", "GSO", "GUEST_TSO4",
	"GUEST_TSO6", "GUEST_ECN", "GUEST_UFO", "HOST_TSO4", "HOST_TSO6", "HOST_ECN", "HOST_UFO",
	"MRG_RXBUF", "STATUS", "CTRL_VQ", "CTRL_RX", "CTRL_VLAN", "CTRL_RX_EXTRA",
	"GUEST_ANNOUNCE", "MQ", "CTRL_MAC_ADDR",
	[53] = "VQ_NOTF_COAL", [54] = "GUEST_USO4", [55] = "GUEST_USO6", [56] = "HOST_USO",
	[57] = "HASH_REPORT", [59] = "GUEST_HDRLEN", [60] = "RSS", [61] = "RSC_EXT",
	[62] = "STANDBY", [63] = "SPEED_DUPLEX",
};

static const char *const blk[64] = {
	"BARRIER", "SIZE_MAX", "SEG_MAX", NULL, "GEOMETRY", "RO", "BLK_SIZE", "SCSI", NULL,
	"FLUSH", "TOPOLOGY", "CONFIG_WCE", "MQ", "DISCARD", "WRITE_ZEROES", "LIFETIME",
	"SECURE_ERASE", "ZONED",
};

static const char *const console[64] = { "SIZE", "MULTIPORT", "EMERG_WRITE" };
static const char *const balloon[64] = { "MUST_TELL_HOST", "STATS_VQ", "DEFLATE_ON_OOM",
					 "FREE_PAGE_HINT", "PAGE_POISON", "PAGE_REPORTING" };
static const char *const scsi[64] = { "INOUT", "HOTPLUG", "CHANGE", "T10_PI" };
static const char *const p9[64] = { "MOUNT_TAG" };
static const char *const gpu[64] = { "VIRGL", "EDID", "RESOURCE_UUID", "RESOURCE_BLOB",
				     "CONTEXT_INIT" };
static const char *const vsock[64] = { "STREAM", "SEQPACKET" };
static const char *const iommu[64] = { "INPUT_RANGE", "DOMAIN_RANGE", "MAP_UNMAP", "BYPASS",
				       "PROBE", "MMIO", "BYPASS_CONFIG" };
static const char *const mem[64] = { "ACPI_PXM", "UNPLUGGED_INACCESSIBLE" };

static const char *const *of_type(uint32_t device_id)
{
	switch (device_id) {
	case VIRTIO_ID_NET:
		return net;
	case VIRTIO_ID_BLOCK:
		return blk;
	case VIRTIO_ID_CONSOLE:
		return console;
	case VIRTIO_ID_BALLOON:
		return balloon;
	case VIRTIO_ID_SCSI:
		return scsi;
	case VIRTIO_ID_9P:
		return p9;
	case VIRTIO_ID_GPU:
		return gpu;
	case VIRTIO_ID_VSOCK:
		return vsock;
	case VIRTIO_ID_IOMMU:
		return iommu;
	case VIRTIO_ID_MEM:
		return mem;
	default:
		return NULL;
	}
}

const char *feature_name(uint32_t device_id, unsigned int bit)
{
	const char *const *names = of_type(device_id);

	if (bit >= 64)
		return NULL;
	return transport[bit] ? transport[bit] : names ? names[bit] : NULL;
}
