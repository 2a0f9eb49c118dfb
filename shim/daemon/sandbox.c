/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a worker may still do once everything is open: hypercalls, events, the interrupt of its
 * device, memory, the clock, a line to the log. No file can be opened, nothing executed, no
 * process started, no network used.
 *
 * The descriptors of /dev/xen carry the right to make hypercalls themselves, so root can go;
 * a hypercall is still the right of the domain, which is why the list of operations matters
 * less than that the code here is small. docs/design.md, "Processes", says what is left.
 */
#include "daemon/worker.h"

#include "hv/hv.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534

/* Of workers and holders. They can be signalled by every other process of that user, so it is none
 * that others use, where there is one. */
static uid_t user = NOBODY;
static gid_t group = NOBODY;

/*
 * What a worker may have beyond what it has when everything is open. Tables of its size are had
 * by then; a guest's p2m may still grow, 8 bytes of ours and a page of its own for 512 of its
 * pages, of which a guest has 2^28 at most.
 */
#define MORE_DATA (64ull << 20)
#define MORE_ADDRESSES (4ull << 30)

#define NR(array) (sizeof(array) / sizeof((array)[0]))

/*
 * These act on what is open already or on the process itself, and none changes what it may do.
 * Who needs them: events, interrupts and the log read and write; config space is read by a reset
 * that is not confirmed, and written to unmask an interrupt, which the kernel masks in the command
 * register; the C library sleeps by one of two calls, trims its heap, and says by writev() and
 * abort() that it is broken; messages go to the keeper and a holder.
 */
static const int free_calls[] = {
	SCMP_SYS(read),		 SCMP_SYS(write),	    SCMP_SYS(writev),
	SCMP_SYS(pread64),	 SCMP_SYS(pwrite64),	    SCMP_SYS(poll),
	SCMP_SYS(close),	 SCMP_SYS(munmap),	    SCMP_SYS(madvise),
	SCMP_SYS(brk),		 SCMP_SYS(mremap),	    SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),	    SCMP_SYS(getpid),
	SCMP_SYS(gettid),	 SCMP_SYS(rt_sigprocmask),  SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall), SCMP_SYS(sendto),	    SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),	 SCMP_SYS(futex),	    SCMP_SYS(exit_group),
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	/* the sanitizer's own: its locks, and the end of a process */
	SCMP_SYS(sigaltstack), SCMP_SYS(sched_yield), SCMP_SYS(getrandom),
#endif
};

/* A holder's in addition. */
static const int holder_calls[] = {
	SCMP_SYS(accept4),
	SCMP_SYS(recvmsg),
	SCMP_SYS(getsockopt),
};

static int report_sock = -1;

static void on_trap(int sig, siginfo_t *info, void *context)
{
	struct worker_msg msg = { .type = WORKER_TRAPPED, .error = info->si_syscall };

	(void)context;
	(void)!send(report_sock, &msg, sizeof(msg), MSG_NOSIGNAL | MSG_DONTWAIT);
	_exit(128 + sig);
}

static int catch_traps(int sock)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	report_sock = sock;
	return sigaction(SIGSYS, &action, NULL) ? -errno : 0;
}

static int limit(int resource, rlim_t value)
{
	struct rlimit lim = { value, value };

	return setrlimit(resource, &lim) ? -errno : 0;
}

/*
 * The bounding set and the ambient set are what a process gets capabilities back from by way of
 * exec, which the filter refuses and no_new_privs makes useless; so an error is none here. Without
 * root only what an administrator gave the service by name is there to be given up.
 */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, none) ? -errno : 0;
}

static void empty_bounding_set(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

int sandbox_user(const char *name)
{
	const struct passwd *entry = getpwnam(name);

	if (!entry)
		return -ENOENT;
	if (!entry->pw_uid || !entry->pw_gid)
		return -EPERM;
	user = entry->pw_uid;
	group = entry->pw_gid;
	return 0;
}

/* Root, groups and the means to get anything back. */
int sandbox_prepare(void)
{
	int rc;

	/* Where libxencall locks its buffers it may go on doing so; elsewhere it fails in vain. */
	(void)limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
	rc = limit(RLIMIT_CORE, 0);
	if (rc)
		return rc;
	empty_bounding_set();
	if (!geteuid() && (setgroups(0, NULL) || setresgid(group, group, group) ||
			   setresuid(user, user, user)))
		return -errno;
	rc = drop_capabilities();
	if (rc)
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -errno;
	return 0;
}

/* The kernel looks at the low half of the request only, so only that is compared. */
static int allow_ioctl(scmp_filter_ctx ctx, const struct hv_needs *needs)
{
	int rc = 0;

	for (unsigned int i = 0; i < needs->nr_ioctl && !rc; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				      SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, needs->ioctl[i]));
	return rc;
}

/* Memory may be had, but none that can be executed, and none that is shared with nobody: only
 * private memory counts against the limit. */
static int allow_memory(scmp_filter_ctx ctx)
{
	const struct scmp_arg_cmp no_code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
	int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, no_code,
				  SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0));

	if (!rc)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, no_code,
				      SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_TYPE | MAP_ANONYMOUS,
					      MAP_PRIVATE | MAP_ANONYMOUS));
	if (!rc)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* abort() sends a signal to its own process and to nobody else. */
	if (!rc)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				      SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	return rc;
}

static int allow_calls(scmp_filter_ctx ctx, const int *call, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call[i], 0);
	return rc;
}

static int load_filter(const struct sandbox *box)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	struct hv_needs needs = { 0 };
	int rc;

	if (!ctx)
		return -ENOMEM;
	box->ops->needs(box->caps, &needs);
	/* Another ABI's numbers: the whole process, and not only the thread that made the call. */
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!rc)
		rc = allow_calls(ctx, free_calls, NR(free_calls));
	if (!rc && box->holder)
		rc = allow_calls(ctx, holder_calls, NR(holder_calls));
	if (!rc)
		rc = allow_calls(ctx, needs.call, needs.nr_call);
	if (!rc)
		rc = allow_ioctl(ctx, &needs);
	if (!rc)
		rc = allow_memory(ctx);
	if (!rc)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc;
}

/*
 * Private memory, and addresses of any kind: without the second, page tables alone could be made
 * to fill the machine. A holder has the pages of a whole guest.
 */
static int limit_memory(const struct sandbox *box)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long size, data;
	int n, rc;

	if (!f)
		return -errno;
	n = fscanf(f, "%llu %*u %*u %*u %*u %llu", &size, &data);
	fclose(f);
	if (n != 2)
		return -EIO;
	rc = limit(RLIMIT_DATA, data * page + MORE_DATA);
	return rc || box->holder ? rc : limit(RLIMIT_AS, size * page + MORE_ADDRESSES);
}

/*
 * A holder takes some connections, a worker opens nothing; poll() looks at this limit too, so it is
 * not 0. A simulated machine has more open than that already.
 */
static int limit_files(void)
{
	int lowest = dup(STDERR_FILENO);

	if (lowest < 0)
		return -errno;
	close(lowest);
	return limit(RLIMIT_NOFILE, lowest < 56 ? 64 : (rlim_t)lowest + 8);
}

int sandbox_enter(const struct sandbox *box, const char **step)
{
	int rc;

	*step = "limits";
	rc = limit(RLIMIT_NPROC, 0);
	if (!rc)
		rc = limit_files();
	if (!rc)
		rc = limit_memory(box);
	if (rc)
		return rc;
	*step = "signal";
	rc = catch_traps(box->sock);
	if (rc)
		return rc;
	*step = "seccomp";
	return load_filter(box);
}
