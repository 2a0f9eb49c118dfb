/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level threshold = LOG_INFO;

void log_set_level(enum log_level level)
{
	threshold = level;
}

static void put_line(enum log_level level, const char *fmt, va_list ap)
{
	char line[512];
	size_t n = 0;
	int rc;

	if (getenv("JOURNAL_STREAM"))
		n = (size_t)snprintf(line, sizeof(line), "<%d>", level);
	n += (size_t)snprintf(line + n, sizeof(line) - n, "xvshimd: ");
	rc = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	if (rc < 0)
		return;
	n = strnlen(line, sizeof(line) - 2);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nobody left to tell */
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > threshold)
		return;
	va_start(ap, fmt);
	put_line(level, fmt, ap);
	va_end(ap);
}

static bool limit_allows(struct log_limit *limit)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - limit->since >= (long)limit->seconds) {
		limit->since = now.tv_sec;
		limit->said = 0;
	}
	if (limit->said < limit->burst) {
		limit->said++;
		return true;
	}
	limit->dropped++;
	return false;
}

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > threshold || !limit_allows(limit))
		return;
	if (limit->dropped) {
		log_line(level, "%u lines like the next one were left out", limit->dropped);
		limit->dropped = 0;
	}
	va_start(ap, fmt);
	put_line(level, fmt, ap);
	va_end(ap);
}
