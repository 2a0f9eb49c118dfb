/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a simulated machine. All of it that changes lies in memory shared between
 * processes, under one robust mutex; functions called *_locked want it held.
 *
 * Before a byte of the state changes, sim_touch() saves it. When a process dies with the mutex
 * held, the next owner puts back what was saved since the last sim_commit().
 */
#ifndef XVS_HV_SIM_PRIV_H
#define XVS_HV_SIM_PRIV_H

#include "hv/sim.h"

#include <pthread.h>
#include <sys/types.h>

#define SIM_DOMS 16
#define SIM_PAGES 65536   /* a domain */
#define SIM_FRAMES 131072 /* a machine */
#define SIM_GRANTS 16384
#define SIM_TRACKS 16384
#define SIM_PORTS 512
#define SIM_READY 64 /* events that wait to be read, a handle: as Linux for that many ports */
#define SIM_SLOTS 64
#define SIM_MAPS 4096
#define SIM_WINDOW 32768 /* pages of address space for DMA memory */
#define SIM_FAULTS 32
#define SIM_MFN_BASE 64 /* so that no machine address is 0 */
#define SIM_NONE 0xffffffffu
#define SIM_FIRST_REF 8 /* Xen keeps the references below for itself */
#define SIM_UNDO (256 * 1024)
#define SIM_LIST HV_P2M_MAX_PFNS /* entries of a published p2m; memory only where written */
#define SIM_POISON 0xd5

#define SIM_NODES 1024
#define SIM_PATH 256
#define SIM_VALUE 2048
#define SIM_WATCHES 128
#define SIM_EVENTS 32 /* store events waiting, a handle */
#define SIM_TXNS 8
#define SIM_TXN_NODES 64

enum sim_frame_state { SIM_FRAME_FREE, SIM_FRAME_RAM, SIM_FRAME_ZOMBIE, SIM_FRAME_POISON };
enum sim_dma_state { SIM_DMA_NO, SIM_DMA_LIVE, SIM_DMA_ORPHAN };

struct sim_frame {
	uint8_t state;
	uint8_t dma;
	uint16_t owner;
	uint32_t pfn;
	uint32_t refs;         /* of all kinds */
	uint32_t dev_r, dev_w; /* device and foreign maps, for reading and for writing */
	bool table;            /* a page table of its owner: nobody else writes it */
	uint32_t gen;          /* counts the times the last device map went */
	uint32_t dma_ref;      /* the grant that pins it, for DMA memory */
	uint16_t dma_slot;
	uint16_t spare;
};

enum sim_track_kind {
	SIM_TRACK_NONE,
	SIM_TRACK_DEVICE,
	SIM_TRACK_HOST,
	SIM_TRACK_FOREIGN,
	SIM_TRACK_SELF,
};

/* One page somebody holds. Its index is the handle. */
struct sim_track {
	uint8_t kind;
	bool write;
	uint16_t granter;
	uint32_t ref;
	uint32_t frame;
	uint16_t slot; /* not for device maps: those are the domain's */
	uint16_t map;  /* whose page number index this is; not for device maps either */
	uint32_t index;
};

struct sim_gnt {
	bool used;
	bool readonly;
	uint16_t to;
	uint32_t frame;
	uint32_t readers, writers;
};

enum sim_port_state { SIM_PORT_FREE, SIM_PORT_UNBOUND, SIM_PORT_BOUND };

struct sim_port {
	uint8_t state;
	bool pending;
	bool masked; /* only ports of a struct hv are ever masked */
	bool ready;  /* in the list evtchn_pending reads */
	uint16_t remote;
	uint16_t slot; /* SIM_SLOTS: the guest itself */
	uint32_t remote_port;
};

enum sim_dom_state { SIM_DOM_NONE, SIM_DOM_LIVE, SIM_DOM_SHUTDOWN, SIM_DOM_DYING };

struct sim_dom {
	uint8_t state;
	bool hvm;
	uint16_t domid;
	uint32_t npages;
	uint32_t frames; /* owned, zombies included */
	uint32_t next_page, next_ref, next_track;
	uint32_t tracks; /* device and host maps it holds */
	uint32_t paused; /* times */
	uint64_t list_pfns, list_generation; /* of the p2m list it publishes */
	uint32_t evt_seq; /* futex: counts events for the guest itself */
	uint32_t p2m[SIM_PAGES];
	uint8_t taken[SIM_PAGES];
	struct sim_gnt gnt[SIM_GRANTS];
	struct sim_track track[SIM_TRACKS];
	struct sim_port port[SIM_PORTS];
};

struct sim_event {
	uint16_t watch;
	char path[SIM_PATH];
};

/* An open struct hv. */
struct sim_slot {
	bool used;
	uint16_t domid;
	pid_t pid;
	uint32_t nready, first_ready;
	uint32_t ready[SIM_READY];
	bool ran_over; /* more were ready than that */
	uint32_t nevents, first_event;
	struct sim_event event[SIM_EVENTS];
};

struct sim_map {
	bool used;
	uint8_t kind;
	uint16_t slot;
	uint16_t domid;
	uint32_t n;
	void *va;
};

enum sim_fault_kind {
	SIM_FAULT_NONE,
	SIM_FAULT_CALL,
	SIM_FAULT_ELEMENT,
	SIM_FAULT_KILL_BEFORE,
	SIM_FAULT_KILL_AFTER,
};

struct sim_fault {
	uint8_t kind;
	uint8_t op;
	int code;
	uint64_t left;
};

struct sim_node {
	bool used;
	uint16_t owner, reader;
	uint64_t gen; /* of the last change, of its list of children included */
	char path[SIM_PATH];
	char value[SIM_VALUE];
};

struct sim_watch {
	bool used;
	uint16_t slot;
	char path[SIM_PATH];
	char token[SIM_PATH];
};

enum sim_access { SIM_SEEN, SIM_WRITTEN, SIM_REMOVED };

/* A node as a transaction sees it, and the generation it had at first sight. */
struct sim_txn_node {
	uint8_t access;
	bool exists;
	uint16_t owner, reader;
	uint64_t gen;
	char path[SIM_PATH];
	char value[SIM_VALUE];
};

struct sim_txn {
	bool used;
	uint16_t slot;
	uint32_t n;
	struct sim_txn_node node[SIM_TXN_NODES];
};

struct sim_shared {
	pthread_mutex_t lock;
	uint32_t undo_len;
	uint64_t rng;
	struct sim_config config;
	uint32_t nfree, nquarantine, first_quarantine;
	uint32_t late_writes;
	uint64_t calls[SIM_OP_COUNT], elements[SIM_OP_COUNT];
	pid_t spared;
	struct sim_fault fault[SIM_FAULTS];
	enum sim_plant plant;
	uint64_t plant_in, plant_seen;
	struct sim_slot slot[SIM_SLOTS];
	struct sim_map map[SIM_MAPS];
	uint64_t store_gen;
	struct sim_watch watch[SIM_WATCHES];
	struct sim_txn txn[SIM_TXNS];
	struct sim_node node[SIM_NODES];
	uint32_t window[SIM_WINDOW]; /* frame + 1 */
	uint32_t free[SIM_FRAMES];
	uint32_t quarantine[SIM_FRAMES]; /* freed and poisoned, the oldest first */
	struct sim_frame frame[SIM_FRAMES];
	struct sim_dom dom[SIM_DOMS];
	uint8_t undo[SIM_UNDO];
};

/* This process's view; made before any fork. */
struct sim_machine {
	struct sim_shared *sh;
	uint8_t *ram;    /* all frames, in order */
	uint8_t *window; /* where dma_alloc puts its memory */
	uint64_t *lists; /* SIM_DOMS times SIM_LIST entries, each as its guest writes it */
	int memfd;
	int evt_fd[SIM_SLOTS];
	int store_fd[SIM_SLOTS];
};

struct sim_hv {
	struct sim_machine *m;
	uint16_t domid;
	uint16_t slot; /* SIM_SLOTS: not open */
	bool restricted;
	uint16_t only; /* the domain it is restricted to */
};

/* sim_machine.c */
void sim_lock(struct sim_machine *m);
void sim_unlock(struct sim_machine *m);
void sim_touch(struct sim_shared *sh, void *p, size_t len);
void sim_commit(struct sim_shared *sh);
uint64_t sim_random_locked(struct sim_shared *sh);

#define SIM_SET(sh, field, val)                                                                    \
	do {                                                                                       \
		sim_touch((sh), &(field), sizeof(field));                                          \
		(field) = (val);                                                                   \
	} while (0)

/* sim_frame.c */
uint8_t *sim_frame_va(struct sim_machine *m, uint32_t frame);
uint32_t sim_frame_of(struct sim_machine *m, mfn_t mfn);
static inline mfn_t sim_mfn(uint32_t frame)
{
	return (mfn_t){ frame + SIM_MFN_BASE };
}
uint32_t sim_frame_alloc_locked(struct sim_machine *m, struct sim_dom *d, uint32_t pfn);
void sim_frame_drop_locked(struct sim_machine *m, uint32_t frame);
void sim_frame_get_locked(struct sim_machine *m, uint32_t frame, const struct sim_track *t);
void sim_frame_put_locked(struct sim_machine *m, uint32_t frame, const struct sim_track *t);
bool sim_frame_poison_ok(struct sim_machine *m, uint32_t frame);

/* sim_dom.c */
struct sim_dom *sim_dom_get(struct sim_shared *sh, uint16_t domid);
struct sim_dom *sim_dom_live(struct sim_shared *sh, uint16_t domid);
int sim_pages_alloc_locked(struct sim_shared *sh, struct sim_dom *d, uint32_t n, uint32_t *first);
void sim_dom_settle_locked(struct sim_shared *sh, struct sim_dom *d);

/* sim_p2m.c */
uint64_t *sim_list(struct sim_machine *m, const struct sim_dom *d);
void sim_list_set_locked(struct sim_machine *m, struct sim_dom *d, uint32_t pfn);
int sim_p2m_open(struct hv *hv, uint16_t domid, struct hv_p2m **p2m);
void sim_p2m_close(struct hv *hv, struct hv_p2m *p2m);
int sim_p2m_sync(struct hv *hv, struct hv_p2m *p2m);
int sim_p2m_leaf(struct hv *hv, struct hv_p2m *p2m, uint64_t leaf);

/* sim_grant.c */
int sim_grant_locked(struct sim_shared *sh, struct sim_dom *d, uint32_t pfn, uint32_t n,
		     uint16_t to, bool readonly, uint32_t *ref);
int sim_gnt_check_locked(struct sim_shared *sh, uint16_t granter, uint32_t ref, uint16_t to,
			 bool write, struct sim_gnt **gnt);
int sim_track_grant_locked(struct sim_machine *m, struct sim_dom *holder, uint16_t granter,
			   uint32_t ref, struct sim_track want, uint32_t *handle);
int sim_track_add_locked(struct sim_machine *m, struct sim_dom *holder,
			 const struct sim_track *t, uint32_t *handle);
void sim_track_drop_locked(struct sim_machine *m, struct sim_dom *holder, uint32_t handle);

/* sim_copy.c */
uint8_t *sim_ram_alias(struct sim_hv *h, const void *va, size_t len);

/* sim_map.c */
void *sim_view(struct sim_machine *m, const uint32_t *frame, uint32_t n, bool writable);
void sim_maps_release_locked(struct sim_machine *m, uint16_t slot, bool mine);
void sim_dma_reclaim_locked(struct sim_machine *m, uint32_t frame);
void sim_dma_orphan_locked(struct sim_machine *m, uint16_t slot);

/* sim_evtchn.c */
void sim_port_close_locked(struct sim_machine *m, struct sim_dom *d, uint32_t port, bool dead);
void sim_ports_release_locked(struct sim_machine *m, uint16_t slot);

/* sim_store.c */
struct sim_node *sim_node_find(struct sim_shared *sh, const char *path);
int sim_node_write_locked(struct sim_machine *m, const char *path, const char *value,
			  uint16_t owner, uint16_t reader);
int sim_node_rm_locked(struct sim_machine *m, const char *path);
bool sim_path_below(const char *path, const char *top);

/* sim_watch.c */
void sim_watch_fire_locked(struct sim_machine *m, const char *path, bool removed);
void sim_watches_release_locked(struct sim_machine *m, uint16_t slot);

/* sim_txn.c */
struct sim_txn_node *sim_txn_node(struct sim_machine *m, struct sim_txn *txn, const char *path);
void sim_txns_release_locked(struct sim_machine *m, uint16_t slot);

/* sim_fault.c: an operation begins with the lock taken, or not at all, and ends with it free. */
int sim_enter(struct hv *hv, enum sim_op op);
int sim_leave(struct hv *hv, enum sim_op op, int err);
int sim_element_fault_locked(struct sim_shared *sh, enum sim_op op);
bool sim_plant_due_locked(struct sim_shared *sh, enum sim_plant plant);
/* The frame, or that of a neighbour if a bug is due that takes it instead. */
uint32_t sim_plant_frame_locked(struct sim_shared *sh, uint32_t frame);
static inline struct sim_hv *sim_of(struct hv *hv)
{
	return hv->priv;
}

/* sim_hv.c: the operations live with what they work on. */
void sim_slot_release_locked(struct sim_machine *m, uint16_t slot, bool mine);
void sim_reap_locked(struct sim_machine *m);

int sim_gnt_map(struct hv *hv, struct hv_map_op *ops, unsigned int n);
int sim_gnt_unmap(struct hv *hv, struct hv_unmap_op *ops, unsigned int n);
int sim_gnt_copy(struct hv *hv, struct hv_copy_op *ops, unsigned int n);
int sim_host_map(struct hv *hv, uint16_t domid, const uint32_t *gref, unsigned int n,
		 bool writable, void **va);
int sim_host_unmap(struct hv *hv, void *va, unsigned int n);
int sim_dma_alloc(struct hv *hv, unsigned int npages, struct hv_dma *dma);
void sim_dma_free(struct hv *hv, struct hv_dma *dma);
int sim_self_pfn(struct hv *hv, const void *va, pfn_t *pfn);
int sim_self_p2m(struct hv *hv, pfn_t pfn, mfn_t *mfn);
int sim_self_map(struct hv *hv, const mfn_t *mfn, unsigned int n, bool writable, void **va);
int sim_self_unmap(struct hv *hv, void *va, unsigned int n);
int sim_foreign_map(struct hv *hv, uint16_t domid, const gfn_t *gfn, unsigned int n,
		    bool writable, void **va, int *err);
int sim_foreign_unmap(struct hv *hv, void *va, unsigned int n);
int sim_hv_evtchn_fd(struct hv *hv);
int sim_hv_evtchn_bind(struct hv *hv, uint16_t domid, uint32_t remote, uint32_t *port);
int sim_hv_evtchn_unbind(struct hv *hv, uint32_t port);
int sim_hv_evtchn_notify(struct hv *hv, uint32_t port);
int sim_hv_evtchn_pending(struct hv *hv, uint32_t *port);
int sim_hv_evtchn_unmask(struct hv *hv, uint32_t port);
int sim_store_fd(struct hv *hv);
int sim_store_dispatch(struct hv *hv, hv_watch_fn *fn, void *arg);
int sim_store_watch(struct hv *hv, const char *path, const char *token);
int sim_store_unwatch(struct hv *hv, const char *path, const char *token);
int sim_store_begin(struct hv *hv, uint32_t *t);
int sim_store_end(struct hv *hv, uint32_t t, bool abort);
int sim_store_read(struct hv *hv, uint32_t t, const char *path, char **value);
int sim_store_write(struct hv *hv, uint32_t t, const char *path, const char *value);
int sim_store_rm(struct hv *hv, uint32_t t, const char *path);
int sim_store_list(struct hv *hv, uint32_t t, const char *path, char ***names, unsigned int *n);
int sim_store_grant(struct hv *hv, uint32_t t, const char *path, uint16_t owner,
		    uint16_t reader);

#endif
