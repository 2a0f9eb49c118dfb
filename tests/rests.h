/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does a process wait for something, or does it turn in circles? And how it is kept from a
 * descriptor more. */
#ifndef XVS_TESTS_RESTS_H
#define XVS_TESTS_RESTS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define NOBODY_ID 65534
#define KEEP_ID ((uid_t)-1)

static inline int limit_files_as_we_are(pid_t pid, long limit, struct rlimit *was)
{
	struct rlimit now;

	if (prlimit(pid, RLIMIT_NOFILE, NULL, was))
		return -1;
	now = *was;
	now.rlim_cur = (rlim_t)limit;
	return prlimit(pid, RLIMIT_NOFILE, &now, NULL);
}

/* Its soft limit of descriptors; returns the one before, or -1. A sandboxed process is nobody's,
 * and root in a container may not be allowed to do that to it: nobody is. */
static inline long limit_files_of(pid_t pid, long limit)
{
	struct rlimit was;
	int rc = limit_files_as_we_are(pid, limit, &was);

	if (rc && !setresgid(NOBODY_ID, KEEP_ID, KEEP_ID)) {
		if (!setresuid(NOBODY_ID, KEEP_ID, KEEP_ID))
			rc = limit_files_as_we_are(pid, limit, &was);
		if (setresuid(geteuid(), KEEP_ID, KEEP_ID) || setresgid(getegid(), KEEP_ID, KEEP_ID))
			return -1;
	}
	return rc ? -1 : (long)was.rlim_cur;
}

static inline long rests_waits(pid_t pid)
{
	char path[40], line[100];
	long n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

static inline long rests_cpu_ms(pid_t pid)
{
	struct timespec t = { 0 };
	clockid_t clock;

	if (!clock_getcpuclockid(pid, &clock))
		clock_gettime(clock, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* It waited some times before it had used so much of a processor, however busy the machine is. */
static inline bool rests(pid_t pid)
{
	long waits = rests_waits(pid), used = rests_cpu_ms(pid);

	for (int ms = 0; ms < 30000 && rests_cpu_ms(pid) - used < 200; ms += 5) {
		if (rests_waits(pid) - waits >= 4)
			return true;
		usleep(5000);
	}
	return false;
}

#endif
