// SPDX-License-Identifier: GPL-2.0
/*
 * The version of this guest's grant table, as a parameter of a module: read it, or write the one that
 * Xen is asked for; what Xen answers is what the write does. Behind the kernel's back, which goes on
 * with entries of the version that it began with. User space is not let through to Xen in a domU.
 */
#include <linux/module.h>
#include <xen/interface/grant_table.h>
#include <xen/interface/xen.h>
#include <asm/xen/hypercall.h>

static int set_version(const char *text, const struct kernel_param *param)
{
	struct gnttab_set_version set;
	int ret = kstrtouint(text, 0, &set.version);

	return ret ?: HYPERVISOR_grant_table_op(GNTTABOP_set_version, &set, 1);
}

static int get_version(char *text, const struct kernel_param *param)
{
	struct gnttab_get_version get = { .dom = DOMID_SELF };
	int ret = HYPERVISOR_grant_table_op(GNTTABOP_get_version, &get, 1);

	return ret ?: sysfs_emit(text, "%u\n", get.version);
}

static const struct kernel_param_ops ops = { .set = set_version, .get = get_version };
module_param_cb(version, &ops, NULL, 0600);

static int __init table_version_init(void)
{
	return 0;
}

static void __exit table_version_exit(void)
{
}

module_init(table_version_init);
module_exit(table_version_exit);
MODULE_LICENSE("GPL");
