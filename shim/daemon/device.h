/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One device of one guest, as the keeper has it: a state machine over the XenBus states of
 * both ends and the life of the worker.
 *
 *            bring-up          Initialised           ready
 *   NEW ────────────> INITWAIT ──────────> STARTING ───────> CONNECTED
 *                        ^                     │ death           │ death, or stop wanted
 *                        │ Initialising        v                 v
 *                      CLOSED <──────────── RECOVER <──────── STOPPING
 *                                 goal         │  device reset, confirmed; handles unmapped
 *                                              v
 *                              FAILED (all released) or GONE (to be freed)
 *
 * Nothing leaves RECOVER before the device confirmed its reset and every handle is unmapped.
 * What happens then is the goal; goals only ever rise.
 */
#ifndef XVS_DAEMON_DEVICE_H
#define XVS_DAEMON_DEVICE_H

#include "daemon/nodes.h"
#include "daemon/source.h"
#include "daemon/worker.h"
#include "lib/internal.h"
#include "mem/journal.h"
#include "util/log.h"

#include <ev.h>
/* Otherwise it ends the process when there is no memory. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct keeper;

enum kd_state {
	KD_NEW,       /* known from the store, nothing opened yet */
	KD_INITWAIT,  /* open; the front end's turn */
	KD_STARTING,  /* worker forked, not ready yet */
	KD_CONNECTED, /* worker serves */
	KD_STOPPING,  /* worker told to stop */
	KD_RECOVER,   /* no worker; reset and unmap, as often as it takes */
	KD_CLOSED,    /* open, but the front end went away or was refused */
	KD_FAILED,    /* gave up, all released; waits to be detached */
	KD_GONE,      /* released; nodes to be removed, then to be freed */
};

enum kd_goal {
	GOAL_NONE,
	GOAL_RESUME, /* a new worker takes over */
	GOAL_CLOSE,  /* the front end is through with it */
	GOAL_FAIL,   /* no more workers */
	GOAL_QUIT,   /* the keeper ends; the next one takes over */
	GOAL_REMOVE, /* detached, or the guest is gone */
};

struct kdev {
	UT_hash_handle hh;
	uint32_t key;        /* domid, devid */
	uint64_t generation; /* never used twice: stale events name an older one */
	struct keeper *keeper;

	uint16_t domid;
	uint32_t devid;
	char identity[64]; /* of the domain: its number may be used again */
	char be[PATH_SIZE], fe[PATH_SIZE];
	char name[48];
	char watch_token[48];

	enum kd_state state;
	enum kd_goal goal;
	bool take;    /* may be taken from its driver */
	bool adopted; /* left behind by an earlier keeper */
	bool taken;   /* the source is ours, to be given back */
	bool online, domain_gone, watched;
	bool forced;              /* to go, and its guest's requests end in an error */
	bool served;              /* this connection had a worker that was ready */
	enum xb_state xb;         /* wanted */
	enum xb_state xb_written; /* in the store */
	enum xb_state fe_state;
	bool offers_written;
	char error[200]; /* why it was refused or failed; empty: nothing wrong */
	char error_written[200];
	char held[160]; /* why its pages are still held; empty: they are not */
	char not_given_back[160]; /* why the source has not the driver it had */

	struct source src;
	uint32_t device_id; /* virtio device type */
	struct xvs_dma *memory; /* NULL: none */
	struct hv_dma dma;      /* its pages; va NULL: none */
	struct journal journal; /* data NULL: none */
	struct allow allow; /* by the administrator */
	struct fe_nodes nodes;
	struct facts facts;       /* of device, machine, guest, administrator */
	bool looked;              /* those of device and machine are in it */
	struct decision decision; /* what comes of them; offers mean something once looked */
	struct worker worker;
	int hold_fd; /* while a worker is started: its socket to the holder; -1: none */

	bool dirty; /* to be evaluated in this turn */
	unsigned int tokens;
	ev_tstamp refilled;
	ev_timer timer;  /* of the state: stop, start, recover */
	ev_timer retry;  /* evaluate again: the store refused, or too many events */
	ev_tstamp backoff;
	ev_tstamp hold; /* the same while a reset is not confirmed */
	ev_tstamp restart_since;
	unsigned int restarts, restarts_total;
	struct log_limit limit;
};

const char *kdev_state_name(enum kd_state state);

struct kdev *kdev_new(struct keeper *k, uint16_t domid, uint32_t devid);
void kdev_free(struct kdev *d);

/* To be evaluated soon; cheap, may be called for every event. */
void kdev_mark(struct kdev *d);

/* Looks at both ends and takes the steps that follow. */
void kdev_evaluate(struct kdev *d);

/* Raises the goal and does what can be done for it at once. */
void kdev_want(struct kdev *d, enum kd_goal goal);

/*
 * Takes the device from its guest, which may still let go in good order: what it has in flight and
 * what it asks for ends in an error, so that nothing is waited for. GOAL_REMOVE is the caller's, when
 * the guest does not.
 */
void kdev_force(struct kdev *d);

/* The front end broke a rule: `error` is written and the device goes to Closing. */
void kdev_refuse(struct kdev *d, const char *why);

/* Called by the worker's side. */
void kdev_worker_ready(struct kdev *d);
void kdev_worker_ended(struct kdev *d, int status);

/* device.c, for its other files. */
#define KDEV_TOKENS 20 /* evaluations in one go; as many come back in two seconds */
void kdev_set_state(struct kdev *d, enum kd_state state);
void kdev_arm(struct kdev *d, ev_timer *timer, ev_tstamp after);
void kdev_start_worker(struct kdev *d, bool resume);
/* kdev_sync(), and what to do when the store refuses: say so, back off, try again. */
void kdev_sync_store(struct kdev *d);
void kdev_store_refused(struct kdev *d, int rc);

/* device_open.c: what a device holds. 0, or a negative errno and d->error. */
int kdev_open(struct kdev *d);
/* What the guest is offered: the settings, and the device's own nodes over them. */
int kdev_read_allow(struct kdev *d, char *why, size_t size);
int kdev_check_type(struct kdev *d);
int kdev_open_dma(struct kdev *d);
int kdev_fresh_journal(struct kdev *d);
/* RECOVER's work: 0 when the device was reset and nothing is mapped any more. */
int kdev_let_go(struct kdev *d, char *why, size_t size);
/* DMA memory back to Xen; the device was reset. */
void kdev_drop_dma(struct kdev *d);
/* All that a device holds, the source's earlier driver included. */
void kdev_release(struct kdev *d);

/* device_policy.c: asks the policy. 0, or a negative errno and one line in why. */
/* The source may be taken (source_check()); what the decision rests on is kept. */
int kdev_decide_source(struct kdev *d, struct source_facts *facts, char *why, size_t size);
/* What the guest is offered; the source is open. -EOPNOTSUPP: nothing is left to offer. */
int kdev_decide_offer(struct kdev *d, char *why, size_t size);
/* What the front end's nodes pick. -EINVAL: it is not offered. */
int kdev_decide_pick(struct kdev *d, char *why, size_t size);
/* What the guest's driver accepted, as the worker wrote it down. */
struct driver_decision kdev_decide_driver(const struct kdev *d);

/* device_hold.c: addressing p2m. A socket for the next worker in d->hold_fd, if its addressing asks
 * for one. */
int kdev_start_holder(struct kdev *d);
void kdev_close_hold_fd(struct kdev *d);
/* The device confirmed its reset. 0: nothing is held any more. */
int kdev_end_holder(struct kdev *d, char *why, size_t size);

/* device_store.c: brings the store in line with xb and error. */
int kdev_sync(struct kdev *d);
int kdev_remove_nodes(struct kdev *d);
void node_remove_empty(struct hv *hv, const char *dir);
/* Empty where there is none. An error: the store did not say. */
int kdev_domain_identity(struct hv *hv, uint16_t domid, char *identity, size_t size);

#endif
