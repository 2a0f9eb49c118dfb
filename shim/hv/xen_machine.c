/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What Xen says of itself and of its machine. */
#include "hv/xen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/version.h>
#include <xencall.h>

int xen_version(struct hv *hv, char *text, size_t size)
{
	struct xen_priv *x = xen_priv(hv);
	xen_extraversion_t *extra;
	int version, rc = 0;

	if (!x->call)
		return -EBADF;
	version = xencall2(x->call, __HYPERVISOR_xen_version, XENVER_version, 0);
	if (version < 0)
		return -errno;
	extra = xencall_alloc_buffer(x->call, sizeof(*extra));
	if (!extra)
		return -ENOMEM;
	if (xencall2(x->call, __HYPERVISOR_xen_version, XENVER_extraversion,
		     (uintptr_t)extra) < 0)
		rc = -errno;
	else
		snprintf(text, size, "%d.%d%.*s", version >> 16, version & 0xffff,
			 (int)sizeof(*extra), *extra);
	xencall_free_buffer(x->call, extra);
	return rc;
}

static void read_command_line(struct xen_priv *x, struct hv_machine *machine)
{
	xen_commandline_t *line = xencall_alloc_buffer(x->call, sizeof(*line));

	if (!line)
		return;
	if (xencall2(x->call, __HYPERVISOR_xen_version, XENVER_commandline, (uintptr_t)line) >= 0)
		snprintf(machine->command_line, sizeof(machine->command_line), "%.*s",
			 (int)sizeof(*line) - 1, *line);
	xencall_free_buffer(x->call, line);
}

static void read_grant_table(struct xen_priv *x, struct hv_machine *machine)
{
	struct gnttab_query_size *q = xencall_alloc_buffer(x->call, sizeof(*q));

	if (!q)
		return;
	memset(q, 0, sizeof(*q));
	q->dom = DOMID_SELF;
	if (xencall3(x->call, __HYPERVISOR_grant_table_op, GNTTABOP_query_size, (uintptr_t)q, 1) >=
		    0 &&
	    q->status == GNTST_okay) {
		machine->grant_frames = q->nr_frames;
		machine->grant_frames_max = q->max_nr_frames;
	}
	xencall_free_buffer(x->call, q);
}

/* "Dom0 mode: Strict" of the boot log, as long as the ring still holds it. */
static void read_iommu_mode(struct xen_priv *x, struct hv_machine *machine)
{
	static const char before[] = "Dom0 mode: ";
	char *ring, *at, *next;

	if (xen_console_ring(x, &ring))
		return;
	at = strstr(ring, before);
	/* A later boot's line, if a reboot kept the ring. */
	while (at && (next = strstr(at + 1, before)))
		at = next;
	if (at)
		snprintf(machine->iommu_mode, sizeof(machine->iommu_mode), "%.*s",
			 (int)strcspn(at + sizeof(before) - 1, "\r\n"), at + sizeof(before) - 1);
	free(ring);
}

int xen_machine(struct hv *hv, struct hv_machine *machine)
{
	struct xen_priv *x = xen_priv(hv);
	long max;

	memset(machine, 0, sizeof(*machine));
	if (!x->call || !x->xch)
		return -EBADF;
	machine->translated = x->translated;
	machine->iommu_known = !xen_physinfo_iommu(x, &machine->iommu);
	max = xencall2(x->call, __HYPERVISOR_memory_op, XENMEM_maximum_ram_page, 0);
	machine->max_mfn = max > 0 ? (uint64_t)max : 0;
	read_command_line(x, machine);
	read_grant_table(x, machine);
	read_iommu_mode(x, machine);
	return 0;
}
