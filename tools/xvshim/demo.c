/* SPDX-License-Identifier: GPL-2.0-or-later */
/* demo: data through the whole path, and what became of each address on the way. */
#include "cmd.h"

#include "demo.h"
#include "util/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECTOR 512u

struct tally {
	unsigned int requests;
	uint64_t bytes;
	unsigned int shown, changed; /* addresses shown; those not equal to the guest's own */
	double seconds;
};

static void fill(uint8_t *buf, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		buf[i] = (uint8_t)(seed >> 24);
	}
}

static int exchange(struct demo *d, uint64_t sector, size_t len, struct tally *t)
{
	uint8_t *out = malloc(len), *in = calloc(1, len);
	const uint8_t *disk;
	size_t size;
	int rc = -1;

	if (!out || !in)
		goto out;
	fill(out, len, (uint32_t)sector + (uint32_t)len);
	rc = sim_blk_write(d->guest, 0, sector, out, len);
	if (!rc)
		rc = sim_blk_read(d->guest, 0, sector, in, len);
	disk = check_dev_disk(d->disk, &size);
	if (!rc && (memcmp(in, out, len) || memcmp(disk + sector * SECTOR, out, len)))
		rc = -2;
	if (rc && !d->why[0])
		snprintf(d->why, sizeof(d->why), "%zu bytes at sector %" PRIu64 ": %s (%d)", len,
			 sector, rc == -2 ? "other data came back" : "the request failed", rc);
	t->requests += 2;
	t->bytes += 2 * len;
out:
	free(out);
	free(in);
	return rc;
}

/* The worker's own record of this address; NULL: overwritten by now. */
static const struct journal_trace *find_translation(struct demo *d,
						    const struct sim_guest_trace *w)
{
	struct session_stats *s = &d->journal.data->stats;

	for (unsigned int i = 0; i < JOURNAL_TRACE; i++)
		if (s->trace[i].daddr == w->daddr && s->trace[i].len == w->len)
			return &s->trace[i];
	return NULL;
}

static bool disk_saw(struct demo *d, uint64_t maddr)
{
	for (unsigned int i = 0; i < d->nsaw; i++)
		if (d->saw[i].maddr.a == maddr)
			return true;
	return false;
}

static void add_hex(json_object *o, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	json_object_object_add(o, key, json_object_new_string(text));
}

static json_object *row_json(const struct sim_guest_trace *w, uint64_t maddr, bool seen)
{
	json_object *o = json_object_new_object();

	add_hex(o, "guest_address", w->gpa);
	add_hex(o, "descriptor", w->daddr);
	add_hex(o, "machine_address", maddr);
	json_object_object_add(o, "len", json_object_new_int64(w->len));
	json_object_object_add(o, "access", json_object_new_string(w->write ? "device writes" :
									      "device reads"));
	json_object_object_add(o, "seen_by_disk", json_object_new_boolean(seen));
	return o;
}

/* One row a descriptor of the requests kept last. Returns how many the disk did not see. */
static int show_rows(struct demo *d, const struct options *o, json_object *rows, struct tally *t)
{
	int unseen = 0;

	for (unsigned int i = 0; i < d->nwrote; i++) {
		const struct sim_guest_trace *w = &d->wrote[i];
		const struct journal_trace *tr = find_translation(d, w);
		bool seen;

		if (!tr)
			continue;
		seen = disk_saw(d, tr->maddr);
		unseen += !seen;
		t->shown++;
		t->changed += tr->maddr != w->gpa;
		if (o->json)
			json_object_array_add(rows, row_json(w, tr->maddr, seen));
		else
			printf("  0x%08" PRIx64 "  0x%016" PRIx64 "  0x%08" PRIx64 "  %6u  %s\n",
			       w->gpa, w->daddr, tr->maddr, w->len,
			       w->write ? "device writes" : "device reads");
	}
	return unseen;
}

/* Small ones to look at, then sizes and places of all sorts. */
static int play(struct demo *d, const struct options *o, json_object *rows, struct tally *t)
{
	static const size_t sizes[] = { 512, 4096, 1536, 16384, 65536, 131072 };

	if (!o->json)
		puts("what the guest calls its page, what it wrote into the descriptor (a grant),\n"
		     "and the machine address the disk was given:\n\n"
		     "  guest       descriptor          machine      bytes");
	for (unsigned int i = 0; i < 2; i++) {
		demo_trace_again(d);
		if (exchange(d, 64 + 64 * i, i ? 4096 : 512, t))
			return -1;
		if (show_rows(d, o, rows, t)) {
			snprintf(d->why, sizeof(d->why),
				 "the disk saw another address than was recorded");
			return -1;
		}
	}
	for (unsigned int i = 0; i < 96; i++)
		if (exchange(d, 256 + (i * 577) % 7000, sizes[i % 6], t))
			return -1;
	return 0;
}

static json_object *summary(struct demo *d, const struct tally *t)
{
	struct session_stats *s = &d->journal.data->stats;
	json_object *o = json_object_new_object();
	uint64_t batches = atomic_load(&s->batches);

#define PUT(key, value) json_object_object_add(o, key, json_object_new_uint64(value))
	PUT("requests", t->requests);
	PUT("bytes_verified", t->bytes);
	PUT("addresses_shown", t->shown);
	PUT("addresses_changed", t->changed);
	PUT("batches", batches);
	PUT("pages_mapped", atomic_load(&s->map_pages));
	PUT("pages_unmapped", atomic_load(&s->unmap_pages));
	PUT("map_calls", atomic_load(&s->map_calls));
	PUT("unmap_calls", atomic_load(&s->unmap_calls));
	PUT("copy_calls", atomic_load(&s->copy_calls));
	PUT("worst_batch_hypercalls", atomic_load(&s->max_batch_hypercalls));
	PUT("guest_notifies", atomic_load(&s->guest_notifies));
	PUT("dev_notifies", atomic_load(&s->dev_notifies));
	json_object_object_add(o, "seconds", json_object_new_double(t->seconds));
	return o;
}

static void print_summary(json_object *o)
{
	printf("\n%" PRIu64 " requests, %" PRIu64 " KiB written, read back and compared, %.2f s\n",
	       field_number(o, "requests"), field_number(o, "bytes_verified") / 1024,
	       json_object_get_double(field(o, "seconds")));
	printf("%" PRIu64 " of %" PRIu64 " addresses shown were changed by the translation\n",
	       field_number(o, "addresses_changed"), field_number(o, "addresses_shown"));
	printf("%" PRIu64 " pages mapped in %" PRIu64 " hypercalls, unmapped in %" PRIu64
	       "; at most %" PRIu64 " a batch; %" PRIu64 " copies of indirect tables\n",
	       field_number(o, "pages_mapped"), field_number(o, "map_calls"),
	       field_number(o, "unmap_calls"), field_number(o, "worst_batch_hypercalls"),
	       field_number(o, "copy_calls"));
	puts("a simulation: it shows the logic; quickstart shows it on a real Xen");
}

int cmd_demo(const struct options *o)
{
	json_object *facts = json_object_new_object(), *rows = json_object_new_array(), *sum = NULL;
	struct timespec a, b;
	struct tally t = { 0 };
	struct demo d;
	int rc;

	log_set_level(LOG_ERROR);
	clock_gettime(CLOCK_MONOTONIC, &a);
	rc = demo_begin(&d);
	if (!rc)
		rc = play(&d, o, rows, &t);
	clock_gettime(CLOCK_MONOTONIC, &b);
	t.seconds = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	if (!rc)
		sum = summary(&d, &t);
	if (demo_end(&d) || !t.changed)
		rc = -1;
	json_object_object_add(facts, "translations", rows);
	json_object_object_add(facts, "summary", sum);
	json_object_object_add(facts, "verified", json_object_new_boolean(!rc));
	if (!rc && o->json)
		print_json(facts);
	else if (!rc)
		print_summary(sum);
	else
		fail("the demo failed: %s", *d.why ? d.why : "no address was changed");
	json_object_put(facts);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
