/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "survey/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORMAT(path, fmt)                                      \
	do {                                                   \
		va_list ap_;                                   \
		va_start(ap_, fmt);                            \
		vsnprintf(path, sizeof(path), fmt, ap_);       \
		va_end(ap_);                                   \
	} while (0)

int tree_open(struct tree *t, const char *root)
{
	t->live = !root;
	t->fd = open(root ? root : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return t->fd < 0 ? -errno : 0;
}

void tree_close(struct tree *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

/* Files of sysfs and procfs come in pieces. */
static ssize_t read_at(const struct tree *t, char *buf, size_t size, const char *path)
{
	int fd = openat(t->fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t len = 0;
	ssize_t n = 1;

	buf[0] = '\0';
	if (fd < 0)
		return -errno;
	while (len < size - 1 && n > 0) {
		n = read(fd, buf + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (n < 0)
		n = -errno;
	close(fd);
	buf[len] = '\0';
	return n < 0 && !len ? n : (ssize_t)len;
}

ssize_t tree_read(const struct tree *t, char *buf, size_t size, const char *fmt, ...)
{
	char path[PATH_MAX];

	FORMAT(path, fmt);
	return read_at(t, buf, size, path);
}

int tree_line(const struct tree *t, char *line, size_t size, const char *fmt, ...)
{
	char path[PATH_MAX];
	ssize_t n;

	FORMAT(path, fmt);
	n = read_at(t, line, size, path);
	line[strcspn(line, "\n")] = '\0';
	return n < 0 ? (int)n : 0;
}

int tree_number(const struct tree *t, unsigned long long *n, const char *fmt, ...)
{
	char path[PATH_MAX], text[64], *end;
	ssize_t len;

	FORMAT(path, fmt);
	len = read_at(t, text, sizeof(text), path);
	if (len < 0)
		return (int)len;
	*n = strtoull(text, &end, 0);
	return end == text ? -EINVAL : 0;
}

int tree_link(const struct tree *t, char name[TREE_NAME], const char *fmt, ...)
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *base;
	ssize_t len;

	FORMAT(path, fmt);
	name[0] = '\0';
	len = readlinkat(t->fd, path, target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	target[len] = '\0';
	base = strrchr(target, '/');
	base = base ? base + 1 : target;
	if (strlen(base) >= TREE_NAME)
		return -ENAMETOOLONG;
	memcpy(name, base, strlen(base) + 1);
	return 0;
}

bool tree_exists(const struct tree *t, const char *fmt, ...)
{
	char path[PATH_MAX];

	FORMAT(path, fmt);
	return !faccessat(t->fd, path, F_OK, 0);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The array and all its strings in one piece of memory. */
static int pack(char ***names, unsigned int n, const char *text, size_t len)
{
	char **list = malloc(n * sizeof(*list) + len + 1), *at;

	if (!list)
		return -ENOMEM;
	at = (char *)(list + n);
	memcpy(at, text, len);
	for (unsigned int i = 0; i < n; i++, at += strlen(at) + 1)
		list[i] = at;
	qsort(list, n, sizeof(*list), by_name);
	*names = list;
	return 0;
}

int tree_list(const struct tree *t, char ***names, unsigned int *n, const char *fmt, ...)
{
	char path[PATH_MAX], *text = NULL;
	size_t len = 0;
	struct dirent *entry;
	FILE *memory;
	int fd, rc;
	DIR *dir;

	FORMAT(path, fmt);
	*n = 0;
	*names = NULL;
	fd = openat(t->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	memory = open_memstream(&text, &len);
	while (memory && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		fwrite(entry->d_name, 1, strlen(entry->d_name) + 1, memory);
		(*n)++;
	}
	closedir(dir);
	if (!memory || fclose(memory))
		rc = -ENOMEM;
	else
		rc = pack(names, *n, text, len);
	free(text);
	return rc;
}
