/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef XVS_TESTS_FAULTS_PRIV_H
#define XVS_TESTS_FAULTS_PRIV_H

#include "faults.h"

#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

enum fault_dev_op {
	DEV_RESET,
	DEV_CONFIG_READ,
	DEV_CONFIG_WRITE,
	DEV_QUEUE_ENABLE,
	DEV_IRQ_ACK,
	FAULT_DEV_OPS,
};

enum fault_sys_op {
	SYS_MALLOC,
	SYS_CALLOC,
	SYS_REALLOC,
	SYS_STRDUP,
	SYS_MMAP,
	SYS_FORK,
	SYS_SOCKETPAIR,
	SYS_SOCKET,
	SYS_OPEN,
	SYS_RENAME,
	SYS_JSON_OBJECT,
	SYS_JSON_ARRAY,
	SYS_JSON_STRING,
	SYS_JSON_INT,
	SYS_JSON_BOOLEAN,
	SYS_JSON_TEXT,
	SYS_JSON_ADD,
	SYS_JSON_PARSE,
	FAULT_SYS_OPS,
};

#define FAULT_OPS_MAX 64

/* Calls of one sort that are not the simulation's. */
struct fault_counts {
	_Atomic uint64_t calls[FAULT_OPS_MAX];
	struct fault fault[FAULTS_MAX]; /* nth 0: none */
};

/* Of one run: shared by all its processes and the one that started it. */
struct faults_shared {
	struct fault_case now;
	_Atomic bool armed;
	_Atomic unsigned int fired; /* of dev and sys */
	bool unreached; /* a fault whose turn did not come */
	bool counted;
	struct fault_counts dev, sys;
	uint64_t calls[SIM_OP_COUNT], elements[SIM_OP_COUNT]; /* at the end */
	char failure[600];
};

extern struct faults_shared *faults_shared;

const char *faults_op_name(enum fault_kind kind, unsigned int op);

/* -- faults_case.c -- */

#define CASE_TEXT 160

void faults_describe(const struct fault_world *w, const struct fault_case *c, char text[CASE_TEXT]);
/* false: it names no scenario of this world, or no fault, which is said. */
bool faults_parse(const struct fault_world *w, const char *from, struct fault_case *c);

/* -- faults.c: some runs at a time -- */

#define OUTPUT_TEXT 4000

struct fault_lane {
	struct faults_shared *shared;
	pid_t pid; /* 0: free */
	int pidfd, output;
	struct timespec since;
};

struct fault_run {
	const struct fault_world *world;
	struct fault_lane lane[FAULT_LANES];
	unsigned int failed, done, unreached;
};

void faults_run_open(struct fault_run *r, const struct fault_world *w);
/* Waits for a free lane first. */
void faults_run_start(struct fault_run *r, const struct fault_case *c);
/* Until all that were started have ended. */
void faults_run_wait(struct fault_run *r);
void faults_run_close(struct fault_run *r);

#endif
