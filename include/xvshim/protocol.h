/* SPDX-License-Identifier: MIT */
/*
 * virtio-xenbus, version 1: what a front end and a back end share.
 *
 * The normative text is docs/protocol.md; this header is its machine-readable half and may
 * be copied into any system that implements either side.
 *
 * A guest grants one control page to the back end. Through it the two agree on features,
 * status, config space and queues; the virtqueues themselves are ordinary virtio 1.x split
 * rings in memory the guest grants as well. Every multi-byte field is little-endian.
 */
#ifndef XVSHIM_PROTOCOL_H
#define XVSHIM_PROTOCOL_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define XVS_DEVICE_KIND "virtio-xenbus" /* XenBus device kind in XenStore */
#define XVS_VERSION 1
#define XVS_MAGIC 0x48535658u /* "XVSH" in memory */
#define XVS_PAGE_SIZE 4096u
#define XVS_PAGE_SHIFT 12
#define XVS_MAX_QUEUES 32
#define XVS_CONFIG_MAX 1024
#define XVS_QUEUE_SIZE_MAX 1024

/* XenStore keys beside the standard XenBus ones (docs/protocol.md, "XenStore nodes"). */
#define XVS_KEY_SOURCE "source"                         /* toolstack: pci:SSSS:BB:DD.F */
#define XVS_KEY_ADDRESSING_OFFERED "addressing-offered" /* back end: words, by a comma */
#define XVS_KEY_PROTECTION_OFFERED "protection-offered"
#define XVS_KEY_VERSIONS "versions"       /* back end: decimal, by a comma */
#define XVS_KEY_DEVICE_ID "device-id"     /* back end: virtio device type, decimal */
#define XVS_KEY_VERSION "version"         /* front end: the one it picked */
#define XVS_KEY_CTRL_REF "ctrl-ref"       /* front end: grant of the control page */
#define XVS_KEY_CTRL_PORT "event-channel" /* front end: unbound port for control */
#define XVS_KEY_ADDRESSING "addressing"   /* front end: picked */
#define XVS_KEY_PROTECTION "protection"   /* front end: picked */
#define XVS_KEY_ADDRESSING_WANTED "addressing-wanted" /* front end: its words, best first */
#define XVS_KEY_PROTECTION_WANTED "protection-wanted"

/* How the guest names memory in its descriptors. Negotiated, never guessed from bit 63. */
enum xvs_addressing {
	XVS_ADDRESSING_GRANT = 1, /* word "grant" */
	XVS_ADDRESSING_P2M = 2,   /* word "p2m" */
};

/* For how long the back end may keep a page the guest granted. */
enum xvs_protection {
	XVS_PROTECTION_STRICT = 1,   /* a grant a request, gone when it completes */
	XVS_PROTECTION_POOL = 2,     /* small buffers copied into pages granted once */
	XVS_PROTECTION_LAZY = 3,     /* grants kept and used again */
	XVS_PROTECTION_ADAPTIVE = 4, /* pool below a size, strict above it */
};

/*
 * Descriptor address in addressing "grant": bit 63 set, bits 61..44 zero, bits 43..12 the
 * grant reference, bits 11..0 the offset. A buffer over several pages takes consecutive
 * references. The encoding is that of Linux's grant DMA ops. Bit 62 says that the back end may
 * keep the pages mapped after the request; it is zero in protection "strict".
 */
#define XVS_DADDR_GRANT (1ull << 63)
#define XVS_DADDR_KEEP (1ull << 62)
#define XVS_DADDR_GREF_SHIFT XVS_PAGE_SHIFT
#define XVS_DADDR_GREF_MASK 0xffffffffull
#define XVS_DADDR_RESERVED (~(XVS_DADDR_GRANT | (XVS_DADDR_GREF_MASK << 12) | 0xfffull))

/* Descriptor address in addressing "p2m": a pseudo-physical byte address of so many bits. */
#define XVS_P2M_BITS 40

/* Offset 0x000 of the control page. Written by the back end only. */
struct xvs_device_info {
	uint32_t magic;
	uint16_t version;
	uint16_t num_queues;
	uint32_t device_id; /* virtio device type */
	uint32_t vendor_id;
	uint32_t config_len;        /* bytes of struct xvs_control_page.config in use */
	uint32_t config_generation; /* odd while the back end is changing config */
	uint32_t device_status;     /* as the device has it, DEVICE_NEEDS_RESET included */
	uint32_t epoch;             /* one more each time a back end took the device over */
	uint64_t device_features;
	uint32_t addressing; /* enum xvs_addressing, as agreed */
	uint32_t protection; /* enum xvs_protection, as agreed */
	uint32_t reserved[4];
};

/* Operations of the mailbox. The set follows the virtio-msg proposal. */
enum xvs_op {
	XVS_OP_SET_DRIVER_FEATURES = 1, /* features */
	XVS_OP_SET_DEVICE_STATUS = 2,   /* status; 0 is reset, answered when it is complete */
	XVS_OP_SET_CONFIG = 3,          /* config */
	XVS_OP_SET_VQUEUE = 4,          /* index; takes the entry of the queue table over */
	XVS_OP_RESET_VQUEUE = 5,        /* index; answered when every page of it is let go */
	XVS_OP_RELEASE_GRANTS = 6,      /* give back grants kept beyond a request */
};

#define XVS_CONFIG_WRITE_MAX 32

/* Offset 0x040. Written by the front end; seq last. */
struct xvs_request {
	uint32_t seq; /* never 0, one more for each request */
	uint32_t op;  /* enum xvs_op */
	union {
		uint64_t features;
		uint32_t status;
		uint32_t index;
		struct {
			uint32_t offset;
			uint32_t len;
			uint8_t data[XVS_CONFIG_WRITE_MAX];
		} config;
		uint8_t raw[40];
	} u;
	uint32_t reserved[4];
};

/* Offset 0x080. Written by the back end; seq last. */
struct xvs_response {
	uint32_t seq;    /* that of the request it answers */
	int32_t result;  /* 0 or enum xvs_error, negative */
	uint32_t status; /* device status after the operation */
	uint32_t reserved[13];
};

/* Results of a request; the numbers are Xen's errno values, negative. */
enum xvs_error {
	XVS_EIO = -5,         /* the nested device failed */
	XVS_EBUSY = -16,      /* not in this state */
	XVS_EINVAL = -22,     /* the request is malformed */
	XVS_EOPNOTSUPP = -95, /* unknown operation */
};

/* One queue. The first 16 bytes are the back end's, the rest the front end's. */
struct xvs_queue {
	uint16_t size_max; /* entries; 0: no such queue */
	uint16_t reserved0;
	uint32_t enabled; /* 1 while the back end works on the queue */
	uint32_t reserved1[2];
	uint16_t size; /* entries, a power of two, at most size_max */
	uint16_t reserved2;
	uint32_t evtchn;      /* unbound port of the guest */
	uint64_t desc_addr;   /* descriptor addresses of the three parts of the split ring */
	uint64_t driver_addr; /* available ring */
	uint64_t device_addr; /* used ring */
	uint32_t reserved3[4];
};

struct xvs_control_page {
	struct xvs_device_info info; /* 0x000, back end */
	struct xvs_request req;      /* 0x040, front end */
	struct xvs_response rsp;     /* 0x080, back end */
	uint8_t reserved[0x340];
	struct xvs_queue queue[XVS_MAX_QUEUES]; /* 0x400 */
	uint8_t config[XVS_CONFIG_MAX];         /* 0xc00, back end */
};

#define XVS_LAYOUT_ASSERT(c) _Static_assert(c, #c)
XVS_LAYOUT_ASSERT(sizeof(struct xvs_device_info) == 64);
XVS_LAYOUT_ASSERT(sizeof(struct xvs_request) == 64);
XVS_LAYOUT_ASSERT(sizeof(struct xvs_response) == 64);
XVS_LAYOUT_ASSERT(sizeof(struct xvs_queue) == 64);
XVS_LAYOUT_ASSERT(sizeof(struct xvs_control_page) == XVS_PAGE_SIZE);

#endif /* XVSHIM_PROTOCOL_H */
