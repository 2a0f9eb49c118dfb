/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A front end in the user space of a domU that does what no driver would, to the real daemon: the
 * scenario hostile-guest of the rig. docs/protocol.md is all it knows of the other side.
 *
 * Its steps go through the store: "NUMBER KIND TEXT" in a node step-N below the one that it is
 * called with asks dom0 to look at what the daemon made of it, which then writes seen-N. Anything
 * that is not as it should be ends it.
 */
#ifndef XVS_TESTS_HOSTILE_GUEST_H
#define XVS_TESTS_HOSTILE_GUEST_H

#include "hv/share.h"

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <xvshim/protocol.h>

#define HG_SIZE 64       /* entries of the queue */
#define HG_PATIENCE 20000 /* ms that dom0, emulated and busy, may take for anything */

#define HG_READ 0 /* VIRTIO_BLK_T_* */
#define HG_WRITE 1

struct hg_page {
	uint8_t *va;
	uint32_t ref;
};

struct hg_queue {
	struct hg_page page[3]; /* descriptors, available, used: the first two granted read-only */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint32_t port;
	uint16_t next, seen; /* available and used index, as this side has them */
};

struct hg {
	struct share *share;
	const char *steps; /* the node */
	unsigned int step;
	char fe[64], be[128];
	uint16_t backend;
	struct hg_page page;       /* the control page */
	struct xvs_control_page *ctrl;
	uint32_t port, seq;
	struct hg_queue q;
	struct hg_page buf[4];     /* granted for writing, each by itself */
	struct hg_page readonly;
	struct hg_page run[2];     /* of hg_run_of_two() */
};

/* Ends the program with a line if it does not hold. */
#define hg_must(c) ((c) ? (void)0 : hg_fail(__func__, __LINE__, #c))
void hg_fail(const char *function, int line, const char *what) __attribute__((noreturn));
/* Tells dom0, and waits until it has looked. */
void hg_step(struct hg *g, unsigned int number, const char *kind, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
uint64_t hg_now(void); /* ms */
uint64_t hg_random(void);

/* -- the front end: hostile_guest_front.c -- */

void hg_pages(struct hg *g, struct hg_page *page, unsigned int n, bool readonly);
void hg_pages_end(struct hg *g, struct hg_page *page);
/* Two pages under consecutive references; they need not lie side by side here. */
void hg_run_of_two(struct hg *g, struct hg_page run[2]);
/* Everything that is shared for the whole time. */
void hg_open(struct hg *g);
void hg_put(struct hg *g, const char *node, const char *value);
void hg_put_number(struct hg *g, const char *node, uint64_t value);
unsigned int hg_backend_state(struct hg *g);
void hg_wait_backend(struct hg *g, unsigned int state);
/* The nodes of a front end that keeps to the rules, up to Initialised; then up to Connected. */
void hg_offer(struct hg *g);
void hg_connect(struct hg *g);
/* Closing, Closed, and back to where the other side waits. */
void hg_disconnect(struct hg *g);
/* A request by the mailbox; its result. */
int hg_request(struct hg *g, struct xvs_request *req);
int hg_status(struct hg *g, uint32_t status);
int hg_set_queue(struct hg *g);
/* Reset, features, queue, DRIVER_OK. */
void hg_start(struct hg *g);
bool hg_needs_reset(struct hg *g);
void hg_push(struct hg *g, uint16_t head);
void hg_kick(struct hg *g);
/* The next used element; false: none within ms. */
bool hg_pop(struct hg *g, unsigned int ms, struct vring_used_elem *e);
uint64_t hg_daddr(const struct hg_page *page, uint32_t offset);
void hg_desc(struct hg *g, unsigned int i, uint64_t addr, uint32_t len, uint16_t flags,
	     uint16_t next);
/* A request whose header, status and len bytes of data lie in a page: descriptors i to i + 2. */
void hg_blk(struct hg *g, unsigned int i, struct hg_page *page, uint32_t type, uint64_t sector,
	    uint32_t len);
#define HG_HEADER 0
#define HG_STATUS 64
#define HG_DATA 512
/* One that has to complete: its status byte. */
uint8_t hg_run(struct hg *g, uint16_t head, struct hg_page *page, uint32_t *used);
/* A sector written and read back. */
void hg_good(struct hg *g);
/* The device is broken, dom0 finds the reason, and a reset makes it whole. */
void hg_broken(struct hg *g, unsigned int number, const char *reason);
/* The same for a chain that was put into the ring and not yet shown. */
void hg_breaks(struct hg *g, unsigned int number, uint16_t head, const char *reason);

/* -- what it does -- */

void hg_rings(struct hg *g);  /* hostile_guest_ring.c: hazards 1 to 14 */
void hg_grants(struct hg *g); /* 16 to 21 */
void hg_version(struct hg *g); /* hostile_guest_version.c: of these 19, in part */
void hg_store(struct hg *g);  /* hostile_guest_store.c: 25 to 28 */
void hg_floods(struct hg *g); /* 38 to 40 */

#endif
