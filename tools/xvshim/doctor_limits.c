/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doctor: what must be loaded, and whether there is enough of what devices take. */
#include "doctor.h"

#include "mem/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- modules -- */

static void check_module(struct doctor *dr, const char *path, const char *module, const char *what)
{
	char mend[80];

	snprintf(mend, sizeof(mend), "modprobe %s", module);
	if (tree_exists(&dr->m.tree, "%s", path))
		finding(dr, FINE, NULL, "%s", module);
	else
		finding(dr, WRONG, mend, "%s is not loaded: %s", module, what);
}

void check_modules(struct doctor *dr)
{
	about(dr, "modules");
	check_module(dr, "dev/xen/privcmd", "xen-privcmd", "no hypercalls");
	check_module(dr, "dev/xen/gntdev", "xen-gntdev", "no grants can be mapped");
	check_module(dr, "dev/xen/gntalloc", "xen-gntalloc", "no memory for rings");
	check_module(dr, "dev/xen/evtchn", "xen-evtchn", "no events");
	check_module(dr, "sys/bus/pci/drivers/uio_pci_generic", "uio_pci_generic",
		     "no device can be taken");
}

/* -- limits -- */

#define DMA_PAGES_NEXT 128 /* of a device that is not attached yet; each queue takes a few */
#define MAPTRACK_PER_FRAME 256
#define MAPTRACK_FRAMES 1024 /* Xen's default for dom0 */
#define GRANTS_PER_FRAME 512 /* version 1; fewer in version 2 */

/* What the attached devices hold, and what one more would. */
static uint64_t dma_pages(struct doctor *dr, unsigned int *devices)
{
	json_object *list = dr->daemon ? field(dr->daemon, "devices") : NULL;
	uint64_t sum = 0;

	*devices = list ? (unsigned int)json_object_array_length(list) : 0;
	for (unsigned int i = 0; i < *devices; i++)
		sum += field_number(json_object_array_get_idx(list, i), "dma_pages");
	return sum;
}

static void check_gntalloc(struct doctor *dr, uint64_t used)
{
	unsigned long long limit;
	char mend[160];

	if (tree_number(&dr->m.tree, &limit, "sys/module/xen_gntalloc/parameters/limit")) {
		finding(dr, UNKNOWN, NULL, "the limit of xen_gntalloc cannot be read");
		return;
	}
	snprintf(mend, sizeof(mend),
		 "echo %llu > /sys/module/xen_gntalloc/parameters/limit; for good: options "
		 "xen_gntalloc limit=%llu in /etc/modprobe.d",
		 limit * 4, limit * 4);
	if (used + DMA_PAGES_NEXT > limit)
		finding(dr, WRONG, mend,
			"xen_gntalloc: %" PRIu64 " of %llu pages in use, one more device takes "
			"about a hundred",
			used, limit);
	else
		finding(dr, FINE, NULL, "xen_gntalloc: %" PRIu64 " of %llu pages in use", used,
			limit);
}

/* The value of "name=N" on Xen's command line, or what it is without. */
static uint64_t xen_option(const struct doctor *dr, const char *name, uint64_t otherwise)
{
	const char *at = strstr(dr->m.hv.command_line, name);

	return at && at[strlen(name)] == '=' ? strtoull(at + strlen(name) + 1, NULL, 0) : otherwise;
}

static void check_maptrack(struct doctor *dr, uint64_t used, unsigned int devices)
{
	uint64_t have = xen_option(dr, "gnttab_max_maptrack_frames", MAPTRACK_FRAMES) *
			MAPTRACK_PER_FRAME;
	uint64_t need = used + DMA_PAGES_NEXT + (devices + 1ull) * JOURNAL_PINS;

	if (!dr->m.hv.command_line[0]) {
		finding(dr, UNKNOWN, NULL, "how many grants dom0 may map cannot be read");
		return;
	}
	if (need > have)
		finding(dr, WRONG, "gnttab_max_maptrack_frames=4096 on Xen's command line",
			"dom0 may map %" PRIu64 " grants, %u devices and one more may need "
			"%" PRIu64,
			have, devices, need);
	else
		finding(dr, FINE, NULL,
			"dom0 may map %" PRIu64 " grants, %u devices and one more need at most "
			"%" PRIu64,
			have, devices, need);
}

/* The rings are granted by dom0 to itself. */
static void check_grant_table(struct doctor *dr, uint64_t used)
{
	uint64_t have = (uint64_t)dr->m.hv.grant_frames_max * GRANTS_PER_FRAME;

	if (!have)
		finding(dr, UNKNOWN, NULL, "the limit of dom0's grant table cannot be read");
	else if (used + DMA_PAGES_NEXT > have)
		finding(dr, WRONG, "gnttab_max_frames=256 on Xen's command line",
			"dom0's grant table has room for %" PRIu64 " entries, rings use %" PRIu64,
			have, used);
	else
		finding(dr, FINE, NULL,
			"dom0's grant table: %u frames of at most %u, rings use %" PRIu64
			" entries",
			dr->m.hv.grant_frames, dr->m.hv.grant_frames_max, used);
}

void check_limits(struct doctor *dr)
{
	unsigned int devices;
	uint64_t used = dma_pages(dr, &devices);

	about(dr, "limits");
	check_gntalloc(dr, used);
	check_maptrack(dr, used, devices);
	check_grant_table(dr, used);
}
