/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other end of a holder's socket: asks, and waits for the answer. */
#include "mem/hold.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static int put(int fd, struct iovec *iov, size_t n, int pass)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t rc;

	if (pass >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass, sizeof(int));
	}
	do
		rc = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

/* The reply, which carries n errors. */
static int get(struct hold_client *c, unsigned int n)
{
	ssize_t rc;

	do
		rc = recv(c->fd, &c->reply, sizeof(c->reply), 0);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return -errno;
	if (!rc)
		return -EPIPE; /* it is gone */
	if (c->reply.magic != HOLD_MAGIC || (size_t)rc < HOLD_REPLY_SIZE(0) ||
	    (!c->reply.rc && (size_t)rc != HOLD_REPLY_SIZE(n)))
		return -EPROTO;
	c->reply.name[sizeof(c->reply.name) - 1] = '\0';
	return c->reply.rc;
}

static int client_change(struct hold *h, const uint16_t *unpin, unsigned int nr_unpin,
			 struct hold_pin *pin, unsigned int nr_pin)
{
	struct hold_client *c = (struct hold_client *)h;
	struct hold_request req = { .magic = HOLD_MAGIC, .op = HOLD_CHANGE, .nr_unpin = nr_unpin,
				    .nr_pin = nr_pin };
	struct iovec iov[] = {
		{ &req, sizeof(req) },
		{ pin, nr_pin * sizeof(*pin) },
		{ (void *)(uintptr_t)unpin, nr_unpin * sizeof(*unpin) },
	};
	int rc = put(c->fd, iov, 3, -1);

	if (!rc)
		rc = get(c, nr_pin);
	for (unsigned int i = 0; !rc && i < nr_pin; i++)
		pin[i].err = c->reply.err[i];
	return rc;
}

void hold_client_init(struct hold_client *c, int fd)
{
	memset(c, 0, sizeof(*c));
	c->hold.change = client_change;
	c->fd = fd;
}

int hold_client_call(struct hold_client *c, enum hold_op op, int fd)
{
	struct hold_request req = { .magic = HOLD_MAGIC, .op = op };
	struct iovec iov = { &req, sizeof(req) };
	int rc = put(c->fd, &iov, 1, fd);

	return rc ? rc : get(c, 0);
}
