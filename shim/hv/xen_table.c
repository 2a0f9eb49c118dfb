/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Xen's headers have version 2 of the table for those alone who say that they know it. */
#define __XEN_INTERFACE_VERSION__ 0x0003020a

#include "hv/table.h"

#include "hv/xen.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xencall.h>
#include <xenforeignmemory.h>

#define A_FRAME (XVS_FRAME_SIZE / sizeof(grant_entry_v2_t))

struct table {
	uint16_t domid;
	xenforeignmemory_handle *fmem;
	/* the frame with the entry that is changed */
	xenforeignmemory_resource_handle *frame;
	volatile grant_entry_v2_t *entry;
	grant_entry_v2_t was;
};

int table_version(uint16_t domid)
{
	xencall_handle *call = xencall_open(xen_quiet(), 0);
	struct gnttab_get_version *get;
	int rc;

	if (!call)
		return -errno;
	rc = -ENOMEM;
	get = xencall_alloc_buffer(call, sizeof(*get));
	if (!get)
		goto out;
	*get = (struct gnttab_get_version){ .dom = domid };
	rc = xencall3(call, __HYPERVISOR_grant_table_op, GNTTABOP_get_version, (uintptr_t)get, 1);
	rc = rc < 0 ? -errno : (int)get->version;
	xencall_free_buffer(call, get);
out:
	xencall_close(call);
	return rc;
}

struct table *table_open(uint16_t domid, int *err)
{
	struct table *t = calloc(1, sizeof(*t));

	*err = -ENOMEM;
	if (!t)
		return NULL;
	t->domid = domid;
	t->fmem = xenforeignmemory_open(xen_quiet(), 0);
	if (t->fmem)
		return t;
	*err = -errno;
	free(t);
	return NULL;
}

void table_close(struct table *t)
{
	if (!t)
		return;
	table_restore(t);
	xenforeignmemory_close(t->fmem);
	free(t);
}

static int take(struct table *t, uint32_t gref)
{
	void *va = NULL;

	if (t->frame)
		return -EBUSY;
	t->frame = xenforeignmemory_map_resource(t->fmem, t->domid, XENMEM_resource_grant_table,
						 XENMEM_resource_grant_table_id_shared,
						 gref / A_FRAME, 1, &va, PROT_READ | PROT_WRITE, 0);
	if (!t->frame)
		return -errno;
	t->entry = (volatile grant_entry_v2_t *)va + gref % A_FRAME;
	for (unsigned int i = 0; i < sizeof(t->was) / 4; i++)
		((uint32_t *)&t->was)[i] = ((volatile uint32_t *)t->entry)[i];
	if ((t->was.hdr.flags & (GTF_type_mask | GTF_sub_page)) == GTF_permit_access)
		return 0;
	xenforeignmemory_unmap_resource(t->fmem, t->frame);
	t->frame = NULL;
	return -EINVAL;
}

/* Xen must see an entry that is none while it changes, as with the kernel's own changes. */
static void put(struct table *t, const grant_entry_v2_t *now)
{
	t->entry->hdr.flags = 0;
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned int i = 1; i < sizeof(*now) / 4; i++)
		((volatile uint32_t *)t->entry)[i] = ((const uint32_t *)now)[i];
	t->entry->hdr.domid = now->hdr.domid;
	atomic_thread_fence(memory_order_seq_cst);
	t->entry->hdr.flags = now->hdr.flags;
}

int table_make_sub_page(struct table *t, uint32_t gref, uint16_t offset, uint16_t len)
{
	grant_entry_v2_t now;
	int rc = take(t, gref);

	if (rc)
		return rc;
	now = t->was;
	now.sub_page.hdr.flags |= GTF_sub_page;
	now.sub_page.page_off = offset;
	now.sub_page.length = len;
	put(t, &now);
	return 0;
}

int table_make_transitive(struct table *t, uint32_t gref, uint16_t from, uint32_t from_gref)
{
	grant_entry_v2_t now = { 0 };
	int rc = take(t, gref);

	if (rc)
		return rc;
	now.transitive.hdr.flags = GTF_transitive | (t->was.hdr.flags & GTF_readonly);
	now.transitive.hdr.domid = t->was.hdr.domid;
	now.transitive.trans_domid = from;
	now.transitive.gref = from_gref;
	put(t, &now);
	return 0;
}

void table_restore(struct table *t)
{
	if (!t->frame)
		return;
	put(t, &t->was);
	xenforeignmemory_unmap_resource(t->fmem, t->frame);
	t->frame = NULL;
}
