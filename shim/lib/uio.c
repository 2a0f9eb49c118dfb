/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/uio.h"
#include "lib/pci_sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int uio_number(const char *bdf)
{
	char path[PATH_MAX];
	struct dirent *entry;
	unsigned int number;
	int found = -ENODEV;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/uio", bdf);
	dir = opendir(path);
	if (!dir)
		return -ENODEV;
	while (found < 0 && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "uio%u", &number) == 1 && number < INT_MAX)
			found = (int)number;
	closedir(dir);
	return found;
}

int uio_open(const char *bdf)
{
	char path[PATH_MAX];
	int number = uio_number(bdf), fd;

	if (number < 0)
		return number;
	snprintf(path, sizeof(path), "/dev/uio%d", number);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int uio_take_irq(int fd)
{
	uint32_t count;
	ssize_t got;

	do {
		got = read(fd, &count, sizeof(count));
	} while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return 0;
	/* Anything but a whole count, EIO for instance, means that the device was taken away. */
	return got == sizeof(count) ? 1 : -ENODEV;
}
