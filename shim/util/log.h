/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line a message to stderr, with the journal's priority prefix when stderr is the journal.
 * Safe in a forked worker: one write(2) a line, no allocation.
 */
#ifndef XVS_UTIL_LOG_H
#define XVS_UTIL_LOG_H

enum log_level { LOG_ERROR = 3, LOG_WARN = 4, LOG_INFO = 6, LOG_DEBUG = 7 };

void log_set_level(enum log_level level);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * The same for what a guest can cause again and again: at most `burst` lines in `seconds`, and
 * the number of those left out with the next one. One struct a guest.
 */
struct log_limit {
	unsigned int seconds, burst;
	long since;
	unsigned int said, dropped;
};

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
