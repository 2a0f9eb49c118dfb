/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which faults: each single one there is, those of the past, and pairs. */
#include "faults_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TOO_MANY 60 /* failures; the rest is not tried */

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
static bool count(struct fault_run *r, unsigned int scenario, struct faults_shared *counts)
{
	struct fault_case none = { .scenario = scenario };
	unsigned int failed = r->failed;

	faults_run_wait(r);
	faults_run_start(r, &none);
	faults_run_wait(r);
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
	struct fault_run r;

	*failed = 0;
	if (!getenv("FAULTS_CASE"))
		return false;
	if (!faults_parse(w, getenv("FAULTS_CASE"), &c))
		return true;
	faults_run_open(&r, w);
	faults_run_start(&r, &c);
	faults_run_wait(&r);
	if (!r.failed) {
		struct fault_lane *l = &r.lane[0];
		char output[OUTPUT_TEXT];
		ssize_t n = pread(l->output, output, OUTPUT_TEXT - 1, 0);

		output[n > 0 ? n : 0] = '\0';
		printf("%s: passed%s\n%s", getenv("FAULTS_CASE"),
		       l->shared->unreached ? ", the fault was not reached" : "", output);
	}
	*failed = r.failed;
	faults_run_close(&r);
	return true;
}

struct single {
	struct fault_run *r;
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
	faults_run_start(s->r, &s->c);
}

unsigned int faults_single(const struct fault_world *w, unsigned int sample)
{
	static struct faults_shared counts;
	unsigned int failed;
	struct fault_run r;

	if (run_one_case(w, &failed))
		return failed;
	if (getenv("FAULTS_SAMPLE"))
		sample = (unsigned int)atoi(getenv("FAULTS_SAMPLE"));
	if (getenv("FAULTS_ALL"))
		sample = 0;
	faults_run_open(&r, w);
	for (unsigned int i = 0; w->scenario[i]; i++) {
		struct single s = { .r = &r, .c = { .scenario = i }, .sample = sample };

		if (!count(&r, i, &counts))
			continue;
		print_counts(w->scenario[i], &counts);
		for_each_fault(w, &counts, sample, run_single, &s);
		faults_run_wait(&r);
	}
	printf("%u runs, %u failed, %u faults not reached\n", r.done, r.failed, r.unreached);
	failed = r.failed;
	faults_run_close(&r);
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

static void run_mended(struct fault_run *r)
{
	struct fault_case c;

	for (const char *const *text = r->world->mended; text && *text; text++) {
		if (!faults_parse(r->world, *text, &c))
			abort();
		faults_run_start(r, &c);
	}
	faults_run_wait(r);
}

unsigned int faults_double(const struct fault_world *w, unsigned int runs)
{
	static struct faults_shared counts;
	const char *env = getenv("FAULTS_DOUBLE"), *start_at = getenv("FAULTS_SEED");
	unsigned int failed, each, scenarios = 0;
	struct fault_run r;

	if (getenv("FAULTS_CASE"))
		return 0;
	runs = env ? (unsigned int)atoi(env) : runs;
	/* Always the same ones where they are few: who runs the tests has to be able to rely on them. */
	seed = start_at ? strtoull(start_at, NULL, 10) : env ? (uint64_t)time(NULL) : 1;
	printf("%u pairs, FAULTS_SEED=%llu\n", runs, (unsigned long long)seed);
	faults_run_open(&r, w);
	while (w->scenario[scenarios])
		scenarios++;
	each = (runs + scenarios - 1) / scenarios;
	run_mended(&r);
	for (unsigned int i = 0; i < scenarios; i++) {
		struct fault_case c = { .scenario = i };
		struct list list = { 0 };

		if (!count(&r, i, &counts))
			continue;
		for_each_fault(w, &counts, 0, collect, &list);
		for (unsigned int k = 0; list.n > 1 && r.failed < TOO_MANY && k < each; k++) {
			pick_two(&list, &c);
			faults_run_start(&r, &c);
		}
		faults_run_wait(&r);
		free(list.fault);
	}
	printf("%u runs, %u failed, %u with a fault not reached\n", r.done, r.failed, r.unreached);
	failed = r.failed;
	faults_run_close(&r);
	return failed;
}
