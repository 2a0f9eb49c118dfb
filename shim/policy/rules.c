/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules. First match decides; every table ends with a rule that takes what is left.
 *
 * Why a PV dom0 has machine addresses in every row: grants are mapped with GNTMAP_device_map,
 * and the owner of that mapping is dom0, as it is of the rings. Where Xen drives an IOMMU for
 * dom0 (dom0-iommu=passthrough, strict or neither) it maps dom0's frames and the frames that
 * dom0 mapped by grant at bus address = machine address. So what bypasses the IOMMU and what
 * stands behind it are given the same number, and it is right for both.
 */
#include "policy/policy.h"

#define IS(v) (1u << (v))

#define NESTED(what, how, fact, text)                                                           \
	.outcome = VERDICT_##what, .nested = NESTED_##how, .decided = FACT_##fact, .reason = text
#define SAYS(what, fact, text) .outcome = what, .decided = FACT_##fact, .reason = text

static const struct rule nested_rules[] = {
	{ .accept = { [FACT_HOST] = IS(HOST_PLAIN) },
	  NESTED(REFUSE, NONE, HOST,
		 "there is no Xen here: the kernel's own driver and its DMA API decide") },
	{ .accept = { [FACT_HOST] = IS(HOST_DOMU) },
	  NESTED(REFUSE, NONE, HOST,
		 "this is a guest of Xen, which may not name machine memory: run it in dom0") },
	{ .accept = { [FACT_TRANSPORT] = IS(TRANSPORT_MMIO) },
	  NESTED(NOT_YET, MACHINE, TRANSPORT,
		 "virtio-mmio: uio_pci_generic takes PCI functions only, so nothing brings the "
		 "registers and the interrupt of this device to user space yet") },
	{ .accept = { [FACT_TRANSPORT] = IS(TRANSPORT_VHOST_USER) },
	  NESTED(NOT_YET, NONE, TRANSPORT,
		 "vhost-user: its back end wants the guest's memory as one shared file, and "
		 "nothing makes one of granted pages yet") },
	{ .accept = { [FACT_TYPE] = IS(TYPE_PAYLOAD) },
	  NESTED(REFUSE, NONE, TYPE,
		 "its requests carry addresses of memory, which no ring translation reaches") },
	{ .accept = { [FACT_TYPE] = IS(TYPE_REFUSED) },
	  NESTED(REFUSE, NONE, TYPE, "its type has no allow-list entry that serves it") },
	{ .accept = { [FACT_TRANSPORT] = IS(TRANSPORT_LEGACY),
		      [FACT_MEMORY] = IS(MEMORY_ABOVE) },
	  NESTED(REFUSE, NONE, MEMORY,
		 "a legacy device is told its queue as a 32-bit frame number, and memory here "
		 "reaches above 16 TiB") },
	{ .accept = { [FACT_TRANSPORT] = IS(TRANSPORT_LEGACY),
		      [FACT_MEMORY] = IS(MEMORY_UNKNOWN) },
	  NESTED(REFUSE, NONE, MEMORY,
		 "a legacy device is told its queue as a 32-bit frame number, and how far memory "
		 "reaches cannot be read") },
	{ .accept = { [FACT_TRANSPORT] = IS(TRANSPORT_LEGACY) },
	  NESTED(NOT_YET, MACHINE, TRANSPORT,
		 "a legacy device without the modern interface: its 32-bit queue frame reaches "
		 "all memory here, but only the modern interface is driven") },
	{ .accept = { [FACT_HOST] = IS(HOST_UNKNOWN) },
	  NESTED(REFUSE, NONE, HOST, "whether this is a dom0 cannot be read") },
	{ .accept = { [FACT_HOST] = IS(HOST_PVH_DOM0), [FACT_VENDOR] = IS(VENDOR_SILICON) },
	  NESTED(NOT_YET, FRAMES, HOST,
		 "real silicon under a PVH dom0: Xen's IOMMU takes dom0's own frame numbers, and "
		 "only machine addresses are handed out yet") },
	{ .accept = { [FACT_HOST] = IS(HOST_PVH_DOM0), [FACT_PLATFORM] = IS(BIT_SET) },
	  NESTED(NOT_YET, FRAMES, HOST,
		 "bit 33 is offered under a PVH dom0: Xen's IOMMU takes dom0's own frame numbers, "
		 "and only machine addresses are handed out yet") },
	{ .accept = { [FACT_HOST] = IS(HOST_PVH_DOM0), [FACT_PLATFORM] = IS(BIT_UNKNOWN) },
	  NESTED(NOT_YET, NONE, PLATFORM,
		 "its feature bits cannot be read, and under a PVH dom0 bit 33 decides") },
	{ .accept = { [FACT_HOST] = IS(HOST_PVH_DOM0) },
	  NESTED(NOT_YET, MACHINE, HOST,
		 "bit 33 is not offered, so it takes machine addresses; but this dom0 is PVH, "
		 "which nobody has tried") },
	{ .accept = { [FACT_VENDOR] = IS(VENDOR_SILICON), [FACT_IOMMU] = IS(IOMMU_ON) },
	  NESTED(SERVE, IDENTITY, VENDOR,
		 "real silicon (its vendor is not 0x1af4) is a bus master behind Xen's IOMMU, "
		 "where bus address = machine address for all that dom0 maps") },
	{ .accept = { [FACT_VENDOR] = IS(VENDOR_SILICON) },
	  NESTED(SERVE, MACHINE, VENDOR,
		 "real silicon (its vendor is not 0x1af4) is a bus master, and without an IOMMU "
		 "of Xen bus address = machine address") },
	{ .accept = { [FACT_PLATFORM] = IS(BIT_SET), [FACT_IOMMU] = IS(IOMMU_ON),
		      [FACT_FIRMWARE] = IS(FIRMWARE_SKIPS) },
	  NESTED(SERVE, MACHINE, FIRMWARE,
		 "bit 33 is offered, but the firmware's table names no IOMMU in front of it: bus "
		 "address = machine address") },
	{ .accept = { [FACT_PLATFORM] = IS(BIT_SET), [FACT_IOMMU] = IS(IOMMU_ON) },
	  NESTED(SERVE, IDENTITY, PLATFORM,
		 "bit 33 is offered: it is behind Xen's IOMMU, where bus address = machine address "
		 "for all that dom0 maps") },
	{ .accept = { [FACT_PLATFORM] = IS(BIT_SET), [FACT_IOMMU] = IS(IOMMU_OFF) },
	  NESTED(SERVE, MACHINE, IOMMU,
		 "bit 33 is offered, but Xen runs without an IOMMU: bus address = machine "
		 "address") },
	{ .accept = { [FACT_PLATFORM] = IS(BIT_SET) },
	  NESTED(SERVE, MACHINE, IOMMU,
		 "bit 33 is offered, and whether Xen drives an IOMMU cannot be read: for a PV dom0 "
		 "bus address = machine address in either case") },
	{ .accept = { [FACT_ORDER] = IS(BIT_SET), [FACT_PLATFORM] = IS(BIT_CLEAR),
		      [FACT_IOMMU] = IS(IOMMU_ON) },
	  NESTED(SERVE, IDENTITY, ORDER,
		 "bit 36 is offered: it is treated as a bus master behind Xen's IOMMU, where bus "
		 "address = machine address for all that dom0 maps") },
	{ .accept = { [FACT_PLATFORM] = IS(BIT_UNKNOWN) },
	  NESTED(SERVE, MACHINE, HOST,
		 "its feature bits cannot be read now; for a PV dom0 it takes machine addresses "
		 "whatever they say") },
	{ .accept = { [FACT_IOMMU] = IS(IOMMU_ON), [FACT_FIRMWARE] = IS(FIRMWARE_COVERS) },
	  NESTED(SERVE, MACHINE, PLATFORM,
		 "bit 33 is not offered: it bypasses Xen's IOMMU, although the firmware's table "
		 "claims to cover it; the bit decides, not the table") },
	{ .accept = { [FACT_IOMMU] = IS(IOMMU_ON) },
	  NESTED(SERVE, MACHINE, PLATFORM,
		 "bit 33 is not offered: it bypasses Xen's IOMMU and takes machine addresses") },
	{ .accept = { [FACT_FIRMWARE] = IS(FIRMWARE_COVERS) },
	  NESTED(SERVE, MACHINE, PLATFORM,
		 "bit 33 is not offered: it takes machine addresses, although the firmware's table "
		 "claims an IOMMU in front of it; the bit decides, not the table") },
	{ NESTED(SERVE, MACHINE, PLATFORM,
		 "bit 33 is not offered: it takes machine addresses") },
};

static const struct rule barrier_rules[] = {
	{ .accept = { [FACT_VENDOR] = IS(VENDOR_SILICON) },
	  SAYS(BARRIERS_STRONG, VENDOR,
	       "real silicon reads memory over a bus, which barriers between processors alone do "
	       "not order") },
	{ .accept = { [FACT_ORDER] = IS(BIT_SET) },
	  SAYS(BARRIERS_STRONG, ORDER, "it asks for the platform's ordering (bit 36)") },
	{ .accept = { [FACT_ORDER] = IS(BIT_UNKNOWN) },
	  SAYS(BARRIERS_STRONG, ORDER,
	       "whether it asks for the platform's ordering (bit 36) cannot be read") },
	{ SAYS(BARRIERS_SMP, ORDER,
	       "bit 36 is not offered: the device is software on a processor, for which the "
	       "barriers between processors do") },
};

static const struct rule assign_rules[] = {
	{ .accept = { [FACT_HOST] = IS(HOST_DOMU) },
	  SAYS(false, HOST, "this is a guest of Xen, which has no devices to assign") },
	{ .accept = { [FACT_TRANSPORT] = IS(TRANSPORT_MMIO) | IS(TRANSPORT_VHOST_USER) },
	  SAYS(false, TRANSPORT, "it is no PCI function") },
	{ .accept = { [FACT_TYPE] = IS(TYPE_PAYLOAD) },
	  SAYS(false, TYPE,
	       "its requests carry addresses of memory, which no IOMMU looks at") },
	{ .accept = { [FACT_TRANSPORT] = IS(TRANSPORT_LEGACY),
		      [FACT_VENDOR] = IS(VENDOR_HYPERVISOR) },
	  SAYS(false, TRANSPORT,
	       "a legacy device has no bit 33: it bypasses every IOMMU, and each address its "
	       "guest writes would be an address of the machine") },
	{ .accept = { [FACT_PLATFORM] = IS(BIT_CLEAR), [FACT_VENDOR] = IS(VENDOR_HYPERVISOR),
		      [FACT_FIRMWARE] = IS(FIRMWARE_COVERS) },
	  SAYS(false, PLATFORM,
	       "bit 33 is not offered: it bypasses every IOMMU whatever the firmware's table "
	       "claims, and each address its guest writes would be an address of the machine") },
	{ .accept = { [FACT_PLATFORM] = IS(BIT_CLEAR), [FACT_VENDOR] = IS(VENDOR_HYPERVISOR) },
	  SAYS(false, PLATFORM,
	       "bit 33 is not offered: it bypasses every IOMMU, and each address its guest writes "
	       "would be an address of the machine") },
	{ .accept = { [FACT_PLATFORM] = IS(BIT_UNKNOWN),
		      [FACT_VENDOR] = IS(VENDOR_HYPERVISOR) },
	  SAYS(false, PLATFORM,
	       "its feature bits cannot be read, and without bit 33 it would bypass every "
	       "IOMMU") },
	{ .accept = { [FACT_IOMMU] = IS(IOMMU_OFF) },
	  SAYS(false, IOMMU,
	       "no IOMMU is in use: each address its guest writes would be an address of the "
	       "machine") },
	{ .accept = { [FACT_IOMMU] = IS(IOMMU_UNKNOWN) },
	  SAYS(false, IOMMU, "whether an IOMMU is in use cannot be read") },
	{ .accept = { [FACT_FIRMWARE] = IS(FIRMWARE_SKIPS) | IS(FIRMWARE_NO_TABLE) },
	  SAYS(false, FIRMWARE,
	       "an IOMMU is in use, but no table of the firmware puts one in front of this "
	       "device") },
	{ .accept = { [FACT_VENDOR] = IS(VENDOR_SILICON) },
	  SAYS(true, IOMMU, "real silicon behind an IOMMU that is in use reaches only the memory "
			    "of the guest that has it") },
	{ SAYS(true, IOMMU, "bit 33 is offered and an IOMMU is in use: it reaches only the memory "
			    "of the guest that has it") },
};

static const struct rule attach_rules[] = {
	{ .accept = { [FACT_HOLDER] = IS(HOLDER_IN_USE) },
	  SAYS(ATTACH_BUSY, HOLDER, "this system uses what stands behind it") },
	{ .accept = { [FACT_HOLDER] = IS(HOLDER_DRIVER), [FACT_TAKE] = IS(TAKE_NOT_TOLD) },
	  SAYS(ATTACH_NEEDS_TAKE, HOLDER,
	       "a driver of this system holds it: attach takes it only with --take") },
	{ .accept = { [FACT_HOLDER] = IS(HOLDER_DRIVER) },
	  SAYS(ATTACH_READY, TAKE,
	       "a driver of this system holds it, and --take allows to take it") },
	{ SAYS(ATTACH_READY, HOLDER, "no driver of this system holds it") },
};

/*
 * A page held by its pfn is only mapped into dom0, which puts nothing into the tables of an IOMMU: a
 * device that stands behind one would be stopped at it.
 */
static const struct rule p2m_rules[] = {
	{ .accept = { [FACT_P2M] = IS(P2M_FORBIDDEN) },
	  SAYS(false, P2M, "the administrator has not allowed p2m for this guest") },
	{ .accept = { [FACT_GUEST] = IS(GUEST_TRANSLATED) },
	  SAYS(false, GUEST,
	       "the guest is not a PV domain, and no other has a table of its machine frames") },
	{ .accept = { [FACT_IOMMU] = IS(IOMMU_OFF) },
	  SAYS(true, IOMMU,
	       "the administrator has allowed p2m, and Xen runs without an IOMMU that could stop "
	       "the device") },
	{ .accept = { [FACT_VENDOR] = IS(VENDOR_SILICON) },
	  SAYS(false, VENDOR,
	       "the device is behind an IOMMU (it is real silicon), which knows of granted pages "
	       "only") },
	{ .accept = { [FACT_PLATFORM] = IS(BIT_SET) },
	  SAYS(false, PLATFORM,
	       "the device is behind an IOMMU (it offers bit 33), which knows of granted pages "
	       "only") },
	{ .accept = { [FACT_PLATFORM] = IS(BIT_UNKNOWN) },
	  SAYS(false, PLATFORM,
	       "the device's feature bits cannot be read, and it may be behind an IOMMU, which "
	       "knows of granted pages only") },
	{ .accept = { [FACT_ORDER] = IS(BIT_SET) | IS(BIT_UNKNOWN) },
	  SAYS(false, ORDER,
	       "the device may be behind an IOMMU (bit 36 is offered, or cannot be read), which "
	       "knows of granted pages only") },
	{ SAYS(true, P2M,
	       "the administrator has allowed p2m, and the device bypasses every IOMMU") },
};

static const struct rule addressing_rules[] = {
	{ .accept = { [FACT_PICK_ADDRESSING] = IS(PICK_NOT_YET) },
	  SAYS(AGREE_OPEN, PICK_ADDRESSING, "the guest has not picked one yet") },
	{ .accept = { [FACT_PICK_ADDRESSING] = IS(PICK_NOT_OFFERED), [FACT_PICKED] = IS(PICKED_P2M) },
	  SAYS(AGREE_REFUSE, PICK_ADDRESSING, "the guest picked p2m, which it is not offered") },
	{ .accept = { [FACT_PICK_ADDRESSING] = IS(PICK_NOT_OFFERED) },
	  SAYS(AGREE_REFUSE, PICK_ADDRESSING,
	       "the guest picked grant, which the administrator has not allowed for it") },
	{ .accept = { [FACT_PICKED] = IS(PICKED_P2M) },
	  SAYS(AGREE_YES, PICKED,
	       "the guest picked p2m, which it is offered: its ring holds its own frames") },
	{ .accept = { [FACT_PICK_ADDRESSING] = IS(PICK_NEXT) },
	  SAYS(AGREE_YES, PICK_ADDRESSING,
	       "the guest would rather have p2m, which it is not offered: the addresses in its "
	       "ring are grants") },
	{ SAYS(AGREE_YES, PICKED, "the guest picked grant: the addresses in its ring are grants") },
};

static const struct rule protection_rules[] = {
	{ .accept = { [FACT_PICK_PROTECTION] = IS(PICK_NOT_YET) },
	  SAYS(AGREE_OPEN, PICK_PROTECTION, "the guest has not picked one yet") },
	{ .accept = { [FACT_PICK_PROTECTION] = IS(PICK_NOT_OFFERED) },
	  SAYS(AGREE_REFUSE, PICK_PROTECTION,
	       "the guest picked one that the administrator has not allowed for it") },
	{ .accept = { [FACT_PICKED] = IS(PICKED_P2M) },
	  SAYS(AGREE_YES, PICKED, "it has no effect: in p2m there are no grants to protect") },
	{ .accept = { [FACT_PICK_PROTECTION] = IS(PICK_BEST) },
	  SAYS(AGREE_YES, PICK_PROTECTION,
	       "it is what the guest wants most, and the administrator allows it") },
	{ .accept = { [FACT_PICK_PROTECTION] = IS(PICK_NEXT) },
	  SAYS(AGREE_YES, PICK_PROTECTION,
	       "the administrator does not allow what the guest wants more") },
	{ .accept = { [FACT_PICK_PROTECTION] = IS(PICK_LESS) },
	  SAYS(AGREE_YES, PICK_PROTECTION,
	       "the guest picked it, though it says that it wants another one more") },
	{ SAYS(AGREE_YES, PICK_PROTECTION, "the guest picked it, and the administrator allows it") },
};

static const struct rule driver_rules[] = {
	{ .accept = { [FACT_DRIVER_VERSION] = IS(DRIVER_BIT_NOT_YET) },
	  SAYS(AGREE_OPEN, DRIVER_VERSION, "the guest's driver has not said what it accepts") },
	{ .accept = { [FACT_DRIVER_VERSION] = IS(DRIVER_BIT_IGNORED) },
	  SAYS(AGREE_REFUSE, DRIVER_VERSION,
	       "the guest's driver does not accept VERSION_1, and the transport has no legacy "
	       "interface: FEATURES_OK is refused") },
	{ .accept = { [FACT_PICKED] = IS(PICKED_P2M) },
	  SAYS(AGREE_YES, PICKED,
	       "p2m is agreed on: the driver may write its own frames, whatever it makes of bit "
	       "33") },
	{ .accept = { [FACT_DRIVER_BIT] = IS(DRIVER_BIT_ACCEPTED) },
	  SAYS(AGREE_YES, DRIVER_BIT,
	       "the guest's driver accepts bit 33 (ACCESS_PLATFORM): it writes grants") },
	{ SAYS(AGREE_REFUSE, DRIVER_BIT,
	       "the guest's driver does not accept bit 33 (ACCESS_PLATFORM): it would write its "
	       "own physical addresses where grants are expected, so FEATURES_OK is refused") },
};

static const char *nested_outcome(const struct rule *rule)
{
	return policy_verdict_name(rule->outcome);
}

static const char *barriers_outcome(const struct rule *rule)
{
	return policy_barriers_name(rule->outcome);
}

static const char *assign_outcome(const struct rule *rule)
{
	return rule->outcome ? "safe" : "not safe";
}

static const char *attach_outcome(const struct rule *rule)
{
	return policy_attach_name(rule->outcome);
}

static const char *p2m_outcome(const struct rule *rule)
{
	return rule->outcome ? "offered" : "not offered";
}

static const char *pick_outcome(const struct rule *rule)
{
	static const char *const names[] = { "not yet", "refuse", "as picked" };

	return names[rule->outcome];
}

static const char *driver_outcome(const struct rule *rule)
{
	static const char *const names[] = { "not yet", "refuse", "go on" };

	return names[rule->outcome];
}

#define TABLE(name, words, fn) { words, name, sizeof(name) / sizeof((name)[0]), fn }

const struct rule_table policy_tables[NR_TABLES] = {
	[TABLE_NESTED] = TABLE(nested_rules, "The nested device's ring", nested_outcome),
	[TABLE_BARRIERS] = TABLE(barrier_rules, "Barriers", barriers_outcome),
	[TABLE_ASSIGN] = TABLE(assign_rules, "Assigning it to a guest directly", assign_outcome),
	[TABLE_ATTACH] = TABLE(attach_rules, "Taking it from dom0", attach_outcome),
	[TABLE_P2M] = TABLE(p2m_rules, "Offering p2m", p2m_outcome),
	[TABLE_ADDRESSING] = TABLE(addressing_rules, "The guest's addressing", pick_outcome),
	[TABLE_PROTECTION] = TABLE(protection_rules, "The guest's protection", pick_outcome),
	[TABLE_DRIVER] = TABLE(driver_rules, "The guest's driver, at FEATURES_OK", driver_outcome),
};
