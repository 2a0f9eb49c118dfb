/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon_stage.h"

#include "coverage.h"
#include "survey/survey.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct stage stage;
bool stage_p2m;
const char *stage_root;
uint64_t stage_features;
uint16_t stage_domid = 1;
enum xvs_protection stage_protection;
struct check_config stage_disk;
unsigned int stage_reset_ms = 200;
/* More than the keeper itself waits: ten seconds for a worker to begin. */
unsigned int stage_guest_ms = 20000;
struct stage_shared *shared;
struct xdev *stage_device;
void (*stage_in_keeper)(void);
const struct hv_ops *stage_ops;

/* -- the source -- */

/* Those of a machine in a folder, or of a disk behind the IOMMU that Xen drives. */
static int sim_facts(struct source *src, struct facts *facts, char *why, size_t size)
{
	static const struct facts behind = { .is = { [FACT_HOST] = HOST_PV_DOM0,
						     [FACT_PLATFORM] = BIT_SET,
						     [FACT_ORDER] = BIT_CLEAR,
						     [FACT_IOMMU] = IOMMU_ON,
						     [FACT_FIRMWARE] = FIRMWARE_COVERS,
						     [FACT_MEMORY] = MEMORY_BELOW } };
	struct survey_device d;
	int rc;

	(void)src;
	*facts = behind;
	facts->is[FACT_TYPE] = (uint8_t)policy_type(shared->device_id);
	if (!stage_root)
		return 0;
	rc = survey_one(stage_root, STAGE_BDF, &d);
	if (rc)
		snprintf(why, size, "no such device in %s", stage_root);
	else
		*facts = d.facts;
	return rc;
}

static int sim_check(struct source *src, struct source_facts *facts, char *why, size_t size)
{
	facts->device_id = shared->device_id;
	snprintf(facts->driver, sizeof(facts->driver), "sim-driver");
	if (strcmp(src->text, STAGE_SOURCE) || shared->unplugged) {
		snprintf(why, size, "%s: no such device", src->text);
		return -ENODEV;
	}
	return sim_facts(src, &facts->facts, why, size);
}

static int sim_take(struct source *src, bool take, char *why, size_t size)
{
	(void)src;
	(void)take;
	(void)why;
	(void)size;
	shared->taken++;
	shared->held = true;
	return 0;
}

static int sim_open(struct source *src, char *why, size_t size)
{
	shared->opens++;
	if (shared->unplugged) {
		snprintf(why, size, "%s: no such device", src->text);
		return -ENODEV;
	}
	src->dev = stage_device ? stage_device : stage.disk;
	return 0;
}

static void sim_close(struct source *src)
{
	src->dev = NULL; /* the disk itself belongs to the test */
}

static int sim_release(struct source *src, char *why, size_t size)
{
	if (strcmp(src->earlier, "sim-driver"))
		abort(); /* in a process that may have no memory to say more */
	shared->released++;
	shared->held = false;
	if (shared->sticks) {
		snprintf(why, size, "the driver does not take it");
		return -EIO;
	}
	return 0;
}

static bool sim_present(const struct source *src)
{
	(void)src;
	return !shared->unplugged;
}

/* The simulated machine is shared memory: everything stays but connections of clients. */
static bool sim_owns(const struct source *src, int fd, const char *path)
{
	(void)src;
	(void)fd;
	return strncmp(path, "socket:", 7) != 0;
}

static const struct source_ops sim_source = {
	.prefix = "sim:",
	.check = sim_check,
	.facts = sim_facts,
	.take = sim_take,
	.open = sim_open,
	.close = sim_close,
	.release = sim_release,
	.present = sim_present,
	.owns = sim_owns,
};

/* -- the stage -- */

static void on_violation(void *arg, const char *story)
{
	(void)arg;
	fprintf(stderr, "violation: %s\n", story);
	abort();
}

void stage_new_guest(void)
{
	const struct sim_guest_config config = { .machine = stage.machine,
						 .domid = stage_domid,
						 .timeout = stage_guest_ms,
						 .addressing = stage_p2m ? XVS_ADDRESSING_P2M : 0,
						 .protection = stage_protection,
						 .violation = on_violation };
	int rc;

	stage.guest = sim_guest_new(&config, &rc);
	ck_assert_ptr_nonnull(stage.guest);
}

static void make_machine(void)
{
	const struct sim_config config = { .seed = 1 };
	struct check_config full = stage_disk;
	int rc;

	stage.machine = sim_machine_new(&config, &rc);
	ck_assert_ptr_nonnull(stage.machine);
	ck_assert_int_eq(sim_domain_add(stage.machine, 0, 6000, false), 0);
	ck_assert_int_eq(sim_domain_add(stage.machine, 1, 4000, false), 0);
	if (stage_p2m) /* it bypasses the IOMMU */
		full.features = 1ull << VIRTIO_RING_F_INDIRECT_DESC |
				1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_FLUSH;
	if (stage_features)
		full.features = stage_features;
	full.device_id = 2;
	full.sectors = 8192;
	full.machine = stage.machine;
	full.violation = on_violation;
	full.reset_timeout_ms = stage_reset_ms;
	stage.disk = check_dev_open(&full, &rc);
	ck_assert_ptr_nonnull(stage.disk);
	/* Its thread is up. On a busy machine that takes longer than a reset may. */
	STAGE_WAIT(5000, !stage.disk->ops->reset(stage.disk));
	stage.hv = sim_hv_open(stage.machine, 0, HV_CAP_STORE | HV_CAP_DOMAIN, &rc);
	ck_assert_ptr_nonnull(stage.hv);
	node_put(stage.hv, 0, "/local/domain/1", "name", "guest");
	node_put(stage.hv, 0, "/local/domain/1", "vm", "/vm/first");
}

void stage_set(void)
{
	signal(SIGPIPE, SIG_IGN);
	stage = (struct stage){ .restart_limit = 5 };
	snprintf(stage.run_dir, sizeof(stage.run_dir), "/tmp/xvshim-stage-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(stage.run_dir));
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	shared->device_id = 2;
	source_register(&sim_source);
	make_machine();
	stage_new_guest();
}

void stage_open(void)
{
	stage_set();
	stage_start_keeper();
}

static void remove_run_dir(void)
{
	DIR *dir = opendir(stage.run_dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(stage.run_dir);
}

void stage_close(void)
{
	if (stage.keeper)
		ck_assert_int_eq(stage_stop_keeper(), 0);
	ck_assert_ptr_null(check_dev_violation(stage.disk));
	if (stage.guest) {
		ck_assert_ptr_null(sim_guest_violation(stage.guest));
		sim_guest_free(stage.guest);
	}
	stage.disk->ops->close(stage.disk);
	hv_close(stage.hv);
	sim_machine_free(stage.machine);
	remove_run_dir();
	munmap(shared, 4096);
}

static void keeper_process(void)
{
	static struct keeper keeper;
	struct conf conf;
	char why[300] = "";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	conf_defaults(&conf);
	memcpy(conf.run_dir, stage.run_dir, sizeof(stage.run_dir));
	conf.restart_limit = stage.restart_limit;
	conf.detach_timeout = 30; /* where none is said: a busy machine is slow */
	if (stage_p2m)
		conf.allow.addressing |= 1u << XVS_ADDRESSING_P2M;
	log_set_level(getenv("STAGE_LOG") ? LOG_DEBUG : LOG_ERROR - 1);
	sim_machine_use(stage.machine, 0);
	if (stage_in_keeper)
		stage_in_keeper();
	if (keeper_open(&keeper, &conf, stage_ops ? stage_ops : hv_sim(), why, sizeof(why))) {
		fprintf(stderr, "keeper: %s\n", why);
		coverage_keep();
		_exit(why[0] ? STAGE_KEEPER_REFUSED : STAGE_KEEPER_SILENT);
	}
	keeper.simulated = true;
	keeper_run(&keeper);
	keeper_close(&keeper);
	coverage_keep();
	_exit(EXIT_SUCCESS);
}

/* -- a process to fork keepers from, for a stage with threads that never rest -- */

static int nursery = -1;

/* The keeper becomes a child of the test, so that it is waited for there. */
static void nurse(int sock, pid_t test)
{
	pid_t keeper;
	char go;

	while (read(sock, &go, 1) == 1) {
		if (!fork()) {
			keeper = fork();
			if (!keeper) {
				while (getppid() != test)
					usleep(200);
				keeper_process();
			}
			_exit(write(sock, &keeper, sizeof(keeper)) != sizeof(keeper));
		}
		wait(NULL);
	}
	_exit(0);
}

void stage_open_nursery(void)
{
	int pair[2];
	pid_t test = getpid(), pid;

	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	usleep(20000); /* as in stage_start_keeper() */
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		nurse(pair[1], test);
	}
	close(pair[1]);
	nursery = pair[0];
}

void stage_fork_keeper(void)
{
	if (nursery >= 0) {
		ck_assert_int_eq(write(nursery, "g", 1), 1);
		ck_assert_int_eq(read(nursery, &stage.keeper, sizeof(stage.keeper)),
				 sizeof(stage.keeper));
		return;
	}
	stage.keeper = fork();
	ck_assert_int_ge(stage.keeper, 0);
	if (!stage.keeper)
		keeper_process();
}

static bool answers(void)
{
	int fd = stage_connect();

	close(fd);
	return fd >= 0;
}

void stage_start_keeper(void)
{
	/* The disk's thread has come to rest: a fork in the middle of its malloc() would leave the
	 * allocator of a sanitizer locked for ever. */
	if (nursery < 0)
		usleep(20000);
	stage_fork_keeper();
	STAGE_WAIT(60000, answers());
}

static int reap(void)
{
	int status = -1;

	waitpid(stage.keeper, &status, 0);
	stage.keeper = 0;
	while (nursery >= 0 && waitpid(-1, NULL, WNOHANG) > 0)
		; /* its workers */
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void stage_kill_keeper(void)
{
	kill(stage.keeper, SIGKILL);
	ck_assert_int_eq(reap(), -SIGKILL);
}

bool stage_keeper_died(void)
{
	json_object *answer = stage_ask("{\"cmd\":\"ping\"}");

	json_object_put(answer);
	if (answer)
		return false;
	waitpid(stage.keeper, NULL, 0); /* its socket is closed: it is on its way */
	stage.keeper = 0;
	return true;
}

int stage_stop_keeper(void)
{
	kill(stage.keeper, SIGTERM);
	return reap();
}

/* -- the control socket -- */

int stage_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control", stage.run_dir);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -1;
	}
	return fd;
}

json_object *stage_ask(const char *request)
{
	json_object *o, *answer = NULL, *ok;
	int fd = stage_connect();
	char *line = NULL;
	size_t size = 0;
	FILE *from;

	if (fd < 0)
		return NULL;
	dprintf(fd, "%s\n", request);
	from = fdopen(fd, "r");
	while (!answer && getline(&line, &size, from) > 0) {
		o = json_tokener_parse(line);
		if (json_object_object_get_ex(o, "ok", &ok))
			answer = o;
		else
			json_object_put(o);
	}
	free(line);
	fclose(from);
	return answer;
}

static void expect(json_object *answer, bool ok, const char *text)
{
	json_object *v = NULL, *error = NULL;

	ck_assert_ptr_nonnull(answer);
	json_object_object_get_ex(answer, "ok", &v);
	json_object_object_get_ex(answer, "error", &error);
	ck_assert_msg(json_object_get_boolean(v) == ok, "%s", json_object_to_json_string(answer));
	if (text)
		ck_assert_msg(strstr(json_object_get_string(error), text) != NULL,
			      "'%s' is not in '%s'", text, json_object_get_string(error));
	json_object_put(answer);
}

void stage_expect(const char *request, bool ok, const char *text)
{
	expect(stage_ask(request), ok, text);
}

static struct {
	pthread_t thread;
	char request[256];
	json_object *answer;
} pending;

static void *ask_thread(void *arg)
{
	(void)arg;
	pending.answer = stage_ask(pending.request);
	return NULL;
}

void stage_begin(const char *request)
{
	snprintf(pending.request, sizeof(pending.request), "%s", request);
	ck_assert_int_eq(pthread_create(&pending.thread, NULL, ask_thread, NULL), 0);
}

json_object *stage_finish(void)
{
	pthread_join(pending.thread, NULL);
	return pending.answer;
}

void stage_finish_expecting(bool ok, const char *text)
{
	expect(stage_finish(), ok, text);
}

/* -- what a test looks at -- */

bool stage_node(const char *path, char value[NODE_MAX + 1])
{
	char *text;

	if (stage.hv->ops->store_read(stage.hv, 0, path, &text))
		return false;
	snprintf(value, NODE_MAX + 1, "%s", text);
	free(text);
	return true;
}

bool stage_node_is(const char *path, const char *value)
{
	char now[NODE_MAX + 1];

	return stage_node(path, now) && !strcmp(now, value);
}

char *stage_path(bool backend, const char *key)
{
	static char path[2][PATH_SIZE + 40];
	char dir[PATH_SIZE];

	if (backend)
		path_backend(dir, 0, stage_domid, 0);
	else
		path_frontend(dir, stage_domid, 0);
	snprintf(path[backend], sizeof(path[backend]), "%s%s", dir, key);
	return path[backend];
}

void stage_attach(void)
{
	char value[NODE_MAX + 1], why[200] = "";
	int rc;

	stage_begin("{\"cmd\":\"attach\",\"domain\":\"guest\",\"source\":\"" STAGE_SOURCE "\"}");
	STAGE_WAIT(30000, stage_node(stage_path(false, "/state"), value));
	rc = sim_guest_handshake(stage.guest, 0, why, sizeof(why));
	ck_assert_msg(!rc, "handshake: %d %s", rc, why);
	ck_assert_int_eq(sim_guest_start(stage.guest), 0);
	expect(stage_finish(), true, NULL);
}

void stage_detach(void)
{
	stage_begin("{\"cmd\":\"detach\",\"domain\":\"guest\"}");
	STAGE_WAIT(30000, stage_node_is(stage_path(true, "/state"), "5"));
	ck_assert_int_eq(sim_guest_reset(stage.guest), 0);
	node_put(stage.hv, 0, stage_path(false, ""), "state", "6");
	expect(stage_finish(), true, NULL);
}

void stage_io(unsigned int rounds)
{
	uint8_t out[4096], in[4096];

	for (unsigned int i = 0; i < rounds; i++) {
		memset(out, (int)(i + 1), sizeof(out));
		memset(in, 0, sizeof(in));
		ck_assert_int_eq(sim_blk_write(stage.guest, 0, i % 500 * 8, out, sizeof(out)), 0);
		ck_assert_int_eq(sim_blk_read(stage.guest, 0, i % 500 * 8, in, sizeof(in)), 0);
		ck_assert_mem_eq(in, out, sizeof(in));
	}
}

static json_object *first_device(json_object *answer)
{
	json_object *list = NULL;

	if (!answer || !json_object_object_get_ex(answer, "devices", &list))
		return NULL;
	return json_object_array_get_idx(list, 0);
}

char *stage_state(char *state, size_t size)
{
	json_object *answer = stage_ask("{\"cmd\":\"status\"}"), *v = NULL;

	json_object_object_get_ex(first_device(answer), "state", &v);
	snprintf(state, size, "%s", v ? json_object_get_string(v) : "none");
	json_object_put(answer);
	return state;
}

int64_t stage_status(const char *name)
{
	json_object *answer = stage_ask("{\"cmd\":\"status\"}"), *d = first_device(answer);
	json_object *v = NULL, *counters = NULL;
	int64_t n = -1;

	if (!json_object_object_get_ex(d, name, &v) &&
	    json_object_object_get_ex(d, "counters", &counters))
		json_object_object_get_ex(counters, name, &v);
	if (v)
		n = json_object_get_int64(v);
	json_object_put(answer);
	return n;
}

int stage_devices(void)
{
	json_object *answer = stage_ask("{\"cmd\":\"list\"}"), *list = NULL;
	int n = -1;

	if (answer && json_object_object_get_ex(answer, "devices", &list))
		n = (int)json_object_array_length(list);
	json_object_put(answer);
	return n;
}

static void look_what_is_left(bool dma_too)
{
	struct sim_audit audit;
	char text[300];

	sim_audit(stage.machine, 0, &audit);
	sim_audit_text(&audit, text, sizeof(text));
	ck_assert_msg(!audit.device_handles && !audit.host_pages && !audit.transactions &&
			      !audit.late_writes && !(dma_too && audit.dma_pages),
		      "left: %s", text);
}

void stage_nothing_left(void)
{
	look_what_is_left(true);
}

void stage_nothing_mapped(void)
{
	look_what_is_left(false);
}
