/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy: every combination of facts, what must hold in all of them, the cases it was
 * written for one by one, and docs/addressing.md, which shows the rules.
 */
#include "check_main.h"
#include "policy/policy.h"
#include "policy/types.h"

#include <stdlib.h>
#include <string.h>

/* -- every combination -- */

/* Counts up through the values of facts [from, to); false after the last combination. */
static bool next(struct facts *facts, unsigned int from, unsigned int to)
{
	for (unsigned int f = from; f < to; f++) {
		if (++facts->is[f] < policy_fact_values((enum fact)f))
			return true;
		facts->is[f] = 0;
	}
	return false;
}

#define FOR_DEVICE_FACTS(facts) \
	struct facts facts = { 0 }; \
	for (bool more = true; more; more = next(&facts, 0, FACT_FIRST_OF_HOLDER))
#define FOR_HOLDER_FACTS(facts) \
	struct facts facts = { 0 }; \
	for (bool more = true; more; more = next(&facts, FACT_FIRST_OF_HOLDER, FACT_FIRST_OF_GUEST))
#define FOR_GUEST_FACTS(facts) \
	struct facts facts = { 0 }; \
	for (bool more = true; more; more = next(&facts, FACT_FIRST_OF_GUEST, NR_FACTS))

static const char *describe(const struct facts *facts)
{
	static char text[1024];
	size_t len = 0;

	for (enum fact f = 0; f < NR_FACTS; f++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s: %s; ",
					policy_fact_name(f), policy_value_name(f, facts->is[f]));
	return text;
}

#define MUST(condition, facts) ck_assert_msg(condition, "%s with %s", #condition, describe(facts))

static unsigned int group_of_fact(enum fact f)
{
	return f >= FACT_FIRST_OF_GUEST ? 2 : f >= FACT_FIRST_OF_HOLDER;
}

static unsigned int group_of_table(unsigned int t)
{
	return t == TABLE_GUEST ? 2 : t == TABLE_ATTACH;
}

/*
 * A table looks at facts of the device, of who holds it, or of the guest, never at two of these:
 * so going through each group by itself is going through all combinations.
 */
START_TEST(groups_of_facts_are_apart)
{
	for (unsigned int t = 0; t < NR_TABLES; t++) {
		for (unsigned int i = 0; i < policy_tables[t].n; i++) {
			const struct rule *rule = &policy_tables[t].rules[i];

			for (enum fact f = 0; f < NR_FACTS; f++)
				if (rule->accept[f])
					ck_assert_msg(group_of_fact(f) == group_of_table(t),
						      "%s looks at '%s'", rule->reason,
						      policy_fact_name(f));
		}
	}
}
END_TEST

static unsigned int used[NR_TABLES][64];

static void match_all(unsigned int t, const struct facts *facts)
{
	const struct rule *rule = policy_match(&policy_tables[t], facts);

	ck_assert_msg(rule != NULL, "no rule of '%s' with %s", policy_tables[t].title,
		      describe(facts));
	used[t][rule - policy_tables[t].rules]++;
}

START_TEST(every_combination_has_a_rule_and_every_rule_a_combination)
{
	memset(used, 0, sizeof(used));
	{
		FOR_DEVICE_FACTS(facts) {
			for (unsigned int t = 0; t < NR_TABLES; t++)
				if (group_of_table(t) == 0)
					match_all(t, &facts);
		}
	}
	{
		FOR_HOLDER_FACTS(facts) {
			match_all(TABLE_ATTACH, &facts);
		}
	}
	{
		FOR_GUEST_FACTS(facts) {
			match_all(TABLE_GUEST, &facts);
		}
	}
	for (unsigned int t = 0; t < NR_TABLES; t++)
		for (unsigned int i = 0; i < policy_tables[t].n; i++)
			ck_assert_msg(used[t][i] > 0, "never reached: %s",
				      policy_tables[t].rules[i].reason);
}
END_TEST

/* With another value of the fact it names, another rule would have decided. */
static void check_reason(unsigned int t, const struct facts *facts)
{
	const struct rule *rule = policy_match(&policy_tables[t], facts);
	struct facts other = *facts;
	unsigned int n = policy_fact_values(rule->decided);

	for (unsigned int v = 0; v < n; v++) {
		other.is[rule->decided] = (uint8_t)v;
		if (policy_match(&policy_tables[t], &other) != rule)
			return;
	}
	ck_abort_msg("'%s' does not depend on '%s' with %s", rule->reason,
		     policy_fact_name(rule->decided), describe(facts));
}

START_TEST(the_reason_names_the_fact_that_decided)
{
	{
		FOR_DEVICE_FACTS(facts) {
			for (unsigned int t = 0; t < NR_TABLES; t++)
				if (group_of_table(t) == 0)
					check_reason(t, &facts);
		}
	}
	{
		FOR_HOLDER_FACTS(facts) {
			check_reason(TABLE_ATTACH, &facts);
		}
	}
	{
		FOR_GUEST_FACTS(facts) {
			check_reason(TABLE_GUEST, &facts);
		}
	}
}
END_TEST

START_TEST(a_reason_is_one_sentence)
{
	for (unsigned int t = 0; t < NR_TABLES; t++) {
		for (unsigned int i = 0; i < policy_tables[t].n; i++) {
			const char *reason = policy_tables[t].rules[i].reason;

			ck_assert_uint_gt(strlen(reason), 20);
			ck_assert_uint_lt(strlen(reason), 256);
			ck_assert_msg(!strstr(reason, ". ") && !strchr(reason, '|') &&
					      reason[strlen(reason) - 1] != '.',
				      "%s", reason);
		}
	}
}
END_TEST

/* -- what holds whatever the facts -- */

static bool pci(const struct facts *f)
{
	return f->is[FACT_TRANSPORT] <= TRANSPORT_LEGACY;
}

START_TEST(assignable_only_behind_an_iommu_that_translates)
{
	FOR_DEVICE_FACTS(facts) {
		bool behind = facts.is[FACT_VENDOR] == VENDOR_SILICON ||
			      (facts.is[FACT_PLATFORM] == BIT_SET &&
			       facts.is[FACT_TRANSPORT] != TRANSPORT_LEGACY);
		bool covered = facts.is[FACT_FIRMWARE] == FIRMWARE_COVERS ||
			       facts.is[FACT_FIRMWARE] == FIRMWARE_UNKNOWN;
		bool want = pci(&facts) && facts.is[FACT_HOST] != HOST_DOMU &&
			    facts.is[FACT_TYPE] != TYPE_PAYLOAD && behind && covered &&
			    facts.is[FACT_IOMMU] == IOMMU_ON;

		MUST(policy_decide(&facts).assignable == want, &facts);
	}
}
END_TEST

START_TEST(served_means_pv_dom0_and_a_machine_address)
{
	FOR_DEVICE_FACTS(facts) {
		struct decision d = policy_decide(&facts);

		if (d.verdict != VERDICT_SERVE)
			continue;
		MUST(d.nested == NESTED_MACHINE || d.nested == NESTED_IDENTITY, &facts);
		MUST(facts.is[FACT_HOST] == HOST_PV_DOM0, &facts);
		MUST(facts.is[FACT_TYPE] == TYPE_SERVED, &facts);
		MUST(facts.is[FACT_TRANSPORT] <= TRANSPORT_TRANSITIONAL, &facts);
	}
}
END_TEST

START_TEST(pv_dom0_serves_every_modern_device_whose_type_is_served)
{
	FOR_DEVICE_FACTS(facts) {
		struct decision d = policy_decide(&facts);

		if (facts.is[FACT_HOST] == HOST_PV_DOM0 && facts.is[FACT_TYPE] == TYPE_SERVED &&
		    facts.is[FACT_TRANSPORT] <= TRANSPORT_TRANSITIONAL)
			MUST(d.verdict == VERDICT_SERVE, &facts);
	}
}
END_TEST

/* Where bit 33 is not offered by a hypervisor's device, no table changes the address. */
START_TEST(the_table_of_the_firmware_decides_no_address)
{
	FOR_DEVICE_FACTS(facts) {
		struct facts other = facts;
		struct decision d = policy_decide(&facts), e;

		if (facts.is[FACT_PLATFORM] != BIT_CLEAR)
			continue;
		for (unsigned int v = 0; v < policy_fact_values(FACT_FIRMWARE); v++) {
			other.is[FACT_FIRMWARE] = (uint8_t)v;
			e = policy_decide(&other);
			MUST(d.nested == e.nested && d.verdict == e.verdict, &facts);
		}
	}
}
END_TEST

START_TEST(strong_barriers_unless_the_device_is_known_to_be_software)
{
	FOR_DEVICE_FACTS(facts) {
		bool smp = facts.is[FACT_VENDOR] == VENDOR_HYPERVISOR &&
			   facts.is[FACT_ORDER] == BIT_CLEAR;

		MUST((policy_decide(&facts).barriers == BARRIERS_SMP) == smp, &facts);
	}
}
END_TEST

START_TEST(not_knowing_never_allows_more_than_knowing_the_worst)
{
	FOR_DEVICE_FACTS(facts) {
		struct facts other = facts;

		other.is[FACT_PLATFORM] = BIT_UNKNOWN;
		if (facts.is[FACT_VENDOR] == VENDOR_HYPERVISOR)
			MUST(!policy_decide(&other).assignable, &other);
		other = facts;
		other.is[FACT_IOMMU] = IOMMU_UNKNOWN;
		MUST(!policy_decide(&other).assignable, &other);
		other = facts;
		other.is[FACT_HOST] = HOST_UNKNOWN;
		MUST(policy_decide(&other).verdict == VERDICT_REFUSE ||
			     policy_decide(&other).verdict == VERDICT_NOT_YET,
		     &other);
	}
}
END_TEST

START_TEST(p2m_only_for_a_pv_guest_that_may)
{
	FOR_GUEST_FACTS(facts) {
		struct decision d = policy_decide(&facts);
		bool may = facts.is[FACT_GUEST] == GUEST_PV && facts.is[FACT_P2M] == P2M_ALLOWED;

		MUST(d.offered & 1u << XVS_ADDRESSING_GRANT, &facts);
		MUST(!!(d.offered & 1u << XVS_ADDRESSING_P2M) == may, &facts);
		if (d.addressing)
			MUST(d.offered & 1u << d.addressing, &facts);
		if (facts.is[FACT_GUEST_BIT] == GUEST_BIT_IGNORED)
			MUST(d.addressing != XVS_ADDRESSING_GRANT, &facts);
		MUST(d.guest_reason && d.protection_reason, &facts);
	}
}
END_TEST

/* strict, pool, adaptive, lazy: the result is never further to the right than either wants. */
START_TEST(protection_is_the_tighter_of_two_wishes)
{
	static const unsigned int rank[] = { 9, 0, 1, 3, 2 };

	FOR_GUEST_FACTS(facts) {
		struct decision d = policy_decide(&facts);
		unsigned int asked = facts.is[FACT_ASKED_PROTECTION];
		unsigned int chosen = facts.is[FACT_PROTECTION];

		if (d.addressing == XVS_ADDRESSING_P2M) {
			MUST(d.protection == 0, &facts);
			continue;
		}
		MUST(d.protection >= 1 && d.protection <= XVS_PROTECTION_ADAPTIVE, &facts);
		MUST(rank[d.protection] <= rank[asked] && rank[d.protection] <= rank[chosen],
		     &facts);
		MUST(d.protection == asked || d.protection == chosen ||
			     d.protection == XVS_PROTECTION_ADAPTIVE,
		     &facts);
		if (!chosen && !asked)
			MUST(d.protection == XVS_PROTECTION_ADAPTIVE, &facts);
		if (!chosen)
			MUST(d.protection != XVS_PROTECTION_LAZY, &facts);
	}
}
END_TEST

START_TEST(types_with_addresses_in_them_are_refused)
{
	unsigned int served = 0;

	for (uint32_t id = 0; id < 64; id++) {
		const struct vtype *type = vtype_find(id);

		if (policy_type(id) == TYPE_SERVED) {
			served++;
			ck_assert(type && !type->refuse);
		} else if (type) {
			ck_assert_msg(type->refuse != NULL, "%s is on both lists", type->name);
		}
	}
	ck_assert_uint_ge(served, 1);
}
END_TEST

/* -- the cases, one by one -- */

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
	struct facts facts = nested_disk();
	struct decision d;

	facts.is[FACT_GUEST_BIT] = GUEST_BIT_ACCEPTED;
	ck_assert_int_eq(policy_decide(&facts).addressing, XVS_ADDRESSING_GRANT);
	facts.is[FACT_GUEST_BIT] = GUEST_BIT_IGNORED;
	d = policy_decide(&facts);
	ck_assert_int_eq(d.addressing, 0);
	expect_words(d.guest_reason, "FEATURES_OK is refused");
	facts.is[FACT_P2M] = P2M_ALLOWED;
	ck_assert_int_eq(policy_decide(&facts).addressing, XVS_ADDRESSING_P2M);
	facts.is[FACT_GUEST] = GUEST_TRANSLATED;
	ck_assert_int_eq(policy_decide(&facts).addressing, 0);
}
END_TEST

START_TEST(c11_c12_protection)
{
	struct facts facts = nested_disk();

	ck_assert_int_eq(policy_decide(&facts).protection, XVS_PROTECTION_ADAPTIVE);
	facts.is[FACT_PROTECTION] = XVS_PROTECTION_LAZY;
	ck_assert_int_eq(policy_decide(&facts).protection, XVS_PROTECTION_LAZY);
	facts.is[FACT_ASKED_PROTECTION] = XVS_PROTECTION_STRICT;
	ck_assert_int_eq(policy_decide(&facts).protection, XVS_PROTECTION_STRICT);
	facts.is[FACT_PROTECTION] = XVS_PROTECTION_POOL;
	facts.is[FACT_ASKED_PROTECTION] = XVS_PROTECTION_LAZY;
	ck_assert_int_eq(policy_decide(&facts).protection, XVS_PROTECTION_POOL);
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

/* -- the document -- */

#define BEGIN "<!-- the rules, as test_policy --print writes them -->\n"
#define END "<!-- end of the rules -->\n"

static char *read_document(void)
{
	const char *srcdir = getenv("srcdir");
	char path[4096];
	char *text = calloc(1, 1 << 20);
	FILE *file;

	snprintf(path, sizeof(path), "%s/docs/addressing.md", srcdir ? srcdir : ".");
	file = fopen(path, "re");
	ck_assert_msg(file && text, "%s cannot be read", path);
	ck_assert_uint_gt(fread(text, 1, (1 << 20) - 1, file), 0);
	fclose(file);
	return text;
}

START_TEST(the_document_shows_these_rules)
{
	char *document = read_document(), *rules = NULL;
	char *begin = strstr(document, BEGIN), *end = strstr(document, END);
	size_t size;
	FILE *memory = open_memstream(&rules, &size);

	policy_print(memory);
	fclose(memory);
	ck_assert_msg(begin && end && begin < end, "docs/addressing.md lacks the marks");
	begin += strlen(BEGIN);
	ck_assert_msg((size_t)(end - begin) == size && !memcmp(begin, rules, size),
		      "docs/addressing.md shows other rules: put in what test_policy --print says");
	free(rules);
	free(document);
}
END_TEST

int main(int argc, char **argv)
{
	TCase *all, *cases;
	Suite *suite;

	if (argc == 2 && !strcmp(argv[1], "--print")) {
		policy_print(stdout);
		return EXIT_SUCCESS;
	}
	suite = suite_create("policy");
	all = tcase_create("all");
	cases = tcase_create("cases");
	tcase_set_timeout(all, 120);
	tcase_add_test(all, groups_of_facts_are_apart);
	tcase_add_test(all, every_combination_has_a_rule_and_every_rule_a_combination);
	tcase_add_test(all, the_reason_names_the_fact_that_decided);
	tcase_add_test(all, a_reason_is_one_sentence);
	tcase_add_test(all, assignable_only_behind_an_iommu_that_translates);
	tcase_add_test(all, served_means_pv_dom0_and_a_machine_address);
	tcase_add_test(all, pv_dom0_serves_every_modern_device_whose_type_is_served);
	tcase_add_test(all, the_table_of_the_firmware_decides_no_address);
	tcase_add_test(all, strong_barriers_unless_the_device_is_known_to_be_software);
	tcase_add_test(all, not_knowing_never_allows_more_than_knowing_the_worst);
	tcase_add_test(all, p2m_only_for_a_pv_guest_that_may);
	tcase_add_test(all, protection_is_the_tighter_of_two_wishes);
	tcase_add_test(all, types_with_addresses_in_them_are_refused);
	tcase_add_test(all, the_document_shows_these_rules);
	suite_add_tcase(suite, all);
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
