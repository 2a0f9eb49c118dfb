/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine: is it a dom0, what does Xen say of its IOMMU, what does the firmware claim. */
#include "survey/iommu_table.h"
#include "survey/survey.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TABLES "sys/firmware/acpi/tables"
#define TABLE_MAX (1024 * 1024)

void survey_note(struct survey_machine *m, const char *fmt, ...)
{
	va_list ap;

	if (m->nr_notes == SURVEY_NOTES)
		return;
	va_start(ap, fmt);
	vsnprintf(m->note[m->nr_notes++], SURVEY_TEXT, fmt, ap);
	va_end(ap);
}

/* -- the host -- */

static bool is_dom0(const struct tree *t)
{
	char text[256];

	if (tree_read(t, text, sizeof(text), "proc/xen/capabilities") >= 0)
		return strstr(text, "control_d");
	return tree_line(t, text, sizeof(text), "sys/hypervisor/start_flags/initdomain") == 0 &&
	       text[0] == '1';
}

static bool can_tell_dom0(const struct tree *t)
{
	return tree_exists(t, "proc/xen/capabilities") ||
	       tree_exists(t, "sys/hypervisor/start_flags/initdomain");
}

/* Where no file says it: Xen tells the state of the machine to the control domain only. */
static bool has_control(const struct survey_machine *m)
{
	return is_dom0(&m->tree) ||
	       (!can_tell_dom0(&m->tree) && m->hv_known && m->hv.iommu_known);
}

static unsigned int kind_of_dom0(const struct survey_machine *m)
{
	char type[16];

	if (!tree_line(&m->tree, type, sizeof(type), "sys/hypervisor/guest_type"))
		return strcmp(type, "PV") ? HOST_PVH_DOM0 : HOST_PV_DOM0;
	if (m->hv_known)
		return m->hv.translated ? HOST_PVH_DOM0 : HOST_PV_DOM0;
	return HOST_UNKNOWN;
}

static void find_host(struct survey_machine *m)
{
	char type[16];

	tree_line(&m->tree, type, sizeof(type), "sys/hypervisor/type");
	m->xen = !strcmp(type, "xen") || tree_exists(&m->tree, "proc/xen/capabilities");
	if (!m->xen)
		m->host = HOST_PLAIN;
	else if (is_dom0(&m->tree))
		m->host = HOST_UNKNOWN; /* which kind, once Xen was asked */
	else if (can_tell_dom0(&m->tree))
		m->host = HOST_DOMU;
}

/* -- Xen -- */

static void ask_xen(struct survey_machine *m)
{
	const struct hv_ops *ops = hv_xen();
	struct hv *hv = NULL;
	int rc = -ENOSYS;

	if (ops)
		hv = hv_open(ops, HV_CAP_MACHINE, &rc);
	if (hv) {
		hv->ops->version(hv, m->version, sizeof(m->version));
		rc = hv->ops->machine(hv, &m->hv);
		hv_close(hv);
	}
	m->hv_known = !rc;
	if (rc == -ENOSYS)
		survey_note(m, "Xen was not asked: this program was built without its libraries");
	else if (rc)
		survey_note(m, "Xen was not asked: %s",
			    rc == -EACCES ? "needs root" : strerror(-rc));
}

/* The value of a line "key : value" of `xl info`; empty when there is none. */
static void info_value(const char *info, const char *key, char *value, size_t size)
{
	size_t len = strlen(key);

	value[0] = '\0';
	for (const char *line = info; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) || !strchr(" :", line[len]))
			continue;
		line += len + strspn(line + len, " :");
		snprintf(value, size, "%.*s", (int)strcspn(line, "\n"), line);
		return;
	}
}

/* A copy of another machine may bring the output of `xl info` as the file "xl-info". */
static void read_xl_info(struct survey_machine *m)
{
	char info[8192], caps[256];

	if (tree_read(&m->tree, info, sizeof(info), "xl-info") < 0) {
		survey_note(m, "Xen was not asked: there is no file xl-info with the output of xl "
			       "info");
		return;
	}
	m->hv_known = true;
	info_value(info, "xen_version", m->version, sizeof(m->version));
	info_value(info, "virt_caps", caps, sizeof(caps));
	info_value(info, "xen_commandline", m->hv.command_line, sizeof(m->hv.command_line));
	m->hv.iommu_known = caps[0];
	m->hv.iommu = strstr(caps, "directio");
}

/* -- the firmware -- */

static void read_table(struct survey_machine *m, const char *name)
{
	struct survey_table *table = &m->table[m->nr_tables];
	uint8_t *data = malloc(TABLE_MAX + 1);
	ssize_t n = data ? tree_read(&m->tree, (char *)data, TABLE_MAX + 1, TABLES "/%s", name)
			 : -ENOMEM;

	if (n == -ENOENT) {
		free(data);
		return;
	}
	snprintf(table->name, sizeof(table->name), "%s", name);
	m->nr_tables++;
	if (n > 0) {
		table->data = data;
		table->size = (size_t)n;
		return;
	}
	table->error = n < 0 ? (int)n : -ENODATA;
	survey_note(m, "the firmware's table %s is not readable: %s", name,
		    table->error == -EACCES ? "needs root" : strerror(-table->error));
	free(data);
}

static void read_tables(struct survey_machine *m)
{
	if (!tree_exists(&m->tree, TABLES)) {
		survey_note(m, "no tables of the firmware: there is no /" TABLES);
		return;
	}
	read_table(m, "DMAR");
	if (!m->nr_tables)
		read_table(m, "RMAD"); /* what Xen makes of a DMAR that it uses */
	read_table(m, "IVRS");
	m->tables_hidden = !m->nr_tables && m->hv_known && m->hv.iommu;
	if (m->tables_hidden)
		survey_note(m, "Xen drives an IOMMU, but the firmware's table of it is not among "
			       "those that dom0 sees");
}

unsigned int survey_firmware(const struct survey_machine *m, const char *bdf)
{
	unsigned int segment, bus, dev, fn, units, answer = FIRMWARE_NO_TABLE;

	if (m->tables_hidden || !tree_exists(&m->tree, TABLES) ||
	    sscanf(bdf, "%x:%x:%x.%x", &segment, &bus, &dev, &fn) != 4)
		return FIRMWARE_UNKNOWN;
	for (unsigned int i = 0; i < m->nr_tables; i++) {
		const struct survey_table *table = &m->table[i];
		int rc = -EPROTO;

		if (table->data)
			rc = iommu_table_covers(table->data, table->size, (uint16_t)segment,
						(uint8_t)bus, (uint8_t)(dev << 3 | fn), &units);
		if (rc < 0)
			return FIRMWARE_UNKNOWN;
		if (rc || answer != FIRMWARE_COVERS)
			answer = rc ? FIRMWARE_COVERS : FIRMWARE_SKIPS;
	}
	return answer;
}

/* Without Xen the kernel puts what it translates for into a group. */
unsigned int survey_iommu(const struct survey_machine *m, const char *iommu_group)
{
	if (m->xen)
		return !m->hv_known || !m->hv.iommu_known ? IOMMU_UNKNOWN
			: m->hv.iommu				  ? IOMMU_ON
								  : IOMMU_OFF;
	return *iommu_group ? IOMMU_ON : IOMMU_OFF;
}

int survey_open(struct survey_machine *m, const char *root)
{
	int rc;

	*m = (struct survey_machine){ .root = !geteuid() };
	rc = tree_open(&m->tree, root);
	if (rc)
		return rc;
	tree_line(&m->tree, m->kernel, sizeof(m->kernel), "proc/sys/kernel/osrelease");
	find_host(m);
	if (m->xen && m->tree.live)
		ask_xen(m);
	else if (m->xen)
		read_xl_info(m);
	if (m->host == HOST_UNKNOWN && has_control(m))
		m->host = (uint8_t)kind_of_dom0(m);
	else if (m->host == HOST_UNKNOWN)
		survey_note(m, "whether this is a dom0 is not known: mount -t xenfs xenfs "
			       "/proc/xen");
	read_tables(m);
	return 0;
}

void survey_close(struct survey_machine *m)
{
	for (unsigned int i = 0; i < m->nr_tables; i++)
		free(m->table[i].data);
	tree_close(&m->tree);
}
