/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stage.h"

#include "coverage.h"
#include "daemon/holder.h"
#include "mem/kept.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void open_keeper(struct stage *st)
{
	unsigned int n = session_dma_pages(st->dev);
	int err;

	st->hv = sim_hv_open(st->machine, STAGE_BACK, HV_CAP_GRANT | HV_CAP_DMA, &err);
	ck_assert_msg(st->hv != NULL, "hv: %s", strerror(-err));
	sim_audit(st->machine, SIM_ANY, &st->before);
	ck_assert_int_eq(st->hv->ops->dma_alloc(st->hv, n, &st->dma), 0);
	ck_assert_int_eq(journal_create(&st->journal, NULL), 0);
	ck_assert_int_eq(journal_set_dma(&st->journal, &st->dma), 0);
}

static void on_violation(void *arg, const char *story)
{
	(void)arg;
	fprintf(stderr, "violation: %s\n", story);
}

void stage_up(struct stage *st, const struct check_config *dev,
	      const struct sim_guest_config *guest)
{
	struct check_config dc = dev ? *dev : (struct check_config){ 0 };
	struct sim_guest_config gc = guest ? *guest : (struct sim_guest_config){ 0 };
	int err;

	memset(st, 0, sizeof(*st));
	st->machine = sim_machine_new(&(struct sim_config){ .seed = 1 }, &err);
	ck_assert_msg(st->machine != NULL, "machine: %s", strerror(-err));
	ck_assert_int_eq(sim_domain_add(st->machine, STAGE_BACK, 2048, false), 0);
	ck_assert_int_eq(sim_domain_add(st->machine, STAGE_GUEST, 8192, false), 0);
	dc.machine = st->machine;
	dc.domid = STAGE_BACK;
	dc.violation = on_violation;
	st->dev = check_dev_open(&dc, &err);
	ck_assert_msg(st->dev != NULL, "device: %s", strerror(-err));
	open_keeper(st);
	st->addressing = gc.addressing ? gc.addressing : XVS_ADDRESSING_GRANT;
	if (st->addressing == XVS_ADDRESSING_P2M) {
		strcpy(st->dir, "/tmp/xvshim-stage-XXXXXX");
		ck_assert_ptr_nonnull(mkdtemp(st->dir));
		snprintf(st->hold, sizeof(st->hold), "%s/hold", st->dir);
	}
	st->protection = gc.protection ? gc.protection : XVS_PROTECTION_STRICT;
	st->keep_pages = KEPT_PAGES_DEFAULT;
	gc.machine = st->machine;
	gc.domid = STAGE_GUEST;
	gc.backend = STAGE_BACK;
	st->guest = sim_guest_new(&gc, &err);
	ck_assert_msg(st->guest != NULL, "guest: %s", strerror(-err));
}

/* As the keeper does it: one holder for each worker. */
static int start_holder(struct stage *st)
{
	const struct holder_params params = { .ops = hv_sim(), .domid = STAGE_GUEST,
					      .name = "test", .path = st->hold, .simulated = true,
					      .drop_fd = -1 };
	struct hold_client keeper;
	int fd;

	if (!st->hold[0])
		return -1;
	sim_machine_use(st->machine, STAGE_BACK);
	ck_assert_int_eq(holder_start(&params), 0);
	ck_assert_int_eq(holder_connect(st->hold, &keeper), 0);
	ck_assert_int_eq(holder_serve(&keeper, &fd), 0);
	holder_disconnect(&keeper);
	return fd;
}

/* The device was reset. Returns the pages it had held. */
static unsigned int end_holder(struct stage *st)
{
	struct hold_client keeper;
	unsigned int held;

	if (!st->hold[0])
		return 0;
	ck_assert_int_eq(holder_connect(st->hold, &keeper), 0);
	held = keeper.reply.held;
	ck_assert_int_eq(holder_end(&keeper, st->hold), 0);
	return held;
}

static void worker(struct stage *st, bool resume, int holder_fd, int stop_fd, int ready_fd)
{
	struct session_params p = {
		.dev = st->dev,
		.dma = &st->dma,
		.journal = &st->journal,
		.domid = STAGE_GUEST,
		.ctrl_ref = sim_guest_ctrl_ref(st->guest),
		.ctrl_port = sim_guest_ctrl_port(st->guest),
		.addressing = st->addressing,
		.holder_fd = holder_fd,
		.protection = st->protection,
		.keep_pages = st->keep_pages,
		.keep_ms = st->keep_ms,
		.poll_us = 20,
		.resume = resume,
		.name = "test",
	};
	struct session *s;
	char why[160] = "";
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	p.hv = sim_hv_open(st->machine, STAGE_BACK, HV_CAP_GRANT | HV_CAP_EVTCHN | HV_CAP_P2M,
			   &rc);
	rc = p.hv ? session_open(&s, &p, why, sizeof(why)) : rc;
	if (rc)
		fprintf(stderr, "worker: %s (%s)\n", why, strerror(-rc));
	if (write(ready_fd, &rc, sizeof(rc)) != sizeof(rc) || rc) {
		coverage_keep();
		_exit(111);
	}
	rc = session_run(s, stop_fd);
	session_close(s);
	hv_close(p.hv);
	coverage_keep();
	_exit(-rc & 0x7f);
}

void stage_start(struct stage *st, bool resume)
{
	int stop[2], ready[2], rc = -1, holder_fd = start_holder(st);

	ck_assert_int_eq(pipe(stop), 0);
	ck_assert_int_eq(pipe(ready), 0);
	st->worker = fork();
	ck_assert_int_ge(st->worker, 0);
	if (!st->worker) {
		close(stop[1]);
		close(ready[0]);
		worker(st, resume, holder_fd, stop[0], ready[1]);
	}
	if (holder_fd >= 0)
		close(holder_fd);
	close(stop[0]);
	close(ready[1]);
	st->stop_fd = stop[1];
	/* a worker that is to die while it opens says nothing */
	if (read(ready[0], &rc, sizeof(rc)) == sizeof(rc))
		ck_assert_int_eq(rc, 0);
	close(ready[0]);
}

static int reap(struct stage *st)
{
	int status = 0;

	ck_assert_int_eq(waitpid(st->worker, &status, 0), st->worker);
	st->worker = 0;
	close(st->stop_fd);
	sim_reap(st->machine);
	return status;
}

int stage_stop(struct stage *st)
{
	int status;

	close(st->stop_fd);
	st->stop_fd = -1;
	status = reap(st);
	ck_assert_msg(WIFEXITED(status), "worker died of signal %d", WTERMSIG(status));
	if (!WEXITSTATUS(status))
		ck_assert_uint_eq(end_holder(st), 0);
	return WEXITSTATUS(status);
}

void stage_recover(struct stage *st)
{
	ck_assert_int_eq(st->dev->ops->reset(st->dev), 0);
	st->held = end_holder(st);
	ck_assert_int_ge(journal_recover(&st->journal, st->hv, &st->dma), 0);
	ck_assert_uint_eq(journal_live(&st->journal), 0);
	ck_assert_uint_eq(atomic_load(&st->journal.data->leaked), 0);
}

void stage_kill(struct stage *st)
{
	kill(st->worker, SIGKILL);
	reap(st);
	stage_recover(st);
}

static void close_all(struct stage *st)
{
	if (st->worker)
		ck_assert_int_eq(stage_stop(st), 0);
	st->dev->ops->reset(st->dev);
	sim_guest_free(st->guest);
	journal_forget_dma(&st->journal);
	st->hv->ops->dma_free(st->hv, &st->dma);
	ck_assert_uint_eq(atomic_load(&st->journal.data->leaked), 0);
	ck_assert_uint_eq(journal_live(&st->journal), 0);
	journal_close(&st->journal);
}

/* own_grants: the test left entries of its own in the guest's table. */
static void check_nothing_held(struct stage *st, bool own_grants)
{
	struct sim_audit after;
	char was[256], is[256];

	sim_audit(st->machine, SIM_ANY, &after);
	if (own_grants)
		after.grants = st->before.grants;
	sim_audit_text(&st->before, was, sizeof(was));
	sim_audit_text(&after, is, sizeof(is));
	ck_assert_msg(!memcmp(&st->before, &after, sizeof(after)), "before %s, after %s", was, is);
}

static void down(struct stage *st, bool own_grants)
{
	close_all(st);
	check_nothing_held(st, own_grants);
	if (st->dir[0])
		ck_assert_int_eq(rmdir(st->dir), 0);
	st->dev->ops->close(st->dev);
	hv_close(st->hv);
	sim_machine_free(st->machine);
}

void stage_down(struct stage *st)
{
	const char *guest = sim_guest_violation(st->guest), *dev = check_dev_violation(st->dev);

	ck_assert_msg(!guest, "guest: %s", guest);
	ck_assert_msg(!dev, "device: %s", dev);
	down(st, false);
}

void stage_down_broken(struct stage *st)
{
	down(st, true);
}

void stage_fill(uint8_t *p, size_t n, unsigned int seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(seed * 131 + i * 7 + (i >> 8));
}

void stage_io(struct stage *st, unsigned int queue, uint64_t sector, size_t len, unsigned int seed)
{
	static uint8_t data[STAGE_IO_MAX], back[STAGE_IO_MAX];

	ck_assert_uint_le(len, sizeof(data));
	stage_fill(data, len, seed);
	ck_assert_int_eq(sim_blk_write(st->guest, queue, sector, data, len), VIRTIO_BLK_S_OK);
	memset(back, 0, len);
	ck_assert_int_eq(sim_blk_read(st->guest, queue, sector, back, len), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(data, back, len);
}

void stage_some_io(struct stage *st, uint64_t sectors, unsigned int rounds)
{
	static const size_t lens[] = { 512, 1024, 4096, 8192, 12288, 65536 };

	for (unsigned int i = 0; i < rounds; i++)
		stage_io(st, i % 2, i * 128 % (sectors - 128), lens[i % 6], i);
}
