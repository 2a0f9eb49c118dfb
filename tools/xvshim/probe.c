/* SPDX-License-Identifier: GPL-2.0-or-later */
/* probe: the virtio devices of a machine, the facts of each, and what is decided. */
#include "cmd.h"

#include "daemon/parse.h"
#include "policy/types.h"
#include "survey/features.h"
#include "survey/survey.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *type_refusal(const struct survey_device *d)
{
	const struct vtype *type = vtype_find(d->type);

	return type && type->refuse ? type->refuse : "";
}

/* -- JSON -- */

static void put(json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static void put_hex(json_object *o, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	put(o, key, text);
}

static void put_bool(json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

static json_object *machine_json(const struct survey_machine *m)
{
	json_object *o = json_object_new_object(), *notes = json_object_new_array();
	json_object *tables = json_object_new_array();

	put(o, "host", policy_value_name(FACT_HOST, m->host));
	put(o, "kernel", m->kernel);
	put(o, "xen", m->version);
	put(o, "xen_iommu", policy_value_name(FACT_IOMMU, survey_iommu(m, "")));
	put(o, "xen_iommu_mode", m->hv.iommu_mode);
	put(o, "xen_command_line", m->hv.command_line);
	for (unsigned int i = 0; i < m->nr_tables; i++)
		json_object_array_add(tables, json_object_new_string(m->table[i].name));
	json_object_object_add(o, "firmware_tables", tables);
	put_bool(o, "firmware_tables_hidden", m->tables_hidden);
	for (unsigned int i = 0; i < m->nr_notes; i++)
		json_object_array_add(notes, json_object_new_string(m->note[i]));
	json_object_object_add(o, "notes", notes);
	return o;
}

static json_object *feature_names(const struct survey_device *d)
{
	json_object *list = json_object_new_array();
	char other[16];

	for (unsigned int bit = 0; bit < 64; bit++) {
		const char *name = feature_name(d->type, bit);

		if (!(d->features & d->known & 1ull << bit))
			continue;
		snprintf(other, sizeof(other), "bit %u", bit);
		json_object_array_add(list, json_object_new_string(name ? name : other));
	}
	return list;
}

static json_object *decision_json(const struct decision *d)
{
	json_object *o = json_object_new_object();

	put(o, "verdict", policy_verdict_name(d->verdict));
	put(o, "addresses", policy_nested_name(d->nested));
	put(o, "decided_by", policy_fact_name(d->decided));
	put(o, "reason", d->reason);
	put(o, "barriers", policy_barriers_name(d->barriers));
	put(o, "barriers_reason", d->barriers_reason);
	put_bool(o, "assignable", d->assignable);
	put(o, "assignable_reason", d->assign_reason);
	put(o, "attach", policy_attach_name(d->attach));
	put(o, "attach_reason", d->attach_reason);
	return o;
}

static json_object *facts_json(const struct facts *facts)
{
	json_object *o = json_object_new_object();

	for (enum fact f = 0; f < FACT_FIRST_OF_GUEST; f++)
		if (f != FACT_TAKE)
			put(o, policy_fact_name(f), policy_value_name(f, facts->is[f]));
	return o;
}

static json_object *device_json(const struct survey_device *d)
{
	json_object *o = json_object_new_object();

	put(o, "address", d->address);
	put(o, "bus", d->is_pci ? "pci" : "mmio");
	put(o, "name", d->name);
	put(o, "transport", policy_value_name(FACT_TRANSPORT, d->facts.is[FACT_TRANSPORT]));
	put(o, "type", d->is_virtio ? vtype_name(d->type) : "not virtio");
	json_object_object_add(o, "type_id", json_object_new_int((int)d->type));
	put(o, "type_refused", type_refusal(d));
	put_hex(o, "vendor", d->vendor);
	put_hex(o, "device", d->device);
	put(o, "driver", d->driver);
	put(o, "virtio_driver", d->virtio_driver);
	put(o, "in_use", d->in_use);
	put(o, "iommu_group", d->iommu_group);
	put_hex(o, "features", d->features & d->known);
	put_hex(o, "features_known", d->known);
	json_object_object_add(o, "feature_names", feature_names(d));
	put(o, "features_from", d->features_from);
	put(o, "features_note", d->features_why);
	json_object_object_add(o, "facts", facts_json(&d->facts));
	json_object_object_add(o, "decision", decision_json(&d->decision));
	return o;
}

/* -- text -- */

static void print_machine(const struct survey_machine *m)
{
	printf("%s", policy_value_name(FACT_HOST, m->host));
	if (m->xen)
		printf(", Xen %s, IOMMU in use: %s%s%s", *m->version ? m->version : "(unknown)",
		       policy_value_name(FACT_IOMMU, survey_iommu(m, "")),
		       *m->hv.iommu_mode ? ", mode of dom0: " : "", m->hv.iommu_mode);
	printf("; kernel %s; firmware's IOMMU tables:", *m->kernel ? m->kernel : "(unknown)");
	for (unsigned int i = 0; i < m->nr_tables; i++)
		printf(" %s", m->table[i].name);
	printf("%s\n", m->tables_hidden ? " hidden by Xen" : m->nr_tables ? "" : " none");
	for (unsigned int i = 0; i < m->nr_notes; i++)
		printf("note: %s\n", m->note[i]);
}

static void print_features(const struct survey_device *d)
{
	printf("  %-10s", "features");
	for (unsigned int bit = 0; bit < 64; bit++) {
		const char *name = feature_name(d->type, bit);

		if (!(d->features & d->known & 1ull << bit))
			continue;
		if (name)
			printf(" %s", name);
		else
			printf(" bit-%u", bit);
	}
	if (!d->known)
		printf(" cannot be read: %s", d->features_why);
	putchar('\n');
}

static void print_device(const struct survey_device *d)
{
	const struct decision *c = &d->decision;

	printf("\n%s  virtio-%s, %s", d->address, vtype_name(d->type),
	       policy_value_name(FACT_TRANSPORT, d->facts.is[FACT_TRANSPORT]));
	if (*d->driver)
		printf(", held by %s%s%s", d->driver, *d->virtio_driver ? "/" : "",
		       d->virtio_driver);
	printf("%s%s%s\n", *d->in_use ? " (" : "", d->in_use, *d->in_use ? ")" : "");
	print_features(d);
	printf("  %-10s firmware: %s; IOMMU in use: %s\n", "iommu",
	       policy_value_name(FACT_FIRMWARE, d->facts.is[FACT_FIRMWARE]),
	       policy_value_name(FACT_IOMMU, d->facts.is[FACT_IOMMU]));
	printf("  %-10s %s; addresses: %s; %s barriers\n", "decision",
	       policy_verdict_name(c->verdict), policy_nested_name(c->nested),
	       policy_barriers_name(c->barriers));
	printf("  %-10s %s%s%s\n", "because", c->reason, c->decided == FACT_TYPE ? ": " : "",
	       c->decided == FACT_TYPE ? type_refusal(d) : "");
	printf("  %-10s %s: %s\n", "assign", c->assignable ? "safe" : "not safe", c->assign_reason);
	if (c->verdict == VERDICT_SERVE)
		printf("  %-10s %s: %s\n", "attach", policy_attach_name(c->attach), c->attach_reason);
}

static void print_explained(const struct survey_device *d)
{
	const struct decision *c = &d->decision;

	printf("%s  %04x:%04x, %s%s\n\nfacts\n", d->address, d->vendor, d->device,
	       d->is_virtio ? "virtio-" : "no virtio device",
	       d->is_virtio ? vtype_name(d->type) : "");
	for (enum fact f = 0; f < FACT_FIRST_OF_GUEST; f++)
		if (f != FACT_TAKE)
			printf("  %-14s %s\n", policy_fact_name(f),
			       policy_value_name(f, d->facts.is[f]));
	printf("  %-14s %s%s%s\n", "driver", *d->driver ? d->driver : "none",
	       *d->virtio_driver ? "/" : "", d->virtio_driver);
	printf("  %-14s %s\n", "in use", *d->in_use ? d->in_use : "no");
	printf("  %-14s 0x%" PRIx64 ", known 0x%" PRIx64 ", from %s%s%s\n", "features",
	       d->features & d->known, d->known, d->features_from, *d->features_why ? ": " : "",
	       d->features_why);
	print_features(d);
	printf("\ndecision\n  %-14s %s, because %s\n", "serve or not",
	       policy_verdict_name(c->verdict), c->reason);
	if (d->is_virtio && *type_refusal(d))
		printf("  %-14s %s\n", "type", type_refusal(d));
	printf("  %-14s %s\n", "addresses", policy_nested_name(c->nested));
	printf("  %-14s %s, because %s\n", "barriers", policy_barriers_name(c->barriers),
	       c->barriers_reason);
	printf("  %-14s %s, because %s\n", "attach", policy_attach_name(c->attach), c->attach_reason);
	printf("  %-14s %s, because %s\n", "assign", c->assignable ? "safe" : "not safe",
	       c->assign_reason);
}

/* -- what was asked -- */

static int usage(const char *what)
{
	fprintf(stderr, "xvshim probe: %s\n", what);
	return EXIT_USAGE;
}

static int find_one(struct survey_machine *m, const char *text, struct survey_device *d)
{
	char bdf[PCI_BDF_SIZE];
	int rc;

	if (parse_bdf(text, true, bdf))
		return usage("a PCI address is SSSS:BB:DD.F, as lspci -D shows it");
	rc = survey_pci(m, bdf, d);
	if (rc == -ENODEV)
		return fail("%s: no such PCI device", bdf);
	if (rc)
		return fail("%s: cannot be looked at: %s", bdf, strerror(-rc));
	return EXIT_SUCCESS;
}

static int probe_one(const struct options *o, struct survey_machine *m)
{
	struct survey_device d;
	int status = find_one(m, o->explain ? o->explain : o->assignable, &d);
	json_object *answer;

	if (status)
		return status;
	if (o->json) {
		answer = device_json(&d);
		print_json(answer);
		json_object_put(answer);
	} else if (o->explain) {
		print_explained(&d);
	} else {
		printf("%s: %s: %s\n", d.address, d.decision.assignable ? "safe" : "not safe",
		       d.decision.assign_reason);
	}
	return o->explain || d.decision.assignable ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int probe_all(const struct options *o, struct survey_machine *m)
{
	json_object *answer, *list;
	struct survey_device *devices;
	unsigned int n;
	int rc = survey_devices(m, &devices, &n);

	if (rc)
		return fail("%s", strerror(-rc));
	if (o->json) {
		answer = json_object_new_object();
		list = json_object_new_array();
		for (unsigned int i = 0; i < n; i++)
			json_object_array_add(list, device_json(&devices[i]));
		json_object_object_add(answer, "machine", machine_json(m));
		json_object_object_add(answer, "devices", list);
		print_json(answer);
		json_object_put(answer);
	} else {
		print_machine(m);
		for (unsigned int i = 0; i < n; i++)
			print_device(&devices[i]);
		if (!n)
			puts("no virtio device");
	}
	free(devices);
	return EXIT_SUCCESS;
}

int cmd_probe(const struct options *o)
{
	struct survey_machine m;
	int rc;

	if (o->explain && o->assignable)
		return usage("--explain and --assignable exclude each other");
	rc = survey_open(&m, o->root);
	if (rc)
		return fail("%s: %s", o->root ? o->root : "/", strerror(-rc));
	rc = o->explain || o->assignable ? probe_one(o, &m) : probe_all(o, &m);
	survey_close(&m);
	return rc;
}
