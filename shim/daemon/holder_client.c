/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a keeper says to a holder. */
#include "daemon/holder.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A holder answers within the time of a few thousand unmaps; one that does not is lost. */
#define ANSWER_SECONDS 5

int holder_connect(const char *path, struct hold_client *c)
{
	const struct timeval limit = { .tv_sec = ANSWER_SECONDS };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, rc;

	hold_client_init(c, -1); /* whatever fails: the caller may disconnect it */
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	rc = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	c->fd = fd;
	if (!rc)
		rc = hold_client_call(c, HOLD_HELLO, -1);
	if (rc)
		holder_disconnect(c);
	/* it ended while we spoke to it */
	return rc == -ECONNRESET || rc == -EPIPE ? -ECONNREFUSED : rc;
}

void holder_disconnect(struct hold_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

int holder_serve(struct hold_client *c, int *fd)
{
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	rc = hold_client_call(c, HOLD_SERVE, pair[1]);
	close(pair[1]);
	if (rc)
		close(pair[0]);
	else
		*fd = pair[0];
	return rc;
}

int holder_end(struct hold_client *c, const char *path)
{
	int rc = hold_client_call(c, HOLD_END, -1);

	if (rc)
		return rc;
	holder_disconnect(c);
	unlink(path);
	return 0;
}
