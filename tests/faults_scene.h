/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The scene of test_faults.c. The process of a run is the keeper (and has the device's thread);
 * worker, holder and guest are processes of their own. What the keeper does here is what the daemon
 * does, without the store.
 */
#ifndef XVS_TESTS_FAULTS_SCENE_H
#define XVS_TESTS_FAULTS_SCENE_H

#include "faults.h"

#include "dev/check.h"
#include "mem/journal.h"

#include <sys/types.h>
#include <xvshim/protocol.h>

#define BACK 0
#define TRIES 10
#define WAIT_MS 30000 /* nothing takes so long but what never comes */
#define QUEUES 2
#define FLYING 2 /* requests in the device when its worker is killed */

struct mode {
	enum xvs_addressing addressing;
	enum xvs_protection protection;
	uint64_t no_features;
};

struct scene {
	const struct mode *mode;
	struct sim_machine *machine;
	struct xdev *disk, *dev; /* itself; and as the back end has it, with faults */
	/* the keeper's */
	struct hv *hv;
	struct hv_dma dma;
	struct journal journal;
	char dir[32], hold[48];
	unsigned int leaked; /* handles that Xen refused to take back, in journals that are gone */
	/* the worker */
	pid_t worker;
	int sock;
	bool ready, connected;
	unsigned int starts;
	/* the guest */
	uint16_t domid;
	pid_t guest_pid;
	int guest_sock;
	uint32_t ctrl_ref, ctrl_port;
};

extern struct scene scene;

/* Does Xen refuse to let go in this run? Then some pages stay, and everybody may say so. */
bool refuses_unmap(void);

/* What the guest asks of the keeper, a message of three numbers; it is answered by one. */
enum ask {
	ASK_CONNECT = 'c', /* followed by reference and port */
	ASK_KILL = 'k',	   /* the worker, once two requests are in flight, and then go on */
	ASK_CLOSE = 'd',
	ASK_DIE = 'x', /* the domain ends with requests in flight */
};

/* faults_guest.c: the guest's life, in a process of its own. brief: only a few requests. */
void guest_process(int keeper, bool brief) __attribute__((noreturn));

/* faults_keeper.c: one guest from its birth to its end. */
void serve(uint16_t domid, bool brief);

#endif
