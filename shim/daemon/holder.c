/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The holder itself. The keeper's side of it is holder_client.c. */
#include "daemon/holder.h"

#include "daemon/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE_MS 200 /* before another look at a connection that there was no descriptor for */

/* What may come in one packet; one byte more tells a longer one. */
struct packet {
	struct hold_request req;
	uint8_t rest[HOLD_BATCH * (sizeof(struct hold_pin) + sizeof(uint16_t)) + 1];
};

struct holder {
	int listen, keeper, worker; /* -1: none */
	uid_t owner;
	int error; /* why it could not begin */
	bool end;
	bool pause; /* who wants to connect has to wait */
	struct hv *hv;
	struct hold_table table;
	struct hold_pin pin[HOLD_BATCH];
	uint16_t unpin[HOLD_BATCH];
	struct packet in;
	struct hold_reply out;
};

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* One that does not read its answers is not waited for. */
static void answer(struct holder *h, int *fd, int rc, unsigned int n)
{
	h->out.magic = HOLD_MAGIC;
	h->out.rc = rc;
	h->out.held = h->table.held;
	if (send(*fd, &h->out, HOLD_REPLY_SIZE(n), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		drop(fd);
}

/* Lengths are checked here, slots and frames by the table and by Xen. */
static void do_change(struct holder *h, int *fd, size_t len)
{
	unsigned int np = h->in.req.nr_pin, nu = h->in.req.nr_unpin;
	int rc;

	if (np > HOLD_BATCH || nu > HOLD_BATCH ||
	    len != sizeof(h->in.req) + np * sizeof(h->pin[0]) + nu * sizeof(h->unpin[0])) {
		answer(h, fd, -EINVAL, 0);
		return;
	}
	memcpy(h->pin, h->in.rest, np * sizeof(h->pin[0]));
	memcpy(h->unpin, h->in.rest + np * sizeof(h->pin[0]), nu * sizeof(h->unpin[0]));
	rc = h->table.hold.change(&h->table.hold, h->unpin, nu, h->pin, np);
	for (unsigned int i = 0; !rc && i < np; i++)
		h->out.err[i] = h->pin[i].err;
	answer(h, fd, rc, rc ? 0 : np);
}

/* A packet and the descriptor that came with it, or -1. */
static ssize_t receive(struct holder *h, int fd, int *passed)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = { &h->in, sizeof(h->in) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);

	*passed = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(passed, CMSG_DATA(c), sizeof(int));
	return n;
}

static bool is_request(const struct holder *h, ssize_t n)
{
	return n >= (ssize_t)sizeof(h->in.req) && h->in.req.magic == HOLD_MAGIC;
}

static void from_worker(struct holder *h)
{
	ssize_t n = recv(h->worker, &h->in, sizeof(h->in), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* What it had held stays: the device may still write there. */
	if (!is_request(h, n) || h->in.req.op != HOLD_CHANGE)
		drop(&h->worker);
	else
		do_change(h, &h->worker, (size_t)n);
}

static void do_serve(struct holder *h, int passed)
{
	if (passed < 0) {
		answer(h, &h->keeper, -EINVAL, 0);
		return;
	}
	drop(&h->worker);
	h->worker = passed;
	answer(h, &h->keeper, 0, 0);
}

static void do_end(struct holder *h)
{
	int rc = hold_table_clear(&h->table);

	h->end = !rc;
	if (h->end)
		hv_close(h->hv);
	drop(&h->worker);
	answer(h, &h->keeper, rc, 0);
}

static void keeper_request(struct holder *h, int passed)
{
	switch (h->in.req.op) {
	case HOLD_HELLO:
		answer(h, &h->keeper, h->error, 0);
		h->end = h->error; /* has nothing to hold */
		break;
	case HOLD_SERVE:
		do_serve(h, passed);
		return;
	case HOLD_END:
		do_end(h);
		break;
	default:
		answer(h, &h->keeper, -EOPNOTSUPP, 0);
		break;
	}
	if (passed >= 0)
		close(passed);
}

static void from_keeper(struct holder *h)
{
	int passed;
	ssize_t n = receive(h, h->keeper, &passed);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (is_request(h, n) && n == sizeof(h->in.req)) {
		keeper_request(h, passed);
		return;
	}
	if (passed >= 0)
		close(passed);
	drop(&h->keeper); /* the next one comes by the socket */
}

/* The run directory is the owner's alone; this is the second lock. */
static void new_keeper(struct holder *h)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = accept4(h->listen, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0) {
		/* It is still there: without a pause this would be all that we do. */
		h->pause = errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != h->owner) {
		close(fd);
		return;
	}
	drop(&h->keeper);
	h->keeper = fd;
}

static void serve(struct holder *h)
{
	while (!h->end) {
		struct pollfd p[] = { { h->pause ? -1 : h->listen, POLLIN, 0 },
				      { h->keeper, POLLIN, 0 },
				      { h->worker, POLLIN, 0 } };

		if (poll(p, 3, h->pause ? PAUSE_MS : -1) < 0)
			continue;
		h->pause = false;
		if (p[2].revents)
			from_worker(h);
		if (p[1].revents)
			from_keeper(h);
		if (p[0].revents)
			new_keeper(h);
	}
}

/* The last to be killed when memory is short. In vain without the right to: so be it. */
static void spare_me(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "-1000", 5) < 0)
		(void)!write(fd, "0", 1);
	close(fd);
}

static void ignore_signals(void)
{
	static const int all[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT, SIGUSR1, SIGUSR2 };
	sigset_t none;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		signal(all[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A simulated machine stays open; what others wait for the end of does not. */
static void close_sockets(int keep, int drop_fd)
{
	struct stat st;

	for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
		if (fd != keep && !fstat(fd, &st) && (S_ISSOCK(st.st_mode) || S_ISFIFO(st.st_mode)))
			close(fd);
	if (drop_fd >= 0)
		close(drop_fd);
}

static int begin(struct holder *h, const struct holder_params *params)
{
	const struct isolate_keep keep = { .sock = h->listen };
	const struct sandbox box = { .ops = params->ops, .caps = HV_CAP_P2M, .sock = -1,
				     .holder = true };
	const char *step;
	int rc = 0;

	if (params->simulated)
		close_sockets(h->listen, params->drop_fd);
	else
		rc = isolate(&keep);
	if (rc)
		return rc;
	h->hv = hv_open(params->ops, HV_CAP_P2M, &rc);
	if (!h->hv)
		return rc;
	hold_table_init(&h->table, h->hv, params->domid);
	/* It has no right to hypercalls: this makes the guest's memory all that it can reach. */
	rc = h->hv->ops->restrict_to(h->hv, params->domid);
	if (rc && rc != -EOPNOTSUPP)
		return rc;
	rc = sandbox_prepare();
	if (!rc)
		rc = sandbox_enter(&box, &step);
	return rc;
}

static void run(const struct holder_params *params, int fd) __attribute__((noreturn));
static void run(const struct holder_params *params, int fd)
{
	struct holder *h = calloc(1, sizeof(*h));

	if (!h)
		_exit(EXIT_FAILURE);
	setsid();
	ignore_signals();
	spare_me();
	h->listen = fd;
	h->keeper = h->worker = -1;
	h->owner = geteuid();
	h->out.domid = params->domid;
	h->out.pid = getpid();
	snprintf(h->out.name, sizeof(h->out.name), "%s", params->name);
	h->error = begin(h, params);
	serve(h);
	_exit(EXIT_SUCCESS);
}

static int open_socket(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, rc;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0077);
	rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	umask(mask);
	if (!rc && listen(fd, 4))
		rc = -errno;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

/* A grandchild: nobody has to reap it, and it looks the same to this keeper as to the next. */
int holder_start(const struct holder_params *params)
{
	int fd = open_socket(params->path), status = 0;
	pid_t pid;

	if (fd < 0)
		return fd;
	pid = fork();
	if (!pid) {
		pid = fork();
		if (!pid)
			run(params, fd);
		_exit(pid < 0);
	}
	close(fd);
	if (pid > 0) {
		/* a loop that reaps every child may have been there first */
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (pid > 0 && !status)
		return 0;
	unlink(params->path);
	return -EAGAIN;
}
