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

#define SHOWN 12      /* failures printed in full */
#define TOO_MANY 60   /* failures; the rest is not tried */
#define CASE_TEXT 160
#define OUTPUT_TEXT 4000

static const char *const kind_names[FAULT_KINDS] = {
	[FAULT_CALL] = "call", [FAULT_ELEMENT] = "element", [FAULT_KILL_BEFORE] = "kill-before",
	[FAULT_KILL_AFTER] = "kill-after", [FAULT_DEV] = "dev", [FAULT_SYS] = "sys",
};

struct lane {
	struct faults_shared *shared;
	pid_t pid; /* 0: free */
	int pidfd, output;
	struct timespec since;
};

struct run {
	const struct fault_world *world;
	struct lane lane[FAULT_LANES];
	unsigned int failed, done, unreached;
};

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

static void case_process(const struct fault_world *w, struct lane *l)
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

static void describe(const struct fault_world *w, const struct fault_case *c, char *text)
{
	int n = snprintf(text, CASE_TEXT, "%s", w->scenario[c->scenario]);

	for (unsigned int i = 0; i < c->n; i++)
		n += snprintf(text + n, (size_t)(CASE_TEXT - n), "/%s:%s:%llu:%d",
			      kind_names[c->fault[i].kind],
			      faults_op_name(c->fault[i].kind, c->fault[i].op),
			      (unsigned long long)c->fault[i].nth, c->fault[i].code);
}

static bool parse_fault(char *text, struct fault *f)
{
	char *save = NULL, *kind = strtok_r(text, ":", &save), *op = strtok_r(NULL, ":", &save);
	char *nth = strtok_r(NULL, ":", &save), *code = strtok_r(NULL, ":", &save);

	if (!kind || !op || !nth || !code)
		return false;
	f->nth = strtoull(nth, NULL, 10);
	f->code = atoi(code);
	for (unsigned int k = 0; k < FAULT_KINDS; k++) {
		f->kind = (enum fault_kind)k;
		for (f->op = 0; !strcmp(kind, kind_names[k]); f->op++) {
			const char *name = faults_op_name(f->kind, f->op);

			if (!name)
				break;
			if (!strcmp(name, op))
				return true;
		}
	}
	return false;
}

/* FAULTS_CASE, if it names a scenario of this world. */
static bool one_case(const struct fault_world *w, struct fault_case *c)
{
	const char *env = getenv("FAULTS_CASE");
	char text[CASE_TEXT], *save = NULL, *part;

	memset(c, 0, sizeof(*c));
	snprintf(text, sizeof(text), "%s", env ? env : "");
	part = strtok_r(text, "/", &save);
	while (part && w->scenario[c->scenario] && strcmp(w->scenario[c->scenario], part))
		c->scenario++;
	if (!part || !w->scenario[c->scenario])
		return false;
	while ((part = strtok_r(NULL, "/", &save)) && c->n < FAULTS_MAX)
		if (!parse_fault(part, &c->fault[c->n++]))
			fprintf(stderr, "FAULTS_CASE: '%s' is no fault\n", part);
	return true;
}

/* What a run left behind; it should have waited for each. */
static unsigned int kill_leftovers(const struct run *r)
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

static void show(struct run *r, struct lane *l, const char *what)
{
	char text[CASE_TEXT], output[OUTPUT_TEXT];
	off_t size = lseek(l->output, 0, SEEK_END);
	off_t from = size > OUTPUT_TEXT - 1 ? size - (OUTPUT_TEXT - 1) : 0;
	ssize_t n;

	r->failed++;
	describe(r->world, &l->shared->now, text);
	if (r->failed > SHOWN) {
		fprintf(stderr, "FAULTS_CASE='%s': %s %s\n", text, what, l->shared->failure);
		return;
	}
	n = pread(l->output, output, OUTPUT_TEXT - 1, from);
	output[n > 0 ? n : 0] = '\0';
	fprintf(stderr, "FAULTS_CASE='%s': %s %s\n%s\n", text, what, l->shared->failure, output);
}

static void finish(struct run *r, struct lane *l, bool late)
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
	else
		return;
	show(r, l, what);
}

static int ms_left(const struct run *r, const struct lane *l)
{
	struct timespec now;
	long gone;

	clock_gettime(CLOCK_MONOTONIC, &now);
	gone = (now.tv_sec - l->since.tv_sec) * 1000 + (now.tv_nsec - l->since.tv_nsec) / 1000000;
	gone = (long)r->world->seconds * 1000 - gone;
	return gone > 0 ? (int)gone : 0;
}

/* Waits until one run ended. */
static void wait_one(struct run *r)
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
		struct lane *l = &r->lane[i];

		if (l->pid && (p[i].revents || !ms_left(r, l)))
			finish(r, l, !p[i].revents);
	}
}

static struct lane *free_lane(struct run *r)
{
	for (;;) {
		for (unsigned int i = 0; i < r->world->lanes; i++)
			if (!r->lane[i].pid)
				return &r->lane[i];
		wait_one(r);
	}
}

static void start(struct run *r, const struct fault_case *c)
{
	struct lane *l = free_lane(r);

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

static void wait_all(struct run *r)
{
	for (unsigned int i = 0; i < r->world->lanes; i++)
		while (r->lane[i].pid)
			wait_one(r);
}

static void run_open(struct run *r, const struct fault_world *w)
{
	*r = (struct run){ .world = w };
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (unsigned int i = 0; i < r->world->lanes; i++) {
		r->lane[i].output = memfd_create("faults-output", MFD_CLOEXEC);
		r->lane[i].shared = mmap(NULL, sizeof(struct faults_shared), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (r->lane[i].output < 0 || r->lane[i].shared == MAP_FAILED)
			abort();
	}
}

static void run_close(struct run *r)
{
	for (unsigned int i = 0; i < r->world->lanes; i++) {
		close(r->lane[i].output);
		munmap(r->lane[i].shared, sizeof(struct faults_shared));
	}
}

/* -- which faults -- */

/* Two errors that the call may well return. */
static const int *codes_of(enum fault_kind kind, unsigned int op)
{
	static const int usual[] = { -ENOMEM, -EIO, 0 }, room[] = { -ENOSPC, -EINVAL, 0 };
	static const int store[] = { -ENOSPC, -EAGAIN, -EIO, 0 }, once[] = { 1, 0 };
	static const int element[] = { SIM_GNTST_GENERAL_ERROR, SIM_GNTST_NO_SPACE,
				       SIM_GNTST_EAGAIN, 0 };
	static const int handle[] = { SIM_GNTST_GENERAL_ERROR, SIM_GNTST_BAD_HANDLE, 0 };
	static const int foreign[] = { -ENOMEM, -EINVAL, 0 };
	static const int dev[] = { -EIO, -ETIMEDOUT, 0 }, gone[] = { -ENODEV, -EIO, 0 };
	static const int memory[] = { -ENOMEM, 0 }, fork_[] = { -EAGAIN, -ENOMEM, 0 };
	static const int files[] = { -EMFILE, -ENOSPC, 0 };

	switch (kind) {
	case FAULT_CALL:
		if (op >= SIM_OP_STORE_DISPATCH && op <= SIM_OP_STORE_GRANT)
			return store;
		return op == SIM_OP_EVTCHN_BIND ? room : usual;
	case FAULT_ELEMENT:
		return op == SIM_OP_FOREIGN_MAP ? foreign :
		       op == SIM_OP_GNT_UNMAP	? handle :
						  element;
	case FAULT_DEV:
		return op == DEV_IRQ_ACK ? gone : dev;
	case FAULT_SYS:
		if (op == SYS_FORK)
			return fork_;
		return op >= SYS_SOCKETPAIR && op <= SYS_RENAME ? files : memory;
	default:
		return once;
	}
}

static uint64_t count_of(const struct faults_shared *sh, enum fault_kind kind, unsigned int op)
{
	switch (kind) {
	case FAULT_ELEMENT:
		return op < SIM_OP_COUNT ? sh->elements[op] : 0;
	case FAULT_DEV:
		return op < FAULT_DEV_OPS ? atomic_load(&sh->dev.calls[op]) : 0;
	case FAULT_SYS:
		return op < FAULT_SYS_OPS ? atomic_load(&sh->sys.calls[op]) : 0;
	default:
		return op < SIM_OP_COUNT ? sh->calls[op] : 0;
	}
}

typedef void each_fault(void *arg, const struct fault *f);

static void each_code(const struct fault_world *w, struct fault f, each_fault *fn, void *arg)
{
	for (const int *code = codes_of(f.kind, f.op); *code; code++) {
		f.code = *code;
		if (!w->wanted || w->wanted(&f))
			fn(arg, &f);
	}
}

/* sample 0: all there are. */
static void for_each_fault(const struct fault_world *w, const struct faults_shared *counts,
			   unsigned int sample, each_fault *fn, void *arg)
{
	for (unsigned int kind = 0; kind < FAULT_KINDS; kind++)
		for (unsigned int op = 0; op < FAULT_OPS_MAX; op++) {
			struct fault f = { .kind = (enum fault_kind)kind, .op = op };
			uint64_t n = count_of(counts, f.kind, op);

			for (f.nth = 1; f.nth <= n; f.nth++)
				if (!sample || n <= sample || f.nth * sample / n !=
								      (f.nth - 1) * sample / n)
					each_code(w, f, fn, arg);
		}
}

/* A run without a fault, which has to be right, and what it calls. */
static bool count(struct run *r, unsigned int scenario, struct faults_shared *counts)
{
	struct fault_case none = { .scenario = scenario };
	unsigned int failed = r->failed;

	wait_all(r);
	start(r, &none);
	wait_all(r);
	/* none was under way, so it had the first lane */
	memcpy(counts, r->lane[0].shared, sizeof(*counts));
	return r->failed == failed;
}

static void print_counts(const char *scenario, const struct faults_shared *counts)
{
	printf("%s:", scenario);
	for (unsigned int kind = 0; kind < FAULT_KINDS; kind++)
		for (unsigned int op = 0; op < FAULT_OPS_MAX; op++) {
			uint64_t n = count_of(counts, (enum fault_kind)kind, op);

			if (n && kind != FAULT_KILL_BEFORE && kind != FAULT_KILL_AFTER)
				printf(" %s%s %llu", kind == FAULT_ELEMENT ? "each " : "",
				       faults_op_name((enum fault_kind)kind, op),
				       (unsigned long long)n);
		}
	printf("\n");
}

static bool run_one_case(const struct fault_world *w, unsigned int *failed)
{
	struct fault_case c;
	struct run r;

	*failed = 0;
	if (!getenv("FAULTS_CASE"))
		return false;
	if (!one_case(w, &c))
		return true;
	run_open(&r, w);
	start(&r, &c);
	wait_all(&r);
	if (!r.failed) {
		struct lane *l = &r.lane[0];
		char output[OUTPUT_TEXT];
		ssize_t n = pread(l->output, output, OUTPUT_TEXT - 1, 0);

		output[n > 0 ? n : 0] = '\0';
		printf("%s: passed%s\n%s", getenv("FAULTS_CASE"),
		       l->shared->unreached ? ", the fault was not reached" : "", output);
	}
	*failed = r.failed;
	run_close(&r);
	return true;
}

struct single {
	struct run *r;
	struct fault_case c;
	bool sample;
};

/* One error is enough for a sample, each time another. */
static void run_single(void *arg, const struct fault *f)
{
	struct single *s = arg;
	unsigned int codes = 0;

	while (codes_of(f->kind, f->op)[codes])
		codes++;
	if (s->r->failed >= TOO_MANY ||
	    (s->sample &&
	     codes_of(f->kind, f->op)[(f->nth + s->c.scenario) % codes] != f->code))
		return;
	s->c.fault[0] = *f;
	s->c.n = 1;
	start(s->r, &s->c);
}

unsigned int faults_single(const struct fault_world *w, unsigned int sample)
{
	static struct faults_shared counts;
	unsigned int failed;
	struct run r;

	if (run_one_case(w, &failed))
		return failed;
	if (getenv("FAULTS_ALL"))
		sample = 0;
	run_open(&r, w);
	for (unsigned int i = 0; w->scenario[i]; i++) {
		struct single s = { .r = &r, .c = { .scenario = i }, .sample = sample };

		if (!count(&r, i, &counts))
			continue;
		print_counts(w->scenario[i], &counts);
		for_each_fault(w, &counts, sample, run_single, &s);
		wait_all(&r);
	}
	printf("%u runs, %u failed, %u faults not reached\n", r.done, r.failed, r.unreached);
	failed = r.failed;
	run_close(&r);
	return failed;
}

/* -- pairs -- */

struct list {
	struct fault *fault;
	size_t n, room;
};

static void collect(void *arg, const struct fault *f)
{
	struct list *l = arg;

	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 256;
		l->fault = realloc(l->fault, l->room * sizeof(*f));
		if (!l->fault)
			abort();
	}
	l->fault[l->n++] = *f;
}

static uint64_t seed;

static uint32_t random_below(size_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((seed >> 33) % n);
}

/* Both of one sort at the same call would be one. */
static void pick_two(const struct list *l, struct fault_case *c)
{
	c->n = 2;
	do {
		c->fault[0] = l->fault[random_below(l->n)];
		c->fault[1] = l->fault[random_below(l->n)];
	} while (c->fault[0].kind == c->fault[1].kind && c->fault[0].op == c->fault[1].op &&
		 c->fault[0].nth == c->fault[1].nth);
}

unsigned int faults_double(const struct fault_world *w, unsigned int runs)
{
	static struct faults_shared counts;
	const char *env = getenv("FAULTS_DOUBLE"), *start_at = getenv("FAULTS_SEED");
	unsigned int failed, scenarios = 0;
	struct run r;

	if (getenv("FAULTS_CASE"))
		return 0;
	runs = env ? (unsigned int)atoi(env) : runs;
	/* Always the same ones where they are few: who runs the tests has to be able to rely on them. */
	seed = start_at ? strtoull(start_at, NULL, 10) : env ? (uint64_t)time(NULL) : 1;
	printf("%u pairs, FAULTS_SEED=%llu\n", runs, (unsigned long long)seed);
	run_open(&r, w);
	while (w->scenario[scenarios])
		scenarios++;
	for (unsigned int i = 0; i < scenarios; i++) {
		struct fault_case c = { .scenario = i };
		struct list list = { 0 };

		if (!count(&r, i, &counts))
			continue;
		for_each_fault(w, &counts, 0, collect, &list);
		for (unsigned int k = 0; list.n > 1 && r.failed < TOO_MANY && k < (runs + scenarios - 1) / scenarios; k++) {
			pick_two(&list, &c);
			start(&r, &c);
		}
		wait_all(&r);
		free(list.fault);
	}
	printf("%u runs, %u failed, %u with a fault not reached\n", r.done, r.failed, r.unreached);
	failed = r.failed;
	run_close(&r);
	return failed;
}
