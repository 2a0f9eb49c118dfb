/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libxvshim: what a user-space driver needs to drive a PCI device from a Xen domain, usually dom0.
 *
 * Under Xen a device that bypasses the IOMMU, such as a virtio device of an outer hypervisor, takes
 * machine addresses. A PV domain is told none of them: /proc/self/pagemap speaks of its own frames
 * (pfn). This library gives out memory that stays where it is together with its machine addresses,
 * translates memory that a process has already, maps the grants of other domains for a device, and
 * takes a PCI function from the kernel's driver.
 *
 * Errors: functions that return int return 0 (or what they say) or a negative errno. Those common
 * to all are -EINVAL, a bad argument, and -ENOMEM. Nothing is printed. Functions about PCI
 * functions also leave one line for the user in why[size] when they fail; why may be NULL with
 * size 0, XVS_WHY_SIZE is always enough.
 *
 * Units: sizes, offsets and lengths are bytes; a machine address (maddr) is a byte address as a
 * device puts it on the bus; a page has 4096 bytes.
 *
 * Threads: a struct xvs, the memory that came from it and its grants are used by one thread at a
 * time, and so is a struct xvs_pci. Different handles do not know of each other.
 *
 * Fork: a child does not use a struct xvs of its parent. Memory of xvs_dma_alloc() is shared with
 * it and a struct xvs_pci works in it, but in only one of the two at a time; the child frees,
 * closes and releases nothing.
 *
 * The end of a process: whatever a device could still write stays pinned, so that a late write hits
 * nobody else's page. So reset the device first, then free and unmap. See xvs_dma_pins() for what
 * to do after a process was killed.
 */
#ifndef XVSHIM_XVSHIM_H
#define XVSHIM_XVSHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- the hypervisor ------------------------------------------------------------------------- */

struct xvs;

/* What a handle is for. The device files of Xen that it needs are opened and no others. */
enum {
	XVS_MEMORY = 1, /* xvs_dma_*: privcmd, gntalloc */
	XVS_OWN = 2,    /* xvs_translate*: privcmd, /proc/self/pagemap */
	XVS_GRANTS = 4, /* xvs_grant_*: privcmd, gntdev, gntalloc */
};

/*
 * -ENODEV this is no Xen domain; -EACCES not privileged; -ENOENT a device file is missing: load
 * xen-privcmd, xen-gntalloc, xen-gntdev; -EOPNOTSUPP this kernel publishes no table of its frames
 * (XVS_OWN); -ENOSYS the library was built without Xen.
 */
int xvs_open(unsigned int parts, struct xvs **xvs);

/* Free its memory and unmap its grants before; what is left stays pinned. NULL is allowed. */
void xvs_close(struct xvs *xvs);

/* Of the library: "0.1.0". */
const char *xvs_version(void);

/* -- memory for a device -------------------------------------------------------------------- */

struct xvs_dma;

/*
 * Zeroed memory of whole pages, contiguous in this process and, as a rule, nowhere else. The kernel
 * never moves it, and where Xen drives an IOMMU devices reach it through that. The caller frees it.
 * -ENOSPC: the limit of the module xen_gntalloc, 1024 pages by default; -EOPNOTSUPP: not a PV
 * domain.
 */
int xvs_dma_alloc(struct xvs *xvs, size_t size, struct xvs_dma **dma);

/* No device may reach it any more. NULL is allowed. */
void xvs_dma_free(struct xvs_dma *dma);

/* Belongs to dma. */
void *xvs_dma_va(const struct xvs_dma *dma);
/* Rounded up to whole pages. */
size_t xvs_dma_size(const struct xvs_dma *dma);

/*
 * The machine address of the byte at offset, and how many of the len bytes from there lie one after
 * the other (contiguous; may be NULL, then all of them have to). -ERANGE: outside the memory;
 * -EXDEV: not contiguous, and contiguous is NULL.
 */
int xvs_dma_maddr(const struct xvs_dma *dma, size_t offset, size_t len, uint64_t *maddr,
		  size_t *contiguous);

/* -- memory that this process has already --------------------------------------------------- */

/*
 * The machine address of own memory; len and contiguous as above. The memory is present and locked,
 * and that alone does not keep the kernel from migrating it: it has to be of a kind that is not
 * migrated, else the address is true for now and no longer. The library cannot tell.
 * -EFAULT: no page is there; -EACCES: not privileged to see frames; -ENXIO: no memory of this
 * domain; -EXDEV: a page of another domain, or not contiguous; -EOPNOTSUPP: not a PV domain; -EAGAIN:
 * the table kept changing.
 */
int xvs_translate(struct xvs *xvs, const void *va, size_t len, uint64_t *maddr,
		  size_t *contiguous);

/* The same for a page frame number of this domain, as /proc/self/pagemap has it. */
int xvs_translate_pfn(struct xvs *xvs, uint64_t pfn, uint64_t *maddr);

/* -- grants of other domains ---------------------------------------------------------------- */

#define XVS_NO_HANDLE 0xffffffffu

/* The device may only read. A page that is granted read-only can be mapped in no other way. */
enum { XVS_GRANT_READONLY = 1 };

/*
 * One page that another domain granted. While it has a handle the page is pinned: not even the end
 * of this process undoes it, and a handle that is lost pins it until the machine is booted again.
 * So keep the array where a successor finds it. Xen gives out maddr for read-only pages as well: it
 * is up to the caller never to have the device write to one.
 */
struct xvs_grant {
	uint32_t gref;   /* in */
	uint16_t domid;  /* in: who granted it */
	uint16_t flags;  /* in: XVS_GRANT_* */
	int32_t error;   /* out: 0 or a negative errno, for this page alone */
	uint32_t handle; /* out: XVS_NO_HANDLE when it is not mapped */
	uint64_t maddr;  /* out: machine address of the page */
};

/*
 * Maps n pages for devices, many with one hypercall, nothing into this process. 0: all are mapped.
 * Otherwise the first error; those with a handle are mapped all the same, to be used or unmapped.
 * Of one page: -ENOENT no such reference; -EIO it is not granted, not to this domain, or read-only;
 * -ESRCH no such domain; -ENXIO no such page; -ENOSPC no handles left; -ECANCELED not tried.
 */
int xvs_grant_map(struct xvs *xvs, struct xvs_grant *grant, unsigned int n);

/*
 * Undoes it for those with a handle, which they lose, and skips the others, so it may be repeated.
 * The device was reset or is done with the pages. 0 or the first error.
 */
int xvs_grant_unmap(struct xvs *xvs, struct xvs_grant *grant, unsigned int n);

/*
 * What pins memory of xvs_dma_alloc(), as one element a page: for a driver to write down where its
 * successor finds it. When the process was killed, the successor resets the device and gives them
 * to xvs_grant_unmap(); the kernel frees the pages then. Never while the memory is still in use,
 * and never twice: Xen gives the number of a handle out again. Returns the number of pages;
 * at most n are written.
 */
unsigned int xvs_dma_pins(const struct xvs_dma *dma, struct xvs_grant *pin, unsigned int n);

/* -- a PCI function in user space ----------------------------------------------------------- */

struct xvs_pci;

#define XVS_WHY_SIZE 256
#define XVS_DRIVER_SIZE 64
#define XVS_PCI_BARS 6

enum {
	/* From the kernel's driver that has it, unless somebody uses the disk or the network
	 * interface behind it: mounted, open for exclusive use, swap, up. */
	XVS_PCI_UNBIND = 1,
	/* Even if uio_pci_generic has it already, as an earlier process left it. Nobody else may
	 * drive it. */
	XVS_PCI_RESUME = 2,
};

/*
 * Takes the function bdf ("0000:00:04.0") for user space, by uio_pci_generic, and opens it: memory
 * decoding and the interrupt on, bus mastering off, nothing reset. All is undone on failure. The
 * caller releases or closes it.
 * -EINVAL no such address; -ENODEV no such function; -EBUSY somebody has or uses it; -ENOENT the
 * module uio_pci_generic is not loaded; -EACCES not privileged.
 */
int xvs_pci_take(const char *bdf, unsigned int flags, struct xvs_pci **pci, char *why,
		 size_t size);

/*
 * Resets the device, turns bus mastering off, closes it and gives it back to the driver that it was
 * taken from. -ETIMEDOUT: the device does not confirm its reset, might still write, and stays open:
 * free no memory and call again. Any other error: it is closed, but the driver did not take it.
 */
int xvs_pci_release(struct xvs_pci *pci, char *why, size_t size);

/*
 * Closes it and leaves it with uio_pci_generic, for XVS_PCI_RESUME or xvs_pci_give_back(). The
 * kernel ends bus mastering with it. Resets nothing. NULL is allowed.
 */
void xvs_pci_close(struct xvs_pci *pci);

/*
 * Gives a function that nobody has open back to the driver, or with "" to none: what is left to do
 * after xvs_pci_close(), or after a process was killed. Nothing to do is success. -EBUSY: another
 * driver has it meanwhile; -ENOENT: the driver is not loaded (the function is free then).
 */
int xvs_pci_give_back(const char *bdf, const char *driver, char *why, size_t size);

/* The driver that had it when it was taken; "" none. Belongs to pci. */
const char *xvs_pci_driver(const struct xvs_pci *pci);

/*
 * Has the device stop everything, and waits until it confirms: a virtio device by its status
 * ("Device Status Field"), any other by what the kernel knows. -ETIMEDOUT: not confirmed within a
 * second, it may still write; -ENODEV: unplugged; -EOPNOTSUPP: no way to reset it.
 */
int xvs_pci_reset(struct xvs_pci *pci);

/* May the device start transfers? */
int xvs_pci_bus_master(struct xvs_pci *pci, bool on);

/*
 * Config space, little endian as it is. -ERANGE: more than the kernel shows. -EPERM: a write to the
 * command register, which is the library's.
 */
int xvs_pci_config_read(struct xvs_pci *pci, unsigned int off, void *buf, size_t len);
int xvs_pci_config_write(struct xvs_pci *pci, unsigned int off, const void *buf, size_t len);

/* 0: no such BAR, or one of I/O ports. */
size_t xvs_pci_bar_size(const struct xvs_pci *pci, unsigned int bar);
/* Maps it, once; the mapping belongs to pci. -ENOENT: no such BAR, or one of I/O ports. */
int xvs_pci_bar(struct xvs_pci *pci, unsigned int bar, volatile void **va);

/*
 * INTx. The file descriptor, which belongs to pci, polls readable when one came; it is masked from
 * then on. xvs_pci_irq_take: 1 one came, 0 none, -ENODEV unplugged. Clear its cause in the
 * device, then unmask.
 */
int xvs_pci_irq_fd(const struct xvs_pci *pci);
int xvs_pci_irq_take(struct xvs_pci *pci);
int xvs_pci_irq_unmask(struct xvs_pci *pci);

#ifdef __cplusplus
}
#endif

#endif
