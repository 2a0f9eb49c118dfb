/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/source.h"

#include "policy/types.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct source_ops *registered;

void source_register(const struct source_ops *ops)
{
	registered = ops;
}

static const struct source_ops *find_kind(const char *text)
{
	const struct source_ops *kinds[] = { registered, &source_pci };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i] && !strncmp(text, kinds[i]->prefix, strlen(kinds[i]->prefix)))
			return kinds[i];
	return NULL;
}

int source_init(struct source *src, const char *text, char *why, size_t size)
{
	*src = (struct source){ .ops = find_kind(text) };
	if (!src->ops) {
		snprintf(why, size, "'%.60s' names no source: pci:SSSS:BB:DD.F", text);
		return -EINVAL;
	}
	if (src->ops == &source_pci && parse_source(text, true, src->text)) {
		snprintf(why, size,
			 "'%.60s' is not a PCI address: pci:SSSS:BB:DD.F, as lspci -D shows",
			 text + 4);
		return -EINVAL;
	}
	if (src->ops != &source_pci)
		snprintf(src->text, sizeof(src->text), "%s", text);
	return 0;
}

static int refused_type(const struct source *src, const struct source_facts *facts, char *why,
			size_t size)
{
	const struct vtype *type = facts->device_id ? vtype_find(facts->device_id) : NULL;

	snprintf(why, size, "%s is a virtio-%s, which cannot be given to a guest: %s", src->text,
		 vtype_name(facts->device_id),
		 type && type->refuse ? type->refuse : "its type is not known");
	return -EOPNOTSUPP;
}

int source_check(struct source *src, bool take, struct source_facts *facts,
		 struct decision *decision, char *why, size_t size)
{
	int rc = src->ops->check(src, facts, why, size);

	if (rc)
		return rc;
	facts->facts.is[FACT_TAKE] = take ? TAKE_TOLD : TAKE_NOT_TOLD;
	*decision = policy_decide(&facts->facts);
	if (decision->verdict != VERDICT_SERVE) {
		if (decision->decided == FACT_TYPE)
			return refused_type(src, facts, why, size);
		snprintf(why, size, "%s: %s: %s", src->text,
			 policy_verdict_name(decision->verdict), decision->reason);
		return -EOPNOTSUPP;
	}
	if (decision->attach == ATTACH_READY)
		return 0;
	if (decision->attach == ATTACH_BUSY && facts->use[0])
		snprintf(why, size, "%s", facts->use);
	else if (decision->attach == ATTACH_BUSY)
		snprintf(why, size, "%s: %s", src->text, decision->attach_reason);
	else
		snprintf(why, size,
			 "%s is held by this domain's driver %s; nothing uses it: --take takes it "
			 "from there",
			 src->text, facts->driver);
	return -EBUSY;
}

int source_reset(struct source *src, char *why, size_t size)
{
	int rc = 0;

	if (!src->ops->present(src))
		return 0;
	if (!src->dev)
		rc = src->ops->open(src, why, size);
	if (rc)
		return rc;
	rc = src->dev->ops->reset(src->dev);
	if (rc == -ENODEV)
		return 0; /* unplugged: nothing is left that could write */
	if (rc)
		snprintf(why, size, "%s does not confirm its reset: %s", src->text, strerror(-rc));
	return rc;
}

int source_renew(struct source *src, char *why, size_t size)
{
	if (src->dev)
		src->ops->close(src);
	return src->ops->open(src, why, size);
}
