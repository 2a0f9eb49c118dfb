/* SPDX-License-Identifier: GPL-2.0-or-later */
/* list, status */
#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_object *device_at(json_object *list, size_t i)
{
	return json_object_array_get_idx(list, i);
}

static void print_row(json_object *d)
{
	char domain[80];

	snprintf(domain, sizeof(domain), "%.60s (%" PRIu64 ")", field_text(d, "domain"),
		 field_number(d, "domid"));
	printf("%-24s %6" PRIu64 "  %-18s %-8s %-10s %s\n", domain, field_number(d, "device"),
	       field_text(d, "source"), field_text(d, "type"), field_text(d, "state"),
	       field_text(d, "error"));
}

int cmd_list(const struct options *o)
{
	json_object *answer = daemon_ask(o, request_new("list", o)), *list;

	if (!answer)
		return EXIT_FAILURE;
	list = field(answer, "devices");
	if (o->json) {
		print_json(list);
	} else if (!json_object_array_length(list)) {
		puts("no device is attached");
	} else {
		printf("%-24s %6s  %-18s %-8s %-10s %s\n", "DOMAIN", "DEVICE", "SOURCE", "TYPE",
		       "STATE", "");
		for (size_t i = 0; i < json_object_array_length(list); i++)
			print_row(device_at(list, i));
	}
	json_object_put(answer);
	return EXIT_SUCCESS;
}

/* A line of "name number" pairs, a heading before it. */
static void print_numbers(const char *heading, json_object *from, const char *const *keys)
{
	printf("  %-12s", heading);
	for (; *keys; keys++)
		printf(" %s %" PRIu64 "%s", *keys, field_number(from, *keys), keys[1] ? "," : "");
	putchar('\n');
}

static void print_counters(json_object *c)
{
	static const char *const work[] = { "batches", "chains", "descs", "indirect", "pages",
					    "completions", "harvests", NULL };
	static const char *const bytes[] = { "bytes_read", "bytes_written", NULL };
	static const char *const calls[] = { "map_calls",   "map_pages",  "unmap_calls",
					     "unmap_pages", "copy_calls", "copy_ops", NULL };
	static const char *const kept[] = { "kept",	    "keep_hits",   "keep_added",
					    "keep_dropped", "table_reads", "releases", NULL };
	static const char *const p2m[] = { "p2m_requests", "p2m_stale", "p2m_beyond", "p2m_absent",
					   "p2m_refused", NULL };
	static const char *const events[] = { "guest_kicks",  "guest_notifies", "dev_notifies",
					      "dev_irqs",     "polls_hit",	"polls_missed",
					      NULL };
	static const char *const state[] = { "inflight",       "pages_mapped", "stalls", "resumed",
					     "leaked_handles", "broken",       "failed", NULL };

	print_numbers("work", c, work);
	print_numbers("bytes", c, bytes);
	print_numbers("hypercalls", c, calls);
	printf("  %-12s %s a batch on average, %" PRIu64 " in the worst (without the copy)\n", "",
	       json_object_get_string(field(c, "hypercalls_per_batch")),
	       field_number(c, "max_batch_hypercalls"));
	print_numbers("kept pages", c, kept);
	if (field_number(c, "p2m_requests"))
		print_numbers("p2m", c, p2m);
	print_numbers("events", c, events);
	print_numbers("state", c, state);
	if (*field_text(c, "broken_reason"))
		printf("  %-12s %s\n", "last broken", field_text(c, "broken_reason"));
}

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

/* The sentence for what was printed; nothing where nothing is decided yet. */
static void print_reason(json_object *d, const char *key)
{
	if (*field_text(d, key))
		printf("  %-12s because %s\n", "", field_text(d, key));
}

static void print_modes(json_object *d)
{
	bool p2m = strstr(field_text(d, "addressing_offered"), "p2m");

	if (*field_text(d, "addresses"))
		printf("  %-12s %s, %s barriers\n", "addresses", field_text(d, "addresses"),
		       field_text(d, "barriers"));
	print_reason(d, "addresses_reason");
	printf("  %-12s %s (asked for: %s; allowed: %s)\n", "addressing",
	       or_dash(field_text(d, "addressing")), or_dash(field_text(d, "addressing_wanted")),
	       field_text(d, "addressing_allowed"));
	print_reason(d, "addressing_reason");
	if (*field_text(d, "p2m_reason"))
		printf("  %-12s p2m is %soffered: %s\n", "", p2m ? "" : "not ",
		       field_text(d, "p2m_reason"));
	printf("  %-12s %s (asked for: %s; allowed: %s), keeps %" PRIu64 " pages at most",
	       "protection", or_dash(field_text(d, "protection")),
	       or_dash(field_text(d, "protection_wanted")), field_text(d, "protection_allowed"),
	       field_number(d, "keep_pages"));
	if (field_number(d, "keep_ms"))
		printf(", unused ones for %" PRIu64 " ms", field_number(d, "keep_ms"));
	putchar('\n');
	print_reason(d, "protection_reason");
	if (*field_text(d, "driver_reason"))
		printf("  %-12s %s\n", "driver", field_text(d, "driver_reason"));
}

static void print_device(json_object *d)
{
	json_object *counters = field(d, "counters");

	printf("\n%s (%" PRIu64 ") device %" PRIu64 ": %s, virtio-%s\n", field_text(d, "domain"),
	       field_number(d, "domid"), field_number(d, "device"), field_text(d, "source"),
	       field_text(d, "type"));
	printf("  %-12s %s; back end %s, front end %s\n", "device", field_text(d, "state"),
	       field_text(d, "backend_state"), field_text(d, "frontend_state"));
	printf("  %-12s pid %" PRIu64 ", epoch %" PRIu64 ", restarts %" PRIu64
	       ", dma pages %" PRIu64 "\n",
	       "worker", field_number(d, "worker"), field_number(d, "epoch"),
	       field_number(d, "restarts"), field_number(d, "dma_pages"));
	if (*field_text(d, "error"))
		printf("  %-12s %s\n", "error", field_text(d, "error"));
	if (*field_text(d, "held"))
		printf("  %-12s %s: its pages are not let go before it does\n", "held",
		       field_text(d, "held"));
	print_modes(d);
	if (counters)
		print_counters(counters);
}

int cmd_status(const struct options *o)
{
	json_object *answer = daemon_ask(o, request_new("status", o)), *daemon, *list;

	if (!answer)
		return EXIT_FAILURE;
	if (o->json) {
		print_json(answer);
		json_object_put(answer);
		return EXIT_SUCCESS;
	}
	daemon = field(answer, "daemon");
	list = field(answer, "devices");
	printf("xvshimd: pid %" PRIu64 ", up %" PRIu64 " s, %" PRIu64 " KiB resident, %" PRIu64
	       " descriptors, %s\n",
	       field_number(daemon, "pid"), field_number(daemon, "uptime_s"),
	       field_number(daemon, "rss_kib"), field_number(daemon, "descriptors"),
	       field_text(daemon, "hypervisor"));
	for (size_t i = 0; i < json_object_array_length(list); i++)
		print_device(device_at(list, i));
	if (!json_object_array_length(list))
		puts("no device is attached");
	json_object_put(answer);
	return EXIT_SUCCESS;
}
