/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/types.h"

#include <linux/virtio_blk.h>
#include <stddef.h>
#include <xvshim/protocol.h>

#define BIT(n) (1ull << (n))

/* "Block Device", feature bits. Zoned devices and lifetime are left out: not tried. */
enum {
	BLK_SIZE_MAX = 1,
	BLK_SEG_MAX = 2,
	BLK_GEOMETRY = 4,
	BLK_RO = 5,
	BLK_BLK_SIZE = 6,
	BLK_FLUSH = 9,
	BLK_TOPOLOGY = 10,
	BLK_CONFIG_WCE = 11,
	BLK_MQ = 12,
	BLK_DISCARD = 13,
	BLK_WRITE_ZEROES = 14,
	BLK_SECURE_ERASE = 16,
};

#define BLK_FEATURES                                                                              \
	(BIT(BLK_SIZE_MAX) | BIT(BLK_SEG_MAX) | BIT(BLK_GEOMETRY) | BIT(BLK_RO) |                 \
	 BIT(BLK_BLK_SIZE) | BIT(BLK_FLUSH) | BIT(BLK_TOPOLOGY) | BIT(BLK_CONFIG_WCE) |           \
	 BIT(BLK_MQ) | BIT(BLK_DISCARD) | BIT(BLK_WRITE_ZEROES) | BIT(BLK_SECURE_ERASE))

/* "Block Device", config layout: offsets. */
enum { BLK_CFG_SIZE_MAX = 8, BLK_CFG_SEG_MAX = 12, BLK_CFG_WCE = 32, BLK_CFG_NUM_QUEUES = 34 };

static uint32_t get32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* The smaller of the device's own limit, where it has one, and ours. */
static void limit32(uint8_t *config, unsigned int len, unsigned int off, uint32_t max,
		    uint64_t has)
{
	uint32_t own;

	if (off + 4 > len)
		return;
	own = get32(config + off);
	put32(config + off, has && own && own < max ? own : max);
}

/*
 * One segment of a page's size may straddle two pages, and so may the header; with the status
 * byte (max_pages - 3) / 2 segments always fit.
 */
static void blk_limit_config(uint8_t *config, unsigned int len, uint64_t features,
			     unsigned int max_pages)
{
	uint32_t seg_max = max_pages > 4 ? (max_pages - 3) / 2 : 1;

	limit32(config, len, BLK_CFG_SIZE_MAX, XVS_PAGE_SIZE, features & BIT(BLK_SIZE_MAX));
	limit32(config, len, BLK_CFG_SEG_MAX, seg_max, features & BIT(BLK_SEG_MAX));
	if (BLK_CFG_NUM_QUEUES + 2 <= len && features & BIT(BLK_MQ)) {
		uint8_t *p = config + BLK_CFG_NUM_QUEUES;

		if (p[1] || p[0] > XVS_MAX_QUEUES) {
			p[0] = XVS_MAX_QUEUES;
			p[1] = 0;
		}
	}
}

static bool blk_config_writable(unsigned int off, unsigned int len)
{
	return off == BLK_CFG_WCE && len == 1;
}

#define UNTRIED "nobody has tried this type through the transport yet"
#define FRAMES "its requests carry memory addresses, which this transport does not translate"

static const struct vtype types[] = {
	{ .device_id = 1, .name = "net", .refuse = UNTRIED },
	{ .device_id = 2,
	  .name = "blk",
	  .config_len = 72,
	  .feature_mask = BLK_FEATURES,
	  .feature_add = BIT(BLK_SIZE_MAX) | BIT(BLK_SEG_MAX),
	  .limit_config = blk_limit_config,
	  .config_writable = blk_config_writable,
	  .error_status = VIRTIO_BLK_S_IOERR },
	{ .device_id = 3, .name = "console", .refuse = UNTRIED },
	{ .device_id = 4, .name = "rng", .refuse = UNTRIED },
	{ .device_id = 5,
	  .name = "balloon",
	  .refuse = "its requests are lists of page frames: the device would take pages of the "
		    "machine away" },
	{ .device_id = 6, .name = "iomem", .refuse = FRAMES },
	{ .device_id = 7, .name = "rpmsg", .refuse = UNTRIED },
	{ .device_id = 8,
	  .name = "scsi",
	  .refuse = "its limits do not bound the pages a request covers" },
	{ .device_id = 9,
	  .name = "9p",
	  .refuse = "its config space has no limit for the pages a request covers" },
	{ .device_id = 10, .name = "mac80211-wlan", .refuse = UNTRIED },
	{ .device_id = 11, .name = "rproc-serial", .refuse = UNTRIED },
	{ .device_id = 12, .name = "caif", .refuse = UNTRIED },
	{ .device_id = 13, .name = "memory-balloon", .refuse = FRAMES },
	{ .device_id = 16,
	  .name = "gpu",
	  .refuse = "its requests name the pages behind a resource by address" },
	{ .device_id = 17, .name = "timer", .refuse = UNTRIED },
	{ .device_id = 18, .name = "input", .refuse = UNTRIED },
	{ .device_id = 19, .name = "vsock", .refuse = UNTRIED },
	{ .device_id = 20, .name = "crypto", .refuse = UNTRIED },
	{ .device_id = 21, .name = "signal-dist", .refuse = UNTRIED },
	{ .device_id = 22, .name = "pstore", .refuse = UNTRIED },
	{ .device_id = 23,
	  .name = "iommu",
	  .refuse = "its requests map guest-physical addresses for other devices" },
	{ .device_id = 24,
	  .name = "mem",
	  .refuse = "its requests plug and unplug ranges of the machine's memory" },
	{ .device_id = 25, .name = "sound", .refuse = UNTRIED },
	{ .device_id = 26,
	  .name = "fs",
	  .refuse = "it may share a window of the machine's memory with the driver" },
	{ .device_id = 27,
	  .name = "pmem",
	  .refuse = "its data is a range of the machine's memory, named in config space" },
	{ .device_id = 28, .name = "rpmb", .refuse = UNTRIED },
	{ .device_id = 29, .name = "mac80211-hwsim", .refuse = UNTRIED },
	{ .device_id = 30,
	  .name = "video-encoder",
	  .refuse = "its requests name buffers by address" },
	{ .device_id = 31,
	  .name = "video-decoder",
	  .refuse = "its requests name buffers by address" },
	{ .device_id = 32, .name = "scmi", .refuse = UNTRIED },
	{ .device_id = 33, .name = "nitro-secure", .refuse = UNTRIED },
	{ .device_id = 34, .name = "i2c", .refuse = UNTRIED },
	{ .device_id = 35, .name = "watchdog", .refuse = UNTRIED },
	{ .device_id = 36, .name = "can", .refuse = UNTRIED },
	{ .device_id = 38, .name = "parameter-server", .refuse = UNTRIED },
	{ .device_id = 39, .name = "audio-policy", .refuse = UNTRIED },
	{ .device_id = 40, .name = "bluetooth", .refuse = UNTRIED },
	{ .device_id = 41, .name = "gpio", .refuse = UNTRIED },
	{ .device_id = 42, .name = "rdma", .refuse = FRAMES },
	{ .device_id = 43, .name = "camera", .refuse = FRAMES },
	{ .device_id = 44, .name = "ism", .refuse = FRAMES },
	{ .device_id = 45, .name = "spi", .refuse = UNTRIED },
};

const struct vtype *vtype_find(uint32_t device_id)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].device_id == device_id)
			return &types[i];
	return NULL;
}

const char *vtype_name(uint32_t device_id)
{
	const struct vtype *type = vtype_find(device_id);

	return type ? type->name : "unknown";
}
