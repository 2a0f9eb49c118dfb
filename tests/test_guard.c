/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guard: a machine in a folder, assignments in the store of the simulation. */
#include "daemon/keeper.h"
#include "sim_fixture.h"
#include "survey_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BDF "0000:00:10.0"
#define BEHIND "0000:00:11.0"

static struct keeper k;
static int log_file;

static void never(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)timer;
	(void)events;
}

/* Both on pciback: one bypasses the IOMMU, the other is behind it; and a card that is no virtio. */
static void put_machine(void)
{
	uint8_t cfg[256];

	tree_make();
	put_xen(true, false);
	modern_config(cfg, 0x1af4, 0x1041, 0, true);
	cfg[4] = 6;
	put_device(BDF, cfg, 256, "pciback", "virtio0", FEATURES_MODERN);
	put_device(BEHIND, cfg, 256, "pciback", "virtio1", FEATURES_PLATFORM);
	modern_config(cfg, 0x8086, 0x10d3, 0, false);
	put_device("0000:00:12.0", cfg, 256, "pciback", NULL, NULL);
	put_link("sys/bus/pci/drivers/pciback/" BDF, "../../devices/" BDF);
	put_link("sys/bus/pci/drivers/pciback/" BEHIND, "../../devices/" BEHIND);
	put_link("sys/bus/pci/drivers/pciback/0000:00:12.0", "../../devices/0000:00:12.0");
	put_text("sys/bus/pci/drivers/pciback/unbind", "");
	put_text("sys/bus/pci/drivers/pciback/remove_slot", "");
}

static void begin(enum guard_mode mode)
{
	char log[] = "/tmp/xvshim-guard-XXXXXX";

	put_machine();
	log_file = mkstemp(log);
	unlink(log);
	ck_assert_int_ge(dup2(log_file, STDERR_FILENO), 0);
	k = (struct keeper){ .hv = hv, .self = BACK, .loop = ev_default_loop(0) };
	k.conf.guard = mode;
	ev_timer_init(&k.work, never, 0., 0.);
	guard_open(&k, tree_root);
}

static void end(void)
{
	guard_close(&k);
	ev_timer_stop(k.loop, &k.work);
	close(log_file);
	tree_forget();
}

static unsigned int logged(const char *words)
{
	char text[4096];
	ssize_t n = pread(log_file, text, sizeof(text) - 1, 0);
	unsigned int found = 0;

	text[n > 0 ? n : 0] = '\0';
	for (const char *at = text; (at = strstr(at, words)); at++)
		found++;
	return found;
}

static bool file_is(const char *name, const char *want)
{
	char got[64];

	return get_text(name, got, sizeof(got)) && !strcmp(got, want);
}

#define UNBOUND(what) ck_assert(file_is("sys/bus/pci/drivers/pciback/unbind", what))

static unsigned int command(void)
{
	char cfg[8];

	ck_assert(get_text("sys/bus/pci/devices/" BDF "/config", cfg, sizeof(cfg)));
	return (uint8_t)cfg[4] | (uint8_t)cfg[5] << 8;
}

static void assign(const char *bdf)
{
	char path[] = "/local/domain/0/backend/pci/3/0/";
	char node[64];

	snprintf(node, sizeof(node), "%snum_devs", path);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, node, "2"), 0);
	snprintf(node, sizeof(node), "%sdev-0", path);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, node, "0000:00:1f.0"), 0);
	snprintf(node, sizeof(node), "%sdev-1", path);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, node, bdf), 0);
}

START_TEST(off_looks_at_nothing)
{
	begin(GUARD_OFF);
	assign(BDF);
	guard_kick(&k);
	guard_step(&k);
	ck_assert_uint_eq(logged("guard"), 0);
	UNBOUND("");
	end();
}
END_TEST

START_TEST(warn_says_it_once_and_touches_nothing)
{
	begin(GUARD_WARN);
	guard_step(&k);
	ck_assert_uint_eq(logged(BDF " (virtio-net) is ready to be assigned, which is not safe: "
				     "bit 33"),
			  1);
	ck_assert_uint_eq(logged(BEHIND), 0);
	ck_assert_uint_eq(logged("0000:00:12.0"), 0);
	guard_kick(&k);
	guard_step(&k);
	ck_assert_uint_eq(logged("guard"), 1);
	/* Assigned now: that is news. */
	assign(BDF);
	keeper_on_watch(&k, "/local/domain/0/backend/pci/3/0/dev-1", "pci");
	guard_step(&k);
	ck_assert_uint_eq(logged("is assigned to domain"), 1);
	UNBOUND("");
	ck_assert_uint_eq(command(), 6);
	end();
}
END_TEST

START_TEST(enforce_takes_it_before_anybody_has_it)
{
	begin(GUARD_ENFORCE);
	guard_step(&k);
	UNBOUND(BDF);
	ck_assert(file_is("sys/bus/pci/drivers/pciback/remove_slot", BDF));
	ck_assert_uint_eq(logged("taken from pciback; no driver"), 1);
	ck_assert_int_eq(hv->ops->dom_pause(hv, GUEST, false), -EINVAL); /* was not paused */
	end();
}
END_TEST

START_TEST(enforce_silences_what_is_assigned)
{
	begin(GUARD_ENFORCE);
	assign(BDF);
	guard_step(&k);
	UNBOUND(BDF);
	ck_assert_uint_eq(command(), 0);
	ck_assert_uint_eq(logged("and from the guest"), 1);
	ck_assert_int_eq(hv->ops->dom_pause(hv, GUEST, false), -EINVAL); /* runs again */
	end();
}
END_TEST

START_TEST(a_guest_that_keeps_it_does_not_run_on)
{
	begin(GUARD_ENFORCE);
	assign(BDF);
	tree_remove("sys/bus/pci/drivers/pciback/unbind");
	guard_step(&k);
	ck_assert_uint_eq(logged("the guest stays paused"), 1);
	ck_assert_int_eq(hv->ops->dom_pause(hv, GUEST, false), 0);
	end();
}
END_TEST

/* What is assigned and safe is left in peace. */
START_TEST(behind_an_iommu_it_may_be_assigned)
{
	begin(GUARD_ENFORCE);
	guard_step(&k);
	assign(BEHIND);
	guard_kick(&k);
	guard_step(&k);
	UNBOUND(BDF);
	ck_assert_uint_eq(logged(BEHIND), 0);
	end();
}
END_TEST

/* As xl leaves them: the device is free for the next guest. */
START_TEST(nodes_of_a_guest_that_ended)
{
	begin(GUARD_ENFORCE);
	assign(BDF);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "/local/domain/0/backend/pci/3/0/num_devs",
					      "1"),
			 0);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "/local/domain/0/backend/pci/9/0/num_devs",
					      "1"),
			 0);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "/local/domain/0/backend/pci/9/0/dev-0", BDF),
			 0);
	guard_step(&k);
	ck_assert_uint_eq(logged("is ready to be assigned"), 1);
	UNBOUND(BDF);
	ck_assert_uint_eq(command(), 6);
	end();
}
END_TEST

/* Without an IOMMU nothing is safe to assign; but a card that is no virtio is not ours to judge. */
START_TEST(other_devices_are_the_toolstacks)
{
	begin(GUARD_WARN);
	put_text("xl-info", "xen_version : 4.17.5\nvirt_caps : pv hvm\n");
	guard_step(&k);
	ck_assert_uint_eq(logged(BEHIND " (virtio-net) is ready to be assigned, which is not safe: "
					"no IOMMU is in use"),
			  1);
	ck_assert_uint_eq(logged("0000:00:12.0"), 0);
	end();
}
END_TEST

/* A store whose nodes nobody in his right mind would write. */
START_TEST(malformed_assignments)
{
	begin(GUARD_WARN);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "/local/domain/0/backend/pci/x/0/num_devs",
					      "1"),
			 0);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "/local/domain/0/backend/pci/3/0/num_devs",
					      "99999999"),
			 0);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "/local/domain/0/backend/pci/4/0/num_devs",
					      "-1"),
			 0);
	guard_step(&k);
	ck_assert_uint_eq(logged("is ready to be assigned"), 1);
	end();
}
END_TEST

int main(void)
{
	static const TTest **const tests[] = {
		&off_looks_at_nothing,
		&warn_says_it_once_and_touches_nothing,
		&enforce_takes_it_before_anybody_has_it,
		&enforce_silences_what_is_assigned,
		&a_guest_that_keeps_it_does_not_run_on,
		&behind_an_iommu_it_may_be_assigned,
		&nodes_of_a_guest_that_ended,
		&other_devices_are_the_toolstacks,
		&malformed_assignments,
	};

	return sim_main("guard", tests, sizeof(tests) / sizeof(tests[0]));
}
