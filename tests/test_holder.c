/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that holds pages: whoever else dies, they stay; when it is told so, they go. */
#include "daemon/holder.h"
#include "mem/p2m_pins.h"
#include "rests.h"
#include "sim_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 10u

static char dir[64], path[96];

static void start(void)
{
	struct holder_params params = { .ops = hv_sim(), .domid = GUEST, .name = "device 7",
					.path = path, .simulated = true, .drop_fd = -1 };

	sim_machine_use(m, BACK);
	ck_assert_int_eq(holder_start(&params), 0);
}

static void holder_setup(void)
{
	setup();
	snprintf(dir, sizeof(dir), "/tmp/xvshim-holder-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/hold", dir);
	start();
}

static unsigned int foreign_pages(void)
{
	struct sim_audit a;

	sim_audit(m, BACK, &a);
	return a.foreign_pages;
}

static void connect_to(struct hold_client *c, unsigned int held)
{
	ck_assert_int_eq(holder_connect(path, c), 0);
	ck_assert_str_eq(c->reply.name, "device 7");
	ck_assert_uint_eq(c->reply.domid, GUEST);
	ck_assert_uint_eq(c->reply.held, held);
	ck_assert_int_gt(c->reply.pid, 1);
}

static void end(void)
{
	struct hold_client c;

	ck_assert_int_eq(holder_connect(path, &c), 0);
	ck_assert_int_eq(holder_end(&c, path), 0);
	ck_assert_int_eq(holder_connect(path, &c), -ENOENT);
	ck_assert_uint_eq(foreign_pages(), 0);
}

static void holder_teardown(void)
{
	rmdir(dir); /* fails when a socket was left */
	ck_assert_int_ne(access(dir, F_OK), 0);
	teardown();
}

/* n pages from pfn first on, through a worker's socket. */
static int ask(int fd, unsigned int first, unsigned int n)
{
	struct hold_pin pin[PAGES];
	struct hold_client w;
	int rc;

	hold_client_init(&w, fd);
	for (unsigned int i = 0; i < n; i++) {
		mfn_t mfn;

		ck_assert_int_eq(sim_p2m(m, GUEST, (pfn_t){ first + i }, &mfn), 0);
		pin[i] = (struct hold_pin){ .mfn = mfn, .slot = (uint16_t)i, .flags = HOLD_WRITABLE,
					    .err = -1 };
	}
	rc = w.hold.change(&w.hold, NULL, 0, pin, n);
	for (unsigned int i = 0; !rc && i < n; i++)
		rc = pin[i].err;
	return rc;
}

static bool reach(unsigned int pfn)
{
	char why[80];
	mfn_t mfn;

	ck_assert_int_eq(sim_p2m(m, GUEST, (pfn_t){ pfn }, &mfn), 0);
	return !sim_device_reach(m, BACK, maddr_of(mfn, 0), 1, true, SIM_REACH_ANY, NULL, why,
				 sizeof(why));
}

/* The pins of p2m_pins, through the socket, work as in one process. */
START_TEST(serves_pins)
{
	struct p2m_pins *p = calloc(1, sizeof(*p));
	struct hv *p2m_hv = sim_hv_open(m, BACK, HV_CAP_P2M, &(int){ 0 });
	struct hold_client keeper, worker;
	struct hv_p2m *table;
	int fd, use[PAGES];

	connect_to(&keeper, 0);
	ck_assert_int_eq(holder_serve(&keeper, &fd), 0);
	hold_client_init(&worker, fd);
	ck_assert_int_eq(p2m_hv->ops->p2m_open(p2m_hv, GUEST, &table), 0);
	ck_assert_int_eq(p2m_pins_open(p, p2m_hv, table, &worker.hold, 64), 0);
	for (int round = 0; round < 20; round++) {
		ck_assert_int_eq(p2m_pins_begin(p, 0), 0);
		for (unsigned int i = 0; i < PAGES; i++)
			use[i] = p2m_pins_add(p, (pfn_t){ 20 + i }, i % 2);
		ck_assert_int_eq(p2m_pins_map(p), 0);
		for (unsigned int i = 0; i < PAGES; i++)
			ck_assert_int_eq(reach(20 + i), i % 2);
		ck_assert_uint_eq(foreign_pages(), PAGES);
		for (unsigned int i = 0; i < PAGES; i++)
			p2m_pins_drop(p, (uint16_t)use[i]);
		ck_assert_int_eq(p2m_pins_flush(p), 0);
		ck_assert_uint_eq(foreign_pages(), PAGES / 2);
	}
	ck_assert_int_eq(p2m_pins_release(p), 0);
	ck_assert_uint_eq(foreign_pages(), 0);
	p2m_pins_close(p);
	p2m_hv->ops->p2m_close(p2m_hv, table);
	hv_close(p2m_hv);
	free(p);
	close(fd);
	holder_disconnect(&keeper);
	end();
}
END_TEST

/* 48, 50: a worker killed in the middle; its pages stay until the keeper says otherwise. */
START_TEST(hazard_50_worker_killed)
{
	struct hold_client keeper;
	int fd, next, pair[2], status;
	char byte;
	pid_t pid;

	connect_to(&keeper, 0);
	ck_assert_int_eq(holder_serve(&keeper, &fd), 0);
	ck_assert_int_eq(pipe(pair), 0);
	pid = fork();
	if (!pid) {
		byte = (char)ask(fd, 30, PAGES);
		if (write(pair[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	close(fd);
	ck_assert_int_eq(read(pair[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ck_assert_uint_eq(foreign_pages(), PAGES);
	ck_assert(reach(30));
	/* the next worker begins with nothing, after the keeper's word */
	ck_assert_int_eq(holder_end(&keeper, path), 0);
	ck_assert_uint_eq(foreign_pages(), 0);
	start();
	connect_to(&keeper, 0);
	ck_assert_int_eq(holder_serve(&keeper, &fd), 0);
	ck_assert_int_eq(ask(fd, 40, PAGES), 0);
	ck_assert_int_eq(holder_serve(&keeper, &next), 0);
	ck_assert_int_lt(ask(fd, 40, PAGES), 0); /* that worker is not served any more */
	close(fd);
	close(next);
	close(pair[0]);
	close(pair[1]);
	holder_disconnect(&keeper);
	end();
}
END_TEST

/* 50: keeper and worker killed, both; the next keeper finds it by its socket. */
START_TEST(hazard_50_keeper_killed)
{
	struct hold_client keeper;
	int pair[2], fd;
	char byte;
	pid_t pid;

	end();
	ck_assert_int_eq(pipe(pair), 0);
	pid = fork();
	if (!pid) {
		struct hold_client c;

		setpgid(0, 0);
		start(); /* it is this process's grandchild */
		byte = 1;
		if (!holder_connect(path, &c) && !holder_serve(&c, &fd))
			byte = (char)ask(fd, 30, PAGES);
		if (write(pair[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	ck_assert_int_eq(read(pair[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 0);
	kill(-pid, SIGKILL); /* the whole group, as a terminal would */
	waitpid(pid, NULL, 0);
	ck_assert_uint_eq(foreign_pages(), PAGES);
	connect_to(&keeper, PAGES);
	kill(keeper.reply.pid, SIGTERM);
	kill(keeper.reply.pid, SIGINT);
	ck_assert(reach(39));
	holder_disconnect(&keeper);
	connect_to(&keeper, PAGES);
	holder_disconnect(&keeper);
	close(pair[0]);
	close(pair[1]);
	end();
}
END_TEST

/* A frame of the guest that dies stays out of use while a device may write there. */
START_TEST(hazard_31_guest_gone)
{
	struct hold_client keeper;
	struct sim_audit a;
	mfn_t mfn;
	int fd;

	connect_to(&keeper, 0);
	ck_assert_int_eq(holder_serve(&keeper, &fd), 0);
	ck_assert_int_eq(ask(fd, 30, 1), 0);
	ck_assert_int_eq(sim_p2m(m, GUEST, (pfn_t){ 30 }, &mfn), 0);
	ck_assert_int_eq(sim_domain_kill(m, GUEST), 0);
	sim_audit(m, SIM_ANY, &a);
	ck_assert_uint_eq(a.zombies, 1);
	*(char *)sim_maddr_va(m, maddr_of(mfn, 0), 1) = 1; /* the device, late */
	close(fd);
	ck_assert_int_eq(holder_end(&keeper, path), 0);
	sim_audit(m, SIM_ANY, &a);
	ck_assert_uint_eq(a.zombies, 0);
	ck_assert_uint_eq(a.late_writes, 0);
}
END_TEST

static void send_raw(int fd, const void *data, size_t len)
{
	ck_assert_int_eq(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* A worker that a guest has broken: it gets nothing but its own guest's pages. */
START_TEST(hazard_36_hostile_worker)
{
	static const struct hold_request bad[] = {
		{ .magic = HOLD_MAGIC, .op = HOLD_CHANGE, .nr_pin = 1 },
		{ .magic = HOLD_MAGIC, .op = HOLD_CHANGE, .nr_pin = UINT32_MAX },
		{ .magic = HOLD_MAGIC, .op = HOLD_CHANGE, .nr_unpin = HOLD_BATCH + 1 },
	};
	static const struct hold_request worse[] = {
		{ .magic = HOLD_MAGIC, .op = HOLD_END },
		{ .magic = HOLD_MAGIC, .op = HOLD_SERVE },
		{ .magic = HOLD_MAGIC, .op = HOLD_HELLO },
		{ .magic = 1, .op = HOLD_CHANGE },
	};
	static char huge[HOLD_BATCH * 40];
	struct hold_client keeper, w;
	struct hold_pin other = { .slot = 9, .flags = HOLD_WRITABLE };
	int fd;

	connect_to(&keeper, 0);
	ck_assert_int_eq(holder_serve(&keeper, &fd), 0);
	ck_assert_int_eq(ask(fd, 30, 3), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct hold_reply reply;

		send_raw(fd, &bad[i], sizeof(bad[i]));
		ck_assert_int_eq(recv(fd, &reply, sizeof(reply), 0), HOLD_REPLY_SIZE(0));
		ck_assert_int_eq(reply.rc, -EINVAL);
	}
	ck_assert_int_eq(ask(fd, 30, 1), -EINVAL); /* held already */
	hold_client_init(&w, fd);
	ck_assert_int_eq(sim_p2m(m, BACK, (pfn_t){ 400 }, &other.mfn), 0);
	ck_assert_int_eq(w.hold.change(&w.hold, NULL, 0, &other, 1), 0);
	ck_assert_int_lt(other.err, 0);
	for (size_t i = 0; i < sizeof(worse) / sizeof(worse[0]); i++) {
		send_raw(fd, &worse[i], sizeof(worse[i]));
		ck_assert_int_le(recv(fd, huge, sizeof(huge), 0), 0);
		close(fd);
		ck_assert_int_eq(holder_serve(&keeper, &fd), 0);
	}
	send_raw(fd, huge, sizeof(huge));
	ck_assert_int_le(recv(fd, huge, sizeof(huge), 0), 0);
	close(fd);
	ck_assert_uint_eq(foreign_pages(), 3);
	ck_assert_int_eq(hold_client_call(&keeper, 99, -1), -EOPNOTSUPP);
	ck_assert_int_eq(hold_client_call(&keeper, HOLD_SERVE, -1), -EINVAL);
	holder_disconnect(&keeper);
	end();
}
END_TEST

/* One that does not read its answers: the keeper is served all the same. */
START_TEST(hazard_39_deaf_worker)
{
	struct hold_request req = { .magic = HOLD_MAGIC, .op = HOLD_CHANGE };
	struct hold_client keeper;
	int fd;

	connect_to(&keeper, 0);
	ck_assert_int_eq(holder_serve(&keeper, &fd), 0);
	ck_assert_int_eq(ask(fd, 30, 3), 0);
	for (int i = 0; i < 100000; i++)
		if (send(fd, &req, sizeof(req), MSG_NOSIGNAL) < 0)
			break;
	ck_assert(errno == EPIPE || errno == ECONNRESET);
	ck_assert_int_eq(holder_end(&keeper, path), 0);
	ck_assert_uint_eq(foreign_pages(), 0);
	close(fd);
}
END_TEST

/* It could not begin: the keeper hears why, and nothing stays. */
START_TEST(cannot_begin)
{
	struct hold_client c;

	end();
	sim_fault_set(m, SIM_OP_OPEN, 1, -EACCES);
	start();
	ck_assert_int_eq(holder_connect(path, &c), -EACCES);
	ck_assert_int_lt(holder_connect(path, &c), 0);
	unlink(path);
}
END_TEST

static int connect_only(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* No descriptor for the next keeper: it waits for one, and serves the worker it has. */
START_TEST(hazard_40_no_descriptor)
{
	struct hold_client keeper, next;
	pid_t pid;
	long was;
	int fd;

	connect_to(&keeper, 0);
	pid = keeper.reply.pid;
	ck_assert_int_eq(holder_serve(&keeper, &fd), 0);
	was = limit_files_of(pid, 3);
	ck_assert_int_gt(was, 3);
	hold_client_init(&next, connect_only());
	ck_assert(rests(pid));
	ck_assert_int_eq(ask(fd, 30, 3), 0);
	ck_assert_int_eq(limit_files_of(pid, was), 3);
	ck_assert_int_eq(hold_client_call(&next, HOLD_HELLO, -1), 0);
	ck_assert_uint_eq(next.reply.held, 3);
	holder_disconnect(&next);
	holder_disconnect(&keeper);
	close(fd);
	end();
}
END_TEST

/* Whatever it failed for: to disconnect it afterwards closes nobody's descriptor. */
START_TEST(connection_fails)
{
	struct rlimit limit, few;
	struct hold_client c;
	char none[200];
	int spare = dup(STDIN_FILENO);

	ck_assert_int_ge(spare, 0);
	memset(none, 'x', sizeof(none) - 1);
	none[sizeof(none) - 1] = '\0';
	c.fd = spare;
	ck_assert_int_eq(holder_connect(none, &c), -ENAMETOOLONG);
	ck_assert_int_eq(c.fd, -1);
	none[8] = '\0';
	c.fd = spare;
	ck_assert_int_eq(holder_connect(none, &c), -ENOENT);
	ck_assert_int_eq(c.fd, -1);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = limit;
	few.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	c.fd = spare;
	ck_assert_int_eq(holder_connect(path, &c), -EMFILE);
	ck_assert_int_eq(c.fd, -1);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	holder_disconnect(&c);
	ck_assert_int_eq(close(spare), 0);
	end();
}
END_TEST

/* It was killed: there is a socket, but nobody behind it. */
START_TEST(holder_killed)
{
	struct hold_client keeper;
	int fd;

	connect_to(&keeper, 0);
	ck_assert_int_eq(holder_serve(&keeper, &fd), 0);
	ck_assert_int_eq(ask(fd, 30, 3), 0);
	kill(keeper.reply.pid, SIGKILL);
	ck_assert_int_lt(ask(fd, 30, 3), 0);
	ck_assert_int_lt(holder_end(&keeper, path), 0);
	close(fd);
	holder_disconnect(&keeper);
	ck_assert_int_eq(holder_connect(path, &keeper), -ECONNREFUSED);
	unlink(path);
}
END_TEST

int main(void)
{
	static const TTest **const tests[] = {
		&serves_pins, &hazard_50_worker_killed, &hazard_50_keeper_killed,
		&hazard_31_guest_gone, &hazard_36_hostile_worker, &hazard_39_deaf_worker, &cannot_begin,
		&hazard_40_no_descriptor, &connection_fails, &holder_killed,
	};
	Suite *s = suite_create("holder");
	TCase *tc = tcase_create("holder");

	tcase_add_checked_fixture(tc, holder_setup, holder_teardown);
	tcase_set_timeout(tc, 60);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, *tests[i]);
	suite_add_tcase(s, tc);
	return check_main(s);
}
