/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts against rules; the rules are in rules.c, the tables' text in print.c. */
#include "policy/policy.h"

#include "policy/types.h"

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

/*
 * By how much of the guest's memory the back end could see at any moment, least first: a page
 * for one request; bounce pages only, but always; both; pages that stay. See protocol.h.
 */
static unsigned int exposure(unsigned int protection)
{
	static const uint8_t rank[PROTECTION_VALUES] = { [XVS_PROTECTION_STRICT] = 0,
							 [XVS_PROTECTION_POOL] = 1,
							 [XVS_PROTECTION_ADAPTIVE] = 2,
							 [XVS_PROTECTION_LAZY] = 3 };

	return rank[protection];
}

/* Neither side gets a looser mode than it asked for; unsaid: adaptive, safe and fast. */
static void decide_protection(const struct facts *facts, struct decision *d)
{
	unsigned int asked = facts->is[FACT_ASKED_PROTECTION];
	unsigned int chosen = facts->is[FACT_PROTECTION];
	unsigned int limit = chosen ? chosen : XVS_PROTECTION_ADAPTIVE;

	if (d->addressing == XVS_ADDRESSING_P2M) {
		d->protection_reason = "with p2m there are no grants to protect: the administrator "
				       "trusts this domain's memory to the device";
		return;
	}
	if (!asked && !chosen) {
		d->protection = limit;
		d->protection_reason = "nobody said: adaptive keeps no page of the guest beyond "
				       "its request and copies what is small";
	} else if (!asked) {
		d->protection = limit;
		d->protection_reason = "the administrator chose it and the guest did not ask";
	} else if (exposure(asked) <= exposure(limit)) {
		d->protection = asked;
		d->protection_reason = "the guest asks for it, and it exposes no more than what "
				       "the administrator allows";
	} else {
		d->protection = limit;
		d->protection_reason = "the guest asks for a looser mode than the administrator "
				       "allows";
	}
}

static void decide_guest(const struct facts *facts, struct decision *d)
{
	const struct rule *rule = policy_match(&policy_tables[TABLE_GUEST], facts);

	d->offered = 1u << XVS_ADDRESSING_GRANT;
	if (facts->is[FACT_GUEST] == GUEST_PV && facts->is[FACT_P2M] == P2M_ALLOWED)
		d->offered |= 1u << XVS_ADDRESSING_P2M;
	d->addressing = rule->outcome;
	d->guest_reason = rule->reason;
	decide_protection(facts, d);
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

	decide_guest(facts, &d);
	return d;
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
