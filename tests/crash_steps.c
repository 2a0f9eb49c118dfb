/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "crash_steps.h"

#include "hv/sim.h"

#include <check.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

/* The lowest are used first, and each instruction costs a look. */
#define PINS 32
#define CHAINS 32
#define TRAP_FLAG 0x100

/* What is compared: all that a successor goes by. */
struct look {
	uint32_t map_n, unmap_n, used, last_avail;
	uint16_t used_index;
	struct journal_pin pin[PINS];
	struct journal_used pub[CHAINS];
	uint32_t inflight[CHAINS];
};

struct steps {
	_Atomic pid_t pid;
	_Atomic unsigned int nth, changes;
	_Atomic uint64_t instructions;
	_Atomic bool begun, reached;
};

static struct steps *steps; /* shared by all processes */
static const struct journal_data *watched;
static const uint16_t *watched_index;
static struct look before;

static void take_look(struct look *l)
{
	const struct journal_queue *q = &watched->queue[0];

	l->map_n = atomic_load(&watched->map_n);
	l->unmap_n = atomic_load(&watched->unmap_n);
	l->used = atomic_load(&q->used);
	l->last_avail = q->last_avail;
	l->used_index = __atomic_load_n(watched_index, __ATOMIC_ACQUIRE);
	memcpy(l->pin, watched->pin, sizeof(l->pin));
	memcpy(l->pub, q->pub, sizeof(l->pub));
	memcpy(l->inflight, (const void *)q->inflight, sizeof(l->inflight));
}

static bool changed(void)
{
	const struct journal_queue *q = &watched->queue[0];

	return before.map_n != atomic_load(&watched->map_n) ||
	       before.unmap_n != atomic_load(&watched->unmap_n) ||
	       before.used != atomic_load(&q->used) || before.last_avail != q->last_avail ||
	       before.used_index != __atomic_load_n(watched_index, __ATOMIC_ACQUIRE) ||
	       memcmp(before.pin, watched->pin, sizeof(before.pin)) ||
	       memcmp(before.pub, q->pub, sizeof(before.pub)) ||
	       memcmp(before.inflight, (const void *)q->inflight, sizeof(before.inflight));
}

static void on_begin(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	take_look(&before);
	uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
	atomic_store(&steps->begun, true);
}

static void on_instruction(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	if (getpid() != atomic_load(&steps->pid)) { /* a child of that one */
		uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
		return;
	}
	atomic_fetch_add(&steps->instructions, 1);
	if (!changed())
		return;
	take_look(&before);
	if (atomic_fetch_add(&steps->changes, 1) + 1 < atomic_load(&steps->nth))
		return;
	atomic_store(&steps->reached, true);
	for (;;)
		usleep(1000);
}

/* -- what is not looked into: the simulation takes a hundred times as long as its callers -- */

static bool trap_off(void)
{
	uint64_t flags;

	/* The stack below is the compiler's to use. */
	__asm__ volatile("lea -128(%%rsp), %%rsp\n\t"
			 "pushfq\n\tpopq %0\n\t"
			 "pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\t"
			 "lea 128(%%rsp), %%rsp"
			 : "=r"(flags) : : "memory", "cc");
	return flags & TRAP_FLAG;
}

static void trap_on(bool on)
{
	if (!on)
		return;
	__asm__ volatile("lea -128(%%rsp), %%rsp\n\t"
			 "pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
			 "lea 128(%%rsp), %%rsp" : : : "memory", "cc");
}

#define ONE_STEP(call)                                                                            \
	do {                                                                                      \
		bool trapped_ = trap_off();                                                       \
		int rc_ = hv_sim()->call;                                                         \
		trap_on(trapped_);                                                                \
		return rc_;                                                                       \
	} while (0)

static int step_map(struct hv *hv, struct hv_map_op *ops, unsigned int n)
{
	ONE_STEP(gnt_map(hv, ops, n));
}

static int step_unmap(struct hv *hv, struct hv_unmap_op *ops, unsigned int n)
{
	ONE_STEP(gnt_unmap(hv, ops, n));
}

static int step_copy(struct hv *hv, struct hv_copy_op *ops, unsigned int n)
{
	ONE_STEP(gnt_copy(hv, ops, n));
}

static int step_notify(struct hv *hv, uint32_t port)
{
	ONE_STEP(evtchn_notify(hv, port));
}

static int step_pending(struct hv *hv, uint32_t *port)
{
	ONE_STEP(evtchn_pending(hv, port));
}

static int step_unmask(struct hv *hv, uint32_t port)
{
	ONE_STEP(evtchn_unmask(hv, port));
}

static int step_dispatch(struct hv *hv, hv_watch_fn *fn, void *arg)
{
	ONE_STEP(store_dispatch(hv, fn, arg));
}

static int step_read(struct hv *hv, uint32_t t, const char *path, char **value)
{
	ONE_STEP(store_read(hv, t, path, value));
}

static int step_dom_info(struct hv *hv, uint16_t domid, struct hv_dominfo *info)
{
	ONE_STEP(dom_info(hv, domid, info));
}

const struct hv_ops *steps_ops(void)
{
	static struct hv_ops ops;

	ops = *hv_sim();
	ops.gnt_map = step_map;
	ops.gnt_unmap = step_unmap;
	ops.gnt_copy = step_copy;
	ops.evtchn_notify = step_notify;
	ops.evtchn_pending = step_pending;
	ops.evtchn_unmask = step_unmask;
	ops.store_dispatch = step_dispatch;
	ops.store_read = step_read;
	ops.dom_info = step_dom_info;
	return &ops;
}

void steps_open(const struct journal *j, const uint16_t *used_index)
{
	struct sigaction begin = { .sa_sigaction = on_begin, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigaction step = { .sa_sigaction = on_instruction, .sa_flags = SA_SIGINFO };

	watched = j->data;
	watched_index = used_index;
	steps = mmap(NULL, sizeof(*steps), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(steps, MAP_FAILED);
	ck_assert_int_eq(sigaction(SIGUSR1, &begin, NULL), 0);
	ck_assert_int_eq(sigaction(SIGTRAP, &step, NULL), 0);
}

void steps_begin(pid_t pid, unsigned int nth)
{
	atomic_store(&steps->pid, pid);
	atomic_store(&steps->nth, nth);
	atomic_store(&steps->changes, 0);
	atomic_store(&steps->instructions, 0);
	atomic_store(&steps->reached, false);
	atomic_store(&steps->begun, false);
	ck_assert_int_eq(kill(pid, SIGUSR1), 0);
	for (int i = 0; i < 60000 && !atomic_load(&steps->begun); i++)
		usleep(1000);
	ck_assert(atomic_load(&steps->begun));
}

bool steps_reached(void)
{
	return atomic_load(&steps->reached);
}

unsigned int steps_changes(void)
{
	return atomic_load(&steps->changes);
}

uint64_t steps_instructions(void)
{
	return atomic_load(&steps->instructions);
}
