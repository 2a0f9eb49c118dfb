/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that serves one device. The keeper forks it and from then on only hears from it
 * through a socket pair; closing that socket is the order to stop, a byte the one to do without the
 * nested device.
 */
#ifndef XVS_DAEMON_WORKER_H
#define XVS_DAEMON_WORKER_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct hv_ops;
struct kdev;

enum worker_msg_type {
	WORKER_READY = 1,
	WORKER_FAILED = 2,  /* could not begin: error, text */
	WORKER_TRAPPED = 3, /* made a system call it has no use for: error is its number */
	WORKER_ENDED = 4,   /* session_run() came back: error */
	WORKER_DRIVER = 5,  /* the guest's driver is ready, or gave up; said once */
};

struct worker_msg {
	int32_t type;
	int32_t error;
	char text[160];
};

struct worker {
	pid_t pid;  /* 0: none */
	int sock;   /* -1: told to stop */
	int error;  /* of WORKER_FAILED or WORKER_ENDED */
	int trapped; /* -1, or the number of the system call */
	bool failed;
	unsigned int said; /* messages that were listened to */
	char why[160];
	ev_io io;
	ev_child child;
};

void worker_init(struct kdev *d);
int worker_start(struct kdev *d, bool resume);
/* Orders it to stop; it ends within a moment or has to be killed. Idempotent. */
void worker_stop(struct kdev *d);
/* Orders it to do without the nested device: its guest's requests end in an error. */
void worker_take_device(struct kdev *d);
void worker_kill(struct kdev *d);
/* How it ended, for the log. */
void worker_describe_end(const struct kdev *d, int status, char *text, size_t size);

/* worker_main.c: the child. Never returns. */
void worker_main(struct kdev *d, bool resume, int sock) __attribute__((noreturn));

/*
 * isolate.c: leaves the calling process no file but those it is told to keep, and no shared
 * mapping but the device's own.
 */
struct isolate_keep {
	const struct kdev *device; /* NULL: nothing of any device */
	int sock;
};
int isolate(const struct isolate_keep *keep);

/*
 * sandbox.c: gives up what is not needed once everything is open. A system call outside the
 * list is reported on sock, then the process ends. -errno and the step that failed.
 */
struct sandbox {
	const struct hv_ops *ops; /* whose handle it has, and what for: its needs are allowed */
	unsigned int caps;
	int sock;    /* -1: nobody to report to */
	bool holder; /* a process that takes connections */
};
/* Who workers and holders are from here on; nobody (65534) before. -ENOENT: no such user, -EPERM:
 * root. */
int sandbox_user(const char *name);
int sandbox_prepare(void);              /* before anything of the guest is read */
int sandbox_enter(const struct sandbox *box, const char **step);

#endif
