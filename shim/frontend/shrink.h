/* SPDX-License-Identifier: GPL-2.0 */
/* The module's shrinker, which kernels before and after 6.7 make in different ways. */
#ifndef XVS_SHRINK_H
#define XVS_SHRINK_H

#include <linux/shrinker.h>
#include <linux/version.h>

typedef unsigned long xvs_shrink_fn(struct shrinker *s, struct shrink_control *sc);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
static struct shrinker *xvs_shrinker;

static inline int xvs_shrinker_start(xvs_shrink_fn *count, xvs_shrink_fn *scan)
{
	xvs_shrinker = shrinker_alloc(0, "xvshim");
	if (!xvs_shrinker)
		return -ENOMEM;
	xvs_shrinker->count_objects = count;
	xvs_shrinker->scan_objects = scan;
	shrinker_register(xvs_shrinker);
	return 0;
}

static inline void xvs_shrinker_stop(void)
{
	shrinker_free(xvs_shrinker);
}
#else
static struct shrinker xvs_shrinker = { .seeks = DEFAULT_SEEKS };

static inline int xvs_shrinker_start(xvs_shrink_fn *count, xvs_shrink_fn *scan)
{
	xvs_shrinker.count_objects = count;
	xvs_shrinker.scan_objects = scan;
	return register_shrinker(&xvs_shrinker, "xvshim");
}

static inline void xvs_shrinker_stop(void)
{
	unregister_shrinker(&xvs_shrinker);
}
#endif

#endif /* XVS_SHRINK_H */
