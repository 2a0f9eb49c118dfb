/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Target "text": what persons, files, the firmware and Xen's log hand in. The first byte says which
 * reader; what it took is compared with another way to read the same.
 */
#include "fuzz.h"

#include "daemon/allow.h"
#include "daemon/conf.h"
#include "daemon/parse.h"
#include "lib/virtio_cap.h"
#include "stress/books_xen.h"
#include "survey/iommu_table.h"

#include <ctype.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define WHY 96 /* less than the longest reason */

static char *why_new(void)
{
	char *why = malloc(WHY);

	FUZZ_CHECK(why, "out of memory");
	memset(why, 'x', WHY);
	return why;
}

static void why_check(char *why, int rc)
{
	FUZZ_CHECK(rc == 0 || memchr(why, '\0', WHY), "the reason has no end");
	free(why);
}

static bool digits(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

static void try_number(const char *text, uint64_t max)
{
	uint64_t n = 0, other;
	int rc = parse_number(text, max, &n);

	errno = 0;
	other = strtoull(text, NULL, 10);
	FUZZ_CHECK((rc == 0) == (digits(text) && !errno && other <= max), "'%s': %d", text, rc);
	FUZZ_CHECK(rc || n == other, "'%s' is read as %llu", text, (unsigned long long)n);
	rc = parse_address(text, &n);
	if (!rc && text[0] == '0' && (text[1] | 0x20) == 'x')
		FUZZ_CHECK(n == strtoull(text, NULL, 16), "'%s' as an address", text);
	else if (!rc)
		FUZZ_CHECK(digits(text) && n == strtoull(text, NULL, 10), "'%s' as an address",
			   text);
}

static void try_bdf(const char *text)
{
	char strict[13] = "", other[PCI_BDF_SIZE], person[13], source[SOURCE_MAX];
	int rc = parse_bdf(text, false, strict);

	FUZZ_CHECK(rc == pci_bdf_parse(text, other), "'%s': the two readers do not agree", text);
	FUZZ_CHECK(rc || !strcmp(strict, text), "'%s' becomes '%s'", text, strict);
	rc = parse_bdf(text, true, person);
	FUZZ_CHECK(rc || !parse_bdf(person, false, strict), "'%s' becomes '%s'", text, person);
	rc = parse_source(text, true, source);
	FUZZ_CHECK(rc || !parse_source(source, false, source), "'%s' becomes '%s'", text, source);
	(void)pci_name_ok(text);
}

static void try_path(const char *text)
{
	uint16_t domid = 0;
	uint32_t devid = 0;
	char again[32];

	if (parse_device_path(text, &domid, &devid))
		return;
	FUZZ_CHECK(domid < 0x7ff0 && devid <= 0xffff, "'%s'", text);
	snprintf(again, sizeof(again), "%u/%u", domid, devid);
	FUZZ_CHECK(strlen(text) >= strlen(again), "'%s' is read as '%s'", text, again);
	FUZZ_CHECK(!text[strspn(text, "0123456789/")], "'%s'", text);
}

static void try_allow(const char *key, const char *value)
{
	struct allow a, before, again;
	char *why = why_new(), words[ALLOW_WORDS];
	int rc;

	allow_defaults(&a);
	before = again = a;
	rc = allow_set(&a, key, value, why, WHY);
	why_check(why, rc && rc != -ENOENT);
	FUZZ_CHECK(!rc || !memcmp(&a, &before, sizeof(a)), "refused, and changed all the same");
	if (rc)
		return;
	allow_addressing_words(a.addressing, words);
	FUZZ_CHECK(!allow_set(&again, "addressing", words, words, 1), "'%s'", words);
	allow_protection_words(a.protection, words);
	FUZZ_CHECK(!allow_set(&again, "protection", words, words, 1), "'%s'", words);
	FUZZ_CHECK(again.addressing == a.addressing && again.protection == a.protection,
		   "'%s=%s' does not come back", key, value);
}

static void try_mix(const char *text)
{
	struct stress_mix mix, before;
	char *why = why_new();
	uint64_t sum = 0;
	int rc;

	stress_mix_default(&mix, true);
	before = mix;
	rc = stress_mix_parse(text, &mix, why, WHY);
	why_check(why, rc);
	FUZZ_CHECK(!rc || !memcmp(&mix, &before, sizeof(mix)), "refused, and changed all the same");
	for (unsigned int i = 0; i < STRESS_KINDS; i++)
		sum += mix.weight[i];
	FUZZ_CHECK(sum, "'%s' is a mix of nothing", text);
}

/* A whole configuration file. */
static void try_conf(const uint8_t *data, size_t size)
{
	static int fd = -1;
	char path[32], *why = why_new();
	struct conf conf, before;
	int rc;

	if (fd < 0)
		fd = memfd_create("conf", MFD_CLOEXEC);
	FUZZ_CHECK(fd >= 0 && !ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size,
		   "no file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	memset(&conf, 0, sizeof(conf)); /* the padding is compared as well */
	conf_defaults(&conf);
	before = conf;
	rc = conf_read(&conf, path, 1, why, WHY);
	why_check(why, rc);
	FUZZ_CHECK(!rc || !memcmp(&conf, &before, sizeof(conf)), "refused, and changed all the same");
	FUZZ_CHECK(conf.run_dir[0] == '/' && memchr(conf.run_dir, 0, sizeof(conf.run_dir)),
		   "the run directory");
	FUZZ_CHECK(conf.attach_timeout && conf.detach_timeout && conf.poll_us <= 100000, "limits");
}

static void try_log(const uint8_t *data, size_t size)
{
	struct stress_books b;
	FILE *log = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;

	if (!log)
		return;
	if (!books_of_log(log, 3, &b))
		FUZZ_CHECK(b.grants == b.handles + b.pages, "%llu of %llu grants",
			   (unsigned long long)(b.handles + b.pages), (unsigned long long)b.grants);
	fclose(log);
}

/* The firmware's table; with the length put right, or nothing in it would be looked at. */
static void try_table(struct fuzz *f)
{
	uint8_t form = fuzz_u8(f), bus = fuzz_u8(f), devfn = fuzz_u8(f);
	size_t size = (size_t)(f->end - f->at);
	uint8_t *table = malloc(size + 1);
	unsigned int units;
	int rc;

	FUZZ_CHECK(table, "out of memory");
	fuzz_bytes(f, table, size);
	if (size >= 8 && form & 1)
		for (unsigned int i = 0; i < 4; i++)
			table[4 + i] = (uint8_t)(size >> 8 * i);
	if (size >= 8 && form & 2)
		memcpy(table, form & 4 ? "DMAR" : "IVRS", 4);
	table = realloc(table, size ? size : 1);
	rc = iommu_table_covers(table, size, 0, bus, devfn, &units);
	FUZZ_CHECK(rc == -EPROTO || rc == 0 || (rc == 1 && units), "%d, %u units", rc, units);
	free(table);
}

static void check_region(const struct virtio_region *r, const struct pci_bar *bar)
{
	if (r->len)
		FUZZ_CHECK(r->bar < PCI_NR_BARS && bar[r->bar].memory &&
			   (uint64_t)r->off + r->len <= bar[r->bar].len, "region outside its BAR");
}

/* Config space of an emulated device, which is the outer hypervisor's. */
static void try_caps(struct fuzz *f)
{
	struct pci_bar bar[PCI_NR_BARS];
	uint8_t *cfg = malloc(PCI_CONFIG_SIZE);
	struct virtio_layout l;

	FUZZ_CHECK(cfg, "out of memory");
	for (unsigned int i = 0; i < PCI_NR_BARS; i++) {
		uint8_t form = fuzz_u8(f);

		bar[i] = (struct pci_bar){ .start = 0x1000, .len = (uint64_t)(form & 0x7f) << 8,
					   .memory = form >> 7 };
	}
	fuzz_bytes(f, cfg, PCI_CONFIG_SIZE);
	if (!virtio_cap_parse(cfg, bar, &l)) {
		check_region(&l.common, bar);
		check_region(&l.notify, bar);
		check_region(&l.isr, bar);
		check_region(&l.device, bar);
	}
	free(cfg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t max[] = { 0, 9, 255, 0x7fef, UINT32_MAX, UINT64_MAX };
	struct fuzz f = { data, data + size };
	unsigned int what = fuzz_below(&f, 10);
	char *text, *more;

	if (what == 6)
		try_conf(f.at, (size_t)(f.end - f.at));
	else if (what == 7)
		try_log(f.at, (size_t)(f.end - f.at));
	else if (what == 8)
		try_table(&f);
	else if (what == 9)
		try_caps(&f);
	if (what > 5)
		return 0;
	text = fuzz_text(&f);
	more = fuzz_text(&f);
	switch (what) {
	case 0:
	case 1:
		try_number(text, max[strlen(more) % 6]);
		break;
	case 2:
		try_bdf(text);
		break;
	case 3:
		try_path(text);
		break;
	case 4:
		try_allow(text, more);
		break;
	default:
		try_mix(text);
	}
	free(text);
	free(more);
	return 0;
}
