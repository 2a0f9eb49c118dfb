/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "watched.h"

#include <check.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100 /* of EFLAGS: a trap after the next instruction */

static struct {
	unsigned char *page;
	unsigned int unit;
	size_t at; /* the unit that is being read */
	unsigned int reads[WATCHED_SIZE / 2];
	struct sigaction old_segv, old_trap;
} watched;

static void on_access(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	size_t off = (size_t)((unsigned char *)info->si_addr - watched.page);

	if (off >= WATCHED_SIZE) { /* not ours: a true fault */
		sigaction(sig, &watched.old_segv, NULL);
		return;
	}
	watched.at = off / watched.unit;
	watched.reads[watched.at]++;
	mprotect(watched.page, WATCHED_SIZE, PROT_READ | PROT_WRITE);
	uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	unsigned char *word = watched.page + watched.at * watched.unit;

	(void)sig;
	(void)info;
	uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	for (unsigned int i = 0; i < watched.unit; i++)
		word[i] = (unsigned char)~word[i];
	mprotect(watched.page, WATCHED_SIZE, PROT_NONE);
}

void *watched_open(void)
{
	void *page = mmap(NULL, WATCHED_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	ck_assert_ptr_ne(page, MAP_FAILED);
	return page;
}

void watched_close(void *page)
{
	munmap(page, WATCHED_SIZE);
}

void watched_start(void *page, unsigned int unit)
{
	struct sigaction segv = { .sa_sigaction = on_access, .sa_flags = SA_SIGINFO };
	struct sigaction trap = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	memset(watched.reads, 0, sizeof(watched.reads));
	watched.page = page;
	watched.unit = unit;
	sigaction(SIGSEGV, &segv, &watched.old_segv);
	sigaction(SIGTRAP, &trap, &watched.old_trap);
	mprotect(page, WATCHED_SIZE, PROT_NONE);
}

void watched_stop(void)
{
	mprotect(watched.page, WATCHED_SIZE, PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &watched.old_segv, NULL);
	sigaction(SIGTRAP, &watched.old_trap, NULL);
}

unsigned int watched_reads(size_t offset)
{
	return watched.reads[offset / watched.unit];
}

unsigned int watched_most(void)
{
	unsigned int most = 0;

	for (size_t i = 0; i < WATCHED_SIZE / watched.unit; i++)
		most = watched.reads[i] > most ? watched.reads[i] : most;
	return most;
}
