/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to xen*.c: the parts of a handle on Xen. */
#ifndef XVS_HV_XEN_H
#define XVS_HV_XEN_H

#include "hv/hv.h"

#include <xen/xen.h>

struct xencall_handle;
struct xenevtchn_handle;
struct xenforeignmemory_handle;
struct xengntdev_handle;
struct xentoollog_logger;
struct xs_handle;

/* The domain this runs in; it shares its DMA memory with itself. */
#define XEN_OWN_DOMID 0

/*
 * The linear p2m of this domain, mapped leaf by leaf as it is needed. Filled and dropped on the
 * fly, so a look-up that hits is one array read.
 */
struct xen_p2m {
	int pagemap; /* of the process that opened the handle */
	const shared_info_t *shared;
	uint64_t generation;
	const uint64_t **leaf;
	uint64_t nr_leaves;
};

/* Everything is NULL (pagemap: -1) that the capabilities did not ask for. */
struct xen_priv {
	struct xencall_handle *call;
	struct xengntdev_handle *gnttab;
	struct xengntdev_handle *gntshr;
	struct xenforeignmemory_handle *fmem;
	struct xenevtchn_handle *evtchn;
	struct xs_handle *store;
	void *xch;       /* libxenctrl's; only xen_domain.c looks inside */
	void *scratch;   /* a shared page for the operations of dma_alloc itself */
	bool translated; /* not a PV domain: what we call a frame is a gfn */
	struct xen_p2m p2m;
};

static inline struct xen_priv *xen_priv(struct hv *hv)
{
	return hv->priv;
}

/* A logger that says nothing: the libraries' default writes to stderr. */
struct xentoollog_logger *xen_quiet(void);

/* xen_grant.c */
int xen_gnttab_open(struct xen_priv *x);
void xen_gnttab_close(struct xen_priv *x);
int xen_gnt_map(struct hv *hv, struct hv_map_op *ops, unsigned int n);
int xen_gnt_unmap(struct hv *hv, struct hv_unmap_op *ops, unsigned int n);
int xen_gnt_copy(struct hv *hv, struct hv_copy_op *ops, unsigned int n);
int xen_host_map(struct hv *hv, uint16_t domid, const uint32_t *gref, unsigned int n,
		 bool writable, void **va);
int xen_host_unmap(struct hv *hv, void *va, unsigned int n);
/* The same without counting; for dma_alloc. */
int xen_raw_map(struct xen_priv *x, struct hv_map_op *ops, unsigned int n);
int xen_raw_unmap(struct xen_priv *x, struct hv_unmap_op *ops, unsigned int n);

/* xen_dma.c */
int xen_gntshr_open(struct xen_priv *x);
void xen_gntshr_close(struct xen_priv *x);
int xen_dma_alloc(struct hv *hv, unsigned int npages, struct hv_dma *dma);
void xen_dma_free(struct hv *hv, struct hv_dma *dma);

/* xen_map.c */
int xen_fmem_open(struct xen_priv *x);
void xen_fmem_close(struct xen_priv *x);
int xen_self_map(struct hv *hv, const mfn_t *mfn, unsigned int n, bool writable, void **va);
int xen_foreign_map(struct hv *hv, uint16_t domid, const gfn_t *gfn, unsigned int n,
		    bool writable, void **va, int *err);
int xen_unmap(struct hv *hv, void *va, unsigned int n);
/* One frame, read-only; NULL with *err set when it cannot be mapped. domid: DOMID_SELF for a frame
 * of this domain; Xen takes no frame that is not that domain's. */
const void *xen_map_frame(struct xen_priv *x, uint16_t domid, uint64_t mfn, int *err);
void xen_unmap_frame(struct xen_priv *x, const void *va);

/* xen_p2m.c */
int xen_p2m_open(struct xen_priv *x);
void xen_p2m_close(struct xen_priv *x);
int xen_self_pfn(struct hv *hv, const void *va, pfn_t *pfn);
int xen_self_p2m(struct hv *hv, pfn_t pfn, mfn_t *mfn);
/* The frame of one leaf of the linear p2m that a domain publishes in its shared info page. -ENXIO:
 * nothing is there; others: a table on the way could not be mapped. */
int xen_p2m_leaf_frame(struct xen_priv *x, uint16_t domid, const shared_info_t *shared,
		       uint64_t leaf, uint64_t *frame);

/* xen_guest_p2m.c */
int xen_guest_p2m_open(struct hv *hv, uint16_t domid, struct hv_p2m **p2m);
void xen_guest_p2m_close(struct hv *hv, struct hv_p2m *p2m);
int xen_guest_p2m_sync(struct hv *hv, struct hv_p2m *p2m);
int xen_guest_p2m_leaf(struct hv *hv, struct hv_p2m *p2m, uint64_t leaf);

/* xen_evtchn.c */
int xen_evtchn_open(struct xen_priv *x);
void xen_evtchn_close(struct xen_priv *x);
int xen_evtchn_fd(struct hv *hv);
int xen_evtchn_bind(struct hv *hv, uint16_t domid, uint32_t remote, uint32_t *port);
int xen_evtchn_unbind(struct hv *hv, uint32_t port);
int xen_evtchn_notify(struct hv *hv, uint32_t port);
int xen_evtchn_pending(struct hv *hv, uint32_t *port);
int xen_evtchn_unmask(struct hv *hv, uint32_t port);

/* xen_store.c */
int xen_store_open(struct xen_priv *x);
void xen_store_close(struct xen_priv *x);
int xen_store_fd(struct hv *hv);
int xen_store_dispatch(struct hv *hv, hv_watch_fn *fn, void *arg);
int xen_store_watch(struct hv *hv, const char *path, const char *token);
int xen_store_unwatch(struct hv *hv, const char *path, const char *token);
int xen_store_begin(struct hv *hv, uint32_t *t);
int xen_store_end(struct hv *hv, uint32_t t, bool abort);
int xen_store_read(struct hv *hv, uint32_t t, const char *path, char **value);
int xen_store_write(struct hv *hv, uint32_t t, const char *path, const char *value);
int xen_store_rm(struct hv *hv, uint32_t t, const char *path);
int xen_store_list(struct hv *hv, uint32_t t, const char *path, char ***names,
		   unsigned int *n);
int xen_store_grant(struct hv *hv, uint32_t t, const char *path, uint16_t owner,
		    uint16_t reader);

/* xen_domain.c */
int xen_domain_open(struct xen_priv *x);
void xen_domain_close(struct xen_priv *x);
int xen_dom_info(struct hv *hv, uint16_t domid, struct hv_dominfo *info);
int xen_dom_pause(struct hv *hv, uint16_t domid, bool pause);
int xen_shared_info_frame(struct xen_priv *x, uint64_t *frame);
/* The same of another domain; -EOPNOTSUPP: it is no PV domain. Opens what it needs for the call. */
int xen_guest_shared_info(uint16_t domid, uint64_t *frame);
/* Whether Xen drives an IOMMU; the last part of its console ring, to be free()d. */
int xen_physinfo_iommu(struct xen_priv *x, bool *iommu);
int xen_console_ring(struct xen_priv *x, char **text);

/* xen_machine.c */
int xen_version(struct hv *hv, char *text, size_t size);
int xen_machine(struct hv *hv, struct hv_machine *machine);

#endif
