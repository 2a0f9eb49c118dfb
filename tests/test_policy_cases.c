/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The policy: the cases it was written for, one by one, as docs/addressing.md numbers them. */
#include "check_main.h"
#include "policy/policy.h"
#include "policy/types.h"

#include <string.h>

/* A nested disk of QEMU that bypasses the IOMMU, in a PV dom0 without one. */
static struct facts nested_disk(void)
{
	return (struct facts){ .is = {
				       [FACT_HOST] = HOST_PV_DOM0,
				       [FACT_TYPE] = TYPE_SERVED,
				       [FACT_PLATFORM] = BIT_CLEAR,
				       [FACT_ORDER] = BIT_CLEAR,
				       [FACT_IOMMU] = IOMMU_OFF,
				       [FACT_FIRMWARE] = FIRMWARE_NO_TABLE,
				       [FACT_MEMORY] = MEMORY_BELOW,
				       [FACT_GUEST] = GUEST_PV,
			       } };
}

static struct decision with(enum fact fact, unsigned int value)
{
	struct facts facts = nested_disk();

	facts.is[fact] = (uint8_t)value;
	return policy_decide(&facts);
}

static void expect_words(const char *reason, const char *words)
{
	ck_assert_msg(strstr(reason, words) != NULL, "'%s' lacks '%s'", reason, words);
}

START_TEST(c1_bypassing_device)
{
	struct facts facts = nested_disk();
	struct decision d = policy_decide(&facts);

	ck_assert_int_eq(d.verdict, VERDICT_SERVE);
	ck_assert_int_eq(d.nested, NESTED_MACHINE);
	ck_assert_int_eq(d.barriers, BARRIERS_SMP);
	ck_assert(!d.assignable);
	expect_words(d.reason, "bit 33 is not offered");
}
END_TEST

START_TEST(c2_two_kinds_side_by_side)
{
	struct facts facts = nested_disk();
	struct decision d;

	facts.is[FACT_IOMMU] = IOMMU_ON;
	facts.is[FACT_FIRMWARE] = FIRMWARE_COVERS;
	facts.is[FACT_PLATFORM] = BIT_SET;
	d = policy_decide(&facts);
	ck_assert_int_eq(d.verdict, VERDICT_SERVE);
	ck_assert_int_eq(d.nested, NESTED_IDENTITY);
	ck_assert(d.assignable);
	expect_words(d.reason, "bus address = machine address");
	/* C3, in the same machine: the table claims to cover this one too. */
	facts.is[FACT_PLATFORM] = BIT_CLEAR;
	d = policy_decide(&facts);
	ck_assert_int_eq(d.nested, NESTED_MACHINE);
	ck_assert(!d.assignable);
	expect_words(d.reason, "not the table");
	expect_words(d.assign_reason, "whatever the firmware's table claims");
}
END_TEST

START_TEST(c4_bit_33_without_an_iommu)
{
	struct decision d = with(FACT_PLATFORM, BIT_SET);

	ck_assert_int_eq(d.nested, NESTED_MACHINE);
	expect_words(d.reason, "Xen runs without an IOMMU: bus address = machine address");
	ck_assert(!d.assignable);
}
END_TEST

START_TEST(c5_silicon_and_platform_ordering)
{
	struct facts facts = nested_disk();
	struct decision d;

	facts.is[FACT_VENDOR] = VENDOR_SILICON;
	d = policy_decide(&facts);
	expect_words(d.reason, "not 0x1af4");
	ck_assert_int_eq(d.barriers, BARRIERS_STRONG);
	facts.is[FACT_IOMMU] = IOMMU_ON;
	facts.is[FACT_FIRMWARE] = FIRMWARE_COVERS;
	d = policy_decide(&facts);
	ck_assert_int_eq(d.nested, NESTED_IDENTITY);
	ck_assert(d.assignable);
	facts.is[FACT_VENDOR] = VENDOR_HYPERVISOR;
	facts.is[FACT_ORDER] = BIT_SET;
	d = policy_decide(&facts);
	ck_assert_int_eq(d.nested, NESTED_IDENTITY);
	ck_assert_int_eq(d.barriers, BARRIERS_STRONG);
	expect_words(d.barriers_reason, "bit 36");
}
END_TEST

START_TEST(c6_legacy_queue_frames)
{
	struct facts facts = nested_disk();
	struct decision d;

	facts.is[FACT_TRANSPORT] = TRANSPORT_LEGACY;
	facts.is[FACT_MEMORY] = MEMORY_ABOVE;
	d = policy_decide(&facts);
	ck_assert_int_eq(d.verdict, VERDICT_REFUSE);
	expect_words(d.reason, "16 TiB");
	facts.is[FACT_MEMORY] = MEMORY_BELOW;
	d = policy_decide(&facts);
	ck_assert_int_eq(d.verdict, VERDICT_NOT_YET);
	ck_assert_int_eq(d.nested, NESTED_MACHINE);
	facts.is[FACT_TRANSPORT] = TRANSPORT_TRANSITIONAL;
	ck_assert_int_eq(policy_decide(&facts).verdict, VERDICT_SERVE);
}
END_TEST

START_TEST(c9_c10_what_the_guest_makes_of_bit_33)
{
	const uint64_t old = 1ull << 32, both = 3ull << 32;
	struct facts facts = nested_disk();
	struct decision d;

	ck_assert_int_eq(policy_driver(XVS_ADDRESSING_GRANT, true, both).agreement, AGREE_YES);
	ck_assert_int_eq(policy_driver(XVS_ADDRESSING_GRANT, true, old).agreement, AGREE_REFUSE);
	expect_words(policy_driver(XVS_ADDRESSING_GRANT, true, old).reason, "FEATURES_OK is refused");
	/* Unless p2m was agreed on, which takes the administrator and the guest. */
	ck_assert_int_eq(policy_driver(XVS_ADDRESSING_P2M, true, old).agreement, AGREE_YES);
	facts.addressing = (struct choice){ .allowed = 1u << XVS_ADDRESSING_GRANT,
					    .picked = XVS_ADDRESSING_P2M };
	d = policy_decide(&facts);
	ck_assert_int_eq(d.addressing, AGREE_REFUSE);
	expect_words(d.p2m_reason, "administrator has not allowed p2m");
	facts.addressing.allowed |= 1u << XVS_ADDRESSING_P2M;
	ck_assert_int_eq(policy_decide(&facts).addressing, AGREE_YES);
	facts.is[FACT_GUEST] = GUEST_TRANSLATED;
	d = policy_decide(&facts);
	ck_assert_int_eq(d.addressing, AGREE_REFUSE);
	expect_words(d.p2m_reason, "not a PV domain");
}
END_TEST

START_TEST(c11_c12_protection)
{
	struct facts facts = nested_disk();

	facts.protection = (struct choice){ .allowed = 1u << XVS_PROTECTION_STRICT,
					    .picked = XVS_PROTECTION_STRICT,
					    .nr_wanted = 2,
					    .wanted = { XVS_PROTECTION_ADAPTIVE,
							XVS_PROTECTION_STRICT } };
	ck_assert_int_eq(policy_decide(&facts).protection, AGREE_YES);
	expect_words(policy_decide(&facts).protection_reason, "does not allow what the guest wants");
	facts.protection.allowed |= 1u << XVS_PROTECTION_ADAPTIVE;
	facts.protection.picked = XVS_PROTECTION_ADAPTIVE;
	expect_words(policy_decide(&facts).protection_reason, "what the guest wants most");
	facts.protection.picked = XVS_PROTECTION_STRICT; /* tighter, of its own will */
	ck_assert_int_eq(policy_decide(&facts).protection, AGREE_YES);
	expect_words(policy_decide(&facts).protection_reason, "wants another one more");
	facts.protection.picked = XVS_PROTECTION_LAZY;
	ck_assert_int_eq(policy_decide(&facts).protection, AGREE_REFUSE);
	expect_words(policy_decide(&facts).protection_reason, "has not allowed");
	facts.protection.picked = 0;
	ck_assert_int_eq(policy_decide(&facts).protection, AGREE_OPEN);
}
END_TEST

START_TEST(c13_c15_c16_refused_or_not_yet)
{
	ck_assert_int_eq(policy_type(5), TYPE_PAYLOAD);
	ck_assert_int_eq(with(FACT_TYPE, TYPE_PAYLOAD).verdict, VERDICT_REFUSE);
	ck_assert_int_eq(with(FACT_TRANSPORT, TRANSPORT_VHOST_USER).verdict, VERDICT_NOT_YET);
	ck_assert_int_eq(with(FACT_TRANSPORT, TRANSPORT_MMIO).verdict, VERDICT_NOT_YET);
	expect_words(with(FACT_TRANSPORT, TRANSPORT_MMIO).reason, "virtio-mmio");
}
END_TEST

START_TEST(c18_a_driver_of_dom0_holds_it)
{
	struct facts facts = nested_disk();

	ck_assert_int_eq(policy_decide(&facts).attach, ATTACH_READY);
	facts.is[FACT_HOLDER] = HOLDER_DRIVER;
	ck_assert_int_eq(policy_decide(&facts).attach, ATTACH_NEEDS_TAKE);
	facts.is[FACT_TAKE] = TAKE_TOLD;
	ck_assert_int_eq(policy_decide(&facts).attach, ATTACH_READY);
	facts.is[FACT_HOLDER] = HOLDER_IN_USE;
	ck_assert_int_eq(policy_decide(&facts).attach, ATTACH_BUSY);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("policy cases");
	TCase *cases = tcase_create("cases");

	tcase_add_test(cases, c1_bypassing_device);
	tcase_add_test(cases, c2_two_kinds_side_by_side);
	tcase_add_test(cases, c4_bit_33_without_an_iommu);
	tcase_add_test(cases, c5_silicon_and_platform_ordering);
	tcase_add_test(cases, c6_legacy_queue_frames);
	tcase_add_test(cases, c9_c10_what_the_guest_makes_of_bit_33);
	tcase_add_test(cases, c11_c12_protection);
	tcase_add_test(cases, c13_c15_c16_refused_or_not_yet);
	tcase_add_test(cases, c18_a_driver_of_dom0_holds_it);
	suite_add_tcase(suite, cases);
	return check_main(suite);
}
