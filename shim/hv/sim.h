/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine with Xen on plain Linux: frames, domains, grant tables, event channels and a store
 * in shared memory, so that threads and forked processes act on the same machine.
 *
 * Functions here are the rest of the world: the toolstack, the guests, the test. What a back
 * end does goes through struct hv.
 *
 * Errors: 0 or a negative errno. Nothing logs. Threads: everything may be called from any
 * thread and any process forked from the one that made the machine; a struct hv belongs to
 * the thread that opened it.
 *
 * An operation is atomic even against SIGKILL, as a hypercall is: what a killed process had
 * half done is rolled back by the next one that enters the machine.
 */
#ifndef XVS_HV_SIM_H
#define XVS_HV_SIM_H

#include "hv/frames.h"
#include "hv/hv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sim_machine;

/* Status of one grant operation; numbers as in Xen's public/grant_table.h. */
enum sim_status {
	SIM_GNTST_OKAY = 0,
	SIM_GNTST_GENERAL_ERROR = -1,
	SIM_GNTST_BAD_DOMAIN = -2,
	SIM_GNTST_BAD_GNTREF = -3,
	SIM_GNTST_BAD_HANDLE = -4,
	SIM_GNTST_BAD_VIRT_ADDR = -5,
	SIM_GNTST_BAD_DEV_ADDR = -6,
	SIM_GNTST_NO_DEVICE_SPACE = -7,
	SIM_GNTST_PERMISSION_DENIED = -8,
	SIM_GNTST_BAD_PAGE = -9,
	SIM_GNTST_BAD_COPY_ARG = -10,
	SIM_GNTST_ADDRESS_TOO_BIG = -11,
	SIM_GNTST_EAGAIN = -12,
	SIM_GNTST_NO_SPACE = -13,
};

/* 0 in any field: the default. */
struct sim_config {
	uint64_t seed;        /* of everything random */
	uint32_t frames;      /* machine frames, 16384 */
	uint32_t max_grants;  /* references a domain */
	uint32_t max_handles; /* maptrack entries a domain */
	uint32_t max_ports;   /* event channels a domain */
};

struct sim_machine *sim_machine_new(const struct sim_config *config, int *err);
/* Only in the process that made it, once every hv, guest and device of it is closed. */
void sim_machine_free(struct sim_machine *m);

/* The table of operations. hv_open() of it opens the machine and domain named last. */
const struct hv_ops *hv_sim(void);
void sim_machine_use(struct sim_machine *m, uint16_t domid);
struct hv *sim_hv_open(struct sim_machine *m, uint16_t domid, unsigned int caps, int *err);

/*
 * Domains. A new one owns npages frames, pfn 0 up, each at a frame that is neither its own
 * number nor next to that of its neighbour, and a node /local/domain/N in the store. A killed
 * one stays in sight, dying, while anybody holds a page of it; its number is free after that.
 */
int sim_domain_add(struct sim_machine *m, uint16_t domid, uint32_t npages, bool hvm);
int sim_domain_shutdown(struct sim_machine *m, uint16_t domid);
int sim_domain_kill(struct sim_machine *m, uint16_t domid);

/*
 * Stands for a NUL in a value that is written to the store, which a guest can put there and no
 * string holds: such a node reads as -EILSEQ.
 */
#define SIM_STORE_NUL '\377'

/* What a guest does with its own memory. gpa is a byte address over pfns. */
int sim_pages_alloc(struct sim_machine *m, uint16_t domid, uint32_t n, pfn_t *first);
void sim_pages_free(struct sim_machine *m, uint16_t domid, pfn_t first, uint32_t n);
/* Gives the frame back to Xen; it stays allocated while anybody holds it. */
int sim_balloon_out(struct sim_machine *m, uint16_t domid, pfn_t pfn);
int sim_mem_read(struct sim_machine *m, uint16_t domid, uint64_t gpa, void *buf, size_t len);
int sim_mem_write(struct sim_machine *m, uint16_t domid, uint64_t gpa, const void *buf,
		  size_t len);
/* A view of n pages of a domain, contiguous, in this process. The caller unmaps it. */
void *sim_pages_map(struct sim_machine *m, uint16_t domid, pfn_t first, uint32_t n);
void sim_pages_unmap(void *va, uint32_t n);

/* Both ways through the translation; -ENOENT for a hole. */
int sim_p2m(struct sim_machine *m, uint16_t domid, pfn_t pfn, mfn_t *mfn);
int sim_m2p(struct sim_machine *m, mfn_t mfn, uint16_t *domid, pfn_t *pfn);

/* And takes one back for a page it had given up: another frame. */
int sim_balloon_in(struct sim_machine *m, uint16_t domid, pfn_t pfn);
/* Makes a page table of a page, or not any more. -EBUSY: somebody may write it. */
int sim_page_table(struct sim_machine *m, uint16_t domid, pfn_t pfn, bool table);

/*
 * The p2m that a PV guest publishes is memory of its own: it may write there what it likes, for
 * up to HV_P2M_MAX_PFNS, and say that it has so many. Ballooning keeps it true. reshape is
 * one step of a change of its shape: the generation is odd until the next.
 */
#define SIM_P2M_INVALID UINT64_MAX
int sim_p2m_write(struct sim_machine *m, uint16_t domid, pfn_t pfn, uint64_t entry);
int sim_p2m_resize(struct sim_machine *m, uint16_t domid, uint64_t npfns);
int sim_p2m_reshape(struct sim_machine *m, uint16_t domid);

/*
 * Grants, the guest's side. A range takes consecutive references. Ending is all or nothing:
 * -EBUSY while one of the pages is mapped, and then none is ended.
 */
int sim_grant(struct sim_machine *m, uint16_t domid, pfn_t pfn, uint16_t to, bool readonly,
	      uint32_t *ref);
int sim_grant_range(struct sim_machine *m, uint16_t domid, pfn_t first, uint32_t n, uint16_t to,
		    bool readonly, uint32_t *ref);
int sim_grant_end(struct sim_machine *m, uint16_t domid, uint32_t ref, uint32_t n);
/* The flags Xen keeps in the entry: a map is reading, a writable one writing. */
int sim_grant_in_use(struct sim_machine *m, uint16_t domid, uint32_t ref, bool *reading,
		     bool *writing);

/* Event channels, the guest's side. wait: 1 an event (taken), 0 none within ms. */
int sim_evtchn_alloc(struct sim_machine *m, uint16_t domid, uint16_t remote, uint32_t *port);
int sim_evtchn_close(struct sim_machine *m, uint16_t domid, uint32_t port);
int sim_evtchn_send(struct sim_machine *m, uint16_t domid, uint32_t port);
int sim_evtchn_wait(struct sim_machine *m, uint16_t domid, uint32_t port, unsigned int ms);
bool sim_evtchn_bound(struct sim_machine *m, uint16_t domid, uint32_t port);

/*
 * A device of domain domid wants to touch len bytes at maddr. 0, or -EFAULT and why in words.
 * Every frame must be pinned by a live device-map handle of that domain, one for writing if
 * write is set. gen, of one number a frame, tells a later pin from the one that held then.
 */
enum sim_reach { SIM_REACH_ANY, SIM_REACH_DMA };
int sim_device_reach(struct sim_machine *m, uint16_t domid, maddr_t maddr, uint64_t len,
		     bool write, enum sim_reach what, uint32_t *gen, char *why, size_t size);
/* The bytes at a machine address, without any check but that they exist. */
void *sim_maddr_va(struct sim_machine *m, maddr_t maddr, uint64_t len);

/* Operations of struct hv_ops, to inject a fault at or to count. */
enum sim_op {
	SIM_OP_OPEN,
	SIM_OP_GNT_MAP,
	SIM_OP_GNT_UNMAP,
	SIM_OP_GNT_COPY,
	SIM_OP_HOST_MAP,
	SIM_OP_HOST_UNMAP,
	SIM_OP_DMA_ALLOC,
	SIM_OP_DMA_FREE,
	SIM_OP_SELF_PFN,
	SIM_OP_SELF_P2M,
	SIM_OP_SELF_MAP,
	SIM_OP_SELF_UNMAP,
	SIM_OP_FOREIGN_MAP,
	SIM_OP_FOREIGN_UNMAP,
	SIM_OP_P2M_OPEN,
	SIM_OP_P2M_SYNC,
	SIM_OP_P2M_LEAF,
	SIM_OP_EVTCHN_FD,
	SIM_OP_EVTCHN_BIND,
	SIM_OP_EVTCHN_UNBIND,
	SIM_OP_EVTCHN_NOTIFY,
	SIM_OP_EVTCHN_PENDING,
	SIM_OP_EVTCHN_UNMASK,
	SIM_OP_STORE_FD,
	SIM_OP_STORE_DISPATCH,
	SIM_OP_STORE_WATCH,
	SIM_OP_STORE_UNWATCH,
	SIM_OP_STORE_BEGIN,
	SIM_OP_STORE_END,
	SIM_OP_STORE_READ,
	SIM_OP_STORE_WRITE,
	SIM_OP_STORE_RM,
	SIM_OP_STORE_LIST,
	SIM_OP_STORE_GRANT,
	SIM_OP_DOM_INFO,
	SIM_OP_DOM_PAUSE,
	SIM_OP_VERSION,
	SIM_OP_MACHINE,
	SIM_OP_COUNT,
};

/*
 * Faults, each for once. nth counts from now, 1 is the next. A call fails as a whole with a
 * negative errno before it did anything (dma_free, which cannot fail, only counts). An element
 * of a batch (gnt_map, gnt_unmap, gnt_copy; foreign_map with an errno) fails alone. A kill ends
 * the calling process with SIGKILL before or after the nth call.
 */
int sim_fault_set(struct sim_machine *m, enum sim_op op, uint64_t nth, int err);
int sim_fault_element(struct sim_machine *m, enum sim_op op, uint64_t nth, int status);
int sim_fault_kill(struct sim_machine *m, enum sim_op op, uint64_t nth, bool after);
void sim_fault_clear(struct sim_machine *m);
/* Faults still waiting; how often an operation was called by anybody. */
unsigned int sim_faults_left(struct sim_machine *m);
uint64_t sim_op_calls(struct sim_machine *m, enum sim_op op);
/* And elements of its batches, where these can fail alone. */
uint64_t sim_op_elements(struct sim_machine *m, enum sim_op op);
/* Calls of this process, the test's own, neither count nor fail; 0: of none. */
void sim_fault_spare(struct sim_machine *m, pid_t pid);
const char *sim_op_name(enum sim_op op);

/*
 * A hypervisor with a bug, to test tests with: on one occasion in so many, for ever, it forgets
 * to give a handle back, lets through a write where it should not, or takes the page next to
 * the one that is granted. one_in 0: sound again.
 */
enum sim_plant {
	SIM_PLANT_NONE,
	SIM_PLANT_LEAK_HANDLE,     /* unmap of a device map says okay and keeps it */
	SIM_PLANT_RO_AS_RW,        /* a read-only map or grant is taken as writable */
	SIM_PLANT_NEIGHBOUR_FRAME, /* map or copy of another page of the same domain */
};
void sim_plant(struct sim_machine *m, enum sim_plant plant, uint64_t one_in);

/* What is held. Everything but grants is what one domain, or any (SIM_ANY), holds. */
#define SIM_ANY 0xffffu
struct sim_audit {
	uint32_t device_handles; /* gnt_map, without the pins of DMA memory */
	uint32_t host_pages;     /* host_map */
	uint32_t foreign_pages;
	uint32_t self_pages;
	uint32_t dma_pages;
	uint32_t grants; /* entries in use */
	uint32_t ports;
	uint32_t watches;
	uint32_t transactions;
	uint32_t opens;       /* struct hv */
	uint32_t zombies;     /* domains dead but for pages somebody holds */
	uint32_t late_writes; /* freed frames whose poison was written over */
};
void sim_audit(struct sim_machine *m, uint16_t domid, struct sim_audit *audit);
/* As one line, for messages. */
void sim_audit_text(const struct sim_audit *audit, char *text, size_t size);
/* Takes back what processes that died held, as a kernel does; most calls here do it too. */
void sim_reap(struct sim_machine *m);

#endif
