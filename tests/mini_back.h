/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A back end of a few lines, to test the simulated guest and the checking device without the
 * real one: a thread, one chain at a time, an indirect table for every chain. It can be made to
 * do wrong what the two must notice.
 */
#ifndef XVS_TESTS_MINI_BACK_H
#define XVS_TESTS_MINI_BACK_H

#include "dev/dev.h"
#include "hv/sim.h"
#include "sim/guest.h"

enum mini_bug {
	MINI_GOOD,
	MINI_USE_PFN,      /* gives the device the guest's address */
	MINI_MAP_READONLY, /* maps for reading what the device writes */
	MINI_EARLY_UNMAP,  /* unmaps while the device still works */
	MINI_REMAP,        /* unmaps and maps again while the device works */
	MINI_LATE_UNMAP,   /* publishes first, unmaps afterwards */
	MINI_OWN_MEMORY,   /* a ring outside DMA memory */
	MINI_WRONG_ORDER,  /* readable behind writable */
	MINI_USED_LEN,     /* a used length above the buffers' */
	MINI_USED_ID,      /* a used id not in flight */
};

struct mini_back;

struct mini_back *mini_back_start(struct sim_machine *m, uint16_t domid, uint16_t guest,
				  struct xdev *dev, uint32_t ctrl_ref, uint32_t ctrl_port,
				  enum mini_bug bug);
/* The same in the calling thread, until the process is killed. */
void mini_back_serve(struct sim_machine *m, uint16_t domid, uint16_t guest, struct xdev *dev,
		     uint32_t ctrl_ref, uint32_t ctrl_port);
/* Resets the device and lets go of everything. */
void mini_back_stop(struct mini_back *b);

#endif
