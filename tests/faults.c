/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs: one process each, some at a time, with a limit of time and their output kept. */
#include "faults_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHOWN 12 /* failures printed in full */

/* -- in the process of a run -- */

void faults_failed(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!faults_shared->failure[0])
		vsnprintf(faults_shared->failure, sizeof(faults_shared->failure), fmt, ap);
	va_end(ap);
	_exit(EXIT_FAILURE);
}

bool faults_has(enum fault_kind kind, unsigned int op)
{
	const struct fault_case *c = &faults_shared->now;

	for (unsigned int i = 0; i < c->n; i++)
		if (c->fault[i].kind == kind && (op == FAULT_ANY || c->fault[i].op == op))
			return true;
	return false;
}

void faults_begin(struct sim_machine *m)
{
	struct faults_shared *sh = faults_shared;
	unsigned int dev = 0, sys = 0;

	for (unsigned int i = 0; i < sh->now.n; i++) {
		const struct fault *f = &sh->now.fault[i];
		enum sim_op op = (enum sim_op)f->op;
		int rc = 0;

		if (f->kind == FAULT_CALL)
			rc = sim_fault_set(m, op, f->nth, f->code);
		else if (f->kind == FAULT_ELEMENT)
			rc = sim_fault_element(m, op, f->nth, f->code);
		else if (f->kind == FAULT_DEV)
			sh->dev.fault[dev++] = *f;
		else if (f->kind == FAULT_SYS)
			sh->sys.fault[sys++] = *f;
		else
			rc = sim_fault_kill(m, op, f->nth, f->kind == FAULT_KILL_AFTER);
		if (rc)
			faults_failed("a fault cannot be set: %s", strerror(-rc));
	}
	atomic_store(&sh->armed, true);
}

/* Faults that were there and hit nothing. */
static unsigned int still_waiting(struct sim_machine *m)
{
	const struct fault_case *c = &faults_shared->now;
	unsigned int others = 0;

	for (unsigned int i = 0; i < c->n; i++)
		others += c->fault[i].kind == FAULT_DEV || c->fault[i].kind == FAULT_SYS;
	return sim_faults_left(m) + others - atomic_load(&faults_shared->fired);
}

void faults_end(struct sim_machine *m)
{
	struct faults_shared *sh = faults_shared;

	atomic_store(&sh->armed, false);
	sh->unreached = still_waiting(m);
	sim_fault_clear(m);
	for (unsigned int op = 0; op < SIM_OP_COUNT; op++) {
		sh->calls[op] = sim_op_calls(m, (enum sim_op)op);
		sh->elements[op] = sim_op_elements(m, (enum sim_op)op);
	}
	sh->counted = true;
}

static void case_process(const struct fault_world *w, struct fault_lane *l)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	dup2(l->output, STDERR_FILENO);
	faults_shared = l->shared;
	w->run(l->shared->now.scenario);
	/* exit(): a sanitizer looks for leaks then */
	exit(EXIT_SUCCESS);
}

/* -- around it -- */

/* What a run left behind; it should have waited for each. */
static unsigned int kill_leftovers(const struct fault_run *r)
{
	FILE *f = fopen("/proc/thread-self/children", "re");
	unsigned int n = 0;
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1) {
		bool lane = false;

		for (unsigned int i = 0; i < r->world->lanes; i++)
			lane |= r->lane[i].pid == pid;
		if (lane)
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		n++;
	}
	if (f)
		fclose(f);
	return n;
}

static void show(struct fault_run *r, struct fault_lane *l, const char *what)
{
	char text[CASE_TEXT], output[OUTPUT_TEXT];
	off_t size = lseek(l->output, 0, SEEK_END);
	off_t from = size > OUTPUT_TEXT - 1 ? size - (OUTPUT_TEXT - 1) : 0;
	ssize_t n;

	r->failed++;
	faults_describe(r->world, &l->shared->now, text);
	if (r->failed > SHOWN) {
		fprintf(stderr, "FAULTS_CASE='%s': %s %s\n", text, what, l->shared->failure);
		return;
	}
	n = pread(l->output, output, OUTPUT_TEXT - 1, from);
	output[n > 0 ? n : 0] = '\0';
	fprintf(stderr, "FAULTS_CASE='%s': %s %s\n%s\n", text, what, l->shared->failure, output);
}

static void finish(struct fault_run *r, struct fault_lane *l, bool late)
{
	unsigned int left;
	char what[64];
	int status;

	if (late)
		kill(l->pid, SIGKILL);
	waitpid(l->pid, &status, 0);
	close(l->pidfd);
	l->pid = 0;
	left = kill_leftovers(r);
	r->done++;
	if (l->shared->now.n && l->shared->unreached)
		r->unreached++;
	if (late)
		snprintf(what, sizeof(what), "it hangs.");
	else if (WIFSIGNALED(status))
		snprintf(what, sizeof(what), "died of signal %d.", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		snprintf(what, sizeof(what), "failed (%d).", WEXITSTATUS(status));
	else if (left)
		snprintf(what, sizeof(what), "left %u processes.", left);
	else if (l->shared->failure[0]) /* told by another process of the run, and got over */
		snprintf(what, sizeof(what), "went on.");
	else
		return;
	show(r, l, what);
}

static int ms_left(const struct fault_run *r, const struct fault_lane *l)
{
	struct timespec now;
	long gone;

	clock_gettime(CLOCK_MONOTONIC, &now);
	gone = (now.tv_sec - l->since.tv_sec) * 1000 + (now.tv_nsec - l->since.tv_nsec) / 1000000;
	gone = (long)r->world->seconds * 1000 - gone;
	return gone > 0 ? (int)gone : 0;
}

/* Waits until one run ended. */
static void wait_one(struct fault_run *r)
{
	struct pollfd p[FAULT_LANES];
	int least = -1;

	for (unsigned int i = 0; i < r->world->lanes; i++) {
		int ms = r->lane[i].pid ? ms_left(r, &r->lane[i]) : -1;

		p[i] = (struct pollfd){ .fd = r->lane[i].pid ? r->lane[i].pidfd : -1,
					.events = POLLIN };
		if (ms >= 0 && (least < 0 || ms < least))
			least = ms;
	}
	poll(p, r->world->lanes, least);
	for (unsigned int i = 0; i < r->world->lanes; i++) {
		struct fault_lane *l = &r->lane[i];

		if (l->pid && (p[i].revents || !ms_left(r, l)))
			finish(r, l, !p[i].revents);
	}
}

static struct fault_lane *free_lane(struct fault_run *r)
{
	for (;;) {
		for (unsigned int i = 0; i < r->world->lanes; i++)
			if (!r->lane[i].pid)
				return &r->lane[i];
		wait_one(r);
	}
}

void faults_run_start(struct fault_run *r, const struct fault_case *c)
{
	struct fault_lane *l = free_lane(r);

	memset(l->shared, 0, sizeof(*l->shared));
	l->shared->now = *c;
	if (ftruncate(l->output, 0))
		abort();
	lseek(l->output, 0, SEEK_SET);
	clock_gettime(CLOCK_MONOTONIC, &l->since);
	fflush(NULL);
	l->pid = fork();
	if (l->pid < 0)
		abort();
	if (!l->pid)
		case_process(r->world, l);
	l->pidfd = (int)syscall(SYS_pidfd_open, l->pid, 0);
	if (l->pidfd < 0)
		abort();
}

void faults_run_wait(struct fault_run *r)
{
	for (unsigned int i = 0; i < r->world->lanes; i++)
		while (r->lane[i].pid)
			wait_one(r);
}

void faults_run_open(struct fault_run *r, const struct fault_world *w)
{
	*r = (struct fault_run){ .world = w };
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (unsigned int i = 0; i < r->world->lanes; i++) {
		r->lane[i].output = memfd_create("faults-output", MFD_CLOEXEC);
		r->lane[i].shared = mmap(NULL, sizeof(struct faults_shared), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (r->lane[i].output < 0 || r->lane[i].shared == MAP_FAILED)
			abort();
	}
}

void faults_run_close(struct fault_run *r)
{
	for (unsigned int i = 0; i < r->world->lanes; i++) {
		close(r->lane[i].output);
		munmap(r->lane[i].shared, sizeof(struct faults_shared));
	}
}
