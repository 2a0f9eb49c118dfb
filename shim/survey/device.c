/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One device: what it is, who holds it, which features it offers; and the facts of it. */
#include "lib/dev_use.h"
#include "lib/virtio_cap.h"
#include "dev/virtio_pci.h"
#include "survey/features.h"
#include "survey/survey.h"

#include <errno.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCI "sys/bus/pci/devices"
#define VIRTIO "sys/bus/virtio/devices"
#define VIRTIO_VENDOR 0x1af4
#define MODERN_FIRST 0x1040

/* -- what PCI says -- */

struct look {
	uint8_t cfg[PCI_CONFIG_SIZE + 1];
	ssize_t len; /* of cfg that could be read */
	bool modern;
};

static uint16_t le16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static int read_bars(const struct tree *t, const char *bdf, struct pci_bar bar[PCI_NR_BARS])
{
	char text[2048], *at = text;
	int n;

	if (tree_read(t, text, sizeof(text), PCI "/%s/resource", bdf) < 0)
		return -ENOENT;
	for (int i = 0; i < PCI_NR_BARS; i++, at += n) {
		unsigned long long start, end, flags;

		if (sscanf(at, "%llx %llx %llx%n", &start, &end, &flags, &n) != 3)
			return -EPROTO;
		bar[i].start = start;
		bar[i].len = end > start ? end - start + 1 : 0;
		bar[i].memory = flags & 0x200; /* the kernel's IORESOURCE_MEM */
	}
	return 0;
}

/* Only root sees the capabilities; without them the ids have to do. */
static void look_for_caps(const struct tree *t, const char *bdf, struct look *look)
{
	struct pci_bar bar[PCI_NR_BARS];
	struct virtio_layout layout;

	if (look->len >= PCI_CONFIG_SIZE && !read_bars(t, bdf, bar))
		look->modern = !virtio_cap_parse(look->cfg, bar, &layout);
}

static int look_at(const struct tree *t, struct survey_device *d, struct look *look)
{
	uint32_t class;

	look->len = tree_read(t, (char *)look->cfg, sizeof(look->cfg), PCI "/%s/config",
			      d->address);
	if (look->len < PCI_STD_HEADER_SIZEOF)
		return look->len < 0 ? (int)look->len : -EPROTO;
	look_for_caps(t, d->address, look);
	class = (uint32_t)le16_at(look->cfg + PCI_CLASS_DEVICE) << 8 | look->cfg[PCI_CLASS_PROG];
	d->vendor = le16_at(look->cfg + PCI_VENDOR_ID);
	d->device = le16_at(look->cfg + PCI_DEVICE_ID);
	d->type = xpci_type(d->vendor, d->device, le16_at(look->cfg + PCI_SUBSYSTEM_ID), class);
	return 0;
}

/* -- what the virtio bus says -- */

static void find_child(const struct tree *t, struct survey_device *d)
{
	char **names;
	unsigned int n;

	if (tree_list(t, &names, &n, PCI "/%s", d->address))
		return;
	for (unsigned int i = 0; i < n; i++)
		if (!strncmp(names[i], "virtio", 6) && strlen(names[i]) < TREE_NAME)
			snprintf(d->name, sizeof(d->name), "%.63s", names[i]);
	free(names);
}

/* '1' and '0' from bit 0 up. */
static uint64_t parse_bits(const char *text)
{
	uint64_t bits = 0;

	for (unsigned int i = 0; i < 64 && text[i]; i++)
		if (text[i] == '1')
			bits |= 1ull << i;
	return bits;
}

/*
 * What a bound driver agreed on. The kernel keeps the transport's bits in it as the device offers
 * them, whether the driver knows them or not; of the type's own bits there are only those the
 * driver took. A driver that speaks the legacy interface sees no bit above 31.
 */
static bool features_of_driver(const struct tree *t, struct survey_device *d)
{
	char text[160];

	if (!d->virtio_driver[0] ||
	    tree_line(t, text, sizeof(text), VIRTIO "/%s/features", d->name))
		return false;
	d->features = parse_bits(text);
	d->features_from = "driver";
	if (d->features & FEATURE_VERSION_1) {
		d->known = UINT64_MAX;
		snprintf(d->features_why, SURVEY_TEXT,
			 "as agreed with the driver %s: of its type's bits those that both know",
			 d->virtio_driver);
	} else {
		d->known = UINT32_MAX;
		snprintf(d->features_why, SURVEY_TEXT,
			 "the driver %s speaks the legacy interface, which has no bits above 31",
			 d->virtio_driver);
	}
	return true;
}

static const char *why_not(int rc)
{
	switch (rc) {
	case -EACCES:
	case -EPERM:
		return "needs root";
	case -EINVAL:
		return "the driver that holds it is of no use for that and lets nobody else read";
	case -ENXIO:
		return "its registers are switched off";
	case -ENOENT:
		return "it has no modern interface";
	default:
		return strerror(-rc);
	}
}

static void features_of_registers(const struct tree *t, struct survey_device *d)
{
	int rc;

	d->features_from = "nowhere";
	if (!t->live) {
		snprintf(d->features_why, SURVEY_TEXT, "no driver, and a copy has no registers");
		return;
	}
	rc = xpci_peek(d->address, !d->driver[0], &d->features, &d->known);
	if (rc)
		snprintf(d->features_why, SURVEY_TEXT, "%s", why_not(rc));
	else
		d->features_from = "registers";
	if (!rc && ~d->known)
		snprintf(d->features_why, SURVEY_TEXT,
			 "%s has it, so only the half that it selected last was read", d->driver);
}

/* -- who uses it -- */

static void find_use(const struct survey_machine *m, struct survey_device *d, const char *link)
{
	char real[PATH_MAX], who[TREE_NAME], reason[64];

	if (m->tree.live && realpath(link, real) &&
	    dev_in_use(real, who, sizeof(who), reason, sizeof(reason)) == 1)
		snprintf(d->in_use, sizeof(d->in_use), "%.63s is %.63s", who, reason);
}

/* -- facts -- */

/* A pure legacy device has none of the bits, so nothing about them is unknown. */
static unsigned int transport_of(const struct survey_device *d, const struct look *look)
{
	if (d->vendor != VIRTIO_VENDOR || d->device >= MODERN_FIRST)
		return TRANSPORT_PCI;
	return look->modern || d->features & FEATURE_VERSION_1 ? TRANSPORT_TRANSITIONAL
							       : TRANSPORT_LEGACY;
}

static bool holds(const char *driver)
{
	/* As attach sees it: what stands on it is free to be taken. */
	return *driver && strcmp(driver, "uio_pci_generic");
}

static unsigned int memory_fact(const struct survey_machine *m)
{
	if (!m->hv_known || !m->hv.max_mfn)
		return MEMORY_UNKNOWN;
	return m->hv.max_mfn >> 32 ? MEMORY_ABOVE : MEMORY_BELOW;
}

static void decide(const struct survey_machine *m, struct survey_device *d, unsigned int transport)
{
	bool silicon = d->is_pci && d->vendor != VIRTIO_VENDOR;

	if (transport == TRANSPORT_LEGACY) {
		d->features &= UINT32_MAX;
		d->known |= ~(uint64_t)UINT32_MAX;
	}
	d->facts = (struct facts){ 0 };
	d->facts.is[FACT_HOST] = m->host;
	d->facts.is[FACT_TRANSPORT] = (uint8_t)transport;
	d->facts.is[FACT_TYPE] = (uint8_t)policy_type(d->type);
	policy_know_features(&d->facts, d->features, d->known);
	d->facts.is[FACT_VENDOR] = silicon ? VENDOR_SILICON : VENDOR_HYPERVISOR;
	d->facts.is[FACT_IOMMU] = (uint8_t)survey_iommu(m, d->iommu_group);
	if (d->is_pci)
		d->facts.is[FACT_FIRMWARE] = (uint8_t)survey_firmware(m, d->address);
	d->facts.is[FACT_MEMORY] = (uint8_t)memory_fact(m);
	d->facts.is[FACT_HOLDER] = d->in_use[0]	     ? HOLDER_IN_USE
				   : holds(d->driver) ? HOLDER_DRIVER
						      : HOLDER_NONE;
	d->decision = policy_decide(&d->facts);
}

int survey_pci(struct survey_machine *m, const char *bdf, struct survey_device *d)
{
	const struct tree *t = &m->tree;
	struct look look = { .len = 0 };
	char path[128];
	int rc;

	*d = (struct survey_device){ .is_pci = true, .features_from = "nowhere" };
	if (pci_bdf_parse(bdf, d->address))
		return -EINVAL;
	if (!tree_exists(t, PCI "/%s", d->address))
		return -ENODEV;
	rc = look_at(t, d, &look);
	if (rc)
		return rc;
	find_child(t, d);
	d->is_virtio = d->name[0] || look.modern || (d->vendor == VIRTIO_VENDOR && d->type);
	tree_link(t, d->driver, PCI "/%s/driver", d->address);
	tree_link(t, d->iommu_group, PCI "/%s/iommu_group", d->address);
	if (d->name[0])
		tree_link(t, d->virtio_driver, VIRTIO "/%s/driver", d->name);
	snprintf(path, sizeof(path), "/" PCI "/%s", d->address);
	find_use(m, d, path);
	if (!d->is_virtio)
		snprintf(d->features_why, SURVEY_TEXT, "it is no virtio device");
	else if (!features_of_driver(t, d))
		features_of_registers(t, d);
	decide(m, d, transport_of(d, &look));
	return 0;
}

int survey_one(const char *root, const char *bdf, struct survey_device *d)
{
	struct survey_machine m;
	int rc = survey_open(&m, root);

	if (rc)
		return rc;
	rc = survey_pci(&m, bdf, d);
	survey_close(&m);
	return rc;
}

static void survey_mmio(struct survey_machine *m, const char *name, struct survey_device *d)
{
	const struct tree *t = &m->tree;
	unsigned long long type = 0;
	char path[128];

	*d = (struct survey_device){ .is_virtio = true, .features_from = "nowhere" };
	snprintf(d->name, sizeof(d->name), "%.63s", name);
	snprintf(d->address, sizeof(d->address), "%.63s", name);
	tree_link(t, d->driver, VIRTIO "/%s/../driver", name);
	tree_link(t, d->virtio_driver, VIRTIO "/%s/driver", name);
	tree_number(t, &type, VIRTIO "/%s/device", name);
	d->type = (uint32_t)type;
	snprintf(path, sizeof(path), "/" VIRTIO "/%.63s", name);
	find_use(m, d, path);
	if (!features_of_driver(t, d))
		snprintf(d->features_why, SURVEY_TEXT, "no driver has it");
	decide(m, d, TRANSPORT_MMIO);
}

/* -- all of them -- */

static bool on_pci(const struct tree *t, const char *name)
{
	char subsystem[TREE_NAME];

	return !tree_link(t, subsystem, VIRTIO "/%s/../subsystem", name) &&
	       !strcmp(subsystem, "pci");
}

static int add_all(struct survey_machine *m, struct survey_device *list, unsigned int *n,
		   char **names, unsigned int nr_names, bool pci)
{
	for (unsigned int i = 0; i < nr_names; i++) {
		struct survey_device *d = &list[*n];
		int rc = 0;

		if (pci)
			rc = survey_pci(m, names[i], d);
		else if (on_pci(&m->tree, names[i]) ||
			 !tree_exists(&m->tree, VIRTIO "/%s", names[i])) /* unplugged meanwhile */
			continue;
		else
			survey_mmio(m, names[i], d);
		if (rc == -ENOMEM)
			return rc;
		if (rc && rc != -ENODEV && rc != -EINVAL) /* unplugged meanwhile; or a VMD's name */
			survey_note(m, "%.32s cannot be looked at: %s", names[i], strerror(-rc));
		if (!rc && d->is_virtio)
			(*n)++;
	}
	return 0;
}

int survey_devices(struct survey_machine *m, struct survey_device **devices, unsigned int *n)
{
	char **pci = NULL, **virtio = NULL;
	unsigned int nr_pci = 0, nr_virtio = 0;
	int rc = 0;

	*n = 0;
	if (tree_list(&m->tree, &pci, &nr_pci, PCI))
		survey_note(m, "no PCI devices: there is no /" PCI);
	tree_list(&m->tree, &virtio, &nr_virtio, VIRTIO);
	*devices = calloc(nr_pci + nr_virtio + 1, sizeof(**devices));
	if (!*devices)
		rc = -ENOMEM;
	if (!rc)
		rc = add_all(m, *devices, n, pci, nr_pci, true);
	if (!rc)
		rc = add_all(m, *devices, n, virtio, nr_virtio, false);
	free(pci);
	free(virtio);
	return rc;
}
