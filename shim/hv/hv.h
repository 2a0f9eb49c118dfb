/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only seam to the hypervisor: one table of batched operations with two implementations,
 * Xen (xen*.c) and a simulation on plain Linux (sim*.c).
 *
 * Errors: 0 or a negative errno for the call as a whole; batched operations also leave a
 * status in each element. Nothing here logs.
 *
 * Threads and fork: a handle belongs to the thread that opened it. After fork() a child uses
 * no handle of its parent but memory from dma_alloc, which stays mapped and shared, and opens
 * its own.
 */
#ifndef XVS_HV_HV_H
#define XVS_HV_HV_H

#include "hv/frames.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hv;

/* What a handle is opened for; a worker asks for less than the keeper. */
enum hv_caps {
	HV_CAP_GRANT = 1, /* map, unmap and copy grants; self and foreign maps */
	HV_CAP_EVTCHN = 2,
	HV_CAP_STORE = 4,
	HV_CAP_DOMAIN = 8, /* domain information, own p2m */
	HV_CAP_DMA = 16,   /* allocate DMA memory */
	HV_CAP_MACHINE = 32, /* facts of the machine, and nothing that could change one */
	HV_CAP_P2M = 64,   /* another domain's p2m, and maps of its frames */
};

/*
 * Grant operations. The layouts are those of Xen's stable interface (grant_table.h), so that
 * Xen reads and writes these very bytes: what a hypercall did is on record the moment it is
 * done, even if the caller is killed before it could look. Arrays of them must lie in memory
 * from dma_alloc, which the kernel never moves.
 */
enum { HV_MAP_DEVICE = 1, HV_MAP_READONLY = 4 };

/* Not a status Xen returns: the operation was not carried out yet. */
#define HV_STATUS_PENDING 1
#define HV_STATUS_OKAY 0
#define HV_HANDLE_NONE 0xffffffffu
#define HV_DOMID_SELF 0x7ff0u

struct hv_map_op {
	uint64_t host_addr; /* 0 */
	uint32_t flags;     /* HV_MAP_* */
	uint32_t gref;
	uint16_t domid;
	int16_t status;  /* out */
	uint32_t handle; /* out */
	maddr_t maddr;   /* out: machine address of the page */
};

struct hv_unmap_op {
	uint64_t host_addr; /* 0 */
	maddr_t maddr;      /* as map returned it */
	uint32_t handle;
	int16_t status; /* out */
	uint16_t pad;
};

struct hv_copy_end {
	uint64_t frame; /* a grant reference in the low 32 bits, or an mfn of one's own */
	uint16_t domid;
	uint16_t offset;
	uint32_t pad;
};

enum { HV_COPY_SOURCE_GREF = 1, HV_COPY_DEST_GREF = 2 };

struct hv_copy_op {
	struct hv_copy_end source, dest;
	uint16_t len;   /* neither end may cross a page */
	uint16_t flags; /* HV_COPY_* */
	int16_t status; /* out */
	uint16_t pad;
};

/*
 * Memory for rings and operations: zeroed pages of this domain that a device may reach,
 * contiguous in va, each at a machine address of its own, pinned by a grant handle even after
 * this process died. handle[] must be recorded where the next process finds it.
 */
struct hv_dma {
	void *va;
	unsigned int npages;
	maddr_t *maddr;   /* npages entries, owned by this struct */
	uint32_t *handle; /* npages entries, owned by this struct */
	void *priv;
};

struct hv_dominfo {
	uint16_t domid;
	bool dying; /* being destroyed, or shut down; not: suspended, which may go on */
	bool hvm;   /* PVH or HVM: pfn = gfn */
	uint64_t nr_pages;
};

/* What the hypervisor says of its machine. Empty and 0: it did not say. */
struct hv_machine {
	bool translated; /* this domain is PVH or HVM */
	bool iommu_known, iommu; /* it drives an IOMMU and can assign devices */
	uint64_t max_mfn;        /* the highest frame of memory */
	uint32_t grant_frames, grant_frames_max; /* of this domain's grant table */
	char iommu_mode[24];     /* of dom0, as the boot log calls it: "Strict" */
	char command_line[1024];
};

/*
 * A PV domain's own table from pfn to machine frame, as that domain publishes it. Everything in it
 * is the guest's word, and changes at any moment: an entry is good for nothing but to be handed to
 * foreign_map, where Xen checks whose frame it is.
 *
 * The table comes in leaves of 512 entries, each mapped read-only when it is first asked for.
 */
#define HV_P2M_LEAF (XVS_FRAME_SIZE / sizeof(uint64_t))
#define HV_P2M_MAX_PFNS (1ull << 28) /* 1 TiB */
#define HV_P2M_IDENTITY (1ull << 63) /* no memory of the domain */
#define HV_P2M_FOREIGN (1ull << 62)  /* another domain's, by a grant */

struct hv_p2m {
	uint16_t domid;
	uint64_t npfns;        /* what the guest says it has, at most HV_P2M_MAX_PFNS */
	const uint64_t **leaf; /* npfns / HV_P2M_LEAF, rounded up; NULL: not mapped */
	void *priv;
};

/*
 * What a handle still asks the kernel for once it is open, and everything that it will ever open is:
 * for a filter of system calls. Requests of ioctl(), and the numbers of calls that are this
 * implementation's own.
 */
struct hv_needs {
	unsigned long ioctl[12];
	unsigned int nr_ioctl;
	int call[4];
	unsigned int nr_call;
};

/* A store watch fires with the path that changed and the token of the watch. */
typedef void hv_watch_fn(void *arg, const char *path, const char *token);

struct hv_ops {
	const char *name;

	int (*open)(struct hv *hv, unsigned int caps);
	void (*close)(struct hv *hv);

	void (*needs)(unsigned int caps, struct hv_needs *needs);
	/*
	 * From now on the handle's event channels and foreign maps are of domid and of no other, for
	 * as long as it is open. Not grants, and not what is mapped and bound already. -EOPNOTSUPP:
	 * the kernel does not know how.
	 */
	int (*restrict_to)(struct hv *hv, uint16_t domid);

	/* Grants for a device: no host mapping. Each element carries its status. */
	int (*gnt_map)(struct hv *hv, struct hv_map_op *ops, unsigned int n);
	int (*gnt_unmap)(struct hv *hv, struct hv_unmap_op *ops, unsigned int n);
	int (*gnt_copy)(struct hv *hv, struct hv_copy_op *ops, unsigned int n);

	/* Grants for this process: n references of domid, contiguous at *va. */
	int (*host_map)(struct hv *hv, uint16_t domid, const uint32_t *gref, unsigned int n,
			bool writable, void **va);
	int (*host_unmap)(struct hv *hv, void *va, unsigned int n);

	int (*dma_alloc)(struct hv *hv, unsigned int npages, struct hv_dma *dma);
	/* No device may reach the memory any more. */
	void (*dma_free)(struct hv *hv, struct hv_dma *dma);

	/* Own memory: frame of an address; frame to machine frame; map machine frames. */
	int (*self_pfn)(struct hv *hv, const void *va, pfn_t *pfn);
	int (*self_p2m)(struct hv *hv, pfn_t pfn, mfn_t *mfn);
	int (*self_map)(struct hv *hv, const mfn_t *mfn, unsigned int n, bool writable,
			void **va);
	int (*self_unmap)(struct hv *hv, void *va, unsigned int n);

	/*
	 * Another domain's frames; err[i] 0 or a negative errno; fails only as a whole. Xen checks
	 * that each is the domain's own and holds it until it is unmapped; a writable map also
	 * keeps the guest from making a page table of it, and fails if it is one. Only whole maps
	 * are unmapped, but several together where they lie side by side.
	 */
	int (*foreign_map)(struct hv *hv, uint16_t domid, const gfn_t *gfn, unsigned int n,
			   bool writable, void **va, int *err);
	int (*foreign_unmap)(struct hv *hv, void *va, unsigned int n);

	/*
	 * Another PV domain's p2m. open: -EOPNOTSUPP: it has none, or publishes none. sync follows
	 * its shape, before a batch of look-ups: 0; 1: it changed, all leaves are unmapped;
	 * -EAGAIN: it is changing. leaf maps one: -ERANGE: there is no such; -ENXIO: the guest has
	 * nothing there; -EFAULT: what stands in the way there is not the guest's own.
	 */
	int (*p2m_open)(struct hv *hv, uint16_t domid, struct hv_p2m **p2m);
	void (*p2m_close)(struct hv *hv, struct hv_p2m *p2m);
	int (*p2m_sync)(struct hv *hv, struct hv_p2m *p2m);
	int (*p2m_leaf)(struct hv *hv, struct hv_p2m *p2m, uint64_t leaf);

	/* Event channels. pending: 1 and a port (masked until unmask), 0 none. */
	int (*evtchn_fd)(struct hv *hv);
	int (*evtchn_bind)(struct hv *hv, uint16_t domid, uint32_t remote, uint32_t *port);
	int (*evtchn_unbind)(struct hv *hv, uint32_t port);
	int (*evtchn_notify)(struct hv *hv, uint32_t port);
	int (*evtchn_pending)(struct hv *hv, uint32_t *port);
	int (*evtchn_unmask)(struct hv *hv, uint32_t port);

	/*
	 * The store. t is 0 or a transaction. Strings returned are the caller's to free().
	 * store_grant creates a node owned by owner that reader may read.
	 * store_end: -EAGAIN when the transaction conflicted and must be done again.
	 */
	int (*store_fd)(struct hv *hv);
	int (*store_dispatch)(struct hv *hv, hv_watch_fn *fn, void *arg);
	int (*store_watch)(struct hv *hv, const char *path, const char *token);
	int (*store_unwatch)(struct hv *hv, const char *path, const char *token);
	int (*store_begin)(struct hv *hv, uint32_t *t);
	int (*store_end)(struct hv *hv, uint32_t t, bool abort);
	int (*store_read)(struct hv *hv, uint32_t t, const char *path, char **value);
	int (*store_write)(struct hv *hv, uint32_t t, const char *path, const char *value);
	int (*store_rm)(struct hv *hv, uint32_t t, const char *path);
	int (*store_list)(struct hv *hv, uint32_t t, const char *path, char ***names,
			  unsigned int *n); /* one free() for names */
	int (*store_grant)(struct hv *hv, uint32_t t, const char *path, uint16_t owner,
			   uint16_t reader);

	/* -ESRCH when there is no such domain. */
	int (*dom_info)(struct hv *hv, uint16_t domid, struct hv_dominfo *info);
	/* The domain runs no instruction until it is unpaused as often as it was paused. */
	int (*dom_pause)(struct hv *hv, uint16_t domid, bool pause);
	int (*version)(struct hv *hv, char *text, size_t size);
	/* What cannot be asked stays empty; an error only where nothing can. */
	int (*machine)(struct hv *hv, struct hv_machine *machine);
};

/* Counters every implementation keeps; the data path is judged by them. */
struct hv_counters {
	uint64_t map_calls, map_pages;
	uint64_t unmap_calls, unmap_pages;
	uint64_t copy_calls, copy_ops, copy_bytes;
	uint64_t notify_calls;
};

struct hv {
	const struct hv_ops *ops;
	unsigned int caps;
	struct hv_counters counters;
	void *priv;
};

/* The implementation for Xen; NULL in a build without it. */
const struct hv_ops *hv_xen(void);

/*
 * Opens a handle. Errors: -ENODEV no Xen here, -EACCES not privileged, -ENOENT a kernel module
 * is missing, -ENOSYS the implementation lacks a capability.
 */
struct hv *hv_open(const struct hv_ops *ops, unsigned int caps, int *err);
void hv_close(struct hv *hv);

/*
 * One entry of another domain's p2m, as it stands now: 0, -ERANGE: beyond the guest's memory;
 * -ENXIO: no memory there; or an error of p2m_leaf.
 */
int hv_p2m_read(struct hv *hv, struct hv_p2m *p2m, pfn_t pfn, mfn_t *mfn);

/* What Xen's status of one element means: 0 or a negative errno. */
int hv_status_errno(int16_t status);
/* The same in Xen's words, for messages. */
const char *hv_status_name(int16_t status);

#endif
