/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Just enough of a Linux kernel to run the guest's module in a process (the Makefile takes the
 * kernel's headers out of its sources): pages with counts, grant references, event channels, a
 * virtio core. One thread, so it shows what happens in which order, and no races.
 *
 * No header of libc that declares remove(), close() or connect(): the module has its own.
 */
#ifndef XVS_TESTS_KERNEL_H
#define XVS_TESTS_KERNEL_H

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* -- words -- */

#define static_assert(c) _Static_assert(c, #c)
typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef u64 dma_addr_t, phys_addr_t;
typedef u32 grant_ref_t, evtchn_port_t;
typedef uint16_t domid_t;
typedef unsigned int gfp_t;

#define KERNEL_VERSION(a, b, c) ((a) << 16 | (b) << 8 | (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(6, 1, 0)
#define CONFIG_DMA_OPS 1
#define CONFIG_PM_SLEEP 1
#define __init
#define __exit
#define __printf(a, b) __attribute__((format(printf, a, b)))
#define module_param(...) _Static_assert(1, "")
#define MODULE_PARM_DESC(...) _Static_assert(1, "")
#define MODULE_DESCRIPTION(...) _Static_assert(1, "")
#define MODULE_LICENSE(...) _Static_assert(1, "")
#define MODULE_ALIAS(...) _Static_assert(1, "")
#define module_init(fn) int kernel_module_init(void) { return fn(); } _Static_assert(1, "")
#define module_exit(fn) void kernel_module_exit(void) { fn(); } _Static_assert(1, "")
int kernel_module_init(void);
void kernel_module_exit(void);

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096ul
#define PAGE_ALIGN(n) (((n) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1))
#define offset_in_page(p) ((unsigned long)(p) & (PAGE_SIZE - 1))
#define BIT(n) (1ul << (n))
#define BIT_ULL(n) (1ull << (n))
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define min_t(type, a, b) ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define max_t(type, a, b) ((type)(a) > (type)(b) ? (type)(a) : (type)(b))
#define clamp_t(type, v, lo, hi) min_t(type, max_t(type, v, lo), hi)
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define container_of(p, type, member) ((type *)(void *)((char *)(p) - offsetof(type, member)))
#define READ_ONCE(v) (*(volatile __typeof__(v) *)&(v))
#define WRITE_ONCE(v, n) (*(volatile __typeof__(v) *)&(v) = (n))
#define cmpxchg(p, old, new) __sync_val_compare_and_swap(p, old, new)
#define virt_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define virt_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define virt_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define barrier() __asm__ volatile("" ::: "memory")
#define MAX_ERRNO 4095
#define ERR_PTR(e) ((void *)(long)(e))
#define PTR_ERR(p) ((long)(p))
#define IS_ERR(p) ((unsigned long)(p) >= (unsigned long)-MAX_ERRNO)

int snprintf(char *s, size_t n, const char *fmt, ...);
int vsnprintf(char *s, size_t n, const char *fmt, va_list ap);

/* -- what the test sees and steers -- */

struct kernel {
	char log[128];         /* the last line, without its arguments */
	unsigned int bugs;     /* something was done twice, or to what is not there */
	unsigned int pages, refs, irqs, work, workqueues; /* in use */
	unsigned int deferred; /* grants left to the kernel to end later */
	unsigned int spurious, eois;
	unsigned int config_changes;
	unsigned long now; /* in ms */
	unsigned int state; /* of the back end, in the store */
	unsigned int closed; /* times the front end said it is */
	const char *refusal; /* what the back end wrote as its error; NULL: nothing */
	bool used; /* there is a used element */
	bool nodes; /* the store has the device's */
	bool through; /* a driver that was restored has queues that take requests */
	struct xenbus_watch *watch;
	unsigned int fail_in; /* the nth call from now that can fail does; 0: none */
	/* The back end hears an event; time goes by while somebody waits. */
	void (*notified)(int irq);
	void (*waiting)(void);
};
extern struct kernel kernel;

void kernel_start(void);
void kernel_end(void);     /* grants that the back end let go of are ended now */
void kernel_run_work(void);
void kernel_raise(int irq); /* an event arrives */
/* The back end maps a granted page, or lets go of it. NULL: it may not. */
void *kernel_map(grant_ref_t ref, bool write);
void kernel_unmap(grant_ref_t ref);
bool kernel_fails(void); /* this call is the one that is to fail */
void kernel_bug(const char *what);
void kernel_log(const char *fmt, ...);

/* -- memory -- */

#ifndef __maybe_unused
#define __maybe_unused __attribute__((unused))
#endif

struct page {
	unsigned int count;
};

#define GFP_KERNEL 1u
#define __GFP_ZERO 2u
#define __GFP_COMP 4u

struct page *virt_to_page(const void *va);
void *page_address(const struct page *page);
unsigned long page_to_pfn(const struct page *page);
struct page *pfn_to_page(unsigned long pfn);
#define page_to_phys(page) ((u64)page_to_pfn(page) << PAGE_SHIFT)
#define pfn_to_gfn(pfn) (pfn)
#define virt_to_gfn(va) page_to_pfn(virt_to_page(va))
#define vmalloc_to_page(va) virt_to_page(va)
#define compound_head(page) (page)
#define PageSlab(page) false
bool get_page_unless_zero(struct page *page);
void get_page(struct page *page);
void put_page(struct page *page);
void *alloc_pages_exact(size_t size, gfp_t gfp);
void free_pages_exact(void *va, size_t size);
#define get_zeroed_page(gfp) ((unsigned long)alloc_pages_exact(PAGE_SIZE, (gfp) | __GFP_ZERO))
#define free_page(va) free_pages_exact((void *)(va), PAGE_SIZE)
#define vzalloc(size) alloc_pages_exact(size, __GFP_ZERO)
void vfree(const void *va);
void *kcalloc(size_t n, size_t size, gfp_t gfp);
void kfree(const void *p);
#define kzalloc(size, gfp) kcalloc(1, size, gfp)
#define kvzalloc(size, gfp) kcalloc(1, size, gfp)
#define kvcalloc(n, size, gfp) kcalloc(n, size, gfp)
#define kvfree(p) kfree(p)

/* -- locks, bits, time -- */

typedef struct {
	int held;
} spinlock_t;
struct mutex {
	int held;
};
void kernel_lock(int *held);
void kernel_unlock(int *held);
#define spin_lock_init(l) ((l)->held = 0)
#define mutex_init(l) ((l)->held = 0)
#define spin_lock_irqsave(l, f) ((f) = 0, kernel_lock(&(l)->held))
#define spin_unlock_irqrestore(l, f) ((void)(f), kernel_unlock(&(l)->held))
#define mutex_lock(l) kernel_lock(&(l)->held)
#define mutex_unlock(l) kernel_unlock(&(l)->held)

#define DECLARE_BITMAP(name, bits) unsigned long name[((bits) + 63) / 64]
#define test_bit(n, p) (((p)[(n) / 64] >> ((n) % 64)) & 1)
#define __clear_bit(n, p) ((void)((p)[(n) / 64] &= ~(1ul << ((n) % 64))))
#define clear_bit(n, p) __clear_bit((unsigned int)(n), p)
bool kernel_test_and_set(unsigned int n, unsigned long *p);
#define test_and_set_bit(n, p) kernel_test_and_set((unsigned int)(n), p)
#define set_bit(n, p) ((void)test_and_set_bit(n, p))
void bitmap_set(unsigned long *p, unsigned int at, unsigned int n);
void bitmap_clear(unsigned long *p, unsigned int at, unsigned int n);
unsigned long bitmap_find_next_zero_area(unsigned long *p, unsigned long size, unsigned long from,
					 unsigned int n, unsigned long mask);
unsigned long roundup_pow_of_two(unsigned long n);
unsigned long rounddown_pow_of_two(unsigned long n);

typedef struct {
	long n;
} atomic_long_t;
#define atomic_long_inc(a) ((a)->n++)

typedef struct {
	int unused;
} wait_queue_head_t;
void kernel_wait(unsigned long ms); /* lets time go by */
#define HZ 1000
#define jiffies (kernel.now)
#define msecs_to_jiffies(ms) ((unsigned long)(ms))
#define time_after(a, b) ((long)((b) - (a)) < 0)
#define msleep(ms) kernel_wait(ms)
#define cpu_relax() kernel_wait(0)
#define init_waitqueue_head(w) ((w)->unused = 0)
#define wake_up_all(w) ((void)(w))
#define wait_event_timeout(w, condition, timeout)                                                 \
	do {                                                                                      \
		unsigned long end_ = jiffies + (timeout);                                         \
		while (!(condition) && !time_after(jiffies, end_))                                \
			kernel_wait(100);                                                         \
	} while (0)

struct work_struct {
	void (*fn)(struct work_struct *work);
	bool queued;
};
struct workqueue_struct;
#define WQ_FREEZABLE 1
#define WQ_UNBOUND 2
#define WQ_MEM_RECLAIM 4
#define INIT_WORK(w, f) (*(w) = (struct work_struct){ .fn = (f) })
void queue_work(struct workqueue_struct *wq, struct work_struct *work);
void cancel_work_sync(struct work_struct *work);
struct workqueue_struct *alloc_workqueue(const char *name, unsigned int flags, int n);
void destroy_workqueue(struct workqueue_struct *wq);

/* -- grants and events -- */

int gnttab_alloc_grant_reference_seq(unsigned int n, grant_ref_t *first);
void gnttab_free_grant_reference(grant_ref_t ref);
int gnttab_grant_foreign_access(domid_t domid, unsigned long gfn, int readonly);
void gnttab_grant_foreign_access_ref(grant_ref_t ref, domid_t domid, unsigned long gfn, int readonly);
int gnttab_end_foreign_access_ref(grant_ref_t ref);
int gnttab_try_end_foreign_access(grant_ref_t ref);
void gnttab_end_foreign_access(grant_ref_t ref, struct page *page);

typedef enum { IRQ_NONE, IRQ_HANDLED } irqreturn_t;
typedef irqreturn_t irq_handler_t(int irq, void *data);
#define XEN_EOI_FLAG_SPURIOUS 1
int bind_evtchn_to_irqhandler_lateeoi(evtchn_port_t port, irq_handler_t *handler, unsigned long flags,
				      const char *name, void *data);
void unbind_from_irqhandler(int irq, void *data);
void xen_irq_lateeoi(int irq, unsigned int flags);
void notify_remote_via_irq(int irq);
#define synchronize_irq(irq) ((void)(irq))
struct cpumask;
struct irq_affinity;
static inline int irq_set_affinity_hint(int irq, const struct cpumask *mask)
{
	return irq && mask ? 0 : 0;
}

/* -- devices -- */

#define DMA_BIT_MASK(n) ((n) == 64 ? ~0ull : (1ull << (n)) - 1)
#define DMA_MAPPING_ERROR (~(dma_addr_t)0)
#define DMA_ATTR_SKIP_CPU_SYNC 1ul
enum dma_data_direction { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE };

struct device;
struct scatterlist {
	struct page *page;
	unsigned int offset, length, dma_length;
	dma_addr_t dma_address;
};
#define for_each_sg(list, s, n, i) for ((i) = 0, (s) = (list); (i) < (n); (i)++, (s)++)
#define sg_page(s) ((s)->page)
#define sg_dma_address(s) ((s)->dma_address)
#define sg_dma_len(s) ((s)->dma_length)
#define sg_phys(s) (page_to_phys((s)->page) + (s)->offset)

struct dma_map_ops {
	void *(*alloc)(struct device *, size_t, dma_addr_t *, gfp_t, unsigned long);
	void (*free)(struct device *, size_t, void *, dma_addr_t, unsigned long);
	struct page *(*alloc_pages)(struct device *, size_t, dma_addr_t *, enum dma_data_direction,
				    gfp_t);
	void (*free_pages)(struct device *, size_t, struct page *, dma_addr_t,
			   enum dma_data_direction);
	dma_addr_t (*map_page)(struct device *, struct page *, unsigned long, size_t,
			       enum dma_data_direction, unsigned long);
	void (*unmap_page)(struct device *, dma_addr_t, size_t, enum dma_data_direction,
			   unsigned long);
	int (*map_sg)(struct device *, struct scatterlist *, int, enum dma_data_direction,
		      unsigned long);
	void (*unmap_sg)(struct device *, struct scatterlist *, int, enum dma_data_direction,
			 unsigned long);
	void (*sync_single_for_cpu)(struct device *, dma_addr_t, size_t, enum dma_data_direction);
	void (*sync_single_for_device)(struct device *, dma_addr_t, size_t,
				       enum dma_data_direction);
	void (*sync_sg_for_cpu)(struct device *, struct scatterlist *, int,
				enum dma_data_direction);
	void (*sync_sg_for_device)(struct device *, struct scatterlist *, int,
				   enum dma_data_direction);
	int (*dma_supported)(struct device *, u64);
	size_t (*max_mapping_size)(struct device *);
};
struct device_dma_parameters {
	unsigned int max_segment_size;
	unsigned long segment_boundary_mask;
};
struct dev_pm_ops {
	int (*freeze)(struct device *);
	int (*thaw)(struct device *);
	int (*restore)(struct device *);
};
struct device_type {
	const char *name;
	const struct dev_pm_ops *pm;
};
struct device {
	struct device *parent;
	const struct device_type *type;
	const struct dma_map_ops *dma_ops;
	struct device_dma_parameters *dma_parms;
	u64 *dma_mask, coherent_dma_mask;
	void *data;
	unsigned int count;
	void (*release)(struct device *);
};
#define dev_name(d) ((void)(d), "device")
#define dev_get_drvdata(d) ((d)->data)
#define dev_set_drvdata(d, v) ((d)->data = (v))
#define set_dma_ops(d, ops) ((d)->dma_ops = (ops))
#define dma_set_mask_and_coherent(d, m) ((d)->dma_ops->dma_supported(d, m) ? 0 : -EIO)
#define dev_err(d, ...) ((void)(d), kernel_log(__VA_ARGS__))
#define dev_info(d, ...) ((void)(d), kernel_log(__VA_ARGS__))
#define dev_warn_ratelimited(d, ...) ((void)(d), kernel_log(__VA_ARGS__))
#define device_lock(d) ((void)(d))
#define device_unlock(d) ((void)(d))
int device_reprobe(struct device *dev);
void get_device(struct device *dev);
void put_device(struct device *dev);
struct module;
#define THIS_MODULE ((struct module *)0)
#define __module_get(m) ((void)(m))
#define module_put(m) ((void)(m))

/* -- virtio -- */

struct list_head {
	struct list_head *next, *prev;
};
#define list_empty(l) ((l)->next == (l))
#define list_for_each_entry_safe(at, n, l, member)                                                \
	for ((at) = container_of((l)->next, __typeof__(*(at)), member),                           \
	    (n) = container_of((at)->member.next, __typeof__(*(at)), member);                     \
	     &(at)->member != (l);                                                                \
	     (at) = (n), (n) = container_of((n)->member.next, __typeof__(*(at)), member))

#define VIRTIO_CONFIG_S_ACKNOWLEDGE 1
#define VIRTIO_CONFIG_S_DRIVER 2
#define VIRTIO_CONFIG_S_DRIVER_OK 4
#define VIRTIO_CONFIG_S_FEATURES_OK 8
#define VIRTIO_CONFIG_S_NEEDS_RESET 0x40
#define VIRTIO_F_VERSION_1 32
#define VIRTIO_F_ACCESS_PLATFORM 33
#define VIRTIO_F_RING_PACKED 34

struct virtqueue;
struct virtio_device;
typedef void vq_callback_t(struct virtqueue *);
struct virtqueue {
	struct list_head list;
	struct virtio_device *vdev;
	unsigned int index, num_max, size;
	void *priv, *va;
	dma_addr_t addr;
	bool broken, (*notify)(struct virtqueue *);
};
struct virtio_config_ops {
	void (*get)(struct virtio_device *, unsigned int, void *, unsigned int);
	void (*set)(struct virtio_device *, unsigned int, const void *, unsigned int);
	u32 (*generation)(struct virtio_device *);
	u8 (*get_status)(struct virtio_device *);
	void (*set_status)(struct virtio_device *, u8);
	void (*reset)(struct virtio_device *);
	int (*find_vqs)(struct virtio_device *, unsigned int, struct virtqueue *[],
			vq_callback_t *[], const char *const[], const bool *, struct irq_affinity *);
	void (*del_vqs)(struct virtio_device *);
	void (*synchronize_cbs)(struct virtio_device *);
	u64 (*get_features)(struct virtio_device *);
	int (*finalize_features)(struct virtio_device *);
	const char *(*bus_name)(struct virtio_device *);
	int (*set_vq_affinity)(struct virtqueue *, const struct cpumask *);
};
struct virtio_device {
	struct device dev;
	struct {
		u32 device, vendor;
	} id;
	const struct virtio_config_ops *config;
	struct list_head vqs;
	u64 features;
	bool frozen; /* its driver */
	u8 built_on; /* of config space, what the driver made its tables for */
};
#define dev_to_virtio(d) container_of(d, struct virtio_device, dev)
#define __virtio_clear_bit(v, n) ((v)->features &= ~BIT_ULL(n))
#define virtio_has_feature(v, n) ((v)->features >> (n) & 1)
#define vring_transport_features(v) ((void)(v))
#define virtqueue_is_broken(vq) ((vq)->broken)
#define virtqueue_get_vring_size(vq) ((uint16_t)(vq)->size)
/* The descriptor table, the available ring behind it, the used ring on a page of its own. */
#define virtqueue_get_desc_addr(vq) ((vq)->addr)
#define virtqueue_get_avail_addr(vq) ((vq)->addr + 16 * (vq)->size)
#define virtqueue_get_used_addr(vq) ((vq)->addr + kernel_used_offset((vq)->size))
#define kernel_used_offset(n) PAGE_ALIGN(18ul * (n) + 6)
struct virtqueue *vring_create_virtqueue(unsigned int index, unsigned int size, unsigned int align,
					 struct virtio_device *vdev, bool weak, bool shrink,
					 bool ctx, bool (*notify)(struct virtqueue *),
					 vq_callback_t *callback, const char *name);
void vring_del_virtqueue(struct virtqueue *vq);
irqreturn_t vring_interrupt(int irq, void *vq);
void virtio_break_device(struct virtio_device *vdev);
void virtio_config_changed(struct virtio_device *vdev);
int virtio_device_freeze(struct virtio_device *vdev);
int virtio_device_restore(struct virtio_device *vdev);
int register_virtio_device(struct virtio_device *vdev);
void unregister_virtio_device(struct virtio_device *vdev);

/* -- xenbus -- */

enum xenbus_state {
	XenbusStateUnknown,
	XenbusStateInitialising,
	XenbusStateInitWait,
	XenbusStateInitialised,
	XenbusStateConnected,
	XenbusStateClosing,
	XenbusStateClosed,
};
struct xenbus_device {
	struct device dev;
	const char *nodename, *otherend;
	int otherend_id;
	enum xenbus_state state;
};
struct xenbus_device_id {
	char devicetype[32];
};
struct xenbus_driver {
	const char *name;
	const struct xenbus_device_id *ids;
	int (*probe)(struct xenbus_device *, const struct xenbus_device_id *);
	void (*remove)(struct xenbus_device *);
	int (*resume)(struct xenbus_device *);
	void (*otherend_changed)(struct xenbus_device *, enum xenbus_state);
	bool not_essential;
};
extern const struct xenbus_driver *kernel_driver; /* registered */
struct xenbus_watch {
	const char *node;
	void (*callback)(struct xenbus_watch *, const char *path, const char *token);
};
int register_xenbus_watch(struct xenbus_watch *watch);
void unregister_xenbus_watch(struct xenbus_watch *watch);
#define xenbus_exists(t, dir, node) ((void)(dir), kernel.nodes)
#define XBT_NIL 0
#define xen_domain() true
#define xenbus_read_driver_state(path) ((void)(path), (enum xenbus_state)kernel.state)
#define xenbus_dev_error(d, err, ...) ((void)(d), (void)(err), kernel_log(__VA_ARGS__))
static inline int kernel_ignore(const void *what)
{
	(void)what;
	return 0;
}
#define xenbus_printf(t, dir, node, ...) kernel_ignore(dir)
#define xenbus_write(t, dir, node, text) ((void)(dir), (void)(text))
char *xenbus_read(int t, const char *dir, const char *node, unsigned int *len);
#define xenbus_switch_state(d, s) ((d)->state = (s))
#define xenbus_frontend_closed(d) (kernel.closed++, xenbus_switch_state(d, XenbusStateClosed))
int xenbus_alloc_evtchn(struct xenbus_device *dev, evtchn_port_t *port);
#define xenbus_free_evtchn(d, port) ((void)(d), (void)(port))
int xenbus_register_frontend(struct xenbus_driver *driver);
#define xenbus_unregister_driver(d) ((void)(d), kernel_driver = NULL)

#endif
