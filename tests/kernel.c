/* SPDX-License-Identifier: GPL-2.0 */
#include "kernel.h"

#include <stdlib.h>

#define PAGES 1024u
#define REFS 8192u
#define IRQS 64
#define WORK 8

struct kernel kernel;
const struct xenbus_driver *kernel_driver;

static _Alignas(4096) unsigned char memory[PAGES * PAGE_SIZE];
static struct page map[PAGES];

static struct ref {
	bool taken, granted, readonly, mapped;
	unsigned long gfn;
	struct page *deferred; /* its end is the kernel's affair now */
} table[REFS];

static struct {
	irq_handler_t *handler;
	void *data;
} irqs[IRQS];

static struct work_struct *works[WORK];

void kernel_bug(const char *what)
{
	kernel.bugs++;
	strncpy(kernel.log, what, sizeof(kernel.log) - 1);
}

void kernel_log(const char *fmt, ...)
{
	if (!kernel.bugs)
		strncpy(kernel.log, fmt, sizeof(kernel.log) - 1);
}

void kernel_lock(int *held)
{
	if ((*held)++)
		kernel_bug("locked twice");
}

void kernel_unlock(int *held)
{
	if (!(*held)--)
		kernel_bug("unlocked twice");
}

bool kernel_fails(void)
{
	return kernel.fail_in && !--kernel.fail_in;
}

void kernel_start(void)
{
	kernel = (struct kernel){ 0 };
	memset(memory, 0xa5, sizeof(memory)); /* whatever was there before */
	memset(map, 0, sizeof(map));
	memset(table, 0, sizeof(table));
	memset(irqs, 0, sizeof(irqs));
	memset(works, 0, sizeof(works));
}

static void free_ref(grant_ref_t ref)
{
	if (!table[ref].taken)
		kernel_bug("a reference was freed twice");
	table[ref] = (struct ref){ 0 };
	kernel.refs--;
}

void kernel_end(void)
{
	for (grant_ref_t i = 0; i < REFS; i++) {
		struct page *page = table[i].deferred;

		if (!page || table[i].mapped)
			continue;
		kernel.deferred--;
		free_ref(i);
		put_page(page);
	}
}

void kernel_run_work(void)
{
	for (unsigned int i = 0; i < WORK; i++) {
		struct work_struct *work = works[i];

		if (!work)
			continue;
		works[i] = NULL;
		kernel.work--;
		work->queued = false;
		work->fn(work);
	}
}

void queue_work(struct workqueue_struct *wq, struct work_struct *work)
{
	(void)wq;
	for (unsigned int i = 0; i < WORK && !work->queued; i++) {
		if (works[i])
			continue;
		works[i] = work;
		work->queued = true;
		kernel.work++;
	}
}

void cancel_work_sync(struct work_struct *work)
{
	for (unsigned int i = 0; i < WORK; i++) {
		if (works[i] != work)
			continue;
		works[i] = NULL;
		kernel.work--;
	}
	work->queued = false;
}

struct workqueue_struct *alloc_workqueue(const char *name, unsigned int flags, int n)
{
	(void)name;
	(void)flags;
	(void)n;
	if (kernel_fails())
		return NULL;
	kernel.workqueues++;
	return (void *)memory;
}

void destroy_workqueue(struct workqueue_struct *wq)
{
	(void)wq;
	kernel.workqueues--;
}

void kernel_wait(unsigned long ms)
{
	kernel.now += ms;
	if (kernel.waiting)
		kernel.waiting();
}

/* -- memory -- */

struct page *virt_to_page(const void *va)
{
	return &map[((const unsigned char *)va - memory) / PAGE_SIZE];
}

void *page_address(const struct page *page)
{
	return memory + (size_t)(page - map) * PAGE_SIZE;
}

unsigned long page_to_pfn(const struct page *page)
{
	return (unsigned long)(page - map);
}

struct page *pfn_to_page(unsigned long pfn)
{
	return &map[pfn];
}

bool get_page_unless_zero(struct page *page)
{
	return page->count && ++page->count;
}

void get_page(struct page *page)
{
	if (!get_page_unless_zero(page))
		kernel_bug("a page that is free was taken");
}

void put_page(struct page *page)
{
	if (!page->count) {
		kernel_bug("a page was freed twice");
		return;
	}
	if (--page->count)
		return;
	kernel.pages--;
	memset(page_address(page), 0xa5, PAGE_SIZE);
}

static unsigned long sizes[PAGES]; /* pages of what vfree() is to free */

void *alloc_pages_exact(size_t size, gfp_t gfp)
{
	unsigned long n = PAGE_ALIGN(size) / PAGE_SIZE, run = 0, at = 0;

	if (kernel_fails())
		return NULL;
	while (run < n && at < PAGES)
		run = map[at++].count ? 0 : run + 1;
	if (run < n)
		return NULL;
	at -= n;
	for (unsigned long i = at; i < at + n; i++)
		map[i].count = 1;
	kernel.pages += (unsigned int)n;
	sizes[at] = n;
	if (gfp & __GFP_ZERO)
		memset(memory + at * PAGE_SIZE, 0, n * PAGE_SIZE);
	return memory + at * PAGE_SIZE;
}

void free_pages_exact(void *va, size_t size)
{
	for (size_t i = 0; i < PAGE_ALIGN(size) / PAGE_SIZE; i++)
		put_page(virt_to_page((char *)va + i * PAGE_SIZE));
}

void vfree(const void *va)
{
	if (va)
		free_pages_exact((void *)(uintptr_t)va, sizes[virt_to_page(va) - map] * PAGE_SIZE);
}

void *kcalloc(size_t n, size_t size, gfp_t gfp)
{
	(void)gfp;
	return kernel_fails() ? NULL : calloc(n, size);
}

void kfree(const void *p)
{
	free((void *)(uintptr_t)p);
}

/* -- bits -- */

bool kernel_test_and_set(unsigned int n, unsigned long *p)
{
	bool was = test_bit(n, p);

	p[n / 64] |= 1ul << (n % 64);
	return was;
}

void bitmap_set(unsigned long *p, unsigned int at, unsigned int n)
{
	for (unsigned int i = at; i < at + n; i++)
		if (kernel_test_and_set(i, p))
			kernel_bug("a bit was taken twice");
}

void bitmap_clear(unsigned long *p, unsigned int at, unsigned int n)
{
	for (unsigned int i = at; i < at + n; i++) {
		if (!test_bit(i, p))
			kernel_bug("a bit was given back twice");
		__clear_bit(i, p);
	}
}

unsigned long bitmap_find_next_zero_area(unsigned long *p, unsigned long size, unsigned long from,
					 unsigned int n, unsigned long mask)
{
	for (unsigned long at = (from + mask) & ~mask; at + n <= size; at += mask + 1) {
		unsigned long run = 0;

		while (run < n && !test_bit(at + run, p))
			run++;
		if (run == n)
			return at;
	}
	return size;
}

unsigned long roundup_pow_of_two(unsigned long n)
{
	unsigned long p = 1;

	while (p < n)
		p *= 2;
	return p;
}

unsigned long rounddown_pow_of_two(unsigned long n)
{
	unsigned long p = roundup_pow_of_two(n);

	return p > n ? p / 2 : p;
}

/* -- grants -- */

int gnttab_alloc_grant_reference_seq(unsigned int n, grant_ref_t *first)
{
	unsigned int run = 0;
	grant_ref_t at = 8; /* the first ones are reserved */

	if (kernel_fails())
		return -ENOSPC;
	while (run < n && at < REFS)
		run = table[at++].taken ? 0 : run + 1;
	if (run < n)
		return -ENOSPC;
	*first = at - n;
	for (grant_ref_t i = *first; i < at; i++)
		table[i].taken = true;
	kernel.refs += n;
	return 0;
}

void gnttab_free_grant_reference(grant_ref_t ref)
{
	if (table[ref].granted)
		kernel_bug("a reference was freed that is granted");
	free_ref(ref);
}

void gnttab_grant_foreign_access_ref(grant_ref_t ref, domid_t domid, unsigned long gfn, int readonly)
{
	(void)domid;
	if (!table[ref].taken || table[ref].granted || !map[gfn].count)
		kernel_bug("granted: no reference, used twice, or no page");
	table[ref].granted = true;
	table[ref].readonly = readonly;
	table[ref].gfn = gfn;
}

int gnttab_grant_foreign_access(domid_t domid, unsigned long gfn, int readonly)
{
	grant_ref_t ref;
	int ret = gnttab_alloc_grant_reference_seq(1, &ref);

	if (ret)
		return ret;
	gnttab_grant_foreign_access_ref(ref, domid, gfn, readonly);
	return (int)ref;
}

int gnttab_end_foreign_access_ref(grant_ref_t ref)
{
	if (!table[ref].granted || table[ref].deferred)
		kernel_bug("a grant was ended twice");
	if (table[ref].mapped)
		return 0;
	table[ref].granted = false;
	return 1;
}

int gnttab_try_end_foreign_access(grant_ref_t ref)
{
	int ret = gnttab_end_foreign_access_ref(ref);

	if (ret)
		free_ref(ref);
	return ret;
}

void gnttab_end_foreign_access(grant_ref_t ref, struct page *page)
{
	if (gnttab_try_end_foreign_access(ref)) {
		put_page(page);
		return;
	}
	table[ref].deferred = page;
	kernel.deferred++;
}

void *kernel_map(grant_ref_t ref, bool write)
{
	if (ref >= REFS || !table[ref].granted || (write && table[ref].readonly))
		return NULL;
	table[ref].mapped = true;
	return memory + table[ref].gfn * PAGE_SIZE;
}

void kernel_unmap(grant_ref_t ref)
{
	table[ref].mapped = false;
}

/* -- events -- */

int xenbus_alloc_evtchn(struct xenbus_device *dev, evtchn_port_t *port)
{
	(void)dev;
	*port = 5;
	return kernel_fails() ? -ENOSPC : 0;
}

int bind_evtchn_to_irqhandler_lateeoi(evtchn_port_t port, irq_handler_t *handler, unsigned long flags,
				      const char *name, void *data)
{
	(void)port;
	(void)flags;
	(void)name;
	for (int i = 1; i < IRQS && !kernel_fails(); i++) {
		if (irqs[i].handler)
			continue;
		irqs[i].handler = handler;
		irqs[i].data = data;
		kernel.irqs++;
		return i;
	}
	return -ENOSPC;
}

void unbind_from_irqhandler(int irq, void *data)
{
	if (irq <= 0 || !irqs[irq].handler || irqs[irq].data != data) {
		kernel_bug("an interrupt was unbound twice");
		return;
	}
	irqs[irq].handler = NULL;
	kernel.irqs--;
}

void xen_irq_lateeoi(int irq, unsigned int flags)
{
	(void)irq;
	kernel.eois++;
	kernel.spurious += flags == XEN_EOI_FLAG_SPURIOUS;
}

void notify_remote_via_irq(int irq)
{
	if (irq <= 0 || !irqs[irq].handler)
		kernel_bug("notified through an interrupt that is not bound");
	if (kernel.notified)
		kernel.notified(irq);
}

void kernel_raise(int irq)
{
	irqs[irq].handler(irq, irqs[irq].data);
}

/* -- devices -- */

void get_device(struct device *dev)
{
	dev->count++;
}

void put_device(struct device *dev)
{
	if (!dev->count)
		kernel_bug("a device was freed twice");
	else if (!--dev->count && dev->release)
		dev->release(dev);
}

char *xenbus_read(int t, const char *dir, const char *node, unsigned int *len)
{
	(void)t;
	(void)dir;
	(void)node;
	(void)len;
	return kernel.refusal ? strcpy(calloc(1, strlen(kernel.refusal) + 1), kernel.refusal) :
				ERR_PTR(-ENOENT);
}

int register_xenbus_watch(struct xenbus_watch *watch)
{
	if (kernel_fails())
		return -ENOMEM;
	if (kernel.watch)
		kernel_bug("a second watch");
	kernel.watch = watch;
	watch->callback(watch, watch->node, "");
	return 0;
}

void unregister_xenbus_watch(struct xenbus_watch *watch)
{
	if (kernel.watch != watch)
		kernel_bug("a watch that is not there");
	kernel.watch = NULL;
}

int xenbus_register_frontend(struct xenbus_driver *driver)
{
	if (kernel_fails())
		return -ENOMEM;
	kernel_driver = driver;
	return 0;
}

struct virtqueue *vring_create_virtqueue(unsigned int index, unsigned int size, unsigned int align,
					 struct virtio_device *vdev, bool weak, bool shrink,
					 bool ctx, bool (*notify)(struct virtqueue *),
					 vq_callback_t *callback, const char *name)
{
	struct device *parent = vdev->dev.parent;
	struct virtqueue *vq = calloc(1, sizeof(*vq));

	(void)align;
	(void)weak;
	(void)shrink;
	(void)ctx;
	(void)callback;
	(void)name;
	vq->vdev = vdev;
	vq->index = index;
	vq->size = size;
	vq->notify = notify;
	vq->va = parent->dma_ops->alloc(parent, kernel_used_offset(size) + PAGE_SIZE, &vq->addr,
					GFP_KERNEL, 0);
	if (!vq->va) {
		free(vq);
		return NULL;
	}
	vq->list = (struct list_head){ .next = vdev->vqs.next, .prev = &vdev->vqs };
	vq->list.next->prev = &vq->list;
	vdev->vqs.next = &vq->list;
	return vq;
}

void vring_del_virtqueue(struct virtqueue *vq)
{
	struct device *parent = vq->vdev->dev.parent;

	parent->dma_ops->free(parent, kernel_used_offset(vq->size) + PAGE_SIZE, vq->va, vq->addr, 0);
	vq->list.prev->next = vq->list.next;
	vq->list.next->prev = vq->list.prev;
	free(vq);
}

irqreturn_t vring_interrupt(int irq, void *vq)
{
	(void)irq;
	(void)vq;
	return kernel.used ? IRQ_HANDLED : IRQ_NONE;
}

void virtio_break_device(struct virtio_device *vdev)
{
	for (struct list_head *l = vdev->vqs.next; l != &vdev->vqs; l = l->next)
		container_of(l, struct virtqueue, list)->broken = true;
}

void virtio_config_changed(struct virtio_device *vdev)
{
	(void)vdev;
	kernel.config_changes++;
}

/* What the core and a driver with one queue do, in their order. */
static int start_driver(struct virtio_device *vdev, bool first)
{
	const struct virtio_config_ops *ops = vdev->config;
	static const char *const names[] = { "queue" };
	vq_callback_t *callbacks[] = { NULL };
	struct virtqueue *vqs[1];
	u8 status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, byte;
	int ret;

	ops->reset(vdev);
	ops->set_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	ops->set_status(vdev, status);
	if (first)
		vdev->features = ops->get_features(vdev);
	ret = ops->finalize_features(vdev);
	if (ret)
		return ret;
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	ops->set_status(vdev, status);
	if (!(ops->get_status(vdev) & VIRTIO_CONFIG_S_FEATURES_OK))
		return -ENODEV;
	/* virtio_blk looks for the number of its queues once more, and has tables for what it was. */
	ops->get(vdev, 0, &byte, 1);
	if (!first && byte != vdev->built_on)
		kernel_bug("a driver was restored on another config space");
	if (first)
		vdev->built_on = byte;
	ret = ops->find_vqs(vdev, 1, vqs, callbacks, names, NULL, NULL);
	if (ret)
		return ret;
	ops->set_status(vdev, status | VIRTIO_CONFIG_S_DRIVER_OK);
	kernel.through = !vqs[0]->broken;
	return 0;
}

int register_virtio_device(struct virtio_device *vdev)
{
	vdev->dev.count = 1;
	vdev->vqs = (struct list_head){ &vdev->vqs, &vdev->vqs };
	if (kernel_fails())
		return -ENOMEM;
	start_driver(vdev, true); /* without a driver, if it does not want it */
	return 0;
}

/* Linux's drivers free what belongs to their queues here, and do so again if they are removed before
 * they have been restored. */
int virtio_device_freeze(struct virtio_device *vdev)
{
	if (vdev->frozen)
		kernel_bug("a driver was frozen twice");
	vdev->config->reset(vdev);
	vdev->config->del_vqs(vdev);
	vdev->frozen = true;
	return 0;
}

int virtio_device_restore(struct virtio_device *vdev)
{
	int ret = start_driver(vdev, false);

	if (!ret)
		vdev->frozen = false;
	return ret;
}

void unregister_virtio_device(struct virtio_device *vdev)
{
	if (vdev->frozen)
		kernel_bug("a frozen driver was removed");
	vdev->config->reset(vdev);
	vdev->config->del_vqs(vdev);
	put_device(&vdev->dev);
}
