/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Systematic fault injection: a scenario is run once to count what it calls, then once for each
 * of these calls with that one failing, then many times with two chosen at random. Every run is
 * a process of its own, so that a crash, a hang and what is left behind belong to one fault.
 *
 * What can fail: calls of the seam, elements of their batches, the process that makes a call
 * (all by the simulation, shim/hv/sim.h); operations of the device, by a proxy; functions of the C
 * library and of json-c. These are wrapped by the linker (--wrap), so it makes no difference to
 * them whether a sanitizer has replaced the function underneath; they fail only in threads that
 * said faults_inside, and calls that a shared library makes itself are not seen. There nobody
 * closes what is not open either: the next time it may be somebody else's.
 *
 * A fault is named as it is repeated: FAULTS_CASE="pool/call:gnt_map:3:-12".
 */
#ifndef XVS_TESTS_FAULTS_H
#define XVS_TESTS_FAULTS_H

#include "dev/dev.h"
#include "hv/sim.h"

enum fault_kind {
	FAULT_CALL,
	FAULT_ELEMENT,
	FAULT_KILL_BEFORE,
	FAULT_KILL_AFTER,
	FAULT_DEV,
	FAULT_SYS,
	FAULT_KINDS,
};

struct fault {
	enum fault_kind kind;
	unsigned int op;
	uint64_t nth; /* 1: the next */
	int code;     /* errno, or the status of an element */
};

#define FAULTS_MAX 2
#define FAULT_LANES 4

struct fault_case {
	unsigned int scenario;
	unsigned int n;
	struct fault fault[FAULTS_MAX];
};

struct fault_world {
	const char *const *scenario; /* names, NULL at the end */
	/*
	 * One run. Faults are armed by faults_begin() with the machine. Returns if all is well; what
	 * is not it tells by faults_failed(), which ends the process.
	 */
	void (*run)(unsigned int scenario);
	/* Cases that failed once, as FAULTS_CASE has them, NULL at the end; or NULL. */
	const char *const *mended;
	/* Is it worth a run? NULL: all are. */
	bool (*wanted)(const struct fault *f);
	unsigned int seconds; /* a run takes at most */
	unsigned int lanes;   /* runs at a time, at most FAULT_LANES */
};

/* The thread, and what it forks, is what is tested. */
extern _Thread_local bool faults_inside;

void faults_begin(struct sim_machine *m);
/* From here on nothing fails; what was called is counted. */
void faults_end(struct sim_machine *m);
void faults_failed(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Is one of the faults of this run of that sort? */
#define FAULT_ANY 0xffffu
bool faults_has(enum fault_kind kind, unsigned int op);
bool faults_fired(void);
/* A device whose operations fail on demand; the other one stays the caller's. */
struct xdev *faults_dev(struct xdev *dev);

/*
 * Single faults of a world's scenarios: of what is called more often than `sample` only so many
 * calls, each with one of its errors; with FAULTS_ALL=1 all calls, with all errors. Then those
 * that failed once, and random pairs of any, FAULTS_DOUBLE or so many. Prints what failed and
 * returns how many.
 */
unsigned int faults_single(const struct fault_world *w, unsigned int sample);
unsigned int faults_double(const struct fault_world *w, unsigned int runs);

#endif
