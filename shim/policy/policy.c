/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts against rules; the rules are in rules.c, the tables' text in print.c. */
#include "policy/policy.h"

#include "policy/types.h"

#include <linux/virtio_config.h>
#include <stddef.h>

const struct rule *policy_match(const struct rule_table *table, const struct facts *facts)
{
	for (unsigned int i = 0; i < table->n; i++) {
		const struct rule *rule = &table->rules[i];
		unsigned int f = 0;

		while (f < NR_FACTS &&
		       (!rule->accept[f] || rule->accept[f] & 1u << facts->is[f]))
			f++;
		if (f == NR_FACTS)
			return rule;
	}
	return NULL;
}

static bool has(unsigned int set, unsigned int value)
{
	return value && set >> value & 1;
}

unsigned int policy_pick(const struct choice *choice, unsigned int offered)
{
	if (!choice->picked)
		return PICK_NOT_YET;
	if (!has(offered, choice->picked))
		return PICK_NOT_OFFERED;
	if (!choice->nr_wanted)
		return PICK_UNWISHED;
	for (unsigned int i = 0; i < choice->nr_wanted && i < POLICY_WISHES; i++) {
		if (choice->wanted[i] == choice->picked)
			return i ? PICK_NEXT : PICK_BEST;
		if (has(offered, choice->wanted[i]))
			break;
	}
	return PICK_LESS;
}

/* What may be offered, and how the guest's pick stands to that. */
static void decide_guest(struct facts *facts, struct decision *d)
{
	const struct rule *rule;

	facts->is[FACT_P2M] = has(facts->addressing.allowed, XVS_ADDRESSING_P2M) ? P2M_ALLOWED
										 : P2M_FORBIDDEN;
	rule = policy_match(&policy_tables[TABLE_P2M], facts);
	d->offered_addressing = facts->addressing.allowed;
	if (!rule->outcome)
		d->offered_addressing &= ~(1u << XVS_ADDRESSING_P2M);
	d->offered_protection = facts->protection.allowed;
	d->p2m_reason = rule->reason;

	facts->is[FACT_PICKED] = facts->addressing.picked;
	facts->is[FACT_PICK_ADDRESSING] =
		(uint8_t)policy_pick(&facts->addressing, d->offered_addressing);
	facts->is[FACT_PICK_PROTECTION] =
		(uint8_t)policy_pick(&facts->protection, d->offered_protection);
	rule = policy_match(&policy_tables[TABLE_ADDRESSING], facts);
	d->addressing = rule->outcome;
	d->addressing_reason = rule->reason;
	rule = policy_match(&policy_tables[TABLE_PROTECTION], facts);
	d->protection = rule->outcome;
	d->protection_reason = rule->reason;
}

struct decision policy_decide(const struct facts *facts)
{
	const struct rule *nested = policy_match(&policy_tables[TABLE_NESTED], facts);
	const struct rule *barriers = policy_match(&policy_tables[TABLE_BARRIERS], facts);
	const struct rule *assign = policy_match(&policy_tables[TABLE_ASSIGN], facts);
	const struct rule *attach = policy_match(&policy_tables[TABLE_ATTACH], facts);
	struct decision d = {
		.verdict = nested->outcome,
		.decided = nested->decided,
		.nested = nested->nested,
		.reason = nested->reason,
		.barriers = barriers->outcome,
		.barriers_reason = barriers->reason,
		.assignable = assign->outcome,
		.assign_reason = assign->reason,
		.attach = attach->outcome,
		.attach_reason = attach->reason,
	};
	struct facts mine = *facts;

	decide_guest(&mine, &d);
	return d;
}

static uint8_t bit_of(uint64_t features, unsigned int bit, uint64_t known)
{
	return !(known >> bit & 1) ? BIT_UNKNOWN : features >> bit & 1 ? BIT_SET : BIT_CLEAR;
}

void policy_know_features(struct facts *facts, uint64_t features, uint64_t known)
{
	facts->is[FACT_PLATFORM] = bit_of(features, VIRTIO_F_ACCESS_PLATFORM, known);
	facts->is[FACT_ORDER] = bit_of(features, VIRTIO_F_ORDER_PLATFORM, known);
}

static uint8_t driver_bit(bool said, uint64_t features, unsigned int bit)
{
	return !said ? DRIVER_BIT_NOT_YET
		     : features >> bit & 1 ? DRIVER_BIT_ACCEPTED : DRIVER_BIT_IGNORED;
}

struct driver_decision policy_driver(enum xvs_addressing picked, bool said, uint64_t features)
{
	const struct facts facts = { .is = {
		[FACT_PICKED] = (uint8_t)picked,
		[FACT_DRIVER_VERSION] = driver_bit(said, features, VIRTIO_F_VERSION_1),
		[FACT_DRIVER_BIT] = driver_bit(said, features, VIRTIO_F_ACCESS_PLATFORM),
	} };
	const struct rule *rule = policy_match(&policy_tables[TABLE_DRIVER], &facts);

	return (struct driver_decision){ .agreement = rule->outcome, .reason = rule->reason };
}

/* virtio 1.x, "Device Types": those whose requests or config space name memory by address. */
static const uint8_t payload_types[] = {
	5,  /* balloon */	 6,  /* iomem */  13, /* memory balloon */ 16, /* gpu */
	23, /* iommu */		 24, /* mem */	  26, /* fs */		   27, /* pmem */
	30, /* video encoder */	 31, /* video decoder */
	42, /* rdma */		 43, /* camera */ 44, /* ism */
};

unsigned int policy_type(uint32_t device_id)
{
	const struct vtype *type = vtype_find(device_id);

	for (size_t i = 0; i < sizeof(payload_types); i++)
		if (payload_types[i] == device_id)
			return TYPE_PAYLOAD;
	return type && !type->refuse ? TYPE_SERVED : TYPE_REFUSED;
}
