/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The facts of this machine and of its virtio devices, read and never changed, and the policy's
 * decision for each device. Works on Xen or not, as root or not: what cannot be read becomes
 * "unknown" and a note that says why.
 */
#ifndef XVS_SURVEY_SURVEY_H
#define XVS_SURVEY_SURVEY_H

#include "lib/pci_sysfs.h"
#include "hv/hv.h"
#include "policy/policy.h"
#include "survey/tree.h"

#define SURVEY_NOTES 8
#define SURVEY_TEXT 160

/* DMAR or IVRS, as far as it can be read. */
struct survey_table {
	char name[8];
	uint8_t *data; /* NULL: not there, or not readable */
	size_t size;
	int error;
};

struct survey_machine {
	struct tree tree;
	uint8_t host; /* HOST_* */
	bool xen, root;
	char version[64]; /* Xen's; empty: not known */
	char kernel[128];
	struct hv_machine hv;
	bool hv_known; /* hv means something */
	struct survey_table table[2];
	unsigned int nr_tables;
	bool tables_hidden; /* by Xen, from the dom0 that would use them too */
	unsigned int nr_notes;
	char note[SURVEY_NOTES][SURVEY_TEXT];
};

struct survey_device {
	bool is_virtio, is_pci;
	char address[TREE_NAME]; /* PCI address, or the name of a virtio-mmio device */
	char name[TREE_NAME];    /* on the virtio bus; empty: not there */
	char driver[TREE_NAME], virtio_driver[TREE_NAME], iommu_group[TREE_NAME];
	char in_use[SURVEY_TEXT]; /* "vda is mounted"; empty: not, or not known */
	uint16_t vendor, device;
	uint32_t type; /* virtio device type */
	uint64_t features, known;  /* offered; which bits of it mean anything */
	const char *features_from; /* "driver", "registers", "nowhere" */
	char features_why[SURVEY_TEXT]; /* why bits are not known, or what they are */
	struct facts facts;
	struct decision decision;
};

/* root NULL: this machine; else a folder with a copy of another's files. -errno: no such folder. */
int survey_open(struct survey_machine *m, const char *root);
void survey_close(struct survey_machine *m);

/* Every virtio device; devices is the caller's to free(). */
int survey_devices(struct survey_machine *m, struct survey_device **devices, unsigned int *n);

/* Any PCI function, virtio or not. -ENODEV: there is none. */
int survey_pci(struct survey_machine *m, const char *bdf, struct survey_device *d);

/*
 * The same where nothing else of the machine is asked: what attach goes by, and so by construction
 * the facts that probe shows.
 */
int survey_one(const char *root, const char *bdf, struct survey_device *d);

/* Only for the parts of the survey. */
void survey_note(struct survey_machine *m, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
unsigned int survey_firmware(const struct survey_machine *m, const char *bdf);
unsigned int survey_iommu(const struct survey_machine *m, const char *iommu_group);

#endif
