/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files a survey reads, below a root: "/" on a live machine, or a folder with a copy of
 * another machine's /sys, /proc and /boot. Paths have no leading slash and are printf formats.
 * Errors: negative errno. Nothing here writes.
 */
#ifndef XVS_SURVEY_TREE_H
#define XVS_SURVEY_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define TREE_NAME 64

struct tree {
	int fd;
	bool live; /* the root is this machine's: registers and Xen may be asked */
};

/* root NULL: "/". */
int tree_open(struct tree *t, const char *root);
void tree_close(struct tree *t);

/* At most size - 1 bytes and a NUL; returns how many, 0 included. */
ssize_t tree_read(const struct tree *t, char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The first line without its end; empty on an error. */
int tree_line(const struct tree *t, char *line, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* A number as C writes it; -EINVAL when the file holds none. */
int tree_number(const struct tree *t, unsigned long long *n, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The last part of where a symbolic link points. */
int tree_link(const struct tree *t, char name[TREE_NAME], const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
bool tree_exists(const struct tree *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Names in a folder, sorted, without those that begin with a dot; one free() for all. */
int tree_list(const struct tree *t, char ***names, unsigned int *n, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
