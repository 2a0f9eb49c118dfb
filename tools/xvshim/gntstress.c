/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gntstress: a stress test of grant tables. */
#include "cmd.h"

#include "daemon/parse.h"
#include "stress/world.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DURATION 60u
#define COMPARE_BATCH 64u
#define SIM_KILL_MS 100u
#define XEN_KILL_MS 4000u
#define SIM_PEER_IN 4u
#define XEN_PEER_IN 8u

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static int number(const char *text, const char *name, uint64_t min, uint64_t max, uint64_t *n)
{
	if (!text)
		return 0;
	if (!parse_number(text, max, n) && *n >= min)
		return 0;
	fail("--%s takes a number from %" PRIu64 " to %" PRIu64, name, min, max);
	return -EINVAL;
}

/* What does not go together, in words; NULL: all of it does. */
static const char *contradiction(const struct options *o)
{
	uint64_t domid;

	if (o->compare && (o->mix || o->chaos || o->ops || o->duration))
		return "--compare has operations of its own: no --mix, --chaos, --ops, --duration";
	if (o->sim && (o->narg || o->restart))
		return "--sim has a guest of its own: no DOMAIN, no --restart";
	if (o->restart && (!o->narg || !o->chaos))
		return "--restart is for a DOMAIN and --chaos";
	if (o->restart && !parse_number(o->arg[0], UINT16_MAX, &domid))
		return "--restart needs the name of the domain: its number changes";
	return NULL;
}

static int configure(const struct options *o, struct stress_config *c)
{
	uint64_t seed = 1, ops = 0, duration = 0, pairs = 0;
	uint64_t batch = o->compare ? COMPARE_BATCH : STRESS_BATCH;
	char why[200];

	if (number(o->seed, "seed", 0, UINT64_MAX, &seed) ||
	    number(o->ops, "ops", 1, UINT64_MAX, &ops) ||
	    number(o->duration, "duration", 1, 1000000, &duration) ||
	    number(o->batch, "batch", 1, STRESS_BATCH, &batch) ||
	    number(o->compare, "compare", 1, COMPARE_PAIRS_MAX, &pairs))
		return -EINVAL;
	if (contradiction(o)) {
		fail("%s", contradiction(o));
		return -EINVAL;
	}
	stress_mix_default(&c->mix, o->sim);
	if (o->mix && stress_mix_parse(o->mix, &c->mix, why, sizeof(why))) {
		fail("%s", why);
		return -EINVAL;
	}
	c->seed = seed;
	c->ops = ops;
	c->duration = (unsigned int)(duration || ops || pairs ? duration : DURATION);
	c->pairs = (unsigned int)pairs;
	c->batch = (unsigned int)batch;
	c->chaos = o->chaos;
	c->kill_ms = o->sim ? SIM_KILL_MS : XEN_KILL_MS;
	c->peer_in = o->sim ? SIM_PEER_IN : o->restart ? XEN_PEER_IN : 0;
	c->progress = !o->json && !o->quiet && isatty(STDERR_FILENO) ? stderr : NULL;
	c->interrupt = &interrupted;
	return 0;
}

static bool wants_v2(const struct stress_config *c)
{
	return c->mix.weight[STRESS_SUBPAGE] || c->mix.weight[STRESS_TRANSITIVE];
}

static struct stress_world *open_world(const struct options *o, uint64_t seed)
{
	struct stress_world *w;
	char why[300];
	int rc;

	if (o->sim) {
		w = world_sim_new(seed, &rc);
		if (!w)
			fail("no simulation: %s", strerror(-rc));
		return w;
	}
	if (host_obstacle()) {
		fail("%s; --sim needs none of it", host_obstacle());
		return NULL;
	}
	w = world_xen_new(o->narg ? o->arg[0] : NULL, o->restart, o->run_dir, why, sizeof(why));
	if (!w)
		fail("%s", why);
	return w;
}

static void close_world(const struct options *o, struct stress_world *w)
{
	if (o->sim)
		world_sim_free(w);
	else
		world_xen_free(w);
}

/* A keeper killed with SIGKILL leaves its journal; the next run takes its pages back. */
static int take_over(const struct options *o, struct stress_world *w)
{
	unsigned int pages = 0;
	int rc;

	if (!w->journal[0] || access(w->journal, F_OK))
		return 0;
	rc = stress_take_over(w, &pages);
	if (rc)
		return fail("%s was left by a run that was killed, and cannot be recovered: %s",
			    w->journal, strerror(-rc));
	if (!o->json)
		printf("an earlier run was killed: %u pages that it had mapped are given back\n",
		       pages);
	return 0;
}

static void add(json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static json_object *kind_json(const struct stats *s)
{
	json_object *o = json_object_new_object();

	add(o, "rounds", s->rounds);
	add(o, "operations", s->ops);
	json_object_object_add(o, "operations_per_second",
			       json_object_new_double(s->ns ? (double)s->ops * 1e9 / (double)s->ns : 0));
	add(o, "p50_ns", stats_percentile(s, 500));
	add(o, "p90_ns", stats_percentile(s, 900));
	add(o, "p99_ns", stats_percentile(s, 990));
	add(o, "p999_ns", stats_percentile(s, 999));
	add(o, "max_ns", s->max_ns);
	return o;
}

static const char *const way_name[COMPARE_WAYS] = {
	[COMPARE_DEVICE] = "device",
	[COMPARE_LIBRARY] = "one_by_one",
	[COMPARE_LIBRARY_BATCH] = "library_batch",
};

static json_object *spread_json(struct compare_spread s)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "median", json_object_new_double(s.median));
	json_object_object_add(o, "min", json_object_new_double(s.min));
	json_object_object_add(o, "max", json_object_new_double(s.max));
	return o;
}

static json_object *compare_json(const struct compare *c)
{
	json_object *o = json_object_new_object(), *cycles;

	add(o, "pairs", c->pairs);
	add(o, "batch", c->batch);
	for (unsigned int i = 0; i < COMPARE_WAYS; i++) {
		cycles = spread_json(compare_cycles(c, (enum compare_way)i));
		add(cycles, "pages", c->pages[i]);
		add(cycles, "hypercalls", c->hypercalls[i]);
		json_object_object_add(o, way_name[i], cycles);
	}
	json_object_object_add(o, "device_to_one_by_one",
			       spread_json(compare_ratio(c, COMPARE_DEVICE, COMPARE_LIBRARY)));
	json_object_object_add(o, "device_to_library_batch",
			       spread_json(compare_ratio(c, COMPARE_DEVICE, COMPARE_LIBRARY_BATCH)));
	return o;
}

static json_object *books_json(const struct stress_books *b)
{
	json_object *o = json_object_new_object();

	add(o, "handles", b->handles);
	add(o, "mapped_pages", b->pages);
	add(o, "grants", b->grants);
	add(o, "zombies", b->zombies);
	json_object_object_add(o, "text", json_object_new_string(b->text));
	return o;
}

static void put_json(const struct stress_world *w, const struct stress_config *c,
		     const struct stress_result *r)
{
	json_object *o = json_object_new_object(), *kinds = json_object_new_object();
	char text[24];

	json_object_object_add(o, "passed", json_object_new_boolean(r->passed));
	json_object_object_add(o, "story", json_object_new_string(r->story));
	json_object_object_add(o, "world", json_object_new_string(w->name));
	json_object_object_add(o, "loopback", json_object_new_boolean(w->loopback));
	add(o, "seed", c->seed);
	snprintf(text, sizeof(text), "%016" PRIx64, r->sequence);
	json_object_object_add(o, "sequence", json_object_new_string(text));
	add(o, "operations", r->ops);
	add(o, "rounds", r->rounds);
	json_object_object_add(o, "seconds", json_object_new_double((double)r->ns / 1e9));
	add(o, "bytes_checked", r->checked);
	add(o, "kills", r->kills);
	add(o, "peer_kills", r->peer_kills);
	add(o, "pages_recovered", r->recovered);
	add(o, "references_reused", r->reused);
	add(o, "revoked_unmapped", r->late);
	json_object_object_add(o, "before", books_json(&r->before));
	json_object_object_add(o, "after", books_json(&r->after));
	for (unsigned int i = 0; i < STRESS_KINDS; i++)
		if (r->kind[i].rounds)
			json_object_object_add(kinds, stress_kind_name((enum stress_kind)i),
					       kind_json(&r->kind[i]));
	json_object_object_add(o, "kinds", kinds);
	if (c->pairs)
		json_object_object_add(o, "compare", compare_json(&r->compare));
	print_json(o);
	json_object_put(o);
}

static void print_kinds(const struct stress_result *r)
{
	printf("%-12s %10s %12s %12s   us a batch: %8s %8s %8s %9s\n", "operation", "batches",
	       "operations", "op/s in it", "p50", "p90", "p99", "max");
	for (unsigned int i = 0; i < STRESS_KINDS; i++) {
		const struct stats *s = &r->kind[i];

		if (!s->rounds)
			continue;
		printf("%-12s %10" PRIu64 " %12" PRIu64 " %12.0f   %20.1f %8.1f %8.1f %9.1f\n",
		       stress_kind_name((enum stress_kind)i), s->rounds, s->ops,
		       s->ns ? (double)s->ops * 1e9 / (double)s->ns : 0,
		       (double)stats_percentile(s, 500) / 1e3,
		       (double)stats_percentile(s, 900) / 1e3,
		       (double)stats_percentile(s, 990) / 1e3, (double)s->max_ns / 1e3);
	}
}

static void print_spread(const char *what, struct compare_spread s, int digits)
{
	printf("%-32s %12.*f  (%.*f to %.*f)\n", what, digits, s.median, digits, s.min, digits,
	       s.max);
}

static void print_compare(const struct compare *c)
{
	printf("a page mapped and unmapped, %u at a time; median of %u turns, smallest and largest\n",
	       c->batch, c->pairs);
	print_spread("for a device, cycles/s", compare_cycles(c, COMPARE_DEVICE), 0);
	print_spread("libxengnttab one by one", compare_cycles(c, COMPARE_LIBRARY), 0);
	print_spread("libxengnttab in a batch", compare_cycles(c, COMPARE_LIBRARY_BATCH), 0);
	print_spread("device / one by one",
		     compare_ratio(c, COMPARE_DEVICE, COMPARE_LIBRARY), 2);
	print_spread("device / batch",
		     compare_ratio(c, COMPARE_DEVICE, COMPARE_LIBRARY_BATCH), 2);
	if (c->pages[COMPARE_DEVICE])
		printf("hypercalls for %u pages for a device: %.2f\n\n", c->batch,
		       (double)c->hypercalls[COMPARE_DEVICE] * c->batch /
			       (double)c->pages[COMPARE_DEVICE]);
}

static void print_result(const struct stress_world *w, const struct stress_config *c,
			 const struct stress_result *r)
{
	double s = (double)r->ns / 1e9;

	if (c->pairs)
		print_compare(&r->compare);
	else
		print_kinds(r);
	printf("\n%" PRIu64 " operations in %" PRIu64 " batches, %.1f s, %.0f a second; "
	       "%" PRIu64 " MiB compared\n", r->ops, r->rounds, s, s > 0 ? (double)r->ops / s : 0,
	       r->checked >> 20);
	printf("seed %" PRIu64 ", sequence %016" PRIx64 "\n", c->seed, r->sequence);
	if (c->chaos)
		printf("%u kills, %u of them of the other side too; %u pages unmapped from the "
		       "journal\n", r->kills, r->peer_kills, r->recovered);
	if (r->late)
		printf("%u regions were revoked only when unmapped: the guest's kernel has enough of "
		       "those revoked in use\n", r->late);
	if (!(w->can & STRESS_CAN_PEEK))
		puts("not seen here: bytes at machine addresses, the guest is no PV guest");
	printf("held before: %s\nheld after:  %s\n", r->before.text, r->after.text);
	if (r->passed)
		puts("no leak, no wrong byte");
}

int cmd_gntstress(const struct options *o)
{
	struct stress_result *r = calloc(1, sizeof(*r));
	struct stress_config c = { 0 };
	struct stress_world *w = NULL;
	int status = EXIT_USAGE;

	if (!r || configure(o, &c))
		goto out;
	status = EXIT_FAILURE;
	w = open_world(o, c.seed);
	if (w && wants_v2(&c) && !(w->can & STRESS_CAN_V2)) {
		fail("subpage and transitive need a domU with a grant table of version 2: boot its "
		     "kernel with grant_table.version=2");
		goto out;
	}
	if (!w || take_over(o, w))
		goto out;
	if (w->loopback && !o->json)
		puts("loopback: no domU was named, dom0 grants to itself; nothing crosses domains");
	catch_signals();
	if (!stress_run(w, &c, r)) {
		if (o->json)
			put_json(w, &c, r);
		else
			print_result(w, &c, r);
	}
	if (r->passed)
		status = EXIT_SUCCESS;
	else
		fail("%s", r->story[0] ? r->story : "could not run");
out:
	if (w)
		close_world(o, w);
	free(r);
	return status;
}
