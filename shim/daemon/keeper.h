/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: owns every device, the store connection and the control socket, forks the
 * workers. It never reads a guest's memory. One thread, one libev loop.
 */
#ifndef XVS_DAEMON_KEEPER_H
#define XVS_DAEMON_KEEPER_H

#include "daemon/conf.h"
#include "daemon/device.h"
#include "daemon/guard.h"

struct control;
struct job;

#define RUN_PATH_SIZE 128
#define KEEPER_CAPS (HV_CAP_STORE | HV_CAP_DOMAIN | HV_CAP_DMA | HV_CAP_GRANT)

struct keeper {
	struct conf conf;
	const struct hv_ops *ops;
	struct hv *hv;
	struct xvs *xvs; /* the library, on hv */
	struct ev_loop *loop;
	uint16_t self; /* own domain */
	char be_root[PATH_SIZE];
	int lock_fd;
	bool simulated; /* in tests: the machine is files and memory that a child inherits */
	bool quitting;
	bool rescan, check_domains;
	uint64_t generation;
	struct kdev *devices;
	struct control *control;
	struct job *jobs;
	struct guard guard;
	ev_tstamp started;
	ev_io store_io;
	ev_signal term, intr;
	ev_timer work;  /* what events have made due */
	ev_timer patrol; /* domains whose end nobody announced */
	ev_timer quit_limit;
	int (*spawn)(struct kdev *d, bool resume); /* worker_start; a test may have another */
};

/* Opens everything and adopts what an earlier keeper left. -errno and one line in why. */
int keeper_open(struct keeper *k, const struct conf *conf, const struct hv_ops *ops, char *why,
		size_t size);
/* Serves until SIGTERM or SIGINT. */
void keeper_run(struct keeper *k);
void keeper_close(struct keeper *k);

/* Ends keeper_run() once every worker stopped; the devices stay attached in the store. */
void keeper_quit(struct keeper *k);

/* There is something to do in the next turn. */
void keeper_kick(struct keeper *k);

/* A new device, to be opened in the next turn; its nodes are in the store. NULL: no memory. */
struct kdev *keeper_add(struct keeper *k, uint16_t domid, uint32_t devid,
			const struct source *src);
struct kdev *keeper_find(struct keeper *k, uint16_t domid, uint32_t devid);
struct kdev *keeper_find_generation(struct keeper *k, uint64_t generation);
/* The device that has this source, or NULL. */
struct kdev *keeper_find_source(struct keeper *k, const char *source);

/* What the store says of domains; true when it is gone or going. */
bool keeper_domain_gone(struct keeper *k, uint16_t domid);

/* A file of the run directory that belongs to a device: "journal", "json". */
void keeper_path(const struct keeper *k, char path[RUN_PATH_SIZE], const struct kdev *d,
		 const char *kind);

/* leftover.c: what the store names, and what says that it changed. */
void keeper_on_watch(void *arg, const char *path, const char *token);
void keeper_scan_store(struct keeper *k);
void keeper_watch(struct kdev *d);
void keeper_unwatch(struct kdev *d);
/* Takes up what an earlier keeper left in the run directory. All of it, or there is no keeper: what
 * is not known would be taken for a device that is new. */
int leftover_adopt(struct keeper *k, char *why, size_t size);

/* statefile.c: the few facts the next keeper needs beside the journal. */
int statefile_write(const struct kdev *d);
/*
 * Writes domid, devid, identity and src.instance of *d, source[SOURCE_MAX] and
 * earlier[SOURCE_DRIVER_MAX].
 * -EINVAL: it is malformed, now and for ever; others: it cannot be read now, so it may well name a
 * device that is ours.
 */
int statefile_read(const char *path, struct kdev *d, char *source, char *earlier);
void statefile_remove(const struct kdev *d);

#endif
