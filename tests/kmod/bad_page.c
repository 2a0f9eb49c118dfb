// SPDX-License-Identifier: GPL-2.0
/*
 * Makes the front end write an address into a descriptor that is not the guest's: the next page
 * that is mapped gets another one. Loading the module arms it once.
 */
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <asm/xen/page.h>

static char *kind = "beyond";
module_param(kind, charp, 0444);
static ulong mfn; /* of somebody else */
module_param(mfn, ulong, 0444);

static unsigned long address;
static atomic_t armed = ATOMIC_INIT(1);

static int on_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	if (regs_return_value(regs) != (unsigned long)-1 && atomic_xchg(&armed, 0))
		regs_set_return_value(regs, address);
	return 0;
}

static struct kretprobe probe = {
	.kp.symbol_name = "xvs_p2m_map_page",
	.handler = on_return,
	.maxactive = 16,
};

/* A pfn that was ballooned out. */
static unsigned long absent_pfn(void)
{
	unsigned long pfn;

	for (pfn = 1; pfn < xen_p2m_size; pfn++)
		if (get_phys_to_machine(pfn) == INVALID_P2M_ENTRY)
			return pfn;
	return 0;
}

/* A page of this guest of which its table says that it is a frame of somebody else's. */
static unsigned long lying_pfn(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return 0;
	WRITE_ONCE(xen_p2m_addr[page_to_pfn(page)], mfn);
	return page_to_pfn(page); /* never freed: this guest is not long for this world */
}

static int __init bad_page_init(void)
{
	unsigned long pfn = 0;

	if (!strcmp(kind, "beyond"))
		pfn = 1ul << 27; /* at 512 GiB */
	else if (!strcmp(kind, "absent"))
		pfn = absent_pfn();
	else if (!strcmp(kind, "foreign"))
		pfn = lying_pfn();
	if (!pfn)
		return -ENOENT;
	address = pfn << PAGE_SHIFT;
	pr_info("bad_page: %s pfn %#lx\n", kind, pfn);
	return register_kretprobe(&probe);
}

static void __exit bad_page_exit(void)
{
	unregister_kretprobe(&probe);
}

module_init(bad_page_init);
module_exit(bad_page_exit);
MODULE_LICENSE("GPL");
