/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As much of Linux as three files of the guest's module want to be compiled for user space
 * (front.c). The build makes headers of the kernel's names that include this one.
 *
 * Every look at the page shared with the back end, and every wait for it, lets the back end act.
 */
#ifndef XVS_FUZZ_KERNEL_H
#define XVS_FUZZ_KERNEL_H

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <linux/types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* front.c: the back end's turn; and one while the front end sleeps. */
void fuzz_back(void);
void fuzz_back_wait(void);
/* memcpy, with the back end's turn in the middle when it reads the shared page. */
void *fuzz_memcpy(void *to, const void *from, size_t n);
#define memcpy(to, from, n) fuzz_memcpy((to), (from), (n))

#undef __BIG_ENDIAN /* a number to glibc, a statement to Linux */
#define LINUX_VERSION_CODE KERNEL_VERSION(6, 1, 0)
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define CONFIG_DMA_OPS

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef uint16_t domid_t;
typedef uint32_t grant_ref_t, evtchn_port_t;
typedef uint64_t dma_addr_t;
typedef unsigned int gfp_t;
typedef struct { long n; } atomic_long_t;

#define PAGE_SIZE 4096u
#define MAX_ERRNO 4095
#define GFP_KERNEL 0u
#define HZ 1000
#define BIT(n) (1ul << (n))
#define BIT_ULL(n) (1ull << (n))
#define ARRAY_SIZE(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define min_t(t, a, b) ((t)(a) < (t)(b) ? (t)(a) : (t)(b))
#define container_of(p, type, member) ((type *)(void *)((char *)(p) - offsetof(type, member)))
#define static_assert(c) _Static_assert(c, #c)
#define __stringify_1(x) #x
#define __stringify(x) __stringify_1(x)

#define READ_ONCE(x) (fuzz_back(), *(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define virt_load_acquire(p) (fuzz_back(), *(const volatile __typeof__(*(p)) *)(p))
#define virt_store_release(p, v) (*(volatile __typeof__(*(p)) *)(p) = (v))
#define barrier() __asm__ volatile("" : : : "memory")
#define virt_rmb() fuzz_back()
#define cpu_relax() fuzz_back()

/* -- errors in pointers, strings, memory -- */
#define IS_ERR(p) ((uintptr_t)(p) >= (uintptr_t)-MAX_ERRNO)
#define PTR_ERR(p) ((int)(intptr_t)(p))
#define ERR_PTR(e) ((void *)(intptr_t)(e))
#define kfree(p) free((void *)(uintptr_t)(p))
#define kzalloc(n, gfp) calloc(1, (n))
static inline int kstrtou32(const char *text, unsigned int base, u32 *value)
{
	unsigned long long n;

	errno = 0;
	n = strtoull(text, NULL, (int)base);
	if (errno || n > UINT32_MAX)
		return -ERANGE;
	*value = (u32)n;
	return 0;
}

/* -- bits, locks, waiting, work -- */
typedef struct { int n; } spinlock_t, wait_queue_head_t;
struct mutex { int n; };
struct work_struct { int n; };
struct workqueue_struct;
#define test_bit(bit, flags) (!!(*(flags) & BIT(bit)))
#define clear_bit(bit, flags) (*(flags) &= ~BIT(bit))
#define test_and_set_bit(bit, flags) \
	({ bool was_ = test_bit(bit, flags); *(flags) |= BIT(bit); was_; })
#define spin_lock_irqsave(l, f) ((l)->n++, (f) = 0)
#define spin_unlock_irqrestore(l, f) ((l)->n--, (void)(f))
#define mutex_lock(m) ((m)->n++)
#define mutex_unlock(m) ((m)->n--)
#define wake_up_all(w) ((void)(w))
#define queue_work(wq, work) ((void)(wq), (work)->n = 1)
#define cancel_work_sync(work) ((work)->n = 0)
extern unsigned long jiffies;
#define msecs_to_jiffies(ms) ((unsigned long)(ms))
#define time_after(a, b) ((long)((b) - (a)) < 0)
#define msleep(ms) (fuzz_back_wait(), jiffies += 4000)
#define wait_event_timeout(w, condition, timeout)                                                  \
	do {                                                                                       \
		(void)(w);                                                                         \
		for (int i_ = 0; i_ < 4 && !(condition); i_++)                                     \
			fuzz_back_wait();                                                          \
	} while (0)

/* -- devices -- */
struct device;
struct device_type {
	const char *name;
	const void *pm;
};
struct dev_pm_ops { int none; };
struct device {
	struct device *parent;
	void (*release)(struct device *dev);
	const struct device_type *type;
	int refs;
};
struct device_dma_parameters { int none; };
enum dma_data_direction { DMA_BIDIRECTIONAL };
#define dev_name(d) ((void)(d), "fuzz")
#define dev_err(d, ...) fuzz_print((d), __VA_ARGS__)
#define dev_warn_ratelimited(d, ...) fuzz_print((d), __VA_ARGS__)
#define pr_err(...) fuzz_print(NULL, __VA_ARGS__)
__attribute__((format(printf, 2, 3))) static inline void fuzz_print(struct device *d,
								    const char *fmt, ...)
{
	char text[256];
	va_list ap;

	(void)d;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
}
#define get_device(d) ((d)->refs++)
static inline void put_device(struct device *d)
{
	if (!--d->refs)
		d->release(d);
}
#define THIS_MODULE NULL
#define __module_get(m) ((void)(m))
#define module_put(m) ((void)(m))
#define module_param(name, type, mode) _Static_assert(mode, "")
#define MODULE_PARM_DESC(name, text) _Static_assert(sizeof(text) > 1, "")

/* -- interrupts and Xen -- */
typedef int irqreturn_t;
enum { IRQ_NONE, IRQ_HANDLED };
enum { XEN_EOI_FLAG_SPURIOUS = 1 };
struct irq_affinity;
struct cpumask;
struct page;
struct xenbus_device {
	struct device dev;
	const char *nodename, *otherend;
	domid_t otherend_id;
};
struct xenbus_watch { const char *node; };
struct xenbus_transaction { int id; };
#define XBT_NIL ((struct xenbus_transaction){ 0 })
#define synchronize_irq(irq) ((void)(irq))
#define xen_irq_lateeoi(irq, flags) ((void)(irq), (void)(flags))
#define notify_remote_via_irq(irq) ((void)(irq))
#define unbind_from_irqhandler(irq, data) ((void)(irq), (void)(data))
#define bind_evtchn_to_irqhandler_lateeoi(port, fn, flags, name, data) \
	((void)(port), (void)(fn), (void)(name), (void)(data), 7)
#define xenbus_alloc_evtchn(d, port) ((void)(d), *(port) = 9, 0)
#define xenbus_free_evtchn(d, port) ((void)(d), (void)(port))
#define virt_to_gfn(va) ((uintptr_t)(va) >> 12)
#define virt_to_page(va) ((struct page *)(void *)(va))
#define get_zeroed_page(gfp) ((uintptr_t)calloc(1, PAGE_SIZE))
#define free_page(va) free((void *)(va))
#define gnttab_grant_foreign_access(domid, gfn, readonly) ((void)(domid), (void)(gfn), 8)
#define gnttab_end_foreign_access(ref, page) ((void)(ref), free(page))
/* A store of the back end's, in front.c. */
char *xenbus_read(struct xenbus_transaction t, const char *dir, const char *node,
		  unsigned int *len);
bool xen_pv_domain(void);
static inline int xenbus_transaction_start(struct xenbus_transaction *t)
{
	t->id = 1;
	return 0;
}
static inline int xenbus_transaction_end(struct xenbus_transaction t, int abort)
{
	return abort ? 0 : t.id - 1;
}
#define xenbus_printf(t, dir, node, ...) ((void)(t), (void)(dir), fuzz_print(NULL, __VA_ARGS__), 0)

/* -- virtio -- */
struct virtqueue;
struct virtio_device;
typedef void vq_callback_t(struct virtqueue *vq);
struct virtio_config_ops {
	void (*get)(struct virtio_device *v, unsigned int offset, void *buf, unsigned int len);
	void (*set)(struct virtio_device *v, unsigned int offset, const void *buf,
		    unsigned int len);
	u32 (*generation)(struct virtio_device *v);
	u8 (*get_status)(struct virtio_device *v);
	void (*set_status)(struct virtio_device *v, u8 status);
	void (*reset)(struct virtio_device *v);
	int (*find_vqs)(struct virtio_device *v, unsigned int n, struct virtqueue *vqs[],
			vq_callback_t *callbacks[], const char *const names[], const bool *ctx,
			struct irq_affinity *desc);
	void (*del_vqs)(struct virtio_device *v);
	void (*synchronize_cbs)(struct virtio_device *v);
	u64 (*get_features)(struct virtio_device *v);
	int (*finalize_features)(struct virtio_device *v);
	const char *(*bus_name)(struct virtio_device *v);
	int (*set_vq_affinity)(struct virtqueue *vq, const struct cpumask *mask);
};
struct virtio_device {
	struct device dev;
	const struct virtio_config_ops *config;
	struct { u32 device, vendor; } id;
	u64 features;
};
#define dev_to_virtio(d) container_of(d, struct virtio_device, dev)
#define virtio_has_feature(v, bit) (!!((v)->features & BIT_ULL(bit)))
#define __virtio_clear_bit(v, bit) ((v)->features &= ~BIT_ULL(bit))
#define vring_transport_features(v) ((void)(v))
#define virtio_break_device(v) ((void)(v))
#define virtio_config_changed(v) ((void)(v))
#define register_virtio_device(v) ((v)->dev.refs = 1, 0)
#define unregister_virtio_device(v) put_device(&(v)->dev)

#endif
