/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store. libxenstore starts a thread of its own with the first watch, so a handle with
 * watches is opened after the last fork or not used across one.
 */
#include "hv/xen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenstore.h>

/* Watches delivered in one go; with more waiting the descriptor stays readable. */
#define DISPATCH_MAX 256

/* The library answers false or NULL and sets errno; some paths of it forget the latter. */
static int failure(void)
{
	return errno ? -errno : -EIO;
}

static int result(bool ok)
{
	return ok ? 0 : failure();
}

static struct xs_handle *store(struct hv *hv)
{
	errno = 0;
	return xen_priv(hv)->store;
}

/*
 * Without a daemon the library falls back to the kernel's channel to the store, where a request
 * then waits for ever and cannot even be killed. A store in a domain of its own is found by
 * that channel only, and not supported.
 */
static int daemon_answers(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = xs_daemon_socket();
	int rc = 0, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		rc = -ENAMETOOLONG;
	else
		strcpy(address.sun_path, path);
	/* ENOENT is kept for a missing module. */
	if (!rc && connect(fd, (struct sockaddr *)&address, sizeof(address)))
		rc = errno == ENOENT ? -ECONNREFUSED : -errno;
	close(fd);
	return rc;
}

int xen_store_open(struct xen_priv *x)
{
	int rc = daemon_answers();

	if (rc)
		return rc;
	errno = 0;
	x->store = xs_open(0);
	return x->store ? 0 : failure();
}

void xen_store_close(struct xen_priv *x)
{
	xs_close(x->store);
}

int xen_store_fd(struct hv *hv)
{
	struct xs_handle *xs = store(hv);
	int fd;

	if (!xs)
		return -EBADF;
	fd = xs_fileno(xs);
	return fd < 0 ? failure() : fd;
}

int xen_store_dispatch(struct hv *hv, hv_watch_fn *fn, void *arg)
{
	struct xs_handle *xs = store(hv);

	if (!xs)
		return -EBADF;
	for (int i = 0; i < DISPATCH_MAX; i++) {
		char **event;

		errno = 0;
		event = xs_check_watch(xs);
		if (!event)
			return errno == EAGAIN ? 0 : failure();
		fn(arg, event[XS_WATCH_PATH], event[XS_WATCH_TOKEN]);
		free(event);
	}
	return 0;
}

int xen_store_watch(struct hv *hv, const char *path, const char *token)
{
	struct xs_handle *xs = store(hv);

	return xs ? result(xs_watch(xs, path, token)) : -EBADF;
}

int xen_store_unwatch(struct hv *hv, const char *path, const char *token)
{
	struct xs_handle *xs = store(hv);

	return xs ? result(xs_unwatch(xs, path, token)) : -EBADF;
}

int xen_store_begin(struct hv *hv, uint32_t *t)
{
	struct xs_handle *xs = store(hv);

	if (!xs)
		return -EBADF;
	*t = xs_transaction_start(xs);
	return *t != XBT_NULL ? 0 : failure();
}

int xen_store_end(struct hv *hv, uint32_t t, bool abort)
{
	struct xs_handle *xs = store(hv);

	return xs ? result(xs_transaction_end(xs, t, abort)) : -EBADF;
}

int xen_store_read(struct hv *hv, uint32_t t, const char *path, char **value)
{
	struct xs_handle *xs = store(hv);
	unsigned int len;

	if (!xs)
		return -EBADF;
	*value = xs_read(xs, t, path, &len);
	if (!*value)
		return failure();
	/* A guest may write bytes that no string holds. */
	if (strlen(*value) == len)
		return 0;
	free(*value);
	*value = NULL;
	return -EILSEQ;
}

int xen_store_write(struct hv *hv, uint32_t t, const char *path, const char *value)
{
	struct xs_handle *xs = store(hv);

	if (!xs)
		return -EBADF;
	return result(xs_write(xs, t, path, value, (unsigned int)strlen(value)));
}

int xen_store_rm(struct hv *hv, uint32_t t, const char *path)
{
	struct xs_handle *xs = store(hv);

	return xs ? result(xs_rm(xs, t, path)) : -EBADF;
}

int xen_store_list(struct hv *hv, uint32_t t, const char *path, char ***names, unsigned int *n)
{
	struct xs_handle *xs = store(hv);

	if (!xs)
		return -EBADF;
	*names = xs_directory(xs, t, path, n);
	return *names ? 0 : failure();
}

int xen_store_grant(struct hv *hv, uint32_t t, const char *path, uint16_t owner, uint16_t reader)
{
	struct xs_handle *xs = store(hv);
	struct xs_permissions perms[2] = {
		{ .id = owner, .perms = XS_PERM_NONE }, /* of everybody not named below */
		{ .id = reader, .perms = XS_PERM_READ },
	};

	if (!xs)
		return -EBADF;
	if (!xs_mkdir(xs, t, path))
		return failure();
	return result(xs_set_permissions(xs, t, path, perms, owner == reader ? 1 : 2));
}
