/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "serve.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARM_UP_NS 20000000u
#define WINDOW_NS 500000u
#define WINDOWS_MAX 4096u

void bench_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

uint64_t bench_arg(int argc, char **argv, const char *name, uint64_t otherwise)
{
	for (int i = 0; i + 1 < argc; i++)
		if (!strcmp(argv[i], name))
			return strtoull(argv[i + 1], NULL, 0);
	return otherwise;
}

uint64_t bench_random(uint64_t *state)
{
	uint64_t x = *state ? *state : 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Nanoseconds a cycle of the counter. */
static double calibrate(void)
{
	uint64_t ns = now_ns(), cycles = bench_cycles(), end = ns + 20000000;

	while (now_ns() < end)
		;
	return (double)(now_ns() - ns) / (double)(bench_cycles() - cycles);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * The median over windows of half a millisecond, or of one round where that takes longer: a
 * window in which the kernel gave the processor to somebody else does not count for more.
 */
static void measure(const struct bench_case *c, void *arg, uint64_t ms, double ns_a_cycle)
{
	static double window[WINDOWS_MAX];
	uint64_t now = now_ns(), end = now + ms * 1000000, all = 0;
	unsigned int n = 0;

	while (now < end && n < WINDOWS_MAX) {
		uint64_t units = 0, cycles = 0, until = now + WINDOW_NS;

		do {
			c->round(arg, &units, &cycles);
			now = now_ns();
		} while (now < until);
		window[n++] = (double)cycles * ns_a_cycle / (double)units;
		all += units;
	}
	qsort(window, n, sizeof(*window), by_value);
	printf("%llu %.4f\n", (unsigned long long)all, window[n / 2]);
	fflush(stdout);
}

static int serve(const struct bench_case *c, void *arg)
{
	double ns_a_cycle = calibrate();
	uint64_t units = 0, cycles = 0, end = now_ns() + WARM_UP_NS;
	char line[64];

	do {
		c->round(arg, &units, &cycles);
	} while (now_ns() < end);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "run ", 4))
			bench_fail("not a command: %s", line);
		measure(c, arg, strtoull(line + 4, NULL, 10), ns_a_cycle);
	}
	return 0;
}

int bench_main(const struct bench_case *cases, int argc, char **argv)
{
	uint64_t once, units = 0, cycles = 0;
	void *arg;

	while (argc > 1 && cases->name && strcmp(cases->name, argv[1]))
		cases++;
	if (argc < 2 || !cases->name)
		bench_fail("usage: %s CASE [--once ROUNDS] [OPTION NUMBER]...", argv[0]);
	arg = cases->open(argc, argv);
	once = bench_arg(argc, argv, "--once", 0);
	if (!once)
		return serve(cases, arg);
	while (once--)
		cases->round(arg, &units, &cycles);
	printf("%llu\n", (unsigned long long)units);
	return 0;
}
