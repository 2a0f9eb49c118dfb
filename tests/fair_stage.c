/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fair_stage.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEPTH 4
#define ANSWER_LIMIT 60 /* s; longer than that and it never will */

struct fair fair;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* -- the source: "fair:N" is the disk of domain N -- */

static struct fair_guest *guest_of(uint16_t domid)
{
	for (unsigned int i = 0; i < SIDES; i++) {
		if (fair.side[i].victim.domid == domid)
			return &fair.side[i].victim;
		if (fair.side[i].neighbour.domid == domid)
			return &fair.side[i].neighbour;
	}
	return NULL;
}

/* A disk behind the IOMMU that Xen drives. */
static int fair_facts(struct source *src, struct facts *facts, char *why, size_t size)
{
	(void)src;
	(void)why;
	(void)size;
	*facts = (struct facts){ .is = { [FACT_HOST] = HOST_PV_DOM0,
					 [FACT_PLATFORM] = BIT_SET,
					 [FACT_ORDER] = BIT_CLEAR,
					 [FACT_IOMMU] = IOMMU_ON,
					 [FACT_FIRMWARE] = FIRMWARE_COVERS,
					 [FACT_MEMORY] = MEMORY_BELOW } };
	facts->is[FACT_TYPE] = (uint8_t)policy_type(2);
	return 0;
}

static int fair_check(struct source *src, struct source_facts *facts, char *why, size_t size)
{
	facts->device_id = 2;
	return fair_facts(src, &facts->facts, why, size);
}

static int fair_take(struct source *src, bool take, char *why, size_t size)
{
	(void)src;
	(void)take;
	(void)why;
	(void)size;
	return 0;
}

static int fair_open(struct source *src, char *why, size_t size)
{
	(void)why;
	(void)size;
	src->dev = guest_of((uint16_t)atoi(src->text + strlen("fair:")))->disk;
	return 0;
}

static void fair_close(struct source *src)
{
	src->dev = NULL; /* the disk itself belongs to the test */
}

static int fair_release(struct source *src, char *why, size_t size)
{
	(void)src;
	(void)why;
	(void)size;
	return 0;
}

static bool fair_present(const struct source *src)
{
	(void)src;
	return true;
}

/* The simulated machine is shared memory: everything stays but connections of clients. */
static bool fair_owns(const struct source *src, int fd, const char *path)
{
	(void)src;
	(void)fd;
	return strncmp(path, "socket:", 7) != 0;
}

static const struct source_ops fair_source = {
	.prefix = "fair:",
	.check = fair_check,
	.facts = fair_facts,
	.take = fair_take,
	.open = fair_open,
	.close = fair_close,
	.release = fair_release,
	.present = fair_present,
	.owns = fair_owns,
};

/* -- up and down -- */

static void on_violation(void *arg, const char *story)
{
	(void)arg;
	fprintf(stderr, "violation: %s\n", story);
	abort();
}

static void add_guest(struct fair_guest *g, uint16_t domid, uint16_t backend)
{
	const struct sim_guest_config guest = { .machine = fair.machine, .domid = domid,
						.backend = backend, .timeout = 60000,
						.violation = on_violation };
	const struct check_config disk = { .machine = fair.machine, .domid = backend,
					   .sectors = 2048, .reset_timeout_ms = 5000,
					   .violation = on_violation };
	int rc;

	g->domid = domid;
	ck_assert_int_eq(sim_domain_add(fair.machine, domid, 2000, false), 0);
	g->guest = sim_guest_new(&guest, &rc);
	ck_assert_ptr_nonnull(g->guest);
	g->disk = check_dev_open(&disk, &rc);
	ck_assert_ptr_nonnull(g->disk);
	ck_assert_int_eq(g->disk->ops->reset(g->disk), 0); /* its thread is up */
}

static void keeper_process(const struct fair_daemon *d)
{
	static struct keeper keeper;
	struct conf conf;
	char why[300] = "";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	conf_defaults(&conf);
	memcpy(conf.run_dir, d->run_dir, sizeof(d->run_dir));
	log_set_level(getenv("STAGE_LOG") ? LOG_DEBUG : LOG_ERROR - 1);
	sim_machine_use(fair.machine, d->domid);
	if (keeper_open(&keeper, &conf, hv_sim(), why, sizeof(why))) {
		fprintf(stderr, "keeper: %s\n", why);
		_exit(1);
	}
	keeper.simulated = true;
	keeper_run(&keeper);
	keeper_close(&keeper);
	_exit(0);
}

static void start_daemon(struct fair_daemon *d)
{
	snprintf(d->run_dir, sizeof(d->run_dir), "/tmp/xvshim-fair-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(d->run_dir));
	usleep(20000); /* the disks' threads have come to rest: see stage_start_keeper() */
	d->keeper = fork();
	ck_assert_int_ge(d->keeper, 0);
	if (!d->keeper)
		keeper_process(d);
}

static void connect_guest(struct fair_guest *g, const struct fair_daemon *d)
{
	char source[16], why[200] = "", path[100];
	int rc;

	snprintf(source, sizeof(source), "fair:%u", g->domid);
	ck_assert_int_eq(sim_toolstack_attach(fair.machine, g->domid, d->domid, 0, source), 0);
	rc = sim_guest_handshake(g->guest, 0, why, sizeof(why));
	ck_assert_msg(!rc, "handshake: %d %s", rc, why);
	ck_assert_int_eq(sim_guest_start(g->guest), 0);
	snprintf(path, sizeof(path), "%s/dev-%u-0.journal", d->run_dir, g->domid);
	ck_assert_int_eq(journal_open(&g->journal, path), 0);
}

void fair_up(void)
{
	static const uint16_t domid[SIDES][3] = { { 0, 1, 2 }, { 5, 3, 4 } };
	int rc;

	signal(SIGPIPE, SIG_IGN);
	memset(&fair, 0, sizeof(fair));
	source_register(&fair_source);
	fair.machine = sim_machine_new(&(struct sim_config){ .seed = 1 }, &rc);
	ck_assert_ptr_nonnull(fair.machine);
	for (unsigned int i = 0; i < SIDES; i++) {
		fair.side[i].domid = domid[i][0];
		ck_assert_int_eq(sim_domain_add(fair.machine, domid[i][0], 3000, false), 0);
		add_guest(&fair.side[i].victim, domid[i][1], domid[i][0]);
		add_guest(&fair.side[i].neighbour, domid[i][2], domid[i][0]);
	}
	for (unsigned int i = 0; i < SIDES; i++)
		start_daemon(&fair.side[i]);
	for (unsigned int i = 0; i < SIDES; i++) {
		connect_guest(&fair.side[i].victim, &fair.side[i]);
		connect_guest(&fair.side[i].neighbour, &fair.side[i]);
	}
	fair.hv = sim_hv_open(fair.machine, 0, HV_CAP_STORE, &rc);
	ck_assert_ptr_nonnull(fair.hv);
}

static void remove_guest(struct fair_guest *g, uint16_t backend)
{
	ck_assert_int_eq(sim_toolstack_remove(fair.machine, g->domid, backend, 0), 0);
}

static void free_guest(struct fair_guest *g)
{
	ck_assert_ptr_null(check_dev_violation(g->disk));
	journal_close(&g->journal);
	sim_guest_free(g->guest);
	g->disk->ops->close(g->disk);
}

static void stop_daemon(struct fair_daemon *d)
{
	DIR *dir = opendir(d->run_dir);
	struct dirent *entry;
	int status = -1;

	kill(d->keeper, SIGTERM);
	waitpid(d->keeper, &status, 0);
	ck_assert_int_eq(status, 0);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			ck_assert(strncmp(entry->d_name, "dev-", 4));
			unlinkat(dirfd(dir), entry->d_name, 0);
		}
	if (dir)
		closedir(dir);
	rmdir(d->run_dir);
}

static bool all_unmapped(uint16_t domid)
{
	struct sim_audit a;

	sim_audit(fair.machine, domid, &a);
	return !a.device_handles && !a.host_pages && !a.dma_pages;
}

void fair_down(void)
{
	for (unsigned int i = 0; i < SIDES; i++) {
		remove_guest(&fair.side[i].victim, fair.side[i].domid);
		remove_guest(&fair.side[i].neighbour, fair.side[i].domid);
		for (int t = 0; t < 60000 && !all_unmapped(fair.side[i].domid); t++)
			usleep(1000);
		ck_assert(all_unmapped(fair.side[i].domid));
		stop_daemon(&fair.side[i]);
		free_guest(&fair.side[i].victim);
		free_guest(&fair.side[i].neighbour);
	}
	hv_close(fair.hv);
	sim_machine_free(fair.machine);
}

/* -- the daemon from outside -- */

double fair_ask(enum fair_side side)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const struct timeval limit = { .tv_sec = ANSWER_LIMIT };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	double begun = now_us();
	char answer[200];

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control", fair.side[side].run_dir);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_gt(dprintf(fd, "{\"cmd\":\"ping\"}\n"), 0);
	ck_assert_msg(read(fd, answer, sizeof(answer)) > 0, "the daemon does not answer");
	close(fd);
	return (now_us() - begun) / 1e3;
}

static long memory_of(pid_t pid)
{
	char path[40], line[128];
	long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "RssAnon: %ld", &kib) != 1)
		;
	if (f)
		fclose(f);
	return kib;
}

long fair_memory(enum fair_side side)
{
	pid_t keeper = fair.side[side].keeper;
	long kib = memory_of(keeper);
	char path[60];
	FILE *f;
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)keeper, (int)keeper);
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1)
		kib += memory_of(pid);
	if (f)
		fclose(f);
	return kib;
}

/* -- the victims -- */

static struct reader {
	pthread_t thread;
	struct sim_guest *guest;
	_Atomic(struct fair_window *) window;
	_Atomic bool stop;
	_Atomic unsigned int busy; /* it may still write to a window it was told to leave */
} reader[SIDES];

static void count(struct reader *r, double us)
{
	struct fair_window *w;

	atomic_fetch_add(&r->busy, 1);
	w = atomic_load(&r->window);
	if (w) {
		w->requests++;
		if (w->n < FAIR_SAMPLES)
			w->us[w->n++] = (float)us;
	}
	atomic_fetch_sub(&r->busy, 1);
}

static void *read_on(void *arg)
{
	struct reader *r = arg;
	struct sim_blk_req *req[DEPTH];
	struct sim_sg sg[DEPTH][4];
	unsigned int n[DEPTH], i = 0;
	double begun[DEPTH] = { 0 };
	int err;

	for (unsigned int k = 0; k < DEPTH; k++)
		if (sim_sg_alloc(r->guest, 4096, 4096, 4, sg[k], &n[k]))
			abort();
	for (; !atomic_load(&r->stop) || begun[i % DEPTH] > 0; i++) {
		unsigned int k = i % DEPTH;

		if (begun[k] > 0) {
			if (sim_blk_wait(r->guest, 0, req[k]))
				abort();
			count(r, now_us() - begun[k]);
			begun[k] = 0;
		}
		if (atomic_load(&r->stop))
			continue;
		begun[k] = now_us();
		req[k] = sim_blk_submit(r->guest, 0, VIRTIO_BLK_T_IN, i % 250 * 8, sg[k], n[k],
					&err);
		if (!req[k] || sim_blk_kick(r->guest, 0))
			abort();
	}
	for (unsigned int k = 0; k < DEPTH; k++)
		sim_sg_free(r->guest, sg[k], n[k]);
	return NULL;
}

void fair_begin(void)
{
	for (unsigned int i = 0; i < SIDES; i++) {
		reader[i].guest = fair.side[i].victim.guest;
		atomic_store(&reader[i].stop, false);
		ck_assert_int_eq(pthread_create(&reader[i].thread, NULL, read_on, &reader[i]), 0);
	}
}

void fair_count(struct fair_window *stormed, struct fair_window *spared)
{
	struct fair_window *w[SIDES] = { stormed, spared }, *old;

	for (unsigned int i = 0; i < SIDES; i++) {
		if (w[i])
			w[i]->begun = now_us();
		old = atomic_exchange(&reader[i].window, w[i]);
		if (old)
			old->took = now_us() - old->begun;
	}
	for (unsigned int i = 0; i < SIDES; i++)
		while (atomic_load(&reader[i].busy))
			usleep(100);
}

void fair_end(void)
{
	for (unsigned int i = 0; i < SIDES; i++) {
		atomic_store(&reader[i].stop, true);
		pthread_join(reader[i].thread, NULL);
	}
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

double fair_p99(struct fair_window *w)
{
	ck_assert_uint_gt(w->n, 0);
	qsort(w->us, w->n, sizeof(w->us[0]), by_size);
	return (double)w->us[(w->n * 99 + 99) / 100 - 1];
}
