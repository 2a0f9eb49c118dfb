/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames of one guest, held by mapping them: Xen checks that a frame is the guest's own and gives
 * it to nobody else while the mapping stands. A mapping ends with its process, so what a device
 * may reach is held by a process of its own, the holder (daemon/holder.h), spoken to through a
 * socket; what only this process looks at, by a table of its own.
 *
 * Frames are named by slot, a number the caller chooses.
 */
#ifndef XVS_MEM_HOLD_H
#define XVS_MEM_HOLD_H

#include "hv/hv.h"

#define HOLD_SLOTS 8192u /* frames held at once */
#define HOLD_BATCH 1024u /* of each kind in one change */

struct hold_pin {
	mfn_t mfn;
	uint16_t slot;
	uint16_t writable; /* 1: so that a device may write it; Xen refuses a page table then */
	int32_t err;       /* out: 0: held; -ENOMEM: short of something; others: Xen refused */
};

/*
 * change: first lets go of the slots in unpin, then takes those of pin, at most HOLD_BATCH each.
 * 0: each pin has its err. Negative errno: the caller named a slot wrongly and nothing was done
 * (-EINVAL), or nothing is known of what is held any more.
 */
struct hold {
	int (*change)(struct hold *h, const uint16_t *unpin, unsigned int nr_unpin,
		      struct hold_pin *pin, unsigned int nr_pin);
};

/* -- a table in this process -- */

struct hold_table {
	struct hold hold;
	struct hv *hv;
	uint16_t domid;
	unsigned int held;
	uint8_t *va[HOLD_SLOTS]; /* NULL: free */
};

void hold_table_init(struct hold_table *t, struct hv *hv, uint16_t domid);
/* Lets go of all. 0, or a negative errno when some are still held. */
int hold_table_clear(struct hold_table *t);
/* Where a held frame is mapped in this process. */
static inline const void *hold_table_va(const struct hold_table *t, uint16_t slot)
{
	return t->va[slot];
}

/* -- messages to a holder: one packet each way, the request's arrays right behind it -- */

#define HOLD_MAGIC 0x444c4f48u

enum hold_op {
	HOLD_CHANGE = 1,
	/* Of the keeper's connection only: */
	HOLD_HELLO, /* who are you? */
	HOLD_SERVE, /* with a descriptor: the socket of a worker, instead of the one before */
	HOLD_END,   /* let go of all and end: the device confirmed its reset */
};

struct hold_request {
	uint32_t magic, op;
	uint32_t nr_unpin, nr_pin;
	/* hold_pin pin[nr_pin]; uint16_t unpin[nr_unpin] */
};

struct hold_reply {
	uint32_t magic;
	int32_t rc;
	uint32_t held; /* after the operation */
	int32_t pid;
	uint16_t domid;
	uint16_t pad[3];
	char name[64];           /* of the device it was made for */
	int32_t err[HOLD_BATCH]; /* of each pin */
};

/* Length of a reply that carries n of err[]. */
#define HOLD_REPLY_SIZE(n) (offsetof(struct hold_reply, err) + (n) * sizeof(int32_t))

struct hold_client {
	struct hold hold;
	int fd; /* the caller's, connected, blocking */
	struct hold_reply reply;
};

void hold_client_init(struct hold_client *c, int fd);
/* One of the keeper's operations; fd -1 or one to be sent along. rc of the reply, or -errno. */
int hold_client_call(struct hold_client *c, enum hold_op op, int fd);

#endif
