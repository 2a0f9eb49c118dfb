/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stage for the whole daemon without Xen: a simulated machine, a disk that takes machine
 * addresses only, a guest, and a keeper in a process of its own, so that it can be killed.
 */
#ifndef XVS_TESTS_DAEMON_STAGE_H
#define XVS_TESTS_DAEMON_STAGE_H

#include "daemon/keeper.h"
#include "dev/check.h"
#include "hv/sim.h"
#include "sim/guest.h"

#include <json-c/json.h>
#include <pthread.h>

#define STAGE_SOURCE "sim:disk"

/* What the processes tell each other about the source. */
struct stage_shared {
	_Atomic unsigned int taken, released, opens;
	_Atomic bool held, unplugged, sticks; /* sticks: it cannot be given back */
	_Atomic uint32_t device_id;
};

struct stage {
	char run_dir[64];
	struct sim_machine *machine;
	struct xdev *disk;
	struct sim_guest *guest;
	struct hv *hv; /* of domain 0, for looking */
	pid_t keeper;
	unsigned int restart_limit;
};

/* To be set before stage_open(): the guest asks for addressing p2m, and may have it. */
extern bool stage_p2m;
/* A machine in a folder (survey_tree.h) whose device is the disk; NULL: none. */
extern const char *stage_root;
#define STAGE_BDF "0000:00:10.0"
/* What the disk offers; 0: what it does by itself. */
extern uint64_t stage_features;
/* The guest's domain; 1. */
extern uint16_t stage_domid;
/* Also before: what its buffers are (0: strict), and what the disk is besides large enough. */
extern enum xvs_protection stage_protection;
extern struct check_config stage_disk;
/* How long the disk may take for a reset; how long the guest waits for answers. */
extern unsigned int stage_reset_ms, stage_guest_ms;
extern struct stage stage;
extern struct stage_shared *shared;
/* For tests that let things fail: the device as the keeper has it; called in the keeper's process. */
extern struct xdev *stage_device;
extern void (*stage_in_keeper)(void);
extern const struct hv_ops *stage_ops; /* NULL: the simulation's */
/* Exit status of a keeper that did not begin; the second: and gave no reason. */
#define STAGE_KEEPER_REFUSED 1
#define STAGE_KEEPER_SILENT 3

void stage_set(void);  /* all but the keeper */
void stage_open(void); /* all */
void stage_close(void);

void stage_new_guest(void);
void stage_start_keeper(void); /* and waits until it answers */
void stage_fork_keeper(void);
/* From now on keepers are forked by a process without threads: to be called while nothing runs. */
void stage_open_nursery(void);
void stage_kill_keeper(void);
bool stage_keeper_died(void); /* by itself */
int stage_stop_keeper(void); /* its exit status */

/* The control socket. */
int stage_connect(void);
json_object *stage_ask(const char *request);
/* Fails the test unless it says ok or, with ok false, an error that contains text. */
void stage_expect(const char *request, bool ok, const char *text);
/* A request in a thread of its own, while this one plays the guest. */
void stage_begin(const char *request);
json_object *stage_finish(void);
void stage_finish_expecting(bool ok, const char *text);

/* A node of one end of the device; each end's is overwritten by the next call. */
char *stage_path(bool backend, const char *key);
/* Attach and detach of the guest, both sides. */
void stage_attach(void);
void stage_detach(void);
/* A few requests, verified. */
void stage_io(unsigned int rounds);

/* A field of the only device in `status`; number of devices in `list`. */
char *stage_state(char *state, size_t size);
int64_t stage_status(const char *field);
int stage_devices(void);

/* Polls a condition for at most ms. Once it holds nobody asks again: it may have done something. */
#define STAGE_WAIT(ms, condition)                                                                 \
	do {                                                                                      \
		int left_ = (ms);                                                                 \
		bool holds_;                                                                      \
		while (!(holds_ = (condition)) && left_ > 0) {                                    \
			usleep(5000);                                                             \
			left_ -= 5;                                                               \
		}                                                                                 \
		ck_assert_msg(holds_, "not within " #ms " ms: " #condition);                      \
	} while (0)

bool stage_node(const char *path, char value[NODE_MAX + 1]);
bool stage_node_is(const char *path, const char *value);
/* Fails unless domain 0 holds nothing of the guest any more. */
void stage_nothing_left(void);
/* The same, but the keeper's DMA memory may stay. */
void stage_nothing_mapped(void);

#endif
