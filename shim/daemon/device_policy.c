/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device and the policy: where the keeper asks it, with which facts, and what it says of the
 * answer. Nothing is decided here.
 */
#include "daemon/keeper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int kdev_decide_source(struct kdev *d, struct source_facts *facts, char *why, size_t size)
{
	int rc = source_check(&d->src, d->take, facts, &d->decision, why, size);

	if (rc)
		return rc;
	d->facts = facts->facts;
	d->looked = true;
	log_line(LOG_INFO, "%s: %s, addresses: %s, %s barriers: %s", d->name, d->src.text,
		 policy_nested_name(d->decision.nested), policy_barriers_name(d->decision.barriers),
		 d->decision.reason);
	return 0;
}

/* Those of a device that an earlier keeper took. Its registers say what it offers, who it is said. */
static int look_at_source(struct kdev *d, char *why, size_t size)
{
	struct facts facts = { 0 };
	int rc = d->looked ? 0 : d->src.ops->facts(&d->src, &facts, why, size);

	if (rc)
		return rc;
	if (!d->looked)
		d->facts = facts;
	d->looked = true;
	policy_know_features(&d->facts, d->src.dev->ops->get_features(d->src.dev), UINT64_MAX);
	return 0;
}

static int look_at_guest(struct kdev *d, char *why, size_t size)
{
	struct hv_dominfo info;
	int rc = d->keeper->hv->ops->dom_info(d->keeper->hv, d->domid, &info);

	if (rc)
		snprintf(why, size, "Xen does not say what the domain is: %s", strerror(-rc));
	else
		d->facts.is[FACT_GUEST] = info.hvm ? GUEST_TRANSLATED : GUEST_PV;
	return rc;
}

int kdev_decide_offer(struct kdev *d, char *why, size_t size)
{
	bool p2m = d->allow.addressing >> XVS_ADDRESSING_P2M & 1;
	char what[160];
	int rc = look_at_source(d, what, sizeof(what));

	/* Only p2m depends on either, so nothing else fails for them. */
	if (!rc && p2m)
		rc = look_at_guest(d, what, sizeof(what));
	if (rc && p2m) {
		snprintf(why, size, "%s", what);
		return rc == -ENODEV ? -EOPNOTSUPP : rc; /* nothing that would pass */
	}
	d->facts.addressing = (struct choice){ .allowed = (uint8_t)d->allow.addressing };
	d->facts.protection = (struct choice){ .allowed = (uint8_t)d->allow.protection };
	d->decision = policy_decide(&d->facts);
	if (!d->decision.offered_addressing) {
		snprintf(why, size, "no addressing but p2m is allowed, and %s",
			 d->decision.p2m_reason);
		return -EOPNOTSUPP;
	}
	if (p2m)
		log_line(LOG_INFO, "%s: addressing p2m is %soffered: %s", d->name,
			 d->decision.offered_addressing >> XVS_ADDRESSING_P2M & 1 ? "" : "not ",
			 d->decision.p2m_reason);
	return 0;
}

int kdev_decide_pick(struct kdev *d, char *why, size_t size)
{
	struct choice *a = &d->facts.addressing, *p = &d->facts.protection;
	const struct fe_nodes *n = &d->nodes;

	a->picked = (uint8_t)n->addressing;
	p->picked = (uint8_t)n->protection;
	a->nr_wanted = (uint8_t)allow_addressing_wishes(n->wanted_addressing, a->wanted);
	p->nr_wanted = (uint8_t)allow_protection_wishes(n->wanted_protection, p->wanted);
	d->decision = policy_decide(&d->facts);
	if (d->decision.addressing != AGREE_YES && n->addressing == XVS_ADDRESSING_P2M)
		snprintf(why, size, "addressing: %s: %s", d->decision.addressing_reason,
			 d->decision.p2m_reason);
	else if (d->decision.addressing != AGREE_YES)
		snprintf(why, size, "addressing: %s", d->decision.addressing_reason);
	else if (d->decision.protection != AGREE_YES)
		snprintf(why, size, "protection: %s", d->decision.protection_reason);
	else
		log_limited(&d->limit, LOG_INFO, "%s: agreed on %s (%s) and %s (%s)", d->name,
			    addressing_word(n->addressing), d->decision.addressing_reason,
			    protection_word(n->protection), d->decision.protection_reason);
	return d->decision.addressing == AGREE_YES && d->decision.protection == AGREE_YES ? 0
											   : -EINVAL;
}

struct driver_decision kdev_decide_driver(const struct kdev *d)
{
	uint64_t features = d->journal.data ? d->journal.data->driver_features : 0;

	return policy_driver(d->nodes.addressing, features != 0, features);
}
