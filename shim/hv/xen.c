/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The seam on Xen: opening what the capabilities ask for, and the table. */
#include "hv/xen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <xen/features.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>
#include <xen/sys/privcmd.h>
#include <xen/version.h>
#include <xencall.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xentoollog.h>

static void quiet_message(struct xentoollog_logger *logger, xentoollog_level level, int errnoval,
			  const char *context, const char *format, va_list al)
{
	(void)logger;
	(void)level;
	(void)errnoval;
	(void)context;
	(void)format;
	(void)al;
}

static void quiet_progress(struct xentoollog_logger *logger, const char *context,
			   const char *what, int percent, unsigned long done,
			   unsigned long total)
{
	(void)logger;
	(void)context;
	(void)what;
	(void)percent;
	(void)done;
	(void)total;
}

static void quiet_destroy(struct xentoollog_logger *logger)
{
	(void)logger;
}

struct xentoollog_logger *xen_quiet(void)
{
	static struct xentoollog_logger quiet = {
		.vmessage = quiet_message,
		.progress = quiet_progress,
		.destroy = quiet_destroy,
	};

	return &quiet;
}

/* A file that says so, or the mount point that only a kernel on Xen makes. */
static bool running_on_xen(void)
{
	char type[8] = "";
	FILE *f = fopen("/sys/hypervisor/type", "re");

	if (!f)
		return access("/proc/xen", F_OK) == 0;
	if (!fgets(type, sizeof(type), f))
		type[0] = '\0';
	fclose(f);
	return strncmp(type, "xen", 3) == 0;
}

/*
 * DMA memory is shared with this domain by its number, which is taken for 0 (XEN_OWN_DOMID): in another
 * one it would be dom0's reference of that number that is mapped.
 */
static bool running_elsewhere(void)
{
	char text[64] = "";
	FILE *f = fopen("/proc/xen/capabilities", "re");
	bool elsewhere;

	if (!f)
		return false; /* xenfs is not mounted */
	elsewhere = !fgets(text, sizeof(text), f) || !strstr(text, "control_d");
	fclose(f);
	return elsewhere;
}

static int read_features(struct xen_priv *x)
{
	xen_feature_info_t *info = xencall_alloc_buffer(x->call, sizeof(*info));
	int rc;

	if (!info)
		return -ENOMEM;
	info->submap_idx = 0;
	rc = xencall2(x->call, __HYPERVISOR_xen_version, XENVER_get_features, (uintptr_t)info);
	if (rc < 0)
		rc = -errno;
	else
		x->translated = info->submap & (1u << XENFEAT_auto_translated_physmap);
	xencall_free_buffer(x->call, info);
	return rc < 0 ? rc : 0;
}

static int call_open(struct xen_priv *x)
{
	x->call = xencall_open(xen_quiet(), 0);
	return x->call ? read_features(x) : -errno;
}

static void call_close(struct xen_priv *x)
{
	if (x->call)
		xencall_close(x->call);
}

/* In the order of opening; closing goes backwards and takes parts that were never opened. */
static const struct part {
	unsigned int caps;
	const char *node; /* absent when its kernel module is not loaded */
	int (*open)(struct xen_priv *x);
	void (*close)(struct xen_priv *x);
} parts[] = {
	{ HV_CAP_GRANT | HV_CAP_DMA | HV_CAP_DOMAIN | HV_CAP_MACHINE, "/dev/xen/privcmd", call_open,
	  call_close },
	{ HV_CAP_GRANT | HV_CAP_DOMAIN | HV_CAP_P2M, "/dev/xen/privcmd", xen_fmem_open,
	  xen_fmem_close },
	{ HV_CAP_GRANT, "/dev/xen/gntdev", xen_gnttab_open, xen_gnttab_close },
	{ HV_CAP_DMA, "/dev/xen/gntalloc", xen_gntshr_open, xen_gntshr_close },
	{ HV_CAP_EVTCHN, "/dev/xen/evtchn", xen_evtchn_open, xen_evtchn_close },
	{ HV_CAP_STORE, NULL, xen_store_open, xen_store_close },
	{ HV_CAP_DOMAIN | HV_CAP_MACHINE, "/dev/xen/privcmd", xen_domain_open, xen_domain_close },
	{ HV_CAP_DOMAIN, NULL, xen_p2m_open, xen_p2m_close },
};

#define NR_PARTS (sizeof(parts) / sizeof(parts[0]))

static void close_parts(struct xen_priv *x)
{
	for (size_t i = NR_PARTS; i-- > 0;)
		parts[i].close(x);
}

static int open_part(struct xen_priv *x, const struct part *part)
{
	int rc;

	if (part->node && access(part->node, F_OK))
		return -ENOENT;
	rc = part->open(x);
	return rc == -EPERM ? -EACCES : rc;
}

static int xen_open(struct hv *hv, unsigned int caps)
{
	struct xen_priv *x;
	int rc;

	if (!running_on_xen())
		return -ENODEV;
	if (caps & HV_CAP_DMA && running_elsewhere())
		return -EACCES;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->p2m.pagemap = -1;
	for (size_t i = 0; i < NR_PARTS; i++) {
		rc = caps & parts[i].caps ? open_part(x, &parts[i]) : 0;
		if (rc)
			goto err_close;
	}
	hv->priv = x;
	return 0;

err_close:
	close_parts(x);
	free(x);
	return rc;
}

static void xen_close(struct hv *hv)
{
	struct xen_priv *x = xen_priv(hv);

	close_parts(x);
	free(x);
	hv->priv = NULL;
}

/*
 * As the libraries make them on Linux. A map that the kernel does not take is tried again with the
 * older request, which can do no more than the newer one. Not here: allocating memory of gntalloc,
 * which is the keeper's, and everything that libxenctrl asks.
 */
static const struct need {
	unsigned int caps;
	unsigned long ioctl;
} needs[] = {
	{ HV_CAP_GRANT, IOCTL_PRIVCMD_HYPERCALL },
	{ HV_CAP_GRANT, IOCTL_GNTDEV_MAP_GRANT_REF },
	{ HV_CAP_GRANT, IOCTL_GNTDEV_UNMAP_GRANT_REF },
	{ HV_CAP_GRANT, IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR },
	{ HV_CAP_EVTCHN, IOCTL_EVTCHN_BIND_INTERDOMAIN },
	{ HV_CAP_EVTCHN, IOCTL_EVTCHN_UNBIND },
	{ HV_CAP_EVTCHN, IOCTL_EVTCHN_NOTIFY },
	{ HV_CAP_P2M, IOCTL_PRIVCMD_MMAPBATCH_V2 },
	{ HV_CAP_P2M, IOCTL_PRIVCMD_MMAPBATCH },
};

#define NR_NEEDS (sizeof(needs) / sizeof(needs[0]))
_Static_assert(NR_NEEDS <= sizeof(((struct hv_needs *)0)->ioctl) / sizeof(unsigned long), "room");

static void xen_needs(unsigned int caps, struct hv_needs *out)
{
	for (size_t i = 0; i < NR_NEEDS; i++)
		if (caps & needs[i].caps)
			out->ioctl[out->nr_ioctl++] = needs[i].ioctl;
}

/* The kernel checks both; a hypercall is not of its business, so it lets none through a descriptor
 * that is restricted, and that one is left as it is. */
static int xen_restrict_to(struct hv *hv, uint16_t domid)
{
	struct xen_priv *x = xen_priv(hv);

	if (x->evtchn && xenevtchn_restrict(x->evtchn, domid))
		return errno == ENOTTY ? -EOPNOTSUPP : -errno;
	if (x->fmem && xenforeignmemory_restrict(x->fmem, domid))
		return errno == ENOTTY ? -EOPNOTSUPP : -errno;
	return 0;
}

static const struct hv_ops xen_ops = {
	.name = "xen",
	.open = xen_open,
	.close = xen_close,
	.needs = xen_needs,
	.restrict_to = xen_restrict_to,
	.gnt_map = xen_gnt_map,
	.gnt_unmap = xen_gnt_unmap,
	.gnt_copy = xen_gnt_copy,
	.host_map = xen_host_map,
	.host_unmap = xen_host_unmap,
	.dma_alloc = xen_dma_alloc,
	.dma_free = xen_dma_free,
	.self_pfn = xen_self_pfn,
	.self_p2m = xen_self_p2m,
	.self_map = xen_self_map,
	.self_unmap = xen_unmap,
	.foreign_map = xen_foreign_map,
	.foreign_unmap = xen_unmap,
	.p2m_open = xen_guest_p2m_open,
	.p2m_close = xen_guest_p2m_close,
	.p2m_sync = xen_guest_p2m_sync,
	.p2m_leaf = xen_guest_p2m_leaf,
	.evtchn_fd = xen_evtchn_fd,
	.evtchn_bind = xen_evtchn_bind,
	.evtchn_unbind = xen_evtchn_unbind,
	.evtchn_notify = xen_evtchn_notify,
	.evtchn_pending = xen_evtchn_pending,
	.evtchn_unmask = xen_evtchn_unmask,
	.store_fd = xen_store_fd,
	.store_dispatch = xen_store_dispatch,
	.store_watch = xen_store_watch,
	.store_unwatch = xen_store_unwatch,
	.store_begin = xen_store_begin,
	.store_end = xen_store_end,
	.store_read = xen_store_read,
	.store_write = xen_store_write,
	.store_rm = xen_store_rm,
	.store_list = xen_store_list,
	.store_grant = xen_store_grant,
	.dom_info = xen_dom_info,
	.dom_pause = xen_dom_pause,
	.version = xen_version,
	.machine = xen_machine,
};

const struct hv_ops *hv_xen(void)
{
	return &xen_ops;
}
