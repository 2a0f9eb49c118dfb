/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The same pages mapped and unmapped in three ways, in turn: --compare. */
#include "stress/compare.h"

#include "stress/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_NS 400000000u

static void cycle_device(struct worker *w)
{
	map_picked(w, false);
	unmap_picked(w);
}

static void host_cycle(struct worker *w, const uint32_t *ref, unsigned int n)
{
	void *va = NULL;
	int rc = w->hv->ops->host_map(w->hv, w->world->domid, ref, n, false, &va);

	if (rc)
		worker_fail(w, "map into this process refused: %s", strerror(-rc));
	rc = w->hv->ops->host_unmap(w->hv, va, n);
	if (rc)
		worker_fail(w, "unmap from this process refused: %s", strerror(-rc));
}

static void cycle_library(struct worker *w, bool batch)
{
	uint32_t ref[STRESS_BATCH];

	for (unsigned int i = 0; i < w->n; i++)
		ref[i] = w->pick[i]->ref;
	if (batch)
		host_cycle(w, ref, w->n);
	for (unsigned int i = 0; !batch && i < w->n; i++)
		host_cycle(w, &ref[i], 1);
}

static uint64_t hypercalls(const struct worker *w)
{
	return w->hv->counters.map_calls + w->hv->counters.unmap_calls;
}

static void sample(struct worker *w, enum compare_way way, struct compare *c)
{
	uint64_t begun = stats_now(), calls = hypercalls(w), pages = 0, ns;

	do {
		worker_pick(w, PICK_ALL);
		if (way == COMPARE_DEVICE)
			cycle_device(w);
		else
			cycle_library(w, way == COMPARE_LIBRARY_BATCH);
		pages += w->n;
		ns = stats_now() - begun;
	} while (ns < SAMPLE_NS);
	c->cycles[way][c->pairs] = (double)pages * 1e9 / (double)ns;
	c->pages[way] += pages;
	c->hypercalls[way] += hypercalls(w) - calls;
	atomic_fetch_add(&w->sh->ops, 2 * pages);
	atomic_fetch_add(&w->sh->rounds, 1);
}

void compare_work(struct worker *w)
{
	struct compare *c = &w->sh->compare;

	w->n = w->config->batch;
	c->batch = w->n;
	/* Not counted: the first use of each way. */
	worker_pick(w, PICK_ALL);
	cycle_device(w);
	cycle_library(w, false);
	cycle_library(w, true);
	while (c->pairs < w->config->pairs && !atomic_load(&w->sh->stop)) {
		for (unsigned int way = 0; way < COMPARE_WAYS; way++)
			sample(w, (enum compare_way)way, c);
		c->pairs++;
	}
}

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct compare_spread spread_of(double *value, unsigned int n)
{
	if (!n)
		return (struct compare_spread){ 0 };
	qsort(value, n, sizeof(*value), by_size);
	return (struct compare_spread){ .median = (value[(n - 1) / 2] + value[n / 2]) / 2,
					.min = value[0], .max = value[n - 1] };
}

struct compare_spread compare_cycles(const struct compare *c, enum compare_way way)
{
	double value[COMPARE_PAIRS_MAX];

	memcpy(value, c->cycles[way], sizeof(value));
	return spread_of(value, c->pairs);
}

struct compare_spread compare_ratio(const struct compare *c, enum compare_way a,
				    enum compare_way b)
{
	double value[COMPARE_PAIRS_MAX];

	for (unsigned int i = 0; i < c->pairs; i++)
		value[i] = c->cycles[a][i] / c->cycles[b][i];
	return spread_of(value, c->pairs);
}
