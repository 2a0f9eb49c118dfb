/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What differs between the kernels this module is built for, 6.1 to 6.12; nowhere but here and in
 * shrink.h is a version compared.
 */
#ifndef XVS_COMPAT_H
#define XVS_COMPAT_H

#include <linux/version.h>
#include <linux/virtio_config.h>

/* 6.10 made alloc_pages() a macro and renamed the member of dma_map_ops. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define XVS_DMA_ALLOC_PAGES alloc_pages_op
#else
#define XVS_DMA_ALLOC_PAGES alloc_pages
#endif

/* 6.4 gave the bit its name. */
#ifndef VIRTIO_F_NOTIFICATION_DATA
#define VIRTIO_F_NOTIFICATION_DATA 38
#endif

/* remove() of a xenbus_driver returns nothing from 6.3 on, and in later releases of 6.1. */
#define XVS_REMOVE(returns_nothing, returns_int)                                                  \
	__builtin_choose_expr(                                                                    \
		__builtin_types_compatible_p(typeof(((struct xenbus_driver *)0)->remove),         \
					     int (*)(struct xenbus_device *)),                    \
		returns_int, returns_nothing)

/* 6.11 folded the three arrays that find_vqs() takes into one. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define XVS_FIND_VQS_ARGS struct virtqueue_info xvs_info[]
#define XVS_VQ_INFO(i) (xvs_info[i])
#else
struct virtqueue_info {
	const char *name;
	vq_callback_t *callback;
	bool ctx;
};
#define XVS_FIND_VQS_ARGS \
	vq_callback_t *xvs_cb[], const char *const xvs_name[], const bool *xvs_ctx
#define XVS_VQ_INFO(i) \
	((struct virtqueue_info){ xvs_name[i], xvs_cb[i], xvs_ctx ? xvs_ctx[i] : false })
#endif

/* From 6.12 on a device has dma_ops only where the architecture asks for it; x86 does. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#ifndef CONFIG_ARCH_HAS_DMA_OPS
#error "this kernel has no DMA operations per device"
#endif
#elif !defined(CONFIG_DMA_OPS)
#error "this kernel has no DMA operations per device"
#endif

#endif /* XVS_COMPAT_H */
