/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worker itself: opens what it needs, shuts every door behind it, serves. */
#include "daemon/keeper.h"

#include "session/session.h"
#include "util/log.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void say(int sock, enum worker_msg_type type, int error, const char *text)
{
	struct worker_msg msg = { .type = type, .error = error };

	snprintf(msg.text, sizeof(msg.text), "%s", text);
	/* A keeper that is gone takes us with it. */
	(void)!send(sock, &msg, sizeof(msg), MSG_NOSIGNAL);
}

static void default_signals(void)
{
	sigset_t none;

	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	/* The keeper's to hear, and it says when to stop: also on ^C at a terminal. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Dies with the keeper, which may be dead already. */
static int follow_keeper(pid_t keeper)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return -errno;
	return getppid() == keeper ? 0 : -ESRCH;
}

/* Once: a guest that goes up and down all day is not the keeper's business. */
static void on_status(void *arg, uint8_t status)
{
	int *sock = arg;

	if (*sock < 0 || !(status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED)))
		return;
	say(*sock, WORKER_DRIVER, 0, "");
	*sock = -1;
}

static unsigned int caps_of(const struct kdev *d)
{
	unsigned int caps = HV_CAP_GRANT | HV_CAP_EVTCHN;

	return d->nodes.addressing == XVS_ADDRESSING_P2M ? caps | HV_CAP_P2M : caps;
}

/* Where the kernel cannot, the worker serves as one did before: the hypercalls are the larger hole. */
static void name_no_other_domain(struct hv *hv, const struct kdev *d)
{
	int rc = hv->ops->restrict_to(hv, d->domid);

	if (rc)
		log_line(LOG_WARN, "%s: the worker may name other domains: %s", d->name,
			 strerror(-rc));
}

static int open_session(struct kdev *d, bool resume, int *status_sock, struct session **s,
			char *why, size_t size)
{
	struct session_params params = {
		.dev = d->src.dev,
		.dma = &d->dma,
		.journal = &d->journal,
		.domid = d->domid,
		.ctrl_ref = d->nodes.ctrl_ref,
		.ctrl_port = d->nodes.ctrl_port,
		.addressing = d->nodes.addressing,
		.protection = d->nodes.protection,
		.holder_fd = d->hold_fd,
		.keep_pages = d->allow.keep_pages,
		.keep_ms = d->allow.keep_ms,
		.poll_us = d->keeper->conf.poll_us,
		.resume = resume,
		.name = d->name,
		.on_status = on_status,
		.arg = status_sock,
	};
	int rc;

	params.hv = hv_open(d->keeper->ops, caps_of(d), &rc);
	if (!params.hv) {
		snprintf(why, size, "no access to Xen: %s", strerror(-rc));
		return rc;
	}
	rc = session_open(s, &params, why, size);
	if (rc)
		hv_close(params.hv);
	else
		name_no_other_domain(params.hv, d);
	return rc;
}

static int enter_sandbox(const struct kdev *d, pid_t keeper, int sock, char *why, size_t size)
{
	const struct sandbox box = { .ops = d->keeper->ops, .caps = caps_of(d), .sock = sock };
	const char *step = "";
	int rc;

	rc = sandbox_prepare();
	if (!rc) /* a change of user forgets this, so it comes again */
		rc = follow_keeper(keeper);
	if (!rc)
		rc = sandbox_enter(&box, &step);
	if (rc)
		snprintf(why, size, "no sandbox (%s): %s", step, strerror(-rc));
	return rc;
}

void worker_main(struct kdev *d, bool resume, int sock)
{
	const struct isolate_keep keep = { .device = d, .sock = sock };
	struct session *s = NULL;
	pid_t keeper = getppid();
	int status_sock = sock;
	char why[160] = "";
	int rc;

	default_signals();
	rc = follow_keeper(keeper);
	if (!rc)
		rc = isolate(&keep);
	if (rc)
		snprintf(why, sizeof(why), "cannot be isolated: %s", strerror(-rc));
	if (!rc)
		rc = open_session(d, resume, &status_sock, &s, why, sizeof(why));
	if (!rc)
		rc = enter_sandbox(d, keeper, sock, why, sizeof(why));
	if (rc) {
		say(sock, WORKER_FAILED, rc, why);
		_exit(EXIT_FAILURE);
	}
	say(sock, WORKER_READY, 0, "");
	rc = session_run(s, sock);
	session_close(s);
	say(sock, WORKER_ENDED, rc, "");
	_exit(rc ? EXIT_FAILURE : EXIT_SUCCESS);
}
