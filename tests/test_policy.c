/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy: every combination of facts, what must hold in all of them, and docs/addressing.md,
 * which shows the rules.
 */
#include "check_main.h"
#include "policy/policy.h"
#include "policy/types.h"

#include <stdlib.h>
#include <string.h>

/* -- every combination -- */

/* Counts up through the values of those facts; false after the last combination. */
static bool next(struct facts *facts, const bool in[NR_FACTS])
{
	for (unsigned int f = 0; f < NR_FACTS; f++) {
		if (!in[f])
			continue;
		if (++facts->is[f] < policy_fact_values((enum fact)f))
			return true;
		facts->is[f] = 0;
	}
	return false;
}

static const bool device_facts[NR_FACTS] = {
	[FACT_HOST] = true,	[FACT_TRANSPORT] = true, [FACT_TYPE] = true,
	[FACT_PLATFORM] = true, [FACT_ORDER] = true,	 [FACT_VENDOR] = true,
	[FACT_IOMMU] = true,	[FACT_FIRMWARE] = true,	 [FACT_MEMORY] = true,
};

#define FOR_FACTS(facts, in) \
	struct facts facts = { 0 }; \
	for (bool more = true; more; more = next(&facts, in))
#define FOR_DEVICE_FACTS(facts) FOR_FACTS(facts, device_facts)

static const char *describe(const struct facts *facts)
{
	static char text[2048];
	size_t len = 0;

	for (enum fact f = 0; f < NR_FACTS; f++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s: %s; ",
					policy_fact_name(f), policy_value_name(f, facts->is[f]));
	return text;
}

#define MUST(condition, facts) ck_assert_msg(condition, "%s with %s", #condition, describe(facts))

/* Those that a table looks at: the others cannot change what it says. */
static void looked_at(unsigned int t, bool in[NR_FACTS])
{
	for (enum fact f = 0; f < NR_FACTS; f++) {
		in[f] = false;
		for (unsigned int i = 0; i < policy_tables[t].n; i++)
			in[f] |= policy_tables[t].rules[i].accept[f] != 0;
	}
}

START_TEST(every_combination_has_a_rule_and_every_rule_a_combination)
{
	for (unsigned int t = 0; t < NR_TABLES; t++) {
		unsigned int used[64] = { 0 };
		bool in[NR_FACTS];

		looked_at(t, in);
		FOR_FACTS(facts, in) {
			const struct rule *rule = policy_match(&policy_tables[t], &facts);

			ck_assert_msg(rule != NULL, "no rule of '%s' with %s", policy_tables[t].title,
				      describe(&facts));
			used[rule - policy_tables[t].rules]++;
		}
		for (unsigned int i = 0; i < policy_tables[t].n; i++)
			ck_assert_msg(used[i] > 0, "never reached: %s",
				      policy_tables[t].rules[i].reason);
	}
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
	for (unsigned int t = 0; t < NR_TABLES; t++) {
		bool in[NR_FACTS];

		looked_at(t, in);
		FOR_FACTS(facts, in) {
			check_reason(t, &facts);
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

/* -- what the administrator and the guest say: every set, every pick, every list -- */

static const bool p2m_facts[NR_FACTS] = {
	[FACT_PLATFORM] = true, [FACT_ORDER] = true, [FACT_VENDOR] = true,
	[FACT_IOMMU] = true,	[FACT_GUEST] = true, [FACT_FIRMWARE] = true,
};

#define WISH_LISTS 65 /* of four values, each at most once, in any order: 1 + 4 + 12 + 24 + 24 */

/* All ordered lists of the values 1 to max without a value twice; returns how many. */
static unsigned int all_lists(unsigned int max, struct choice list[WISH_LISTS])
{
	unsigned int n = 1;

	list[0] = (struct choice){ 0 };
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int v = 1; v <= max; v++) {
			if (list[i].nr_wanted == max || memchr(list[i].wanted, (int)v, list[i].nr_wanted))
				continue;
			list[n] = list[i];
			list[n++].wanted[list[i].nr_wanted] = (uint8_t)v;
			list[n - 1].nr_wanted++;
		}
	}
	return n;
}

/* The specification of policy_pick() once more, by counting. */
static unsigned int pick_again(const struct choice *c, unsigned int offered)
{
	unsigned int better = 0, at = 0;

	if (!c->picked || !(offered >> c->picked & 1))
		return c->picked ? PICK_NOT_OFFERED : PICK_NOT_YET;
	if (!c->nr_wanted)
		return PICK_UNWISHED;
	while (at < c->nr_wanted && c->wanted[at] != c->picked)
		better += offered >> c->wanted[at++] & 1;
	if (at == c->nr_wanted || better)
		return PICK_LESS;
	return at ? PICK_NEXT : PICK_BEST;
}

START_TEST(picks_of_every_list_from_every_set)
{
	struct choice list[WISH_LISTS];
	unsigned int n = all_lists(4, list), seen = 0;

	ck_assert_uint_eq(n, WISH_LISTS);
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int set = 0; set < 16; set++) {
			for (uint8_t picked = 0; picked <= 4; picked++) {
				struct choice c = list[i];

				c.picked = picked;
				ck_assert_uint_eq(policy_pick(&c, set << 1), pick_again(&c, set << 1));
				seen |= 1u << policy_pick(&c, set << 1);
			}
		}
	}
	ck_assert_uint_eq(seen, (1u << (PICK_LESS + 1)) - 1);
}
END_TEST

/* What a device stands behind an IOMMU for, in as few words as the rules have many. */
static bool may_be_behind(const struct facts *f)
{
	return f->is[FACT_IOMMU] != IOMMU_OFF &&
	       (f->is[FACT_VENDOR] == VENDOR_SILICON || f->is[FACT_PLATFORM] != BIT_CLEAR ||
		f->is[FACT_ORDER] != BIT_CLEAR);
}

static void check_guest(const struct facts *f, bool p2m)
{
	struct decision d = policy_decide(f);
	unsigned int offered = f->addressing.allowed & (p2m ? ~0u : ~(1u << XVS_ADDRESSING_P2M));
	unsigned int picked = f->addressing.picked;

	MUST(d.offered_addressing == offered, f);
	MUST(d.offered_protection == f->protection.allowed, f);
	MUST(d.p2m_reason && d.addressing_reason && d.protection_reason, f);
	MUST(d.addressing == (!picked ? AGREE_OPEN : offered >> picked & 1 ? AGREE_YES : AGREE_REFUSE),
	     f);
	picked = f->protection.picked;
	MUST(d.protection == (!picked			      ? AGREE_OPEN
			      : f->protection.allowed >> picked & 1 ? AGREE_YES
								    : AGREE_REFUSE),
	     f);
}

/* Whatever the guest would have liked: it gets what it picked if that is offered, and nothing else. */
START_TEST(agreed_is_what_is_picked_and_offered)
{
	struct choice a[WISH_LISTS], p[WISH_LISTS];
	unsigned int na = all_lists(2, a), np = all_lists(4, p);

	ck_assert_uint_eq(na, 5);
	FOR_FACTS(facts, p2m_facts) {
		bool can = facts.is[FACT_GUEST] == GUEST_PV && !may_be_behind(&facts);

		for (unsigned int i = 0; i < na * 4 * 3; i++) {
			facts.addressing = a[i % na];
			facts.addressing.allowed = (uint8_t)(i / na % 4 << 1);
			facts.addressing.picked = (uint8_t)(i / na / 4);
			facts.protection = p[i % np];
			facts.protection.allowed = (uint8_t)(i * 7 % 16 << 1);
			facts.protection.picked = (uint8_t)(i % 5);
			check_guest(&facts, can);
		}
	}
}
END_TEST

START_TEST(protection_agreed_is_what_is_picked_and_allowed)
{
	struct facts facts = { .addressing = { .allowed = 2, .picked = 1 } };
	struct choice p[WISH_LISTS];
	unsigned int n = all_lists(4, p);

	for (unsigned int i = 0; i < n * 16 * 5; i++) {
		facts.protection = p[i % n];
		facts.protection.allowed = (uint8_t)(i / n % 16 << 1);
		facts.protection.picked = (uint8_t)(i / n / 16);
		check_guest(&facts, false);
	}
}
END_TEST

/* A page that is only mapped is in no IOMMU's tables: never with a bus address that is translated. */
START_TEST(p2m_only_where_nothing_translates)
{
	FOR_DEVICE_FACTS(facts) {
		struct decision d;

		facts.is[FACT_GUEST] = GUEST_PV;
		facts.addressing.allowed = 1u << XVS_ADDRESSING_P2M;
		d = policy_decide(&facts);
		if (d.offered_addressing && d.verdict == VERDICT_SERVE)
			MUST(d.nested == NESTED_MACHINE, &facts);
		if (facts.is[FACT_VENDOR] == VENDOR_HYPERVISOR &&
		    facts.is[FACT_PLATFORM] == BIT_CLEAR && facts.is[FACT_ORDER] == BIT_CLEAR)
			MUST(d.offered_addressing, &facts);
	}
}
END_TEST

START_TEST(drivers_at_features_ok)
{
	const uint64_t version = 1ull << 32, platform = 1ull << 33;
	const uint64_t features[] = { 0, version, platform, version | platform, UINT64_MAX };

	for (enum xvs_addressing a = 0; a <= XVS_ADDRESSING_P2M; a++) {
		for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
			struct driver_decision d = policy_driver(a, true, features[i]);
			bool may = features[i] & version &&
				   (a == XVS_ADDRESSING_P2M || features[i] & platform);

			ck_assert_int_eq(d.agreement, may ? AGREE_YES : AGREE_REFUSE);
			ck_assert_ptr_nonnull(d.reason);
			d = policy_driver(a, false, features[i]);
			ck_assert_int_eq(d.agreement, AGREE_OPEN);
		}
	}
}
END_TEST

START_TEST(bits_33_and_36)
{
	struct facts facts = { 0 };

	for (unsigned int i = 0; i < 16; i++) {
		uint64_t features = (uint64_t)(i & 1) << 33 | (uint64_t)(i >> 1 & 1) << 36;
		uint64_t known = (uint64_t)(i >> 2 & 1) << 33 | (uint64_t)(i >> 3) << 36;

		policy_know_features(&facts, features, known);
		ck_assert_uint_eq(facts.is[FACT_PLATFORM], !(i & 4) ? BIT_UNKNOWN :
							   i & 1    ? BIT_SET :
								      BIT_CLEAR);
		ck_assert_uint_eq(facts.is[FACT_ORDER], !(i & 8) ? BIT_UNKNOWN :
							i & 2	 ? BIT_SET :
								   BIT_CLEAR);
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
	TCase *all;
	Suite *suite;

	if (argc == 2 && !strcmp(argv[1], "--print")) {
		policy_print(stdout);
		return EXIT_SUCCESS;
	}
	suite = suite_create("policy");
	all = tcase_create("all");
	tcase_set_timeout(all, 120);
	tcase_add_test(all, every_combination_has_a_rule_and_every_rule_a_combination);
	tcase_add_test(all, the_reason_names_the_fact_that_decided);
	tcase_add_test(all, a_reason_is_one_sentence);
	tcase_add_test(all, assignable_only_behind_an_iommu_that_translates);
	tcase_add_test(all, served_means_pv_dom0_and_a_machine_address);
	tcase_add_test(all, pv_dom0_serves_every_modern_device_whose_type_is_served);
	tcase_add_test(all, the_table_of_the_firmware_decides_no_address);
	tcase_add_test(all, strong_barriers_unless_the_device_is_known_to_be_software);
	tcase_add_test(all, not_knowing_never_allows_more_than_knowing_the_worst);
	tcase_add_test(all, picks_of_every_list_from_every_set);
	tcase_add_test(all, agreed_is_what_is_picked_and_offered);
	tcase_add_test(all, protection_agreed_is_what_is_picked_and_allowed);
	tcase_add_test(all, p2m_only_where_nothing_translates);
	tcase_add_test(all, drivers_at_features_ok);
	tcase_add_test(all, bits_33_and_36);
	tcase_add_test(all, types_with_addresses_in_them_are_refused);
	tcase_add_test(all, the_document_shows_these_rules);
	suite_add_tcase(suite, all);
	return check_main(suite);
}
