/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `xvshim probe` says of a device and what the daemon does with it, on the same machine: the
 * program itself on one side, attach and status of a keeper on the other.
 */
#include "check_main.h"
#include "daemon_stage.h"
#include "survey_tree.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BE "/local/domain/0/backend/virtio-xenbus/1/0"
#define ATTACH "{\"cmd\":\"attach\",\"domain\":\"1\",\"source\":\"sim:disk\",\"timeout\":20"

#define RING (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define PLATFORM (1ull << VIRTIO_F_ACCESS_PLATFORM)
#define ORDER (1ull << VIRTIO_F_ORDER_PLATFORM)

static const struct machine {
	bool iommu, pvh, domu;
	uint16_t vendor, device;
	const char *driver;   /* that holds it */
	const char *features; /* as the virtio bus shows them */
	uint64_t offers;      /* the same, as the disk offers them */
	const char *p2m;      /* "offered", or the reason why not begins so; NULL: not served */
	const char *part;     /* of the reason, so that two rules are not taken for one */
} machines[] = {
	{ .features = FEATURES_MODERN, .p2m = "offered", .part = "it takes machine addresses" },
	{ .features = FEATURES_PLATFORM, .offers = PLATFORM, .p2m = "offered",
	  .part = "Xen runs without an IOMMU" },
	{ .iommu = true, .features = FEATURES_MODERN, .p2m = "offered",
	  .part = "it bypasses Xen's IOMMU" },
	{ .iommu = true, .features = FEATURES_PLATFORM, .offers = PLATFORM,
	  .p2m = "the device is behind an IOMMU (it offers bit 33)",
	  .part = "it is behind Xen's IOMMU" },
	{ .iommu = true, .features = FEATURES_ORDER, .offers = ORDER,
	  .p2m = "the device may be behind an IOMMU (bit 36", .part = "bit 36 is offered" },
	{ .iommu = true, .vendor = 0x15b3, .features = FEATURES_MODERN,
	  .p2m = "the device is behind an IOMMU (it is real silicon)", .part = "real silicon" },
	{ .vendor = 0x15b3, .features = FEATURES_MODERN, .p2m = "offered", .part = "real silicon" },
	{ .driver = "virtio-pci", .features = FEATURES_MODERN, .p2m = "offered",
	  .part = "it takes machine addresses" },
	{ .iommu = true, .pvh = true, .features = FEATURES_PLATFORM, .part = "PVH dom0" },
	{ .domu = true, .features = FEATURES_MODERN, .part = "guest of Xen" },
	{ .device = 0x1001, .part = "how far memory reaches cannot be read" },
};

/* What the program says; the caller's to put. */
static json_object *probe(void)
{
	char command[256];
	json_object *o;
	FILE *from;

	snprintf(command, sizeof(command), "./xvshim probe --root %s --explain %s --json", tree_root,
		 STAGE_BDF);
	from = popen(command, "re");
	ck_assert_ptr_nonnull(from);
	o = json_object_from_fd(fileno(from));
	ck_assert_int_eq(pclose(from), 0);
	ck_assert_ptr_nonnull(o);
	return o;
}

static const char *text(json_object *o, const char *key)
{
	json_object *v = NULL;

	ck_assert_msg(json_object_object_get_ex(o, key, &v), "no '%s' in %s", key,
		      json_object_to_json_string(o));
	return json_object_get_string(v);
}

static json_object *part_of(json_object *o, const char *key)
{
	json_object *v = NULL;

	ck_assert(json_object_object_get_ex(o, key, &v));
	return v;
}

static void make_machine(const struct machine *m)
{
	uint8_t cfg[256];

	tree_make();
	put_xen(m->iommu, m->pvh);
	if (m->domu)
		put_text("proc/xen/capabilities", "\n");
	modern_config(cfg, m->vendor ? m->vendor : 0x1af4, m->device ? m->device : 0x1042, 2,
		      !m->device);
	put_device(STAGE_BDF, cfg, 256, m->driver, m->features ? "virtio0" : NULL, m->features);
	stage_root = tree_root;
	stage_features = RING | m->offers;
	stage_reset_ms = 5000; /* the disk is a thread, and the machine may be busy */
}

/* The daemon's words for the device it has are the program's. */
static void compare(const struct machine *m, json_object *decision)
{
	json_object *answer = stage_ask("{\"cmd\":\"status\"}");
	json_object *d = json_object_array_get_idx(part_of(answer, "devices"), 0);
	bool offered = !strcmp(m->p2m, "offered");

	ck_assert_str_eq(text(d, "addresses"), text(decision, "addresses"));
	ck_assert_str_eq(text(d, "addresses_reason"), text(decision, "reason"));
	ck_assert_str_eq(text(d, "barriers"), text(decision, "barriers"));
	ck_assert_str_eq(text(d, "barriers_reason"), text(decision, "barriers_reason"));
	ck_assert_str_eq(text(d, "addressing_allowed"), "grant,p2m");
	ck_assert_str_eq(text(d, "addressing_offered"), offered ? "grant,p2m" : "grant");
	ck_assert_ptr_nonnull(strstr(text(d, "p2m_reason"), offered ? "has allowed" : m->p2m));
	ck_assert(stage_node_is(BE "/addressing-offered", offered ? "grant,p2m" : "grant"));
	json_object_put(answer);
}

START_TEST(probe_and_daemon_say_the_same)
{
	const struct machine *m = &machines[_i];
	json_object *said, *decision;
	const char *attach;

	make_machine(m);
	stage_open();
	said = probe();
	decision = part_of(said, "decision");
	ck_assert_msg(strstr(text(decision, "reason"), m->part) != NULL, "%s",
		      text(decision, "reason"));
	attach = text(decision, "attach");
	if (!m->p2m) {
		ck_assert_str_ne(text(decision, "verdict"), "serve");
		stage_expect(ATTACH "}", false, text(decision, "reason"));
	} else {
		ck_assert_str_eq(text(decision, "verdict"), "serve");
		ck_assert_str_eq(attach, m->driver ? "needs --take" : "ready");
		if (m->driver)
			stage_expect(ATTACH "}", false, "--take takes it");
		ck_assert_uint_eq(shared->taken, 0);
		stage_begin(ATTACH ",\"take\":true,\"addressing\":\"grant,p2m\"}");
		STAGE_WAIT(10000, stage_node_is(BE "/state", "2"));
		compare(m, decision);
		/* A keeper that finds it taken already comes to the same. */
		stage_kill_keeper();
		stage_start_keeper();
		STAGE_WAIT(10000, stage_devices() == 1 && stage_node_is(BE "/state", "2"));
		json_object_put(stage_finish());
		STAGE_WAIT(10000, !strcmp(stage_state((char[32]){ 0 }, 32), "waiting"));
		compare(m, decision);
		stage_expect("{\"cmd\":\"detach\",\"domain\":\"1\",\"force\":true}", true, NULL);
	}
	json_object_put(said);
	stage_close();
	tree_forget();
}
END_TEST

static void expect_device(const char *key, const char *want)
{
	json_object *answer = stage_ask("{\"cmd\":\"list\"}");
	json_object *d = json_object_array_get_idx(part_of(answer, "devices"), 0);

	ck_assert_msg(strstr(text(d, key), want) != NULL, "%s: '%s' lacks '%s'", key, text(d, key),
		      want);
	json_object_put(answer);
}

/* What was agreed on with a guest in service, and why. */
START_TEST(what_was_agreed_on_is_shown)
{
	make_machine(&machines[0]);
	stage_p2m = _i;
	stage_open();
	stage_attach();
	expect_device("addressing", _i ? "p2m" : "grant");
	expect_device("addressing_reason", _i ? "the guest picked p2m" : "the guest picked grant");
	expect_device("protection", "strict");
	expect_device("protection_reason", _i ? "it has no effect" : "the guest picked it");
	expect_device("driver_reason", _i ? "p2m is agreed on" : "accepts bit 33");
	stage_io(3);
	stage_detach();
	stage_close();
	tree_forget();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("decision");
	TCase *all = tcase_create("all");

	tcase_add_loop_test(all, probe_and_daemon_say_the_same, 0,
			    sizeof(machines) / sizeof(machines[0]));
	tcase_add_loop_test(all, what_was_agreed_on_is_shown, 0, 2);
	suite_add_tcase(suite, all);
	return check_main(suite);
}
