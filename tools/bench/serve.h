/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every measured program does on its two ends. The driver keeps one process for each side
 * of a ratio and lets them work in turn: it writes "run MILLISECONDS", the program answers
 * with the number of units and the nanoseconds for each. `--once N` instead does N rounds and
 * ends, for callgrind.
 */
#ifndef XVS_BENCH_SERVE_H
#define XVS_BENCH_SERVE_H

#include <stdint.h>
#include <time.h>

/* Processor cycles; waits for what comes before it, so that it costs what it brackets. */
static inline uint64_t bench_cycles(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* One round: does some work, adds what it did and the cycles of the measured part. */
typedef void bench_round(void *arg, uint64_t *units, uint64_t *cycles);

struct bench_case {
	const char *name;
	void *(*open)(int argc, char **argv);
	bench_round *round;
};

/* main() of a program: argv[1] names the case, the rest goes to its open. */
int bench_main(const struct bench_case *cases, int argc, char **argv);
/* Ends the program with a line for the driver. */
void bench_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* The number after `name` among the arguments. */
uint64_t bench_arg(int argc, char **argv, const char *name, uint64_t otherwise);
/* A step of a generator that is the same on every machine. */
uint64_t bench_random(uint64_t *state);

#endif
