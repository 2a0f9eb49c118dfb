/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/dev_use.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

typedef const char *reason_fn(const char *folder, const char *name);

/* One line of a small file in sysfs. */
static bool read_line(const char *folder, const char *file, char *line, int size)
{
	char path[PATH_MAX];
	bool ok;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", folder, file) >= (int)sizeof(path))
		return false;
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(line, size, f);
	fclose(f);
	return ok;
}

static bool is_mounted(unsigned int maj, unsigned int min)
{
	unsigned int a, b;
	bool found = false;
	char *line = NULL;
	size_t size = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");

	if (!f)
		return false;
	while (!found && getline(&line, &size, f) > 0)
		found = sscanf(line, "%*d %*d %u:%u", &a, &b) == 2 && a == maj && b == min;
	free(line);
	fclose(f);
	return found;
}

static bool is_swap(dev_t dev)
{
	char path[256];
	bool found = false;
	char *line = NULL;
	size_t size = 0;
	struct stat st;
	FILE *f = fopen("/proc/swaps", "re");

	if (!f)
		return false;
	while (!found && getline(&line, &size, f) > 0)
		found = sscanf(line, "%255s", path) == 1 && !stat(path, &st) &&
			S_ISBLK(st.st_mode) && st.st_rdev == dev;
	free(line);
	fclose(f);
	return found;
}

/* Device mapper, RAID and the like. */
static bool has_holders(const char *folder)
{
	char path[PATH_MAX];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	if (snprintf(path, sizeof(path), "%s/holders", folder) >= (int)sizeof(path))
		return false;
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.';
	closedir(dir);
	return found;
}

/* xen-blkback and mkfs hold a disk like that. */
static const char *claim_reason(const char *folder, const char *name)
{
	static const char reason[] = "held open by a program or a guest";
	char path[PATH_MAX];
	int fd;

	(void)folder;
	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == EBUSY ? reason : NULL;
	close(fd);
	return NULL;
}

static const char *block_reason(const char *folder, const char *name)
{
	unsigned int maj, min;
	char line[32];

	(void)name;
	if (!read_line(folder, "dev", line, sizeof(line)) ||
	    sscanf(line, "%u:%u", &maj, &min) != 2)
		return NULL;
	if (is_mounted(maj, min))
		return "mounted";
	if (is_swap(makedev(maj, min)))
		return "swap space";
	return has_holders(folder) ? "part of another block device" : NULL;
}

static const char *net_reason(const char *folder, const char *name)
{
	char line[32];

	(void)name;
	if (!read_line(folder, "flags", line, sizeof(line)))
		return NULL;
	return strtoul(line, NULL, 16) & IFF_UP ? "up" : NULL;
}

static bool is_below(const char *folder, const char *path)
{
	size_t len = strlen(path);

	return !strncmp(folder, path, len) && folder[len] == '/';
}

/* Why a member of the class below path is in use. */
static const char *class_reason(const char *class, const char *path, reason_fn *fn, char *name,
				size_t size)
{
	const char *reason = NULL;
	struct dirent *entry;
	DIR *dir = opendir(class);

	if (!dir)
		return NULL;
	while (!reason && (entry = readdir(dir))) {
		char link[PATH_MAX], folder[PATH_MAX];

		snprintf(link, sizeof(link), "%s/%s", class, entry->d_name);
		if (entry->d_name[0] == '.' || !realpath(link, folder) ||
		    !is_below(folder, path))
			continue;
		reason = fn(folder, entry->d_name);
		if (reason)
			snprintf(name, size, "%s", entry->d_name);
	}
	closedir(dir);
	return reason;
}

int dev_in_use(const char *path, char *name, size_t name_size, char *reason, size_t reason_size)
{
	const char *why = class_reason("/sys/class/block", path, block_reason, name, name_size);

	/* Second, because a mounted partition also claims the disk, and says less that way. */
	if (!why)
		why = class_reason("/sys/class/block", path, claim_reason, name, name_size);
	if (!why)
		why = class_reason("/sys/class/net", path, net_reason, name, name_size);
	if (!why)
		return 0;
	snprintf(reason, reason_size, "%s", why);
	return 1;
}
