/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of facts and values, and the rules as tables in Markdown. */
#include "policy/policy.h"

#include <stddef.h>

#define VALUES_MAX 6

static const struct {
	const char *name;
	const char *value[VALUES_MAX];
} words[NR_FACTS] = {
	[FACT_HOST] = { "host", { "unknown", "no Xen", "PV dom0", "PVH dom0", "domU" } },
	[FACT_TRANSPORT] = { "transport",
			     { "virtio-pci", "virtio-pci, transitional", "virtio-pci, legacy",
			       "virtio-mmio", "vhost-user" } },
	[FACT_TYPE] = { "type", { "refused", "served", "payload has addresses" } },
	[FACT_PLATFORM] = { "bit 33", { "unknown", "not offered", "offered" } },
	[FACT_ORDER] = { "bit 36", { "unknown", "not offered", "offered" } },
	[FACT_VENDOR] = { "vendor", { "0x1af4", "silicon" } },
	[FACT_IOMMU] = { "IOMMU in use", { "unknown", "no", "yes" } },
	[FACT_FIRMWARE] = { "firmware", { "unknown", "no table", "skips it", "covers it" } },
	[FACT_MEMORY] = { "16 TiB", { "unknown", "memory below", "memory above" } },
	[FACT_HOLDER] = { "holder", { "none", "a driver", "in use" } },
	[FACT_TAKE] = { "--take", { "not given", "given" } },
	[FACT_GUEST] = { "guest", { "PVH or HVM", "PV" } },
	[FACT_P2M] = { "p2m", { "not allowed", "allowed" } },
	[FACT_PICKED] = { "guest picks", { "nothing", "grant", "p2m" } },
	[FACT_PICK_ADDRESSING] = { "its pick",
				   { "not yet", "not offered", "without a wish", "its best wish",
				     "the best of its wishes that is offered", "less than it wants" } },
	[FACT_PICK_PROTECTION] = { "its pick",
				   { "not yet", "not offered", "without a wish", "its best wish",
				     "the best of its wishes that is offered", "less than it wants" } },
	[FACT_DRIVER_VERSION] = { "driver and VERSION_1", { "not yet", "ignores it", "accepts it" } },
	[FACT_DRIVER_BIT] = { "driver and bit 33", { "not yet", "ignores it", "accepts it" } },
};

const char *policy_fact_name(enum fact fact)
{
	return words[fact].name;
}

unsigned int policy_fact_values(enum fact fact)
{
	unsigned int n = 0;

	while (n < VALUES_MAX && words[fact].value[n])
		n++;
	return n;
}

const char *policy_value_name(enum fact fact, unsigned int value)
{
	return value < policy_fact_values(fact) ? words[fact].value[value] : "invalid";
}

const char *policy_nested_name(enum nested_addressing nested)
{
	static const char *const names[] = { "none", "machine", "bus = machine",
					     "bus = dom0 frame" };

	return names[nested];
}

const char *policy_verdict_name(enum verdict verdict)
{
	static const char *const names[] = { "refuse", "not yet", "serve" };

	return names[verdict];
}

const char *policy_barriers_name(enum barriers barriers)
{
	return barriers == BARRIERS_STRONG ? "strong" : "SMP";
}

const char *policy_attach_name(enum attach attach)
{
	static const char *const names[] = { "busy", "needs --take", "ready" };

	return names[attach];
}

static void print_conditions(FILE *to, const struct rule *rule)
{
	const char *between = "";

	for (enum fact f = 0; f < NR_FACTS; f++) {
		const char *or = "";

		if (!rule->accept[f])
			continue;
		fprintf(to, "%s%s: ", between, words[f].name);
		for (unsigned int v = 0; v < policy_fact_values(f); v++) {
			if (!(rule->accept[f] & 1u << v))
				continue;
			fprintf(to, "%s%s", or, words[f].value[v]);
			or = " or ";
		}
		between = "; ";
	}
	if (!*between)
		fputs("anything else", to);
}

static void print_table(FILE *to, const struct rule_table *table)
{
	bool nested = table == &policy_tables[TABLE_NESTED];

	fprintf(to, "### %s\n\n| facts | decision | %sreason |\n|---|---|%s---|\n", table->title,
		nested ? "addresses | " : "", nested ? "---|" : "");
	for (unsigned int i = 0; i < table->n; i++) {
		const struct rule *rule = &table->rules[i];

		fputs("| ", to);
		print_conditions(to, rule);
		fprintf(to, " | %s | ", table->outcome(rule));
		if (nested)
			fprintf(to, "%s | ", policy_nested_name(rule->nested));
		fprintf(to, "%s |\n", rule->reason);
	}
}

void policy_print(FILE *to)
{
	for (unsigned int i = 0; i < NR_TABLES; i++) {
		if (i)
			fputc('\n', to);
		print_table(to, &policy_tables[i]);
	}
}
