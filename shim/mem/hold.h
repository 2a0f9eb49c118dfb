/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames of one guest, held by mapping them: Xen checks that a frame is the guest's own and gives
 * it to nobody else while the mapping stands. A mapping ends with its process, so what a device
 * may reach is held by a process of its own, the holder (daemon/holder.h), spoken to through a
 * socket; what only this process looks at, by a table of its own.
 *
 * Frames are named by slot, a number the caller chooses. Frames to be written that go together, as
 * those of one chain do, share a map: three system calls for all of them instead of for each.
 */
#ifndef XVS_MEM_HOLD_H
#define XVS_MEM_HOLD_H

#include "hv/hv.h"

#define HOLD_SLOTS 8192u /* frames held at once */
#define HOLD_BATCH 1024u /* of each kind in one change */
#define HOLD_NONE 0xffffu

enum hold_flag {
	HOLD_WRITABLE = 1, /* so that a device may write it; Xen refuses a page table then */
	HOLD_WITH_LAST = 2, /* likely let go together with the pin before it */
};

struct hold_pin {
	mfn_t mfn;
	uint16_t slot;
	uint16_t flags;
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

struct hold_slot {
	mfn_t mfn;
	uint16_t map;        /* HOLD_NONE: free */
	uint16_t at;         /* page of the map */
	uint16_t prev, next; /* slots of the same map; HOLD_NONE: no more */
};

/* One map of frames, whole as it was made: a kernel refuses to unmap a part. */
struct hold_map {
	uint8_t *va; /* NULL: free */
	uint16_t pages;
	uint16_t first; /* of the slots still held; HOLD_NONE: all are gone */
	bool touched;   /* a slot went in the change under way */
};

struct hold_table {
	struct hold hold;
	struct hv *hv;
	uint16_t domid;
	unsigned int held;
	struct hold_slot slot[HOLD_SLOTS];
	struct hold_map map[HOLD_SLOTS];
	uint16_t free_map[HOLD_SLOTS]; /* the first HOLD_SLOTS less nr_map of it */
	unsigned int nr_map;
	/* Of the change under way: maps that lost a slot, and the next map to be made. */
	uint16_t touched[HOLD_BATCH];
	unsigned int nr_touched;
	uint16_t member[HOLD_BATCH]; /* slots */
	gfn_t gfn[HOLD_BATCH];
	int err[HOLD_BATCH];
};

void hold_table_init(struct hold_table *t, struct hv *hv, uint16_t domid);
/* Lets go of all. 0, or a negative errno when some are still held. */
int hold_table_clear(struct hold_table *t);
/* Where a held frame is mapped in this process. */
static inline const void *hold_table_va(const struct hold_table *t, uint16_t slot)
{
	const struct hold_slot *s = &t->slot[slot];

	return t->map[s->map].va + (size_t)s->at * XVS_FRAME_SIZE;
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
