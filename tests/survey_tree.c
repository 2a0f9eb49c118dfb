/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "survey_tree.h"

#include "check_main.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char tree_root[64];

static void path_of(char path[512], const char *name)
{
	snprintf(path, 512, "%s/%s", tree_root, name);
	for (char *p = path + strlen(tree_root) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		mkdir(path, 0700);
	}
}

void put(const char *name, const void *data, size_t len)
{
	char path[512];
	FILE *f;

	path_of(path, name);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	fclose(f);
}

void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

void put_link(const char *name, const char *target)
{
	char path[512];

	path_of(path, name);
	ck_assert_int_eq(symlink(target, path), 0);
}

void modern_config(uint8_t cfg[256], uint16_t vendor, uint16_t device, uint16_t subsystem,
			  bool caps)
{
	static const uint8_t type_len[][2] = { { 1, 56 }, { 2, 64 }, { 3, 4 }, { 4, 64 } };

	memset(cfg, 0, 256);
	cfg[0] = (uint8_t)vendor;
	cfg[1] = (uint8_t)(vendor >> 8);
	cfg[2] = (uint8_t)device;
	cfg[3] = (uint8_t)(device >> 8);
	cfg[4] = 6;
	cfg[6] = caps ? 0x10 : 0;
	cfg[0x0b] = 1; /* storage */
	cfg[0x2e] = (uint8_t)subsystem;
	if (!caps)
		return;
	cfg[0x34] = 0x40;
	for (int i = 0; i < 4; i++) {
		uint8_t *p = cfg + 0x40 + 0x14 * i;

		p[0] = 9;
		p[1] = i < 3 ? (uint8_t)(0x40 + 0x14 * (i + 1)) : 0;
		p[2] = i == 1 ? 20 : 16;
		p[3] = type_len[i][0];
		p[4] = 4;
		p[9] = (uint8_t)(0x10 * i); /* offset 0x1000 * i */
		p[12] = type_len[i][1];
		if (i == 1)
			p[16] = 4;
	}
}


void put_device(const char *bdf, const uint8_t cfg[256], size_t len, const char *driver,
		       const char *name, const char *features)
{
	char path[256], target[256];

	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/config", bdf);
	put(path, cfg, len);
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/resource", bdf);
	put_text(path, "0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n"
		       "0x00000000fe000000 0x00000000fe003fff 0x000000000014220c\n0x0 0x0 0x0\n");
	if (driver) {
		snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/driver", bdf);
		snprintf(target, sizeof(target), "../../drivers/%s", driver);
		put_link(path, target);
	}
	if (!features)
		return;
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/%s/features", bdf, name);
	put_text(path, features);
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/%s/driver", bdf, name);
	put_link(path, "../../drivers/virtio_blk");
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/subsystem", bdf);
	put_link(path, "../../../bus/pci");
	snprintf(path, sizeof(path), "sys/bus/virtio/devices/%s", name);
	snprintf(target, sizeof(target), "../../pci/devices/%s/%s", bdf, name);
	put_link(path, target);
}

void put_xen(bool iommu, bool pvh)
{
	put_text("sys/hypervisor/type", "xen\n");
	put_text("sys/hypervisor/guest_type", pvh ? "PVH\n" : "PV\n");
	put_text("proc/xen/capabilities", "control_d\n");
	put_text("xl-info", iommu ? "xen_version : 4.17.5\nvirt_caps : pv hvm pv_directio\n"
				    "xen_commandline : iommu=force\n"
				  : "xen_version : 4.17.5\nvirt_caps : pv hvm\n");
}

void tree_make(void)
{
	snprintf(tree_root, sizeof(tree_root), "/tmp/xvshim-survey-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(tree_root));
	put_text("sys/firmware/acpi/tables/FACP", "FACP");
	put_text("proc/sys/kernel/osrelease", "6.1.0-56-amd64\n");
}

static int forget(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void tree_forget(void)
{
	nftw(tree_root, forget, 16, FTW_DEPTH | FTW_PHYS);
}


bool get_text(const char *name, char *text, size_t size)
{
	char path[512];
	size_t n;
	FILE *f;

	path_of(path, name);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	fclose(f);
	return true;
}

void tree_remove(const char *name)
{
	char path[512];

	path_of(path, name);
	ck_assert_int_eq(unlink(path), 0);
}
