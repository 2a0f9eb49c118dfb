/* SPDX-License-Identifier: GPL-2.0 */
/*
 * xvshim_front: virtio devices over XenBus, the guest's side.
 *
 * A XenBus device of kind "virtio-xenbus" becomes a virtio_device. The driver above is the
 * kernel's own; it sees this module through virtio_config_ops (transport.c, queue.c) and, for
 * every buffer, through the dma_map_ops of the XenBus device (dma.c, grants.c).
 *
 * The back end is not trusted. What it writes is read once, checked, and kept in this
 * structure; what it fails to do is waited for with a limit; what it does not give back is
 * never used again.
 */
#ifndef XVS_FRONT_H
#define XVS_FRONT_H

#include <linux/device.h>
#include <linux/dma-direction.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <xen/grant_table.h>
#include <xen/xenbus.h>

#include <xvshim/protocol.h>

#include "compat.h"

/* Grants are 4 KiB and every field on the wire is little-endian (docs/protocol.md). */
static_assert(PAGE_SIZE == XVS_PAGE_SIZE);
#ifdef __BIG_ENDIAN
#error "virtio-xenbus needs a little-endian guest"
#endif

struct xvs_front;

/* grants.c: grant references of one device, taken from the kernel once. */

struct xvs_block;

struct xvs_grants {
	spinlock_t lock;	 /* the bitmaps and hints; any context */
	struct xvs_block *block; /* runs of consecutive references */
	unsigned int blocks;
	unsigned int next; /* block to look in first */
	domid_t domid;	   /* who is granted access */
	bool kept;	   /* the back end once kept a page it had to give back */
};

int xvs_grants_init(struct xvs_grants *g, domid_t domid, unsigned int want);
void xvs_grants_exit(struct xvs_grants *g);
unsigned int xvs_grants_run(void); /* longest mapping, in pages */

/*
 * Grants @pages pages from @page on, under consecutive references. Any context. Returns 0, or
 * -ENOSPC when no run of references is free at the moment.
 */
int xvs_grant(struct xvs_grants *g, struct page *page, unsigned int pages, bool readonly,
	      grant_ref_t *ref);

/*
 * Ends what xvs_grant() began. Any context. -EINVAL: no such mapping. -EBUSY: the back end has
 * a page mapped still; that page is held and its reference not used again. In both cases
 * the device has to be broken.
 */
int xvs_ungrant(struct xvs_grants *g, grant_ref_t ref, unsigned int pages);

/* Whoever keeps a mapping beyond its buffer. NULL: nobody, or there is no such mapping. */
void xvs_grant_set_owner(struct xvs_grants *g, grant_ref_t ref, void *owner);
void *xvs_grant_owner(struct xvs_grants *g, grant_ref_t ref);

/* The domain was restored: what the other side kept in the one before it keeps no more. */
void xvs_grants_restore(struct xvs_grants *g, domid_t domid);

/* Grants part of a mapping again, read-only, before the back end was told of it. */
int xvs_grant_readonly(struct xvs_grants *g, grant_ref_t ref, unsigned int pages);

/* pool.c: pages granted once, into which buffers are copied. */

#define XVS_POOL_CHUNKS 8 /* of 2 MiB */

struct xvs_chunk;

struct xvs_pool {
	struct xvs_chunk *chunk[XVS_POOL_CHUNKS];
	unsigned int chunks;
	atomic_long_t full; /* times there was no room */
};

int xvs_pool_init(struct xvs_pool *p, domid_t domid, unsigned int kib);
void xvs_pool_exit(struct xvs_pool *p);
void xvs_pool_restore(struct xvs_pool *p, domid_t domid);
/* Any context, all of these. DMA_MAPPING_ERROR: there is no room. */
dma_addr_t xvs_pool_map(struct xvs_pool *p, void *buffer, size_t size, unsigned long attrs);
bool xvs_pool_has(struct xvs_pool *p, dma_addr_t addr);
/* -EINVAL: no such mapping. */
int xvs_pool_unmap(struct xvs_pool *p, dma_addr_t addr, size_t size, enum dma_data_direction dir,
		   unsigned long attrs);
void xvs_pool_sync(struct xvs_pool *p, dma_addr_t addr, size_t size, bool to_device);

/* keep.c: grants that stay between mappings. */

struct xvs_keep;

int xvs_keep_start(void); /* of the module */
void xvs_keep_stop(void);
int xvs_keep_init(struct xvs_front *f);
void xvs_keep_exit(struct xvs_front *f);
/* Ends all that is idle; the back end has let go of everything. */
void xvs_keep_drop(struct xvs_front *f);
unsigned int xvs_keep_bound(void);			 /* pages a device may keep */
unsigned int xvs_keep_pages(const struct xvs_front *f); /* pages it keeps */
/* Any context, both. -ENOSPC, -EINVAL: these pages cannot be kept now. */
int xvs_keep_map(struct xvs_front *f, struct page *page, unsigned int pages, grant_ref_t *ref);
/* -EINVAL: no such mapping. */
int xvs_keep_unmap(struct xvs_front *f, grant_ref_t ref, unsigned int pages);

/* dma.c */

struct dma_map_ops;
extern const struct dma_map_ops xvs_dma_ops; /* addressing grant */
extern const struct dma_map_ops xvs_p2m_ops; /* addressing p2m (p2m.c) */
size_t xvs_max_mapping(struct device *dev);
/* Puts ours on the device. */
void xvs_dma_take(struct xvs_front *f);
int xvs_dma_setup(struct xvs_front *f);
void xvs_dma_teardown(struct xvs_front *f);
void xvs_dma_restore(struct xvs_front *f);
grant_ref_t xvs_dma_ref(dma_addr_t addr);

/* negotiate.c: what the two sides agree on through the store. */

struct xvs_mode {
	const char *word;
	u32 value;	/* enum xvs_protection */
	bool copies;	/* small buffers go through the pool */
	bool copies_all; /* and so do all others */
	bool keeps;	/* grants stay */
};

struct xvs_agreed {
	u32 device_id;
	const char *addressing_word;
	u32 addressing; /* enum xvs_addressing */
	const struct xvs_mode *mode;
};

/* On an error @what is the node they do not agree on. */
int xvs_negotiate(struct xvs_front *f, const char **what);
int xvs_publish(struct xvs_front *f);
int xvs_negotiate_check(void); /* the module's parameters */

/* The device itself. */

enum xvs_stage {
	XVS_FRESH,   /* nothing offered */
	XVS_OFFERED, /* control page granted, state Initialised */
	XVS_LIVE,    /* virtio device registered, state Connected */
	XVS_CLOSED,  /* let go of; may be opened again */
	XVS_FAILED,  /* gave up, for good */
};

enum xvs_flag {
	XVS_BROKEN,	 /* the back end broke a rule; only a reset is still sent */
	XVS_MUTE,	 /* a request was not answered; nothing is sent */
	XVS_GONE,	 /* the back end closed; nothing is sent */
	XVS_NEEDS_RESET, /* the device asks for a reset, which clears this */
	XVS_DEAD,	 /* nobody is asked: whatever a driver wants of the device succeeds */
};

struct xvs_queue_state {
	unsigned int size_max; /* read once at connect; 0: no such queue */
	unsigned int size;     /* as the driver has it, saved or not; 0: it does not use it */
	struct virtqueue *vq;
	int irq;
	struct xvs_front *front;
	char name[32];
};

/* Apart from struct xvs_front: its life ends with the last reference to the device in it. */
struct xvs_vdev {
	struct virtio_device vdev;
	struct xvs_front *front;
};

struct xvs_front {
	struct xenbus_device *xbdev;
	struct xvs_agreed agreed;
	enum xvs_stage stage; /* state_work, probe, remove and resume; never two at once */
	unsigned long flags;  /* enum xvs_flag */
	struct work_struct state_work;
	struct work_struct break_work;
	struct xenbus_watch nodes; /* while there is no back end; node NULL: none */
	bool again;		   /* it is to be probed again */

	/* Control page and mailbox (control.c). */
	struct xvs_control_page *ctrl;
	grant_ref_t ctrl_ref;
	evtchn_port_t ctrl_port;
	int ctrl_irq;
	struct mutex mailbox;
	wait_queue_head_t wait; /* for the response, or the end of the back end */
	u32 seq;
	u32 seen_rsp; /* by the interrupt handler, as is the next */
	u32 seen_epoch;
	unsigned long news_since; /* and the last two, which count what a back end calls news */
	unsigned int news;

	/* What the back end said, checked. */
	u64 features;
	u32 vendor_id;
	u32 config_len;
	spinlock_t config_lock;
	u32 config_gen;	    /* the back end's, of the copy */
	u32 config_version; /* ours: how many copies there were */
	u8 config[XVS_CONFIG_MAX];
	u8 config_next[XVS_CONFIG_MAX]; /* being read */
	/*
	 * What a driver that sets itself up is shown, which does not change until it is ready; and is
	 * the same when it is restored. virtio_blk makes tables for the number of its queues when it is
	 * probed and reads that number once more when it is restored.
	 */
	u8 config_start[XVS_CONFIG_MAX];
	u32 config_start_len;

	/* The virtio device. */
	struct xvs_vdev *vd;
	struct virtio_device *live; /* set once its lists and locks exist */
	u8 status;		    /* as the driver set it */
	bool armed;		    /* DRIVER_OK was asked for: callbacks may run */
	bool frozen;		    /* the driver gave its queues up and counts on others */
	bool resumed;		    /* since then there was a back end in the store */
	bool restoring;		    /* to be restored at the next connect, as what it was */
	struct xvs_queue_state queue[XVS_MAX_QUEUES];

	struct xvs_grants grants;
	struct xvs_pool pool;
	struct xvs_keep *keep; /* NULL: none */
	u32 run;	       /* adaptive: whole pages mapped since the last short buffer */
	u32 last_run;	       /* and in the run before, which ended */
	struct device_dma_parameters dma_parms;
};

static inline bool xvs_is_p2m(const struct xvs_front *f)
{
	return f->agreed.addressing == XVS_ADDRESSING_P2M;
}

static inline bool xvs_broken(const struct xvs_front *f)
{
	return READ_ONCE(f->flags) & (BIT(XVS_BROKEN) | BIT(XVS_MUTE) | BIT(XVS_GONE));
}

/* Nothing is shared with a back end that broke a rule, but for the rings of a driver's return. */
static inline bool xvs_may_map(const struct xvs_front *f)
{
	return !xvs_broken(f) || READ_ONCE(f->frozen);
}

/* control.c */

int xvs_control_open(struct xvs_front *f);
void xvs_control_close(struct xvs_front *f);
int xvs_control_check(struct xvs_front *f, const char **wrong);
int xvs_request(struct xvs_front *f, const struct xvs_request *req, u32 *status);
bool xvs_config_refresh(struct xvs_front *f);
void xvs_config_start(struct xvs_front *f, unsigned int offset, unsigned int len);
bool xvs_config_moved(struct xvs_front *f);

/* Marks the device broken, in any context; says why once. */
void xvs_break(struct xvs_front *f, enum xvs_flag flag, const char *why);
void xvs_break_work(struct work_struct *work);
extern struct workqueue_struct *xvs_wq;

/* xenbus.c: the domain was restored, and the store names no back end. */
void xvs_orphaned(struct xvs_front *f);

/* transport.c */

int xvs_vdev_register(struct xvs_front *f);
void xvs_vdev_unregister(struct xvs_front *f);
#ifdef CONFIG_PM_SLEEP
int xvs_vdev_restore(struct xvs_front *f);
void xvs_vdev_abandon(struct xvs_front *f);
#else
static inline int xvs_vdev_restore(struct xvs_front *f)
{
	return -EOPNOTSUPP;
}

static inline void xvs_vdev_abandon(struct xvs_front *f)
{
}
#endif

/* queue.c */

int xvs_find_vqs(struct virtio_device *vdev, unsigned int nvqs, struct virtqueue *vqs[],
		 XVS_FIND_VQS_ARGS, struct irq_affinity *desc);
void xvs_del_vqs(struct virtio_device *vdev);
void xvs_synchronize_cbs(struct virtio_device *vdev);
int xvs_set_vq_affinity(struct virtqueue *vq, const struct cpumask *mask);

static inline struct xvs_front *xvs_front_of(struct virtio_device *vdev)
{
	return container_of(vdev, struct xvs_vdev, vdev)->front;
}

#endif /* XVS_FRONT_H */
