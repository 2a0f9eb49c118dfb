/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/pci_sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices"
#define DRIVERS "/sys/bus/pci/drivers"

/* The kernel's flags in the file "resource". */
#define RESOURCE_MEMORY 0x200

int pci_bdf_parse(const char *text, char bdf[PCI_BDF_SIZE])
{
	static const char shape[] = "hhhh:hh:hh.h";

	if (strlen(text) != sizeof(shape) - 1)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(shape) - 1; i++)
		if (shape[i] == 'h' ? !strchr("0123456789abcdef", text[i]) : text[i] != shape[i])
			return -EINVAL;
	memcpy(bdf, text, sizeof(shape));
	/* 32 devices on a bus, 8 functions in a device. */
	return bdf[8] > '1' || bdf[11] > '7' ? -EINVAL : 0;
}

bool pci_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len < PCI_NAME_SIZE && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			    "-_.") == len;
}

static void device_path(char path[PATH_MAX], const char *bdf, const char *file)
{
	snprintf(path, PATH_MAX, DEVICES "/%s/%s", bdf, file);
}

bool pci_exists(const char *bdf)
{
	char path[PATH_MAX];

	device_path(path, bdf, "config");
	return access(path, F_OK) == 0;
}

/* sysfs numbers its folders one after the other and with a generation (kernfs). */
int pci_instance(const char *bdf, uint64_t *instance)
{
	char path[PATH_MAX];
	struct stat st;

	device_path(path, bdf, "");
	if (stat(path, &st))
		return -errno;
	*instance = st.st_ino;
	return 0;
}

int pci_open(const char *bdf, const char *file, int flags)
{
	char path[PATH_MAX];
	int fd;

	device_path(path, bdf, file);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int pci_config(const char *bdf, uint8_t *cfg, size_t want)
{
	int fd = pci_open(bdf, "config", O_RDONLY);
	ssize_t got;

	if (fd < 0)
		return fd;
	got = pread(fd, cfg, want, 0);
	if (got < 0)
		got = -errno;
	close(fd);
	if (got < 0)
		return (int)got;
	return (size_t)got == want ? 0 : -EACCES;
}

int pci_bars(const char *bdf, struct pci_bar bar[PCI_NR_BARS])
{
	char path[PATH_MAX];
	int rc = 0;
	FILE *f;

	device_path(path, bdf, "resource");
	f = fopen(path, "re");
	if (!f)
		return -errno;
	for (int i = 0; i < PCI_NR_BARS; i++) {
		uint64_t start, end, flags;

		if (fscanf(f, "%" SCNx64 " %" SCNx64 " %" SCNx64, &start, &end, &flags) != 3) {
			rc = -EPROTO;
			break;
		}
		bar[i].start = start;
		bar[i].len = end > start ? end - start + 1 : 0;
		bar[i].memory = flags & RESOURCE_MEMORY;
	}
	fclose(f);
	return rc;
}

int pci_real_path(const char *bdf, char *path, size_t size)
{
	char link[PATH_MAX], real[PATH_MAX];

	device_path(link, bdf, "");
	if (!realpath(link, real))
		return -errno;
	return snprintf(path, size, "%s", real) < (int)size ? 0 : -ENAMETOOLONG;
}

int pci_driver(const char *bdf, char name[PCI_NAME_SIZE])
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *base;
	ssize_t len;

	name[0] = '\0';
	device_path(path, bdf, "driver");
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return errno == ENOENT && pci_exists(bdf) ? 0 : -errno;
	target[len] = '\0';
	base = strrchr(target, '/');
	base = base ? base + 1 : target;
	if (!pci_name_ok(base))
		return -EPROTO;
	strcpy(name, base); /* its length was checked just now */
	return 0;
}

bool pci_driver_loaded(const char *driver)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DRIVERS "/%s", driver);
	return access(path, F_OK) == 0;
}

/* One write: sysfs takes each write for a whole value. */
static int write_file(const char *path, const char *text)
{
	int rc = 0, fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static int write_driver(const char *bdf, const char *driver, const char *file)
{
	char path[PATH_MAX];

	if (!pci_name_ok(driver))
		return -EINVAL;
	snprintf(path, sizeof(path), DRIVERS "/%s/%s", driver, file);
	return write_file(path, bdf);
}

int pci_bind(const char *bdf, const char *driver)
{
	return write_driver(bdf, driver, "bind");
}

int pci_unbind(const char *bdf, const char *driver)
{
	return write_driver(bdf, driver, "unbind");
}

/* Lifts what an earlier process left when it was ended in the middle of it. */
int pci_lift_override(const char *bdf, const char *driver)
{
	char text[PCI_NAME_SIZE + 1];
	int fd = pci_open(bdf, "driver_override", O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, driver) ? 0 : pci_override(bdf, "");
}

int pci_override(const char *bdf, const char *driver)
{
	char path[PATH_MAX];

	device_path(path, bdf, "driver_override");
	return write_file(path, *driver ? driver : "\n");
}
