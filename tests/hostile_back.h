/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A back end in dom0 that breaks the rules, for an unmodified xvshim_front and virtio_blk: the
 * scenario hostile-backend of the rig. A disk in memory, one device at a time.
 *
 * It is told what to do by lines on its standard input and answers each with a line, "ok ..." or
 * "FAIL ...". What it does wrong to a request it does to the first one for a sector from
 * HB_TRIGGER on; all others are served as they should be.
 */
#ifndef XVS_TESTS_HOSTILE_BACK_H
#define XVS_TESTS_HOSTILE_BACK_H

#include "daemon/nodes.h"
#include "hv/hv.h"

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <xvshim/protocol.h>

#define HB_SECTORS 8192
#define HB_TRIGGER 4096
#define HB_SIZE 64 /* entries of its queue */

enum hb_bug {
	HB_GOOD,
	HB_USED_RANGE,   /* 41: a used id outside the table */
	HB_USED_NEVER,   /* 41: one that is not in flight */
	HB_USED_LEN,     /* 42: far more than there is room for */
	HB_REWRITE,      /* 43: writes over all it can of tables and control page */
	HB_KEEP,         /* 44: does not unmap the pages of the request */
};

struct hb_queue {
	bool live;
	uint16_t size, avail, used;
	uint32_t port;
	const struct vring_desc *desc;
	struct vring_avail *avail_ring;
	struct vring_used *used_ring;
	uint32_t desc_ref, avail_ref;
};

struct hb {
	struct hv *hv;
	uint16_t domid;
	uint32_t dev;
	bool open;
	char fe[PATH_SIZE], be[PATH_SIZE];
	char protection[16];
	uint32_t port, seq;
	uint8_t status;
	struct xvs_control_page *ctrl;
	struct hb_queue q;
	enum hb_bug bug;
	bool done;            /* what was asked for was done, once */
	unsigned int refused; /* maps for writing that Xen refused */
	uint8_t *kept;        /* page of HB_KEEP */
	uint8_t was[XVS_PAGE_SIZE]; /* and what was in it */
	uint64_t requests;
	uint8_t *disk;
};

extern const char hb_pattern[16]; /* what the guest filled its memory with */

/* -- hostile_back_ring.c: the queue and its requests -- */

/* 0 or a result of the protocol. */
int hb_queue_on(struct hb *b);
void hb_queue_off(struct hb *b);
/* Everything that waits. */
void hb_serve(struct hb *b);
/* One page of the guest; NULL: Xen refuses. */
void *hb_map(struct hb *b, uint32_t gref, bool writable);
void hb_unmap(struct hb *b, void *va);

/* -- hostile_back.c -- */

/* Requests, queue and control, until fd 0 has something to read or ms went by. */
void hb_run(struct hb *b, unsigned int ms);

#endif
