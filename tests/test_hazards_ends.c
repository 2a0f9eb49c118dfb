/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * docs/security.md, what comes from both ends at once: events, storage that fails, a guest that
 * takes nothing back.
 */
#include "check_main.h"
#include "hostile.h"
#include "lib/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <pthread.h>
#include <stdlib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define DISK_SECTORS 8192

static struct stage st;

static const struct session_stats *stats(void)
{
	return &st.journal.data->stats;
}

static uint64_t count(const _Atomic uint64_t *counter)
{
	return atomic_load(counter);
}

static void up(const struct sim_guest_config *guest)
{
	struct check_config d = { .sectors = DISK_SECTORS };

	stage_up(&st, &d, guest);
	stage_start(&st, false);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
}

static void down(void)
{
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	stage_down(&st);
}

static bool worker_lives(void)
{
	return waitpid(st.worker, NULL, WNOHANG) == 0;
}

/* -- 28, 38: events -- */

static struct {
	pthread_t thread;
	_Atomic bool stop;
	_Atomic uint64_t sent;
	_Atomic uint32_t port;
} storm;

static void *storm_thread(void *arg)
{
	struct stage *on = arg;

	while (!atomic_load(&storm.stop)) {
		sim_evtchn_send(on->machine, STAGE_GUEST, atomic_load(&storm.port));
		sim_evtchn_send(on->machine, STAGE_GUEST, sim_guest_ctrl_port(on->guest));
		atomic_fetch_add(&storm.sent, 2);
	}
	return NULL;
}

static void storm_begin(struct stage *on)
{
	atomic_store(&storm.stop, false);
	atomic_store(&storm.sent, 0);
	atomic_store(&storm.port, sim_guest_ring(on->guest, 0)->port);
	ck_assert_int_eq(pthread_create(&storm.thread, NULL, storm_thread, on), 0);
}

static void storm_end(void)
{
	atomic_store(&storm.stop, true);
	pthread_join(storm.thread, NULL);
}

START_TEST(hazard_28_port_closed_while_events_come)
{
	struct sim_blk_req *req;
	struct sim_sg sg[4];
	unsigned int n;
	int err;

	up(NULL);
	storm_begin(&st);
	for (unsigned int i = 0; i < 12; i++) {
		uint32_t port = sim_guest_ring(st.guest, 0)->port;

		ck_assert_int_eq(sim_sg_alloc(st.guest, 4096, 4096, 4, sg, &n), 0);
		req = sim_blk_submit(st.guest, 0, VIRTIO_BLK_T_IN, i, sg, n, &err);
		ck_assert_ptr_nonnull(req);
		sim_guest_kick(st.guest, 0);
		ck_assert_int_eq(sim_evtchn_close(st.machine, STAGE_GUEST, port), 0);
		ck_assert_int_eq(sim_guest_reset(st.guest), 0);
		sim_sg_free(st.guest, sg, n);
		ck_assert(worker_lives());
		ck_assert_int_eq(sim_guest_start(st.guest), 0);
		atomic_store(&storm.port, sim_guest_ring(st.guest, 0)->port);
		stage_io(&st, 0, 8, 4096, i);
	}
	storm_end();
	ck_assert_uint_eq(count(&stats()->broken), 0);
	down();
}
END_TEST

/* -- a session in a thread of this process, whose events pass through here -- */

static struct {
	struct hv_ops ops;
	const struct hv_ops *sim;
	pthread_t thread;
	int stop[2], ready[2], result;
	_Atomic uint32_t stale;     /* a port that went: its event comes next */
	_Atomic unsigned int again; /* the guest sends as soon as it is listened to, so often */
	unsigned int run, most;     /* events taken in one wait, before a look at the rings */
	_Atomic unsigned int left;  /* requests that follow, each before anybody can wait */
	unsigned int step;
} events;

static int pending(struct hv *hv, uint32_t *port)
{
	int rc;

	*port = atomic_exchange(&events.stale, 0);
	rc = *port ? 1 : events.sim->evtchn_pending(hv, port);
	events.run += rc == 1;
	if (events.run > events.most)
		events.most = events.run;
	return rc;
}

/* Asked for once before each wait. */
static int evtchn_fd(struct hv *hv)
{
	events.run = 0;
	return events.sim->evtchn_fd(hv);
}

static int unmask(struct hv *hv, uint32_t port)
{
	int rc = events.sim->evtchn_unmask(hv, port);

	if (!atomic_load(&events.again))
		return rc;
	atomic_fetch_sub(&events.again, 1);
	sim_guest_kick(st.guest, 0);
	sim_evtchn_send(st.machine, STAGE_GUEST, sim_guest_ctrl_port(st.guest));
	return rc;
}

/* What a driver asks for that sets up a queue and resets, without end. */
static void ask_next(unsigned int step)
{
	const struct xvs_request next[] = {
		{ .op = XVS_OP_SET_DEVICE_STATUS, .u.status = 0 },
		{ .op = XVS_OP_SET_DEVICE_STATUS, .u.status = 3 },
		{ .op = XVS_OP_SET_DRIVER_FEATURES,
		  .u.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM },
		{ .op = XVS_OP_SET_DEVICE_STATUS, .u.status = 11 },
		{ .op = XVS_OP_SET_VQUEUE, .u.index = 0 },
	};
	struct xvs_request *slot = &sim_guest_ctrl(st.guest)->req;
	const struct xvs_request *req = &next[step % 5];

	slot->op = req->op;
	memcpy(&slot->u, &req->u, sizeof(slot->u));
	atomic_store((_Atomic uint32_t *)&slot->seq, slot->seq + 1);
}

static bool last_one_answered(void)
{
	struct xvs_control_page *c = sim_guest_ctrl(st.guest);

	return !atomic_load(&events.left) &&
	       atomic_load((_Atomic uint32_t *)&c->rsp.seq) == c->req.seq;
}

/* The guest hears of an answer: another processor of it asks again at once. */
static int notify(struct hv *hv, uint32_t port)
{
	int rc = events.sim->evtchn_notify(hv, port);

	if (atomic_load(&events.left)) {
		ask_next(++events.step);
		atomic_fetch_sub(&events.left, 1);
	}
	return rc;
}

static void *session_thread(void *arg)
{
	struct session_params p = {
		.dev = st.dev, .dma = &st.dma, .journal = &st.journal, .domid = STAGE_GUEST,
		.ctrl_ref = sim_guest_ctrl_ref(st.guest),
		.ctrl_port = sim_guest_ctrl_port(st.guest),
		.addressing = st.addressing, .protection = st.protection, .holder_fd = -1,
		.keep_pages = st.keep_pages, .name = "test",
	};
	struct session *s = NULL;
	char why[160];
	int rc;

	(void)arg;
	p.hv = sim_hv_open(st.machine, STAGE_BACK, HV_CAP_GRANT | HV_CAP_EVTCHN, &rc);
	if (p.hv) {
		events.sim = p.hv->ops;
		events.ops = *p.hv->ops;
		events.ops.evtchn_fd = evtchn_fd;
		events.ops.evtchn_pending = pending;
		events.ops.evtchn_unmask = unmask;
		events.ops.evtchn_notify = notify;
		p.hv->ops = &events.ops;
		rc = session_open(&s, &p, why, sizeof(why));
	}
	if (write(events.ready[1], &rc, sizeof(rc)) != sizeof(rc) || rc)
		return NULL;
	events.result = session_run(s, events.stop[0]);
	session_close(s);
	p.hv->ops = events.sim;
	hv_close(p.hv);
	return NULL;
}

static void up_in_thread(void)
{
	struct check_config d = { .sectors = DISK_SECTORS };
	int rc = -1;

	memset(&events, 0, sizeof(events));
	stage_up(&st, &d, NULL);
	ck_assert_int_eq(pipe(events.stop), 0);
	ck_assert_int_eq(pipe(events.ready), 0);
	ck_assert_int_eq(pthread_create(&events.thread, NULL, session_thread, NULL), 0);
	ck_assert_int_eq(read(events.ready[0], &rc, sizeof(rc)), sizeof(rc));
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
}

static void down_in_thread(void)
{
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	close(events.stop[1]);
	pthread_join(events.thread, NULL);
	ck_assert_int_eq(events.result, 0);
	close(events.stop[0]);
	close(events.ready[0]);
	close(events.ready[1]);
	stage_down(&st);
}

/* The kernel's list may still hold the event of a port that was unbound since. */
START_TEST(hazard_28_event_of_a_port_that_went)
{
	static const uint32_t ports[] = { 1, 500, 0x7777, UINT32_MAX };

	up_in_thread();
	for (unsigned int i = 0; i < 4; i++) {
		atomic_store(&events.stale, ports[i]);
		stage_io(&st, 0, 8, 4096, i);
		sim_guest_kick(st.guest, 0);
		for (int k = 0; k < 30000 && atomic_load(&events.stale); k++)
			usleep(1000);
		ck_assert_uint_eq(atomic_load(&events.stale), 0);
		stage_io(&st, 0, 8, 4096, i);
	}
	down_in_thread();
}
END_TEST

/* Queues that are set up and reset without a pause leave events behind that nobody waits for. */
START_TEST(hazard_28_events_of_many_ports_that_went)
{
	up_in_thread();
	ck_assert_int_eq(sim_guest_set_status(st.guest, 0, NULL), 0);
	atomic_store(&events.left, 3004);
	ask_next(0);
	sim_evtchn_send(st.machine, STAGE_GUEST, sim_guest_ctrl_port(st.guest));
	for (int k = 0; k < 60000 && !last_one_answered(); k++)
		usleep(1000);
	ck_assert(last_one_answered());
	ck_assert_uint_eq(sim_guest_ctrl(st.guest)->queue[0].enabled, 1); /* the last was that */
	ck_assert_uint_eq(count(&stats()->broken), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 8, 4096, 1);
	down_in_thread();
}
END_TEST

/* However fast the guest is, each of its ports is heard once before there is a look at the rings. */
START_TEST(hazard_38_each_port_is_heard_once)
{
	up_in_thread();
	atomic_store(&events.again, 1000);
	sim_guest_kick(st.guest, 0);
	for (int k = 0; k < 60000 && atomic_load(&events.again); k++)
		usleep(1000);
	ck_assert_uint_eq(atomic_load(&events.again), 0);
	stage_io(&st, 0, 8, 4096, 1);
	down_in_thread();
	ck_assert_uint_gt(events.most, 0);
	ck_assert_uint_le(events.most, 2); /* one queue, and control */
}
END_TEST

/* What comes while a port is masked is one event: so many cost no more than one. */
START_TEST(hazard_38_events_coalesce)
{
	uint64_t before;
	int status;

	up(NULL);
	stage_io(&st, 0, 8, 4096, 1);
	before = count(&stats()->guest_kicks);
	ck_assert_int_eq(kill(st.worker, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(st.worker, &status, WUNTRACED), st.worker);
	for (unsigned int i = 0; i < 5000; i++)
		ck_assert_int_eq(sim_guest_kick(st.guest, 0), 0);
	ck_assert_int_eq(kill(st.worker, SIGCONT), 0);
	stage_io(&st, 0, 8, 4096, 2);
	ck_assert_uint_le(count(&stats()->guest_kicks) - before, 16);
	down();
}
END_TEST

/* A guest that does nothing but send events: its own requests and another guest's are served. */
START_TEST(hazard_38_storm_harms_nobody)
{
	struct stage other = { 0 };
	struct check_config d = { .sectors = DISK_SECTORS };

	up(NULL);
	stage_up(&other, &d, NULL);
	stage_start(&other, false);
	ck_assert_int_eq(sim_guest_start(other.guest), 0);
	storm_begin(&st);
	while (atomic_load(&storm.sent) < 1000)
		usleep(1000);
	for (unsigned int i = 0; i < 15; i++)
		stage_io(&other, 0, i * 128, 8192, i);
	stage_io(&st, 0, 8, 8192, 5);
	while (atomic_load(&storm.sent) < 5000)
		usleep(1000);
	storm_end();
	ck_assert_uint_eq(count(&stats()->broken), 0);
	ck_assert_int_eq(sim_guest_reset(other.guest), 0);
	stage_down(&other);
	down();
}
END_TEST

/* -- 37: storage -- */

static int request(uint32_t type, uint32_t *used)
{
	struct sim_blk_req *req;
	struct sim_sg sg[4];
	unsigned int n;
	int err, status;

	ck_assert_int_eq(sim_sg_alloc(st.guest, 4096, 4096, 4, sg, &n), 0);
	req = sim_blk_submit(st.guest, 0, type, 0, sg, n, &err);
	ck_assert_ptr_nonnull(req);
	ck_assert_int_eq(sim_blk_kick(st.guest, 0), 0);
	for (int i = 0; i < 30000 && !sim_blk_done(st.guest, 0, req); i++)
		usleep(1000);
	ck_assert(sim_blk_done(st.guest, 0, req));
	*used = sim_blk_used_len(req);
	status = sim_blk_wait(st.guest, 0, req);
	sim_sg_free(st.guest, sg, n);
	return status;
}

START_TEST(hazard_37_storage_fails)
{
	uint32_t used;

	up(NULL);
	for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
		check_dev_misbehave(st.dev, CHECK_IO_ERROR, 1);
		ck_assert_int_eq(request(type, &used), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(used, 1);
		ck_assert_int_eq(request(type, &used), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(used, type == VIRTIO_BLK_T_IN ? 4097 : 1);
	}
	/* it claims to have done what it did not: at least not in our words */
	check_dev_misbehave(st.dev, CHECK_LIE, 1);
	request(VIRTIO_BLK_T_IN, &used);
	ck_assert_uint_eq(used, 0);
	ck_assert_uint_eq(count(&stats()->broken), 0);
	down();
}
END_TEST

/* It never answers: nobody says that it did, and what follows does not stand for it. */
START_TEST(hazard_37_request_is_lost)
{
	struct sim_guest_config g = { .timeout = 500 };
	struct sim_blk_req *req;
	struct sim_sg sg[4];
	unsigned int n;
	int err;

	up(&g);
	check_dev_misbehave(st.dev, CHECK_LOSE, 1);
	ck_assert_int_eq(sim_sg_alloc(st.guest, 4096, 4096, 4, sg, &n), 0);
	req = sim_blk_submit(st.guest, 0, VIRTIO_BLK_T_OUT, 0, sg, n, &err);
	ck_assert_ptr_nonnull(req);
	ck_assert_int_eq(sim_blk_kick(st.guest, 0), 0);
	hostile_wait_inflight(&st, 1);
	stage_some_io(&st, DISK_SECTORS, 1);
	ck_assert(!sim_blk_done(st.guest, 0, req));
	ck_assert_uint_gt(journal_live(&st.journal), 0); /* it may still write there */
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	sim_sg_free(st.guest, sg, n);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 0, 4096, 7);
	down();
}
END_TEST

/* -- 39: a guest that takes nothing back -- */

/* Pages of the worker's own memory, without what it shares with others. */
static long worker_pages(void)
{
	char path[64];
	long size, resident, shared;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", st.worker);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%ld %ld %ld", &size, &resident, &shared), 3);
	fclose(f);
	return resident - shared;
}

/* Nobody looks at the used ring: it is written over, and nothing is kept for later. */
START_TEST(hazard_39_used_ring_is_never_read)
{
	struct sim_ring *r;
	long before = 0;
	uint64_t daddr;

	up(NULL);
	r = sim_guest_ring(st.guest, 0);
	daddr = hostile_expose(&st, hostile_pages(&st, 1), 4096, false);
	for (unsigned int i = 0; i < r->size; i++)
		r->desc[i] = (struct vring_desc){ daddr + i, 1, WRITE, 0 };
	for (unsigned int round = 0; round < 50; round++) {
		for (unsigned int i = 0; i < r->size; i++)
			sim_guest_push(st.guest, 0, (uint16_t)i);
		sim_guest_kick(st.guest, 0);
		for (int i = 0; i < 30000; i++) {
			if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->avail->idx)
				break;
			usleep(1000);
		}
		ck_assert_uint_eq(__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE), r->avail->idx);
		if (round == 10)
			before = worker_pages();
	}
	ck_assert_int_le(worker_pages(), before + 32);
	ck_assert_uint_eq(journal_live(&st.journal), 0);
	ck_assert_uint_eq(count(&stats()->broken), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
	stage_io(&st, 0, 8, 4096, 1);
	stage_down_broken(&st);
}
END_TEST

/* Answers in the mailbox nobody waits for: there is one slot, and the last request counts. */
START_TEST(hazard_39_answers_are_never_read)
{
	struct xvs_control_page *page;
	uint32_t seq = 0x10000;

	up(NULL);
	page = sim_guest_ctrl(st.guest);
	for (unsigned int i = 0; i < 20000; i++) {
		__atomic_store_n(&page->req.op, XVS_OP_RELEASE_GRANTS, __ATOMIC_RELAXED);
		__atomic_store_n(&page->req.seq, ++seq, __ATOMIC_RELEASE);
		if (i % 64 == 0)
			sim_evtchn_send(st.machine, STAGE_GUEST, sim_guest_ctrl_port(st.guest));
	}
	ck_assert(worker_lives());
	stage_io(&st, 0, 8, 4096, 1);
	down();
}
END_TEST

/* -- 35: a device whose registers nobody can reach -- */

/* Config space is a file; the registers are memory, in which what is written stays. */
START_TEST(hazard_35_silence_is_no_reset)
{
	static _Alignas(8) uint8_t common[64];
	uint8_t cfg[64] = { [PCI_VENDOR_ID] = 0xf4, [PCI_VENDOR_ID + 1] = 0x1a };
	char path[] = "/tmp/xvshim-config-XXXXXX";
	struct xvs_pci pci = { .config = mkstemp(path),
			       .status = common + VIRTIO_PCI_COMMON_STATUS };

	ck_assert_int_ge(pci.config, 0);
	unlink(path);
	ck_assert_int_eq(pwrite(pci.config, cfg, sizeof(cfg), 0), sizeof(cfg));
	common[VIRTIO_PCI_COMMON_NUMQ] = 1;
	common[VIRTIO_PCI_COMMON_STATUS] = 15;
	ck_assert_int_eq(xvs_pci_reset(&pci), 0);
	ck_assert_uint_eq(common[VIRTIO_PCI_COMMON_STATUS], 0);
	/* as QEMU answers for registers that nobody decodes, and as a real host does */
	memset(common, 0, sizeof(common));
	ck_assert_int_eq(xvs_pci_reset(&pci), -ETIMEDOUT);
	memset(common, 0xff, sizeof(common));
	ck_assert_int_eq(xvs_pci_reset(&pci), -ETIMEDOUT);
	/* nobody knows it any more */
	memset(cfg, 0xff, 2);
	memset(common, 0, sizeof(common));
	ck_assert_int_eq(pwrite(pci.config, cfg, sizeof(cfg), 0), sizeof(cfg));
	ck_assert_int_eq(xvs_pci_reset(&pci), -ENODEV);
	close(pci.config);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hazards of both ends");
	TCase *tc = tcase_create("ends");

	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, hazard_28_port_closed_while_events_come);
	tcase_add_test(tc, hazard_28_event_of_a_port_that_went);
	tcase_add_test(tc, hazard_28_events_of_many_ports_that_went);
	tcase_add_test(tc, hazard_38_each_port_is_heard_once);
	tcase_add_test(tc, hazard_35_silence_is_no_reset);
	tcase_add_test(tc, hazard_37_storage_fails);
	tcase_add_test(tc, hazard_37_request_is_lost);
	tcase_add_test(tc, hazard_38_events_coalesce);
	tcase_add_test(tc, hazard_38_storm_harms_nobody);
	tcase_add_test(tc, hazard_39_used_ring_is_never_read);
	tcase_add_test(tc, hazard_39_answers_are_never_read);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
