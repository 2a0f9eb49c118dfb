/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the survey reads: firmware tables byte by byte, and whole machines in a folder. */
#include "check_main.h"
#include "survey/features.h"
#include "survey/iommu_table.h"
#include "survey/survey.h"
#include "survey_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- tables of the firmware -- */

struct bytes {
	uint8_t at[512];
	size_t len;
};

static void append(struct bytes *b, const uint8_t *from, size_t len)
{
	memcpy(b->at + b->len, from, len);
	b->len += len;
	b->at[4] = (uint8_t)b->len;
	b->at[5] = (uint8_t)(b->len >> 8);
}

#define APPEND(b, ...)                                       \
	do {                                                 \
		const uint8_t part_[] = { __VA_ARGS__ };     \
		append(b, part_, sizeof(part_));             \
	} while (0)

static struct bytes new_table(const char *name)
{
	struct bytes b = { .len = 48 };

	memcpy(b.at, name, 4);
	append(&b, b.at, 0);
	return b;
}

static int covers(const struct bytes *b, uint8_t bus, uint8_t dev, uint8_t fn)
{
	unsigned int units;

	return iommu_table_covers(b->at, b->len, 0, bus, (uint8_t)(dev << 3 | fn), &units);
}

/* One unit for a list, one for all the rest or for another list. */
static struct bytes dmar(bool all)
{
	struct bytes b = new_table("DMAR");

	/* DRHD: type 0, 24 bytes, scope: endpoint 00:02.0 */
	APPEND(&b, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 2, 0);
	if (all)
		APPEND(&b, 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0);
	return b;
}

START_TEST(dmar_scopes_and_all_the_rest)
{
	struct bytes b = dmar(false);
	unsigned int units;

	ck_assert_int_eq(covers(&b, 0, 2, 0), 1);
	ck_assert_int_eq(covers(&b, 0, 2, 1), 0);
	ck_assert_int_eq(covers(&b, 0, 16, 0), 0);
	b = dmar(true);
	ck_assert_int_eq(covers(&b, 0, 16, 0), 1);
	ck_assert_int_eq(covers(&b, 3, 0, 0), 1);
	/* Another segment has units of its own. */
	ck_assert_int_eq(iommu_table_covers(b.at, b.len, 1, 0, 16 << 3, &units), 0);
	ck_assert_uint_eq(units, 2);
}
END_TEST

START_TEST(dmar_bridge_covers_what_is_behind)
{
	struct bytes b = new_table("DMAR");

	APPEND(&b, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0, 2, 8, 0, 0, 0, 0, 0x1c,
	       0);
	ck_assert_int_eq(covers(&b, 1, 0, 0), 1);
	ck_assert_int_eq(covers(&b, 0, 3, 0), 0);
}
END_TEST

START_TEST(ivrs_select_range_and_all)
{
	struct bytes b = new_table("IVRS");
	uint8_t head[24] = { 0x10, 0, 24 + 12, 0 };

	append(&b, head, sizeof(head));
	APPEND(&b, 2, 0x10, 0, 0, 3, 0x80, 0, 0, 4, 0x8f, 0, 0); /* 00:02.0; 00:10.0 to 00:11.7 */
	ck_assert_int_eq(covers(&b, 0, 2, 0), 1);
	ck_assert_int_eq(covers(&b, 0, 2, 1), 0);
	ck_assert_int_eq(covers(&b, 0, 0x10, 0), 1);
	ck_assert_int_eq(covers(&b, 0, 0x11, 7), 1);
	ck_assert_int_eq(covers(&b, 0, 0x12, 0), 0);
	b = new_table("IVRS");
	head[2] = 24 + 4;
	append(&b, head, sizeof(head));
	APPEND(&b, 1, 0, 0, 0);
	ck_assert_int_eq(covers(&b, 7, 1, 1), 1);
}
END_TEST

/* Whatever is cut off or changed, nothing outside is read (ASan) and nothing hangs. */
START_TEST(malformed_tables_are_no_answer)
{
	struct bytes b = dmar(true), other;
	unsigned int units;

	for (size_t len = 0; len < b.len; len++) {
		uint8_t *exact = malloc(len ? len : 1);

		memcpy(exact, b.at, len);
		ck_assert_int_eq(iommu_table_covers(exact, len, 0, 0, 0, &units), -EPROTO);
		if (len >= 48) { /* the length says so, but a structure is cut in two */
			exact[4] = (uint8_t)len;
			iommu_table_covers(exact, len, 0, 0, 0, &units);
		}
		free(exact);
	}
	for (size_t at = 48; at < b.len; at++) {
		for (unsigned int v = 0; v < 256; v++) {
			uint8_t *exact = malloc(b.len);

			memcpy(exact, b.at, b.len);
			exact[at] = (uint8_t)v;
			ck_assert_int_le(iommu_table_covers(exact, b.len, 0, 0, 0, &units), 1);
			memcpy(exact, "IVRS", 4);
			ck_assert_int_le(iommu_table_covers(exact, b.len, 0, 0, 0, &units), 1);
			free(exact);
		}
	}
	b.at[48 + 2] = 0; /* a structure of no length */
	ck_assert_int_eq(covers(&b, 0, 2, 0), -EPROTO);
	other = new_table("XMAR");
	ck_assert_int_eq(covers(&other, 0, 2, 0), -EPROTO);
}
END_TEST

START_TEST(names_of_features)
{
	ck_assert_str_eq(feature_name(2, 33), "ACCESS_PLATFORM");
	ck_assert_str_eq(feature_name(2, 9), "FLUSH");
	ck_assert_str_eq(feature_name(1, 5), "MAC");
	ck_assert_ptr_null(feature_name(60, 5));
	ck_assert_ptr_null(feature_name(2, 64));
}
END_TEST

/* -- machines in a folder -- */

static void setup(void)
{
	tree_make();
}

static void teardown(void)
{
	tree_forget();
}

static struct survey_device look(const char *bdf, int want)
{
	struct survey_machine m;
	struct survey_device d;

	ck_assert_int_eq(survey_open(&m, tree_root), 0);
	ck_assert_int_eq(survey_pci(&m, bdf, &d), want);
	survey_close(&m);
	return d;
}

static unsigned int fact(const struct survey_device *d, enum fact f)
{
	return d->facts.is[f];
}

START_TEST(a_bypassing_disk_without_an_iommu)
{
	struct survey_device d;
	uint8_t cfg[256];

	modern_config(cfg, 0x1af4, 0x1042, 0, true);
	put_xen(false, false);
	put_device("0000:00:10.0", cfg, 256, "virtio-pci", "virtio0", FEATURES_MODERN);
	d = look("0000:00:10.0", 0);
	ck_assert(d.is_virtio);
	ck_assert_uint_eq(d.type, 2);
	ck_assert_str_eq(d.driver, "virtio-pci");
	ck_assert_str_eq(d.virtio_driver, "virtio_blk");
	ck_assert_str_eq(d.features_from, "driver");
	ck_assert_uint_eq(fact(&d, FACT_HOST), HOST_PV_DOM0);
	ck_assert_uint_eq(fact(&d, FACT_TRANSPORT), TRANSPORT_PCI);
	ck_assert_uint_eq(fact(&d, FACT_PLATFORM), BIT_CLEAR);
	ck_assert_uint_eq(fact(&d, FACT_IOMMU), IOMMU_OFF);
	ck_assert_uint_eq(fact(&d, FACT_FIRMWARE), FIRMWARE_NO_TABLE);
	ck_assert_uint_eq(fact(&d, FACT_HOLDER), HOLDER_DRIVER);
	ck_assert_int_eq(d.decision.verdict, VERDICT_SERVE);
	ck_assert_int_eq(d.decision.nested, NESTED_MACHINE);
	ck_assert(!d.decision.assignable);
	look("0000:00:11.0", -ENODEV);
	look("nonsense", -EINVAL);
}
END_TEST

/* The firmware covers both; only one of them listens to the IOMMU. */
START_TEST(two_kinds_and_a_table_that_claims_both)
{
	struct bytes table = dmar(true);
	struct survey_device d;
	uint8_t cfg[256];

	put_xen(true, false);
	put("sys/firmware/acpi/tables/DMAR", table.at, table.len);
	modern_config(cfg, 0x1af4, 0x1042, 0, true);
	put_device("0000:00:10.0", cfg, 256, "virtio-pci", "virtio0", FEATURES_MODERN);
	put_device("0000:00:11.0", cfg, 256, "virtio-pci", "virtio1", FEATURES_PLATFORM);
	d = look("0000:00:10.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_FIRMWARE), FIRMWARE_COVERS);
	ck_assert_int_eq(d.decision.nested, NESTED_MACHINE);
	ck_assert(!d.decision.assignable);
	ck_assert_ptr_nonnull(strstr(d.decision.reason, "not the table"));
	d = look("0000:00:11.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_PLATFORM), BIT_SET);
	ck_assert_int_eq(d.decision.nested, NESTED_IDENTITY);
	ck_assert(d.decision.assignable);
}
END_TEST

/* Xen 4.17 was seen to do so: the kernel of dom0 finds no DMAR, we find what it says. */
START_TEST(a_table_whose_name_xen_turned_round)
{
	struct bytes table = dmar(false);
	struct survey_device d;
	uint8_t cfg[256];

	put_xen(true, false);
	memcpy(table.at, "RMAD", 4);
	put("sys/firmware/acpi/tables/RMAD", table.at, table.len);
	modern_config(cfg, 0x1af4, 0x1042, 0, true);
	put_device("0000:00:02.0", cfg, 256, "virtio-pci", "virtio0", FEATURES_PLATFORM);
	put_device("0000:00:11.0", cfg, 256, "virtio-pci", "virtio1", FEATURES_PLATFORM);
	d = look("0000:00:02.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_FIRMWARE), FIRMWARE_COVERS);
	d = look("0000:00:11.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_FIRMWARE), FIRMWARE_SKIPS);
	ck_assert(!d.decision.assignable);
}
END_TEST

START_TEST(xen_hides_the_table_of_an_iommu_it_drives)
{
	struct survey_machine m;
	struct survey_device d;
	uint8_t cfg[256];

	put_xen(true, false);
	modern_config(cfg, 0x1af4, 0x1042, 0, true);
	put_device("0000:00:11.0", cfg, 256, "virtio-pci", "virtio1", FEATURES_PLATFORM);
	d = look("0000:00:11.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_FIRMWARE), FIRMWARE_UNKNOWN);
	ck_assert(d.decision.assignable);
	ck_assert_int_eq(survey_open(&m, tree_root), 0);
	ck_assert(m.tables_hidden);
	ck_assert_uint_ge(m.nr_notes, 1);
	ck_assert_str_eq(m.version, "4.17.5");
	survey_close(&m);
}
END_TEST

START_TEST(pvh_dom0_and_domu)
{
	struct survey_device d;
	uint8_t cfg[256];

	modern_config(cfg, 0x1af4, 0x1042, 0, true);
	put_xen(true, true);
	put_device("0000:00:11.0", cfg, 256, "virtio-pci", "virtio1", FEATURES_PLATFORM);
	d = look("0000:00:11.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_HOST), HOST_PVH_DOM0);
	ck_assert_int_eq(d.decision.nested, NESTED_FRAMES);
	ck_assert_int_eq(d.decision.verdict, VERDICT_NOT_YET);
	put_text("proc/xen/capabilities", "\n");
	d = look("0000:00:11.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_HOST), HOST_DOMU);
	ck_assert(!d.decision.assignable);
}
END_TEST

START_TEST(legacy_transitional_and_silicon)
{
	struct survey_device d;
	uint8_t cfg[256];

	put_xen(true, false);
	modern_config(cfg, 0x1af4, 0x1001, 2, false);
	put_device("0000:00:10.0", cfg, 256, NULL, NULL, NULL);
	d = look("0000:00:10.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_TRANSPORT), TRANSPORT_LEGACY);
	ck_assert_uint_eq(fact(&d, FACT_PLATFORM), BIT_CLEAR);
	ck_assert_uint_eq(d.type, 2);
	ck_assert(!d.decision.assignable);

	modern_config(cfg, 0x1af4, 0x1001, 2, true);
	put_device("0000:00:11.0", cfg, 256, "virtio-pci", "virtio1", FEATURES_MODERN);
	d = look("0000:00:11.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_TRANSPORT), TRANSPORT_TRANSITIONAL);
	ck_assert_int_eq(d.decision.verdict, VERDICT_SERVE);

	/* Its driver speaks the legacy half, which has no bit 33 to show. */
	put_device("0000:00:14.0", cfg, 256, "virtio-pci", "virtio4", "0100000000000000\n");
	d = look("0000:00:14.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_TRANSPORT), TRANSPORT_TRANSITIONAL);
	ck_assert_uint_eq(fact(&d, FACT_PLATFORM), BIT_UNKNOWN);
	ck_assert(!d.decision.assignable);

	modern_config(cfg, 0x15b3, 0x1042, 0, true);
	put_device("0000:00:12.0", cfg, 256, "virtio-pci", "virtio2", FEATURES_MODERN);
	d = look("0000:00:12.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_VENDOR), VENDOR_SILICON);
	ck_assert_int_eq(d.decision.barriers, BARRIERS_STRONG);
	ck_assert_int_eq(d.decision.nested, NESTED_IDENTITY);

	modern_config(cfg, 0x1af4, 0x1042, 0, true);
	put_device("0000:00:13.0", cfg, 256, "virtio-pci", "virtio3", FEATURES_ORDER);
	d = look("0000:00:13.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_ORDER), BIT_SET);
	ck_assert_int_eq(d.decision.barriers, BARRIERS_STRONG);
}
END_TEST

/* Bound to virtio-pci but to no driver of its type; and free of any driver, in a copy. */
START_TEST(features_that_cannot_be_read_are_unknown)
{
	struct survey_device d;
	uint8_t cfg[256];

	put_xen(true, false);
	modern_config(cfg, 0x1af4, 0x1042, 0, true);
	put_device("0000:00:10.0", cfg, 256, NULL, NULL, NULL);
	d = look("0000:00:10.0", 0);
	ck_assert_uint_eq(d.known, 0);
	ck_assert_uint_eq(fact(&d, FACT_PLATFORM), BIT_UNKNOWN);
	ck_assert_uint_eq(fact(&d, FACT_ORDER), BIT_UNKNOWN);
	ck_assert_int_eq(d.decision.barriers, BARRIERS_STRONG);
	ck_assert(!d.decision.assignable);
	ck_assert_uint_gt(strlen(d.features_why), 0);
}
END_TEST

/* A person without privilege sees the first 64 bytes of config space. */
START_TEST(half_a_config_space)
{
	struct survey_device d;
	uint8_t cfg[256];

	put_xen(false, false);
	modern_config(cfg, 0x1af4, 0x1042, 0, true);
	put_device("0000:00:10.0", cfg, 64, "virtio-pci", "virtio0", FEATURES_MODERN);
	d = look("0000:00:10.0", 0);
	ck_assert_uint_eq(fact(&d, FACT_TRANSPORT), TRANSPORT_PCI);
	ck_assert_int_eq(d.decision.verdict, VERDICT_SERVE);
	put_device("0000:00:11.0", cfg, 10, "virtio-pci", "virtio1", FEATURES_MODERN);
	look("0000:00:11.0", -EPROTO);
}
END_TEST

START_TEST(mmio_devices_are_listed)
{
	struct survey_device *list;
	struct survey_machine m;
	uint8_t cfg[256];
	unsigned int n;

	put_xen(false, false);
	modern_config(cfg, 0x1af4, 0x1042, 0, true);
	put_device("0000:00:10.0", cfg, 256, "virtio-pci", "virtio0", FEATURES_MODERN);
	modern_config(cfg, 0x8086, 0x1237, 0, false);
	put_device("0000:00:00.0", cfg, 256, NULL, NULL, NULL);
	put_text("sys/devices/platform/LNRO0005:00/virtio1/features", FEATURES_MODERN);
	put_text("sys/devices/platform/LNRO0005:00/virtio1/device", "0x0001\n");
	put_link("sys/devices/platform/LNRO0005:00/virtio1/driver", "../drivers/virtio_net");
	put_link("sys/devices/platform/LNRO0005:00/subsystem", "../../../bus/platform");
	put_link("sys/devices/platform/LNRO0005:00/driver",
		 "../../../bus/platform/drivers/virtio-mmio");
	put_link("sys/bus/virtio/devices/virtio1",
		 "../../../devices/platform/LNRO0005:00/virtio1");
	ck_assert_int_eq(survey_open(&m, tree_root), 0);
	ck_assert_int_eq(survey_devices(&m, &list, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(list[0].address, "0000:00:10.0");
	ck_assert_str_eq(list[1].name, "virtio1");
	ck_assert_str_eq(list[1].driver, "virtio-mmio");
	ck_assert_uint_eq(list[1].type, 1);
	ck_assert_uint_eq(list[1].facts.is[FACT_TRANSPORT], TRANSPORT_MMIO);
	ck_assert_int_eq(list[1].decision.verdict, VERDICT_NOT_YET);
	free(list);
	survey_close(&m);
}
END_TEST

/* Every type has names of its own for the same bits, and no bit beyond 63 has any. */
START_TEST(names_of_features_of_every_type)
{
	static const struct {
		uint32_t type;
		unsigned int bit;
		const char *name;
	} known[] = { { 1, 0, "CSUM" }, { 2, 1, "SIZE_MAX" }, { 3, 1, "MULTIPORT" },
		      { 5, 1, "STATS_VQ" }, { 8, 1, "HOTPLUG" }, { 9, 0, "MOUNT_TAG" },
		      { 16, 1, "EDID" }, { 19, 1, "SEQPACKET" }, { 23, 3, "BYPASS" },
		      { 24, 0, "ACPI_PXM" } };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		ck_assert_str_eq(feature_name(known[i].type, known[i].bit), known[i].name);
		ck_assert_str_eq(feature_name(known[i].type, 32), "VERSION_1");
		ck_assert_ptr_null(feature_name(known[i].type, 64));
	}
	ck_assert_ptr_null(feature_name(4000, 1));
	ck_assert_str_eq(feature_name(4000, 33), "ACCESS_PLATFORM");
}
END_TEST

static void open_machine(struct survey_machine *m)
{
	ck_assert_int_eq(survey_open(m, tree_root), 0);
}

static bool noted(const struct survey_machine *m, const char *part)
{
	for (unsigned int i = 0; i < m->nr_notes; i++)
		if (strstr(m->note[i], part))
			return true;
	return false;
}

/* Whether it is a dom0 is said by one file or the other; what neither says is not guessed. */
START_TEST(what_kind_of_host)
{
	static const struct {
		const char *capabilities, *initdomain, *guest_type, *info;
		uint8_t host;
		bool noted;
	} of[] = {
		{ "control_d\n", NULL, "PV\n", NULL, HOST_PV_DOM0, false },
		{ NULL, "1\n", "PV\n", NULL, HOST_PV_DOM0, false },
		{ NULL, "0\n", "PV\n", NULL, HOST_DOMU, false },
		{ "\n", NULL, "PV\n", NULL, HOST_DOMU, false },
		{ "control_d\n", NULL, NULL, NULL, HOST_UNKNOWN, false },
		{ "control_d\n", NULL, NULL, "xen_version : 4.17\n", HOST_PV_DOM0, false },
		/* Xen tells its virt_caps to nobody else */
		{ NULL, NULL, "PV\n", "virt_caps : pv hvm\n", HOST_PV_DOM0, false },
		{ NULL, NULL, "PV\n", "xen_version : 4.17\n", HOST_UNKNOWN, true },
	};
	struct survey_machine m;

	put_text("sys/hypervisor/type", "xen\n");
	if (of[_i].capabilities)
		put_text("proc/xen/capabilities", of[_i].capabilities);
	if (of[_i].initdomain)
		put_text("sys/hypervisor/start_flags/initdomain", of[_i].initdomain);
	if (of[_i].guest_type)
		put_text("sys/hypervisor/guest_type", of[_i].guest_type);
	if (of[_i].info)
		put_text("xl-info", of[_i].info);
	open_machine(&m);
	ck_assert_uint_eq(m.host, of[_i].host);
	ck_assert_int_eq(noted(&m, "whether this is a dom0 is not known"), of[_i].noted);
	ck_assert_int_eq(noted(&m, "no file xl-info"), !of[_i].info);
	survey_close(&m);
}
END_TEST

/* A table that is there and cannot be read decides nothing. */
START_TEST(tables_that_cannot_be_read)
{
	struct survey_machine m;

	put_xen(true, false);
	put_text("sys/firmware/acpi/tables/DMAR", "");
	put_text("sys/firmware/acpi/tables/IVRS/what", "a folder");
	open_machine(&m);
	ck_assert_uint_eq(m.nr_tables, 2);
	ck_assert_int_eq(m.table[0].error, -ENODATA);
	ck_assert_int_eq(m.table[1].error, -EISDIR);
	ck_assert(noted(&m, "table DMAR is not readable"));
	ck_assert(noted(&m, "table IVRS is not readable"));
	ck_assert_uint_eq(survey_firmware(&m, "0000:00:04.0"), FIRMWARE_UNKNOWN);
	ck_assert_uint_eq(survey_firmware(&m, "no address"), FIRMWARE_UNKNOWN);
	ck_assert_uint_eq(survey_iommu(&m, ""), IOMMU_ON);
	for (unsigned int i = 0; i < 2 * SURVEY_NOTES; i++)
		survey_note(&m, "one more");
	ck_assert_uint_eq(m.nr_notes, SURVEY_NOTES);
	survey_close(&m);
}
END_TEST

/* Names and numbers that are none, and a folder that is not there. */
START_TEST(files_that_are_no_facts)
{
	char name[TREE_NAME], line[8], longest[TREE_NAME + 20];
	unsigned long long n = 7;
	struct tree t;

	ck_assert_int_eq(tree_open(&t, "/nonexistent"), -ENOENT);
	tree_close(&t);
	ck_assert_int_eq(tree_open(&t, tree_root), 0);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	put_link("a/long", longest);
	ck_assert_int_eq(tree_link(&t, name, "a/long"), -ENAMETOOLONG);
	ck_assert_str_eq(name, "");
	put_link("a/plain", "target");
	ck_assert_int_eq(tree_link(&t, name, "a/%s", "plain"), 0);
	ck_assert_str_eq(name, "target");
	put_text("a/word", "word\n");
	ck_assert_int_eq(tree_number(&t, &n, "a/word"), -EINVAL);
	ck_assert_int_eq(tree_number(&t, &n, "a/none"), -ENOENT);
	put_text("a/number", "0x10\n");
	ck_assert_int_eq(tree_number(&t, &n, "a/number"), 0);
	ck_assert_uint_eq(n, 16);
	ck_assert_int_eq(tree_line(&t, line, sizeof(line), "a"), -EISDIR);
	put_text("a/more", "more than there is room for");
	ck_assert_int_eq(tree_line(&t, line, sizeof(line), "a/more"), 0);
	ck_assert_str_eq(line, "more th");
	tree_close(&t);
}
END_TEST

START_TEST(an_empty_machine)
{
	struct survey_device *list;
	struct survey_machine m;
	unsigned int n;

	ck_assert_int_eq(survey_open(&m, tree_root), 0);
	ck_assert_uint_eq(m.host, HOST_PLAIN);
	ck_assert_int_eq(survey_devices(&m, &list, &n), 0);
	ck_assert_uint_eq(n, 0);
	free(list);
	survey_close(&m);
	ck_assert_int_eq(survey_open(&m, "/nonexistent"), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("survey");
	TCase *tables = tcase_create("tables"), *machines = tcase_create("machines");

	tcase_add_test(tables, dmar_scopes_and_all_the_rest);
	tcase_add_test(tables, dmar_bridge_covers_what_is_behind);
	tcase_add_test(tables, ivrs_select_range_and_all);
	tcase_add_test(tables, malformed_tables_are_no_answer);
	tcase_add_test(tables, names_of_features);
	tcase_add_test(tables, names_of_features_of_every_type);
	suite_add_tcase(suite, tables);
	tcase_add_checked_fixture(machines, setup, teardown);
	tcase_add_test(machines, a_bypassing_disk_without_an_iommu);
	tcase_add_test(machines, two_kinds_and_a_table_that_claims_both);
	tcase_add_test(machines, a_table_whose_name_xen_turned_round);
	tcase_add_test(machines, xen_hides_the_table_of_an_iommu_it_drives);
	tcase_add_test(machines, pvh_dom0_and_domu);
	tcase_add_test(machines, legacy_transitional_and_silicon);
	tcase_add_test(machines, features_that_cannot_be_read_are_unknown);
	tcase_add_test(machines, half_a_config_space);
	tcase_add_test(machines, mmio_devices_are_listed);
	tcase_add_loop_test(machines, what_kind_of_host, 0, 8);
	tcase_add_test(machines, tables_that_cannot_be_read);
	tcase_add_test(machines, files_that_are_no_facts);
	tcase_add_test(machines, an_empty_machine);
	suite_add_tcase(suite, machines);
	return check_main(suite);
}
