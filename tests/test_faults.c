/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device in service while its surroundings fail: see faults.h. The process of a run is the
 * keeper (and has the device's thread); worker, holder and guest are processes of their own. What
 * the keeper does here is what the daemon does, without the store.
 */
#include "check_main.h"
#include "faults.h"

#include "daemon/holder.h"
#include "dev/check.h"
#include "mem/journal.h"
#include "mem/kept.h"
#include "session/session.h"
#include "sim/guest_priv.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACK 0
#define GUEST 3
#define NEXT_GUEST 4
#define TRIES 10
#define WAIT_MS 30000 /* nothing takes so long but what never comes */
#define SLICE_MS 20
#define RUN_SECONDS 300
#define QUEUES 2

#if defined(__SANITIZE_ADDRESS__)
int __lsan_do_recoverable_leak_check(void);
#define LEAKS() __lsan_do_recoverable_leak_check()
#else
#define LEAKS() 0
#endif

static const char *const scenarios[] = { "strict", "direct", "pool", "lazy", "p2m", NULL };

static const struct mode {
	enum xvs_addressing addressing;
	enum xvs_protection protection;
	uint64_t no_features;
} modes[] = {
	{ XVS_ADDRESSING_GRANT, XVS_PROTECTION_STRICT, 0 },
	{ XVS_ADDRESSING_GRANT, XVS_PROTECTION_STRICT,
	  1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX },
	{ XVS_ADDRESSING_GRANT, XVS_PROTECTION_POOL, 0 },
	{ XVS_ADDRESSING_GRANT, XVS_PROTECTION_LAZY, 0 },
	{ XVS_ADDRESSING_P2M, XVS_PROTECTION_STRICT, 0 },
};

static struct {
	const struct mode *mode;
	struct sim_machine *machine;
	struct xdev *disk, *dev; /* itself; and as the back end has it, with faults */
	/* the keeper's */
	struct hv *hv;
	struct hv_dma dma;
	struct journal journal;
	char dir[32], hold[48];
	unsigned int leaked; /* handles that Xen refused to take back, in journals that are gone */
	/* the worker */
	pid_t worker;
	int sock;
	bool ready, connected;
	unsigned int starts;
	/* the guest */
	uint16_t domid;
	pid_t guest_pid;
	int guest_sock;
	uint32_t ctrl_ref, ctrl_port;
} w;

/* Does Xen refuse to let go in this run? Then some pages stay, and everybody may say so. */
static bool refuses_unmap(void)
{
	return faults_has(FAULT_ELEMENT, SIM_OP_GNT_UNMAP);
}

/* -- the guest: a process that talks to the keeper with bytes -- */

enum ask {
	ASK_CONNECT = 'c', /* followed by reference and port */
	ASK_KILL = 'k',	   /* the worker, once two requests are in flight, and then go on */
	ASK_CLOSE = 'd',
	ASK_DIE = 'x', /* the domain ends with requests in flight */
};

static struct {
	struct sim_guest *g;
	int keeper;
	bool given_up; /* it saw that the back end keeps its pages: nothing more to be had */
} me;

static uint8_t data[20000], back[20000];

static void ask(enum ask what)
{
	uint32_t msg[3] = { what, 0, 0 };

	if (me.g) {
		msg[1] = sim_guest_ctrl_ref(me.g);
		msg[2] = sim_guest_ctrl_port(me.g);
	}
	if (send(me.keeper, msg, sizeof(msg), MSG_NOSIGNAL) != sizeof(msg) ||
	    recv(me.keeper, msg, sizeof(msg), 0) != sizeof(msg))
		_exit(EXIT_FAILURE); /* the keeper said why */
}

/* Pages that Xen does not give back are reported; anything else is a fault of the back end. */
static bool violated(void)
{
	const char *story = sim_guest_violation(me.g);

	if (!story)
		return false;
	if (!refuses_unmap() || !strstr(story, "still mapped"))
		faults_failed("guest: %s", story);
	me.given_up = true;
	return true;
}

static void check_rc(const char *what, int rc)
{
	if (rc == -ETIMEDOUT)
		faults_failed("guest: %s was not answered", what);
}

/* Brings the device up, from whatever state. */
static void up(void)
{
	int rc = -EIO;

	for (unsigned int i = 0; rc && i < TRIES && !me.given_up; i++) {
		if (i) {
			rc = sim_guest_reset(me.g);
			check_rc("a reset", rc);
			if (violated())
				return;
			if (rc)
				continue;
		}
		rc = sim_guest_start(me.g);
		check_rc("a request of the control page", rc);
	}
	if (rc && !violated())
		faults_failed("guest: the device does not start: %s", strerror(-rc));
}

/*
 * Waits as a driver does, who looks when an event comes and never else: one that is lost is a
 * request that hangs. -EIO: the device is broken.
 */
static int wait_for(unsigned int queue, struct sim_blk_req *req)
{
	struct sim_gqueue *q = &me.g->queue[queue];
	int rc;

	while (!sim_blk_done(me.g, queue, req)) {
		rc = guest_wait_used(me.g, q, SLICE_MS);
		for (unsigned int ms = SLICE_MS; rc == -ETIMEDOUT; ms += SLICE_MS) {
			if (sim_guest_needs_reset(me.g) || violated())
				return -EIO;
			if (ms > WAIT_MS)
				faults_failed("guest: a request hangs%s",
					      guest_used(me.g, q, &(struct vring_used_elem){ 0 }) ?
						      ", done but not told" :
						      "");
			rc = sim_evtchn_wait(w.machine, w.domid, q->ring.port, SLICE_MS);
			rc = rc > 0 ? 0 : rc ? rc : -ETIMEDOUT;
		}
		if (rc)
			return rc;
	}
	return sim_blk_wait(me.g, queue, req);
}

/* One request; again after a reset where the device broke. Its data are right in the end. */
static int io(unsigned int queue, uint32_t type, uint64_t sector, uint8_t *buf, size_t len)
{
	struct sim_sg sg[64];
	struct sim_blk_req *req;
	unsigned int n;
	int rc = sim_sg_alloc(me.g, len, 4096, 60, sg, &n);

	if (!rc && type == VIRTIO_BLK_T_OUT)
		rc = sim_sg_fill(me.g, sg, n, buf);
	if (rc)
		faults_failed("guest: no pages: %s", strerror(-rc));
	req = sim_blk_submit(me.g, queue, type, sector, sg, n, &rc);
	if (!req)
		faults_failed("guest: submit: %s", strerror(-rc));
	sim_blk_kick(me.g, queue);
	rc = wait_for(queue, req);
	if (rc == 0 && type == VIRTIO_BLK_T_IN)
		rc = sim_sg_fetch(me.g, sg, n, buf);
	if (!rc)
		sim_sg_free(me.g, sg, n);
	violated();
	return rc;
}

static void io_right(unsigned int queue, uint64_t sector, size_t len, unsigned int s)
{
	int rc = -EIO;

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(s * 131 + i * 7 + (i >> 8));
	for (unsigned int i = 0; rc && i < TRIES && !me.given_up; i++) {
		if (i)
			up();
		if (me.given_up)
			return;
		memset(back, 0, len);
		rc = io(queue, VIRTIO_BLK_T_OUT, sector, data, len);
		if (!rc)
			rc = io(queue, VIRTIO_BLK_T_IN, sector, back, len);
	}
	if (me.given_up)
		return;
	if (rc)
		faults_failed("guest: requests fail: %d", rc);
	if (memcmp(data, back, len))
		faults_failed("guest: other data came back");
}

static void some_io(unsigned int s)
{
	static const size_t lens[] = { 512, 4096, 20000 };

	for (unsigned int i = 0; i < 3 && !me.given_up; i++)
		io_right(i % QUEUES, i * 128, lens[i] & ~511u, s + i);
}

#define FLYING 2
static struct {
	struct sim_blk_req *req[FLYING];
	struct sim_sg sg[FLYING][8];
	unsigned int n[FLYING];
} fly;

/* Requests that the device sits on. */
static void take_off(void)
{
	int rc;

	check_dev_pause(w.disk, true);
	sim_blk_cork(me.g, 0);
	for (unsigned int i = 0; i < FLYING; i++) {
		rc = sim_sg_alloc(me.g, 4096, 4096, 8, fly.sg[i], &fly.n[i]);
		if (!rc)
			rc = sim_sg_fill(me.g, fly.sg[i], fly.n[i], data);
		fly.req[i] = rc ? NULL : sim_blk_submit(me.g, 0, VIRTIO_BLK_T_OUT, 1000 + i * 8,
							fly.sg[i], fly.n[i], &rc);
		if (!fly.req[i])
			faults_failed("guest: submit: %s", strerror(-rc));
	}
	sim_blk_kick(me.g, 0);
}

static void land(void)
{
	int rc = 0;

	check_dev_pause(w.disk, false);
	for (unsigned int i = 0; i < FLYING && !rc; i++) {
		rc = wait_for(0, fly.req[i]);
		if (!rc)
			sim_sg_free(me.g, fly.sg[i], fly.n[i]);
	}
	violated();
	if (rc && !me.given_up)
		up(); /* broken: the reset takes them back */
}

static void reset(void)
{
	int rc = -EIO;

	for (unsigned int i = 0; rc && i < TRIES && !me.given_up; i++) {
		rc = sim_guest_reset(me.g);
		check_rc("a reset", rc);
		violated();
	}
	if (rc && !me.given_up)
		faults_failed("guest: reset: %s", strerror(-rc));
}

static void connect_anew(void)
{
	const struct sim_guest_config config = {
		.machine = w.machine, .domid = w.domid, .backend = BACK, .timeout = WAIT_MS,
		.addressing = w.mode->addressing, .protection = w.mode->protection,
		.no_features = w.mode->no_features, .queue_size = 64,
	};
	int rc;

	me.g = sim_guest_new(&config, &rc);
	if (!me.g)
		faults_failed("guest: %s", strerror(-rc));
	ask(ASK_CONNECT);
	up();
}

static void disconnect(void)
{
	reset();
	ask(ASK_CLOSE);
	violated();
	sim_guest_free(me.g);
	me.g = NULL;
}

static void guest_process(bool brief)
{
	uint8_t wce = 0;

	faults_inside = false;
	connect_anew();
	some_io(1);
	if (!brief && !me.given_up) {
		check_rc("a change of the config", sim_guest_config_write(me.g, 32, &wce, 1));
		if (w.mode->protection != XVS_PROTECTION_STRICT)
			check_rc("a release of grants", sim_guest_release(me.g));
		violated();
	}
	if (!brief && !me.given_up) {
		take_off();
		ask(ASK_KILL);
		land();
		some_io(10);
	}
	disconnect();
	me.given_up = false;
	if (!brief) {
		connect_anew();
		some_io(20);
		if (!me.given_up)
			take_off();
		ask(ASK_DIE);
	}
	_exit(EXIT_SUCCESS);
}

/* -- the worker -- */

struct ready {
	int rc;
	char why[160];
};

static void worker_process(bool resume, int holder_fd, int sock)
{
	struct session_params p = {
		.dev = w.dev,
		.dma = &w.dma,
		.journal = &w.journal,
		.domid = w.domid,
		.ctrl_ref = w.ctrl_ref,
		.ctrl_port = w.ctrl_port,
		.addressing = w.mode->addressing,
		.protection = w.mode->protection,
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
	_exit(ready.rc ? 102 : -rc & 0x7f);
}

static int start_holder(int *fd)
{
	const struct holder_params params = { .ops = hv_sim(), .domid = w.domid, .name = "test",
					      .path = w.hold, .simulated = true, .drop_fd = -1 };
	struct hold_client c;
	int rc;

	*fd = -1;
	if (w.mode->addressing != XVS_ADDRESSING_P2M)
		return 0;
	rc = holder_connect(w.hold, &c);
	if (rc == -ECONNREFUSED)
		unlink(w.hold);
	if (rc == -ECONNREFUSED || rc == -ENOENT) {
		rc = holder_start(&params);
		rc = rc ? rc : holder_connect(w.hold, &c);
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

	if (w.mode->addressing != XVS_ADDRESSING_P2M)
		return 0;
	rc = holder_connect(w.hold, &c);
	if (rc == -ENOENT)
		return 0;
	if (rc == -ECONNREFUSED) {
		unlink(w.hold);
		return 0;
	}
	if (!rc) {
		rc = holder_end(&c, w.hold);
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
	w.ready = false;
	w.worker = fork();
	if (!w.worker) {
		close(pair[0]);
		close(w.guest_sock);
		worker_process(resume, holder_fd, pair[1]);
	}
	rc = w.worker < 0 ? -errno : 0;
	close(pair[1]);
	if (rc) {
		close(pair[0]);
		w.worker = 0;
	} else {
		w.sock = pair[0];
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

	w.hv = hv_open(hv_sim(), HV_CAP_GRANT | HV_CAP_DMA, &rc);
	return w.hv ? 0 : rc;
}

static int open_dma(void)
{
	int rc = w.hv->ops->dma_alloc(w.hv, session_dma_pages(w.dev), &w.dma);

	return rc ? rc : journal_set_dma(&w.journal, &w.dma);
}

static void close_journal(void)
{
	w.leaked += atomic_load(&w.journal.data->leaked);
	if (journal_live(&w.journal))
		faults_failed("%u pages are still mapped", journal_live(&w.journal));
	journal_close(&w.journal);
}

static void open_keeper(void)
{
	RETRY("keeper", open_hv());
	RETRY("journal", journal_create(&w.journal, NULL));
	RETRY("DMA memory", open_dma());
}

static void close_keeper(void)
{
	journal_forget_dma(&w.journal);
	w.hv->ops->dma_free(w.hv, &w.dma);
	close_journal();
	hv_close(w.hv);
}

/* Whatever became of the worker. */
static void recover(bool keeper_too)
{
	RETRY("the device is not reset", w.dev->ops->reset(w.dev));
	RETRY("the holder does not end", end_holder());
	if (!keeper_too) {
		RETRY("not recovered", journal_recover(&w.journal, w.hv, &w.dma));
		return;
	}
	/* As the next keeper does it, that has the journal and nothing else. */
	hv_close(w.hv);
	free(w.dma.maddr);
	free(w.dma.handle);
	RETRY("keeper", open_hv());
	RETRY("not recovered", journal_recover(&w.journal, w.hv, NULL));
	RETRY("DMA memory", journal_release_dma(&w.journal, w.hv));
	RETRY("DMA memory", open_dma());
}

static void fresh_journal(void)
{
	close_journal();
	RETRY("journal", journal_create(&w.journal, NULL));
	RETRY("journal", journal_set_dma(&w.journal, &w.dma));
	memset(w.dma.va, 0, (size_t)w.dma.npages * XVS_FRAME_SIZE);
}

static void next_worker(bool resume)
{
	if (++w.starts > TRIES * 2)
		faults_failed("no worker stays");
	if (w.dma.va && resume)
		memset(w.dma.va, 0, (size_t)w.dma.npages * XVS_FRAME_SIZE);
	RETRY("no worker", start_worker(resume));
}

/* It ended, by whatever: what it told before is heard first. */
static int reap_worker(bool killed)
{
	int status = 0;

	waitpid(w.worker, &status, 0);
	close(w.sock);
	w.worker = 0;
	w.ready = false;
	sim_reap(w.machine);
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

	if (recv(w.sock, &ready, sizeof(ready), MSG_DONTWAIT) != sizeof(ready)) {
		bool resume = w.connected;

		reap_worker(false);
		recover(false);
		next_worker(resume);
		return;
	}
	w.ready = !ready.rc;
	w.connected |= w.ready;
	if (ready.rc && !ready.why[0])
		faults_failed("the worker could not begin and said no reason: %s",
			      strerror(-ready.rc));
}

static void answer(void)
{
	uint32_t msg[3] = { 0 };

	if (send(w.guest_sock, msg, sizeof(msg), MSG_NOSIGNAL) != sizeof(msg))
		faults_failed("the guest is gone");
}

static void wait_ready(void)
{
	struct pollfd p;

	while (!w.ready) {
		p = (struct pollfd){ .fd = w.sock, .events = POLLIN };
		if (poll(&p, 1, WAIT_MS) <= 0)
			faults_failed("the worker says nothing");
		hear_worker();
	}
}

/* Its orderly end. */
static void stop_worker(void)
{
	struct pollfd p = { .fd = w.sock, .events = POLLIN };
	struct ready ready;

	shutdown(w.sock, SHUT_WR);
	do {
		if (poll(&p, 1, WAIT_MS) <= 0)
			faults_failed("the worker does not stop");
	} while (recv(w.sock, &ready, sizeof(ready), MSG_DONTWAIT) > 0);
	reap_worker(false);
	recover(false);
	w.connected = false;
}

static void kill_worker(void)
{
	struct journal_data *log = w.journal.data;

	for (unsigned int ms = 0; ms < WAIT_MS && w.ready; ms++) {
		struct pollfd p = { .fd = w.sock, .events = POLLIN };

		if (atomic_load(&log->stats.inflight) >= FLYING ||
		    atomic_load(&log->stats.driver_status) & VIRTIO_CONFIG_S_NEEDS_RESET)
			break;
		if (poll(&p, 1, 1) > 0)
			hear_worker();
	}
	kill(w.worker, SIGKILL);
	reap_worker(true);
	recover(true);
	next_worker(true);
	wait_ready();
}

static bool hear_guest(void)
{
	uint32_t msg[3];

	if (recv(w.guest_sock, msg, sizeof(msg), MSG_DONTWAIT) != sizeof(msg))
		return false;
	switch (msg[0]) {
	case ASK_CONNECT:
		w.ctrl_ref = msg[1];
		w.ctrl_port = msg[2];
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
		sim_domain_kill(w.machine, w.domid);
		faults_inside = true;
		check_dev_pause(w.disk, false);
		stop_worker();
		break;
	}
	answer();
	return true;
}

/* One guest from its birth to its end. */
static void serve(uint16_t domid, bool brief)
{
	int pair[2], status;

	w.domid = domid;
	w.starts = 0;
	w.connected = false;
	faults_inside = false;
	if (sim_domain_add(w.machine, domid, 600, false) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		faults_failed("no guest");
	w.guest_sock = pair[0];
	w.guest_pid = fork();
	if (!w.guest_pid) {
		close(pair[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		me.keeper = pair[1];
		guest_process(brief);
	}
	close(pair[1]);
	faults_inside = true;
	open_keeper();
	for (bool more = true; more;) {
		struct pollfd p[] = { { .fd = w.guest_sock, .events = POLLIN },
				      { .fd = w.worker ? w.sock : -1, .events = POLLIN } };

		if (poll(p, 2, -1) <= 0)
			continue;
		if (p[1].revents)
			hear_worker();
		else if (p[0].revents)
			more = hear_guest();
	}
	waitpid(w.guest_pid, &status, 0);
	close(w.guest_sock);
	if (status)
		faults_failed("the guest ended with status %#x", status);
	close_keeper();
	faults_inside = false;
}

static void nothing_left(const struct sim_audit *before)
{
	struct sim_audit now;
	char text[300];

	/* What Xen refused stays, and is known. */
	sim_audit(w.machine, BACK, &now);
	sim_audit_text(&now, text, sizeof(text));
	if (now.device_handles + now.dma_pages != w.leaked || now.host_pages || now.foreign_pages ||
	    now.self_pages || now.ports || now.opens != before->opens ||
	    now.late_writes || (now.zombies && !w.leaked))
		faults_failed("left: %s; %u leaked", text, w.leaked);
	if (w.leaked && !refuses_unmap())
		faults_failed("%u handles leaked", w.leaked);
}

static void on_violation(void *arg, const char *story)
{
	(void)arg;
	faults_failed("device: %s", story);
}

static void run(unsigned int scenario)
{
	struct check_config disk = { .num_queues = QUEUES, .sectors = 2048, .queue_size = 64,
				     .domid = BACK, .violation = on_violation,
				     .reset_timeout_ms = WAIT_MS };
	struct sim_audit before;
	int rc;

	w.mode = &modes[scenario];
	w.machine = sim_machine_new(&(struct sim_config){ .seed = 1, .frames = 4096 }, &rc);
	if (!w.machine || sim_domain_add(w.machine, BACK, 512, false))
		faults_failed("no machine");
	sim_machine_use(w.machine, BACK);
	disk.machine = w.machine;
	w.disk = check_dev_open(&disk, &rc);
	if (!w.disk || w.disk->ops->reset(w.disk))
		faults_failed("no device");
	w.dev = faults_dev(w.disk);
	strcpy(w.dir, "/tmp/xvshim-faults-XXXXXX");
	if (!mkdtemp(w.dir))
		faults_failed("no directory");
	snprintf(w.hold, sizeof(w.hold), "%s/hold", w.dir);
	sim_audit(w.machine, BACK, &before);

	faults_begin(w.machine);
	serve(GUEST, false);
	faults_end(w.machine);
	nothing_left(&before);
	serve(NEXT_GUEST, true);
	nothing_left(&before);
	/* Holders are nobody's children but this process's; each was told to end. */
	while (wait(NULL) > 0)
		;
	w.disk->ops->close(w.disk);
	sim_machine_free(w.machine);
	if (rmdir(w.dir))
		faults_failed("files are left");
}

/* What would be another test: the holder's death is a gap that design.md names. */
static bool wanted(const struct fault *f)
{
	if (f->kind != FAULT_KILL_BEFORE && f->kind != FAULT_KILL_AFTER)
		return true;
	switch (f->op) {
	case SIM_OP_GNT_MAP:
	case SIM_OP_GNT_COPY:
	case SIM_OP_HOST_MAP:
	case SIM_OP_HOST_UNMAP:
	case SIM_OP_P2M_OPEN:
	case SIM_OP_EVTCHN_BIND:
	case SIM_OP_EVTCHN_UNBIND:
		return f->code == 1;
	default:
		return false;
	}
}

static const struct fault_world world = { .scenario = scenarios, .run = run, .wanted = wanted,
					  .seconds = RUN_SECONDS, .lanes = 2 };

START_TEST(each_single_fault)
{
	ck_assert_uint_eq(faults_single(&world, 3), 0);
}
END_TEST

START_TEST(random_double_faults)
{
	ck_assert_uint_eq(faults_double(&world, 150), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("faults");
	TCase *tc = tcase_create("session");

	tcase_set_timeout(tc, 0);
	tcase_add_test(tc, each_single_fault);
	tcase_add_test(tc, random_double_faults);
	suite_add_tcase(s, tc);
	return check_main(s);
}
