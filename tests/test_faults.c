/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device in service while its surroundings fail: see faults.h, and faults_scene.h. */
#include "check_main.h"
#include "faults_scene.h"

#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUEST 3
#define NEXT_GUEST 4
#define RUN_SECONDS 300

struct scene scene;

static const char *const scenarios[] = { "strict", "direct", "pool", "lazy", "p2m", NULL };

static const struct mode modes[] = {
	{ XVS_ADDRESSING_GRANT, XVS_PROTECTION_STRICT, 0 },
	{ XVS_ADDRESSING_GRANT, XVS_PROTECTION_STRICT,
	  1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX },
	{ XVS_ADDRESSING_GRANT, XVS_PROTECTION_POOL, 0 },
	{ XVS_ADDRESSING_GRANT, XVS_PROTECTION_LAZY, 0 },
	{ XVS_ADDRESSING_P2M, XVS_PROTECTION_STRICT, 0 },
};

bool refuses_unmap(void)
{
	return faults_has(FAULT_ELEMENT, SIM_OP_GNT_UNMAP);
}

static void nothing_left(const struct sim_audit *before)
{
	struct sim_audit now;
	char text[300];

	/* What Xen refused stays, and is known. */
	sim_audit(scene.machine, BACK, &now);
	sim_audit_text(&now, text, sizeof(text));
	if (now.device_handles + now.dma_pages != scene.leaked || now.host_pages || now.foreign_pages ||
	    now.self_pages || now.ports || now.opens != before->opens ||
	    now.late_writes || (now.zombies && !scene.leaked))
		faults_failed("left: %s; %u leaked", text, scene.leaked);
	if (scene.leaked && !refuses_unmap())
		faults_failed("%u handles leaked", scene.leaked);
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

	scene.mode = &modes[scenario];
	scene.machine = sim_machine_new(&(struct sim_config){ .seed = 1, .frames = 4096 }, &rc);
	if (!scene.machine || sim_domain_add(scene.machine, BACK, 512, false))
		faults_failed("no machine");
	sim_machine_use(scene.machine, BACK);
	disk.machine = scene.machine;
	scene.disk = check_dev_open(&disk, &rc);
	if (!scene.disk || scene.disk->ops->reset(scene.disk))
		faults_failed("no device");
	scene.dev = faults_dev(scene.disk);
	strcpy(scene.dir, "/tmp/xvshim-faults-XXXXXX");
	if (!mkdtemp(scene.dir))
		faults_failed("no directory");
	snprintf(scene.hold, sizeof(scene.hold), "%s/hold", scene.dir);
	sim_audit(scene.machine, BACK, &before);

	faults_begin(scene.machine);
	serve(GUEST, false);
	faults_end(scene.machine);
	nothing_left(&before);
	serve(NEXT_GUEST, true);
	nothing_left(&before);
	/* Holders are nobody's children but this process's; each was told to end. */
	while (wait(NULL) > 0)
		;
	scene.disk->ops->close(scene.disk);
	sim_machine_free(scene.machine);
	if (rmdir(scene.dir))
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
