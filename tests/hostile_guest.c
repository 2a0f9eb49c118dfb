/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hostile_guest NODE [rings|grants|store|floods]: see hostile_guest.h; all of them, or one. */
#include "hostile_guest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void hg_fail(const char *function, int line, const char *what)
{
	printf("FAIL %s, line %d: %s\n", function, line, what);
	fflush(stdout);
	exit(1);
}

void hg_step(struct hg *g, unsigned int number, const char *kind, const char *format, ...)
{
	uint64_t end = hg_now() + 10 * HG_PATIENCE;
	char text[256], node[96], value[16];
	va_list ap;
	int n;

	n = snprintf(text, sizeof(text), "%u %s ", number, kind);
	va_start(ap, format);
	vsnprintf(text + n, sizeof(text) - (size_t)n, format, ap);
	va_end(ap);
	snprintf(node, sizeof(node), "%s/step-%u", g->steps, ++g->step);
	hg_must(!share_publish(g->share, node, text));
	snprintf(node, sizeof(node), "%s/seen-%u", g->steps, g->step);
	for (; share_read(g->share, node, value, sizeof(value)); usleep(5000))
		hg_must(hg_now() < end);
}

uint64_t hg_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t hg_random(void)
{
	static uint64_t x = 88172645463325252ull; /* xorshift64, the same every time */

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(struct hg *g);
	} part[] = { { "rings", hg_rings }, { "grants", hg_grants }, { "store", hg_store },
		     { "floods", hg_floods } };
	struct hg g = { .steps = argc > 1 ? argv[1] : "data/steps" };

	hg_open(&g);
	hg_connect(&g);
	hg_start(&g);
	hg_good(&g);
	for (unsigned int i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		if (argc < 3 || !strcmp(argv[2], part[i].name))
			part[i].run(&g);
	hg_must(!hg_status(&g, 0));
	hg_step(&g, 0, "end", " ");
	share_close(g.share);
	return 0;
}
