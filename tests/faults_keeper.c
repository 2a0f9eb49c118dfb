/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keeper, worker and holder of test_faults.c. */
#include "coverage.h"
#include "faults_scene.h"

#include "daemon/holder.h"
#include "mem/kept.h"
#include "session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
int __lsan_do_recoverable_leak_check(void);
#define LEAKS() __lsan_do_recoverable_leak_check()
#else
#define LEAKS() 0
#endif

/* -- the worker -- */

struct ready {
	int rc;
	char why[160];
};

static void worker_process(bool resume, int holder_fd, int sock)
{
	struct session_params p = {
		.dev = scene.dev,
		.dma = &scene.dma,
		.journal = &scene.journal,
		.domid = scene.domid,
		.ctrl_ref = scene.ctrl_ref,
		.ctrl_port = scene.ctrl_port,
		.addressing = scene.mode->addressing,
		.protection = scene.mode->protection,
		.holder_fd = holder_fd,
		.keep_pages = KEPT_PAGES_DEFAULT,
		.keep_ms = 0,
		.poll_us = 0,
		.resume = resume,
		.name = "test",
	};
	struct ready ready = { 0 };
	struct session *s = NULL;
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	p.hv = hv_open(hv_sim(), HV_CAP_GRANT | HV_CAP_EVTCHN | HV_CAP_P2M, &ready.rc);
	if (!p.hv)
		snprintf(ready.why, sizeof(ready.why), "no access: %s", strerror(-ready.rc));
	else
		ready.rc = session_open(&s, &p, ready.why, sizeof(ready.why));
	if (send(sock, &ready, sizeof(ready), MSG_NOSIGNAL) != sizeof(ready))
		_exit(101);
	rc = ready.rc ? 0 : session_run(s, sock);
	if (s)
		session_close(s);
	hv_close(p.hv);
	if (faults_has(FAULT_SYS, FAULT_ANY) && LEAKS())
		faults_failed("the worker leaks memory");
	faults_inside = false; /* gcov's calls are not what is tested */
	coverage_keep();
	_exit(ready.rc ? 102 : -rc & 0x7f);
}

static int start_holder(int *fd)
{
	const struct holder_params params = { .ops = hv_sim(), .domid = scene.domid, .name = "test",
					      .path = scene.hold, .simulated = true, .drop_fd = -1 };
	struct hold_client c;
	int rc;

	*fd = -1;
	if (scene.mode->addressing != XVS_ADDRESSING_P2M)
		return 0;
	rc = holder_connect(scene.hold, &c);
	if (rc == -ECONNREFUSED)
		unlink(scene.hold);
	if (rc == -ECONNREFUSED || rc == -ENOENT) {
		rc = holder_start(&params);
		rc = rc ? rc : holder_connect(scene.hold, &c);
	}
	if (rc)
		return rc;
	rc = holder_serve(&c, fd);
	holder_disconnect(&c);
	return rc;
}

static int end_holder(void)
{
	struct hold_client c;
	int rc;

	if (scene.mode->addressing != XVS_ADDRESSING_P2M)
		return 0;
	rc = holder_connect(scene.hold, &c);
	if (rc == -ENOENT)
		return 0;
	if (rc == -ECONNREFUSED) {
		unlink(scene.hold);
		return 0;
	}
	if (!rc) {
		rc = holder_end(&c, scene.hold);
		if (rc)
			holder_disconnect(&c);
	}
	return rc;
}

static int start_worker(bool resume)
{
	int pair[2], holder_fd, rc = start_holder(&holder_fd);

	if (rc)
		return rc;
	rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) ? -errno : 0;
	if (rc)
		goto out;
	scene.ready = false;
	scene.worker = fork();
	if (!scene.worker) {
		close(pair[0]);
		close(scene.guest_sock);
		worker_process(resume, holder_fd, pair[1]);
	}
	rc = scene.worker < 0 ? -errno : 0;
	close(pair[1]);
	if (rc) {
		close(pair[0]);
		scene.worker = 0;
	} else {
		scene.sock = pair[0];
	}
out:
	if (holder_fd >= 0)
		close(holder_fd);
	return rc;
}

/* -- the keeper -- */

#define RETRY(what, expr)                                                                          \
	do {                                                                                       \
		int rc_ = -1;                                                                      \
		for (unsigned int i_ = 0; rc_ < 0 && i_ < TRIES; i_++)                             \
			rc_ = (expr);                                                              \
		if (rc_ < 0)                                                                       \
			faults_failed(what ": %s", strerror(-rc_));                                \
	} while (0)

static int open_hv(void)
{
	int rc = 0;

	scene.hv = hv_open(hv_sim(), HV_CAP_GRANT | HV_CAP_DMA, &rc);
	return scene.hv ? 0 : rc;
}

static int open_dma(void)
{
	int rc = scene.hv->ops->dma_alloc(scene.hv, session_dma_pages(scene.dev), &scene.dma);

	return rc ? rc : journal_set_dma(&scene.journal, &scene.dma);
}

static void close_journal(void)
{
	scene.leaked += atomic_load(&scene.journal.data->leaked);
	if (journal_live(&scene.journal))
		faults_failed("%u pages are still mapped", journal_live(&scene.journal));
	journal_close(&scene.journal);
}

static void open_keeper(void)
{
	RETRY("keeper", open_hv());
	RETRY("journal", journal_create(&scene.journal, NULL));
	RETRY("DMA memory", open_dma());
}

static void close_keeper(void)
{
	journal_forget_dma(&scene.journal);
	scene.hv->ops->dma_free(scene.hv, &scene.dma);
	close_journal();
	hv_close(scene.hv);
}

/* Whatever became of the worker. */
static void recover(bool keeper_too)
{
	RETRY("the device is not reset", scene.dev->ops->reset(scene.dev));
	RETRY("the holder does not end", end_holder());
	if (!keeper_too) {
		RETRY("not recovered", journal_recover(&scene.journal, scene.hv, &scene.dma));
		return;
	}
	/* As the next keeper does it, that has the journal and nothing else. */
	hv_close(scene.hv);
	free(scene.dma.maddr);
	free(scene.dma.handle);
	RETRY("keeper", open_hv());
	RETRY("not recovered", journal_recover(&scene.journal, scene.hv, NULL));
	RETRY("DMA memory", journal_release_dma(&scene.journal, scene.hv));
	RETRY("DMA memory", open_dma());
}

static void fresh_journal(void)
{
	close_journal();
	RETRY("journal", journal_create(&scene.journal, NULL));
	RETRY("journal", journal_set_dma(&scene.journal, &scene.dma));
	memset(scene.dma.va, 0, (size_t)scene.dma.npages * XVS_FRAME_SIZE);
}

static void next_worker(bool resume)
{
	if (++scene.starts > TRIES * 2)
		faults_failed("no worker stays");
	if (scene.dma.va && resume)
		memset(scene.dma.va, 0, (size_t)scene.dma.npages * XVS_FRAME_SIZE);
	RETRY("no worker", start_worker(resume));
}

/* It ended, by whatever: what it told before is heard first. */
static int reap_worker(bool killed)
{
	int status = 0;

	waitpid(scene.worker, &status, 0);
	close(scene.sock);
	scene.worker = 0;
	scene.ready = false;
	sim_reap(scene.machine);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	killed |= faults_has(FAULT_KILL_BEFORE, FAULT_ANY) ||
		  faults_has(FAULT_KILL_AFTER, FAULT_ANY);
	if (!killed || WTERMSIG(status) != SIGKILL)
		faults_failed("the worker died of signal %d", WTERMSIG(status));
	return 0;
}

static void hear_worker(void)
{
	struct ready ready;

	if (recv(scene.sock, &ready, sizeof(ready), MSG_DONTWAIT) != sizeof(ready)) {
		bool resume = scene.connected;

		reap_worker(false);
		recover(false);
		next_worker(resume);
		return;
	}
	scene.ready = !ready.rc;
	scene.connected |= scene.ready;
	if (ready.rc && !ready.why[0])
		faults_failed("the worker could not begin and said no reason: %s",
			      strerror(-ready.rc));
}

static void answer(void)
{
	uint32_t msg[3] = { 0 };

	if (send(scene.guest_sock, msg, sizeof(msg), MSG_NOSIGNAL) != sizeof(msg))
		faults_failed("the guest is gone");
}

static void wait_ready(void)
{
	struct pollfd p;

	while (!scene.ready) {
		p = (struct pollfd){ .fd = scene.sock, .events = POLLIN };
		if (poll(&p, 1, WAIT_MS) <= 0)
			faults_failed("the worker says nothing");
		hear_worker();
	}
}

/* Its orderly end. */
static void stop_worker(void)
{
	struct pollfd p = { .fd = scene.sock, .events = POLLIN };
	struct ready ready;

	shutdown(scene.sock, SHUT_WR);
	do {
		if (poll(&p, 1, WAIT_MS) <= 0)
			faults_failed("the worker does not stop");
	} while (recv(scene.sock, &ready, sizeof(ready), MSG_DONTWAIT) > 0);
	reap_worker(false);
	recover(false);
	scene.connected = false;
}

static void kill_worker(void)
{
	struct journal_data *log = scene.journal.data;

	for (unsigned int ms = 0; ms < WAIT_MS && scene.ready; ms++) {
		struct pollfd p = { .fd = scene.sock, .events = POLLIN };

		if (atomic_load(&log->stats.inflight) >= FLYING ||
		    atomic_load(&log->stats.driver_status) & VIRTIO_CONFIG_S_NEEDS_RESET)
			break;
		if (poll(&p, 1, 1) > 0)
			hear_worker();
	}
	kill(scene.worker, SIGKILL);
	reap_worker(true);
	recover(true);
	next_worker(true);
	wait_ready();
}

static bool hear_guest(void)
{
	uint32_t msg[3];

	if (recv(scene.guest_sock, msg, sizeof(msg), MSG_DONTWAIT) != sizeof(msg))
		return false;
	switch (msg[0]) {
	case ASK_CONNECT:
		scene.ctrl_ref = msg[1];
		scene.ctrl_port = msg[2];
		next_worker(false);
		wait_ready();
		break;
	case ASK_KILL:
		kill_worker();
		break;
	case ASK_CLOSE:
		stop_worker();
		fresh_journal();
		break;
	default:
		faults_inside = false;
		sim_domain_kill(scene.machine, scene.domid);
		faults_inside = true;
		check_dev_pause(scene.disk, false);
		stop_worker();
		break;
	}
	answer();
	return true;
}

void serve(uint16_t domid, bool brief)
{
	int pair[2], status;

	scene.domid = domid;
	scene.starts = 0;
	scene.connected = false;
	faults_inside = false;
	if (sim_domain_add(scene.machine, domid, 600, false) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		faults_failed("no guest");
	scene.guest_sock = pair[0];
	scene.guest_pid = fork();
	if (!scene.guest_pid) {
		close(pair[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		guest_process(pair[1], brief);
	}
	close(pair[1]);
	faults_inside = true;
	open_keeper();
	for (bool more = true; more;) {
		struct pollfd p[] = { { .fd = scene.guest_sock, .events = POLLIN },
				      { .fd = scene.worker ? scene.sock : -1, .events = POLLIN } };

		if (poll(p, 2, -1) <= 0)
			continue;
		if (p[1].revents)
			hear_worker();
		else if (p[0].revents)
			more = hear_guest();
	}
	waitpid(scene.guest_pid, &status, 0);
	close(scene.guest_sock);
	if (status)
		faults_failed("the guest ended with status %#x", status);
	close_keeper();
	faults_inside = false;
}
