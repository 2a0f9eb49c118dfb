/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper's side of a worker. */
#include "daemon/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A worker has five things to say; one that says more is not listened to any more. */
#define WORKER_SAYS 8

/* What it says reaches logs, the store and terminals. */
static void keep_words(struct worker *w, const char text[sizeof(w->why)])
{
	size_t i;

	for (i = 0; i < sizeof(w->why) - 1 && text[i]; i++)
		w->why[i] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
	w->why[i] = '\0';
}

static void take_message(struct kdev *d, const struct worker_msg *msg)
{
	struct worker *w = &d->worker;

	switch (msg->type) {
	case WORKER_READY:
		kdev_worker_ready(d);
		break;
	case WORKER_FAILED:
		w->failed = true;
		w->error = msg->error;
		keep_words(w, msg->text);
		break;
	case WORKER_TRAPPED:
		w->trapped = msg->error;
		break;
	case WORKER_DRIVER:
		keeper_kick(d->keeper); /* somebody may wait for it; the journal has the status */
		break;
	case WORKER_ENDED:
		w->error = msg->error;
		break;
	default:
		break; /* from a process that a guest may have broken: not believed */
	}
}

static void drain(struct kdev *d)
{
	struct worker *w = &d->worker;
	struct worker_msg msg;

	while (w->sock >= 0 && w->said < WORKER_SAYS) {
		ssize_t n = recv(w->sock, &msg, sizeof(msg), MSG_DONTWAIT);

		if (n < 0)
			return;
		w->said = n ? w->said + 1 : WORKER_SAYS;
		if (n == sizeof(msg))
			take_message(d, &msg);
	}
	ev_io_stop(d->keeper->loop, &w->io);
}

static void on_message(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
	drain(io->data);
}

static void on_child(struct ev_loop *loop, ev_child *child, int events)
{
	struct kdev *d = child->data;

	(void)events;
	if (!WIFEXITED(child->rstatus) && !WIFSIGNALED(child->rstatus))
		return;
	drain(d);
	ev_child_stop(loop, child);
	d->worker.pid = 0;
	if (d->worker.sock >= 0) {
		ev_io_stop(loop, &d->worker.io);
		close(d->worker.sock);
		d->worker.sock = -1;
	}
	kdev_worker_ended(d, child->rstatus);
}

void worker_init(struct kdev *d)
{
	struct worker *w = &d->worker;

	w->sock = -1;
	w->trapped = -1;
	ev_init(&w->io, on_message);
	ev_init(&w->child, on_child);
	w->io.data = d;
	w->child.data = d;
}

int worker_start(struct kdev *d, bool resume)
{
	struct worker *w = &d->worker;
	struct ev_loop *loop = d->keeper->loop;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int rc = -errno;

		close(pair[0]);
		close(pair[1]);
		return rc;
	}
	if (!pid) {
		close(pair[0]);
		worker_main(d, resume, pair[1]);
	}
	close(pair[1]);
	w->pid = pid;
	w->sock = pair[0];
	w->error = 0;
	w->trapped = -1;
	w->failed = false;
	w->said = 0;
	w->why[0] = '\0';
	ev_io_set(&w->io, w->sock, EV_READ);
	ev_child_set(&w->child, pid, 0);
	ev_io_start(loop, &w->io);
	ev_child_start(loop, &w->child);
	return 0;
}

/*
 * Only our sending half: its end is what the worker's orders_fd sees, and what it says on its way
 * out still arrives.
 */
void worker_stop(struct kdev *d)
{
	if (d->worker.sock >= 0)
		shutdown(d->worker.sock, SHUT_WR);
}

void worker_take_device(struct kdev *d)
{
	/* One that cannot be told is ended when the guest's time is over. */
	if (d->worker.sock >= 0)
		(void)!send(d->worker.sock, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void worker_kill(struct kdev *d)
{
	if (d->worker.pid > 0)
		kill(d->worker.pid, SIGKILL);
}

void worker_describe_end(const struct kdev *d, int status, char *text, size_t size)
{
	const struct worker *w = &d->worker;
	char *name;

	if (w->trapped >= 0) {
		name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, w->trapped);
		snprintf(text, size, "made the forbidden system call %s (%d)", name ? name : "?",
			 w->trapped);
		free(name);
	} else if (WIFSIGNALED(status)) {
		snprintf(text, size, "died of signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	} else if (w->failed) {
		snprintf(text, size, "could not begin: %s", w->why);
	} else if (w->error) {
		snprintf(text, size, "gave up: %s", strerror(-w->error));
	} else {
		snprintf(text, size, "ended with status %d", WEXITSTATUS(status));
	}
}
