/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker that was taken over: what it tries, each in a process that was confined as a worker is.
 * That a confined worker still does its work, test_daemon_life shows.
 */
#include "daemon/worker.h"
#include "hv/hv.h"
#include "hv/sim.h"
#include "util/log.h"

#include "check_main.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ALLOWED_REQUEST _IO('X', 1)
#define OTHER_REQUEST _IO('X', 2)

/* A stand-in for the one on Xen: a request of ioctl() and nothing else. */
static void needs(unsigned int caps, struct hv_needs *out)
{
	if (caps & HV_CAP_GRANT)
		out->ioctl[out->nr_ioctl++] = ALLOWED_REQUEST;
}

static const struct hv_ops ops = { .needs = needs };
static pid_t stranger; /* a process that is none of the worker's business */
static void *page;
static bool started_as_root;

/* -- what a worker does: none of it ends the process -- */

static void does_its_work(void)
{
	char *memory = malloc(1 << 20);
	struct timespec now, moment = { .tv_nsec = 1000 };
	void *map;

	memset(memory, 1, 1 << 20);
	memory = realloc(memory, 4 << 20);
	memset(memory, 1, 4 << 20);
	free(memory);
	clock_gettime(CLOCK_MONOTONIC, &now);
	nanosleep(&moment, NULL);
	poll(NULL, 0, 1);
	ioctl(-1, ALLOWED_REQUEST, 0);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(map, 4096);
	log_line(LOG_DEBUG, "from inside");
}

/* -- what it tries -- */

static void try_open(void)
{
	syscall(SYS_open, "/etc/passwd", O_RDONLY);
}

static void try_openat(void)
{
	syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}

static void try_openat2(void)
{
	syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", NULL, 0);
}

static void try_exec(void)
{
	/* not by the C library: gcov does something of its own before that */
	syscall(SYS_execve, "/bin/true", NULL, NULL);
}

static void try_execveat(void)
{
	syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0);
}

static void try_socket(void)
{
	socket(AF_INET, SOCK_STREAM, 0);
}

static void try_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/run/xvshim/control" };

	connect(STDERR_FILENO, (struct sockaddr *)&addr, sizeof(addr));
}

/* A holder of itself: descriptors may come in with a message. */
static void try_receive_descriptor(void)
{
	struct msghdr msg = { 0 };

	recvmsg(STDERR_FILENO, &msg, 0);
}

static void try_fork(void)
{
	if (!syscall(SYS_fork))
		_exit(0);
}

static void try_clone(void)
{
	if (!syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0))
		_exit(0);
}

static void try_ptrace(void)
{
	ptrace(PTRACE_ATTACH, stranger, NULL, NULL);
}

static void try_read_memory(void)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { &byte, 1 };

	process_vm_readv(stranger, &here, 1, &there, 1, 0);
}

static void try_kill(void)
{
	kill(stranger, SIGKILL);
}

static void try_tgkill(void)
{
	syscall(SYS_tgkill, stranger, stranger, SIGKILL);
}

static void try_map_code(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Would not count against its limit. */
static void try_shared_memory(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void try_make_code(void)
{
	mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void try_make_code_by_key(void)
{
	syscall(SYS_pkey_mprotect, page, 4096, PROT_READ | PROT_EXEC, -1);
}

static void try_ioctl(void)
{
	ioctl(-1, OTHER_REQUEST, 0);
}

static void try_terminal(void)
{
	ioctl(STDERR_FILENO, TIOCSTI, "x");
}

static void try_setuid(void)
{
	setuid(0);
}

static void try_prctl(void)
{
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void try_limits(void)
{
	struct { uint64_t soft, hard; } none = { ~0ull, ~0ull };

	syscall(SYS_prlimit64, 0, 0 /* RLIMIT_CPU */, &none, NULL);
}

static void try_seccomp(void)
{
	syscall(SYS_seccomp, 0, 0, NULL);
}

static void try_namespace(void)
{
	syscall(SYS_unshare, 0);
}

static void try_io_uring(void)
{
	syscall(SYS_io_uring_setup, 1, NULL);
}

/* The numbers of another ABI must be no way around the list. */
static void try_x32(void)
{
	syscall(0x40000000 | SYS_open, "/etc/passwd", O_RDONLY);
}

static int call_nr;

static void make_call(void)
{
	syscall(call_nr, -1, NULL, 0, 0, 0, 0);
}

struct attempt {
	const char *name;
	void (*make)(void);
	long nr; /* the call that is reported; -1: the kernel ends the process without a word */
};

static const struct attempt attempts[] = {
	{ "open", try_open, SYS_open },
	{ "openat", try_openat, SYS_openat },
	{ "openat2", try_openat2, SYS_openat2 },
	{ "execve", try_exec, SYS_execve },
	{ "execveat", try_execveat, SYS_execveat },
	{ "socket", try_socket, SYS_socket },
	{ "connect", try_connect, SYS_connect },
	{ "recvmsg", try_receive_descriptor, SYS_recvmsg },
	{ "fork", try_fork, SYS_fork },
	{ "clone", try_clone, SYS_clone },
	{ "ptrace", try_ptrace, SYS_ptrace },
	{ "process_vm_readv", try_read_memory, SYS_process_vm_readv },
	{ "kill", try_kill, SYS_kill },
	{ "tgkill", try_tgkill, SYS_tgkill },
	{ "mmap of code", try_map_code, SYS_mmap },
	{ "mmap of shared memory", try_shared_memory, SYS_mmap },
	{ "mprotect to code", try_make_code, SYS_mprotect },
	{ "pkey_mprotect", try_make_code_by_key, SYS_pkey_mprotect },
	{ "ioctl", try_ioctl, SYS_ioctl },
	{ "ioctl of a terminal", try_terminal, SYS_ioctl },
	{ "setuid", try_setuid, SYS_setuid },
	{ "prctl", try_prctl, SYS_prctl },
	{ "prlimit64", try_limits, SYS_prlimit64 },
	{ "seccomp", try_seccomp, SYS_seccomp },
	{ "unshare", try_namespace, SYS_unshare },
	{ "io_uring_setup", try_io_uring, SYS_io_uring_setup },
	{ "open by x32", try_x32, -1 },
};

/* Runs in a process that is confined and has said so; what it said on its way out, or type 0. */
static struct worker_msg run_confined(void (*what)(void), int *status)
{
	struct worker_msg msg = { 0 };
	const char *step = "";
	int pair[2];
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		const struct sandbox box = { .ops = &ops, .caps = HV_CAP_GRANT, .sock = pair[1] };

		if (sandbox_prepare() || sandbox_enter(&box, &step))
			_exit(99);
		what();
		_exit(0);
	}
	close(pair[1]);
	if (recv(pair[0], &msg, sizeof(msg), 0) != sizeof(msg))
		msg.type = 0;
	close(pair[0]);
	ck_assert_int_eq(waitpid(pid, status, 0), pid);
	return msg;
}

static void open_stage(void)
{
	started_as_root = !geteuid();
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stranger = fork();
	if (!stranger) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}

static void close_stage(void)
{
	/* Nobody did it before us. */
	ck_assert_int_eq(kill(stranger, SIGKILL), 0);
	ck_assert_int_eq(waitpid(stranger, NULL, 0), stranger);
	munmap(page, 4096);
}

START_TEST(work_goes_on)
{
	struct worker_msg msg;
	int status;

	msg = run_confined(does_its_work, &status);
	ck_assert_msg(!msg.type, "system call %d was trapped", msg.error);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

START_TEST(attempt_ends_it)
{
	const struct attempt *a = &attempts[_i];
	struct worker_msg msg;
	int status;

	msg = run_confined(a->make, &status);
	if (a->nr < 0) {
		ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
			      "%s: status %x", a->name, status);
		return;
	}
	ck_assert_msg(msg.type == WORKER_TRAPPED, "%s was let through", a->name);
	ck_assert_int_eq(msg.error, a->nr);
	ck_assert_int_eq(WEXITSTATUS(status), 128 + SIGSYS);
}
END_TEST

/* A handle that was not opened for something has no request for it either. */
static void request_without_caps(int *status)
{
	pid_t pid = fork();

	if (!pid) {
		const struct sandbox box = { .ops = &ops, .caps = HV_CAP_P2M, .sock = -1,
					     .holder = true };
		const char *step;

		if (sandbox_prepare() || sandbox_enter(&box, &step))
			_exit(99);
		ioctl(-1, ALLOWED_REQUEST, 0);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, status, 0), pid);
}

START_TEST(holder_makes_no_hypercall)
{
	int status;

	request_without_caps(&status);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 128 + SIGSYS);
}
END_TEST

/* What is on no list, though nothing bad is known of it: the list is what is needed. */
START_TEST(nothing_that_is_not_needed)
{
	static const int unneeded[] = { SYS_readv, SYS_epoll_wait, SYS_epoll_ctl,
					SYS_ppoll, SYS_mlock, SYS_munlock, SYS_timerfd_settime,
					SYS_lseek, SYS_dup, SYS_fcntl, SYS_ftruncate, SYS_socketpair,
					SYS_getsockopt, SYS_exit, SYS_shmat, SYS_memfd_create,
					SYS_userfaultfd, SYS_perf_event_open, SYS_bpf, SYS_capset };
	struct worker_msg msg;
	int status;

	call_nr = unneeded[_i];
	msg = run_confined(make_call, &status);
	ck_assert_msg(msg.type == WORKER_TRAPPED, "system call %d was let through", call_nr);
	ck_assert_int_eq(msg.error, call_nr);
}
END_TEST

static void *get(size_t len, int prot)
{
	return mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

/* Its own memory, in pieces and at once; and addresses without end. */
static void eat_memory(void)
{
	size_t had = 0;

	if (get(1ull << 30, PROT_READ | PROT_WRITE) != MAP_FAILED)
		_exit(1);
	while (had <= 1ull << 30 && get(1 << 20, PROT_READ | PROT_WRITE) != MAP_FAILED)
		had += 1 << 20;
	if (had > 1ull << 30)
		_exit(2);
	if (had < 16 << 20) /* a worker has some use for it */
		_exit(3);
	if (get(1ull << 40, PROT_READ) != MAP_FAILED)
		_exit(4);
}

START_TEST(memory_is_limited)
{
	struct worker_msg msg;
	int status;

	msg = run_confined(eat_memory, &status);
	ck_assert_msg(!msg.type, "system call %d was trapped", msg.error);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* Before the filter: what the kernel's own rules forbid this process already. */
/* The seam's part of it, which on Xen the kernel does: another domain cannot be named. */
static int map_first(struct hv *hv, struct sim_machine *m, uint16_t domid)
{
	pfn_t pfn;
	mfn_t mfn;
	gfn_t gfn;
	void *va;
	int rc, err = 0;

	ck_assert_int_eq(sim_pages_alloc(m, domid, 1, &pfn), 0);
	ck_assert_int_eq(sim_p2m(m, domid, pfn, &mfn), 0);
	gfn.n = mfn.n;
	rc = hv->ops->foreign_map(hv, domid, &gfn, 1, false, &va, &err);
	if (!rc)
		ck_assert_int_eq(hv->ops->foreign_unmap(hv, va, 1), 0);
	sim_pages_free(m, domid, pfn, 1);
	return rc ? rc : err;
}

START_TEST(no_other_domain)
{
	struct sim_config config = { .seed = 5 };
	uint32_t port = 0;
	struct sim_machine *m;
	struct hv *hv;
	int rc;

	m = sim_machine_new(&config, &rc);
	ck_assert_ptr_nonnull(m);
	for (uint16_t domid = 0; domid < 3; domid++)
		ck_assert_int_eq(sim_domain_add(m, domid, 64, false), 0);
	hv = sim_hv_open(m, 0, HV_CAP_GRANT | HV_CAP_EVTCHN | HV_CAP_P2M, &rc);
	ck_assert_ptr_nonnull(hv);
	ck_assert_int_eq(map_first(hv, m, 2), 0);

	ck_assert_int_eq(hv->ops->restrict_to(hv, 1), 0);
	ck_assert_int_eq(hv->ops->restrict_to(hv, 2), -EINVAL);
	ck_assert_int_eq(map_first(hv, m, 2), -EPERM);
	ck_assert_int_eq(hv->ops->evtchn_bind(hv, 2, 1, &port), -EACCES);
	ck_assert_int_eq(map_first(hv, m, 1), 0);
	ck_assert_int_ne(hv->ops->evtchn_bind(hv, 1, 1, &port), -EACCES);
	hv_close(hv);
	sim_machine_free(m);
}
END_TEST

static bool has_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct set[_LINUX_CAPABILITY_U32S_3];
	bool had_some = false;

	if (syscall(SYS_capget, &header, set))
		return true;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		had_some |= set[i].effective || set[i].permitted || set[i].inheritable;
	for (int cap = 0; started_as_root && cap <= CAP_LAST_CAP; cap++)
		had_some |= prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1;
	return had_some;
}

/* As the user that it is told, if there is one, else as nobody. */
START_TEST(rights_are_gone)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		uid_t user = geteuid() ? geteuid() : _i ? 1 : 65534;

		if (sandbox_user("root") != -EPERM || sandbox_user("no-such-user") != -ENOENT ||
		    (_i && sandbox_user("daemon")))
			_exit(98);
		if (sandbox_prepare())
			_exit(99);
		if (prctl(PR_GET_DUMPABLE) || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
			_exit(1);
		if (getuid() != user || geteuid() != user || (_i && getegid() != user))
			_exit(5);
		/* What root could have, this process cannot even see of itself. */
		if (!getuid() || !geteuid())
			_exit(2);
		if (has_capabilities())
			_exit(4);
		if (open("/proc/self/mem", O_RDWR) >= 0 || errno != EACCES)
			_exit(3);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("confine");
	TCase *tc = tcase_create("confine");

	tcase_add_checked_fixture(tc, open_stage, close_stage);
	tcase_add_test(tc, work_goes_on);
	tcase_add_loop_test(tc, attempt_ends_it, 0, (int)(sizeof(attempts) / sizeof(attempts[0])));
	tcase_add_test(tc, holder_makes_no_hypercall);
	tcase_add_loop_test(tc, nothing_that_is_not_needed, 0, 20);
	tcase_add_test(tc, no_other_domain);
	tcase_add_test(tc, memory_is_limited);
	tcase_add_loop_test(tc, rights_are_gone, 0, 2);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
