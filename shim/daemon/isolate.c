/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fork inherits what the keeper holds of every device. The worker keeps what belongs to its
 * own and lets go of the rest, found by what the kernel says is open and mapped rather than by
 * a list that somebody must keep up to date.
 */
#include "daemon/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAPS_MAX 512

struct range {
	uintptr_t start, end;
};

static bool keeps_fd(const struct isolate_keep *keep, int fd)
{
	char link[32], path[256];
	ssize_t n;

	if (fd <= STDERR_FILENO || fd == keep->sock)
		return true;
	if (!keep->device)
		return false;
	if (fd == keep->device->journal.fd || fd == keep->device->hold_fd)
		return true;
	/* While a worker lives it may drive its device: no other keeper may begin. */
	if (fd == keep->device->keeper->lock_fd)
		return true;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return false;
	path[n] = '\0';
	return keep->device->src.ops->owns(&keep->device->src, fd, path);
}

static int close_others(const struct isolate_keep *keep)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd != dirfd(dir) && !keeps_fd(keep, fd))
			close(fd);
	}
	closedir(dir);
	return 0;
}

static bool overlaps(const struct range *r, const void *va, size_t len)
{
	uintptr_t start = (uintptr_t)va;

	return va && r->start < start + len && start < r->end;
}

static bool keeps_range(const struct isolate_keep *keep, const struct range *r, const char *path)
{
	const struct kdev *d = keep->device;

	if (!d)
		return false;
	return overlaps(r, d->dma.va, (size_t)d->dma.npages * XVS_FRAME_SIZE) ||
	       overlaps(r, d->journal.data, sizeof(*d->journal.data)) ||
	       d->src.ops->owns(&d->src, -1, path);
}

/* Shared mappings are memory of devices, journals and hypercalls; nothing else of ours is. */
static int find_others(const struct isolate_keep *keep, struct range *range, unsigned int *n)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512], perms[5], path[256];
	unsigned long start, end;

	if (!maps)
		return -errno;
	*n = 0;
	while (fgets(line, sizeof(line), maps)) {
		path[0] = '\0';
		if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %255[^\n]", &start, &end, perms,
			   path) < 3 ||
		    perms[3] != 's')
			continue;
		range[*n] = (struct range){ start, end };
		if (keeps_range(keep, &range[*n], path))
			continue;
		if (++*n == MAPS_MAX)
			break;
	}
	fclose(maps);
	return *n == MAPS_MAX ? -E2BIG : 0;
}

int isolate(const struct isolate_keep *keep)
{
	struct range range[MAPS_MAX];
	unsigned int n = 0;
	int null, rc = find_others(keep, range, &n);

	if (rc)
		return rc;
	for (unsigned int i = 0; i < n; i++)
		munmap((void *)range[i].start, range[i].end - range[i].start);
	rc = close_others(keep);
	if (rc)
		return rc;
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0)
		return -errno;
	if (null != STDIN_FILENO) {
		dup2(null, STDIN_FILENO);
		close(null);
	}
	return 0;
}
