/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "survey/iommu_table.h"

#include <errno.h>
#include <string.h>

#define HEADER 36      /* of every ACPI table */
#define DMAR_FIRST 48  /* host address width, flags, reserved */
#define IVRS_FIRST 48  /* IVinfo, reserved */

enum { DRHD = 0, DRHD_SIZE = 16, DRHD_ALL = 1 };
enum { SCOPE_ENDPOINT = 1, SCOPE_BRIDGE = 2 };
enum { IVHD_OLD = 0x10, IVHD_NEW = 0x11, IVHD_ACPI = 0x40, IVHD_OLD_SIZE = 24, IVHD_NEW_SIZE = 40 };
enum { DEV_ALL = 1, DEV_SELECT = 2, DEV_RANGE = 3, DEV_END = 4,
       DEV_ALIAS = 0x42, DEV_ALIAS_RANGE = 0x43, DEV_EXT = 0x46, DEV_EXT_RANGE = 0x47 };

/* One function; covered is set when a unit has it. */
struct question {
	uint16_t segment;
	uint8_t bus, devfn;
	unsigned int units;
	bool listed, rest; /* by a scope or entry of its own; by "all others" */
};

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const uint8_t *p)
{
	return le16(p) | (uint32_t)le16(p + 2) << 16;
}

/*
 * Scopes name a function by start bus and a path of (device, function). Only paths of one step
 * are compared: the bus behind a further step is known to the bridge, not to the table.
 */
static int scopes(const uint8_t *p, size_t left, struct question *q)
{
	while (left >= 6) {
		uint8_t type = p[0], len = p[1], bus = p[5];

		if (len < 8 || len > left)
			return -EPROTO;
		if (type == SCOPE_ENDPOINT && len == 8 && bus == q->bus &&
		    (p[6] << 3 | (p[7] & 7)) == q->devfn)
			q->listed = true;
		/* A bridge right below the root: its secondary bus is above the start bus. */
		if (type == SCOPE_BRIDGE && q->bus > bus)
			q->listed = true;
		p += len;
		left -= len;
	}
	return left ? -EPROTO : 0;
}

static int drhd(const uint8_t *p, size_t len, struct question *q)
{
	if (len < DRHD_SIZE)
		return -EPROTO;
	q->units++;
	if (le16(p + 6) != q->segment)
		return 0;
	if (p[4] & DRHD_ALL) {
		q->rest = true;
		return 0;
	}
	return scopes(p + DRHD_SIZE, len - DRHD_SIZE, q);
}

static int dmar(const uint8_t *table, size_t size, struct question *q)
{
	size_t at = DMAR_FIRST;

	while (at + 4 <= size) {
		uint16_t type = le16(table + at), len = le16(table + at + 2);

		if (len < 4 || len > size - at)
			return -EPROTO;
		if (type == DRHD && drhd(table + at, len, q))
			return -EPROTO;
		at += len;
	}
	return at == size ? 0 : -EPROTO;
}

/* Entries have 4, 8, ... bytes by the top two bits of their type; ACPI names (0xf0) tell theirs. */
static size_t entry_size(const uint8_t *p, size_t left)
{
	if (p[0] < 0xf0)
		return (size_t)4 << (p[0] >> 6);
	return left < 22 ? 0 : 22u + p[21];
}

static int ivhd_entries(const uint8_t *p, size_t left, struct question *q)
{
	uint16_t id = (uint16_t)(q->bus << 8 | q->devfn), from = 0;
	bool range = false;

	while (left >= 4) {
		size_t len = entry_size(p, left);

		if (!len || len > left)
			return -EPROTO;
		switch (p[0]) {
		case DEV_ALL:
			q->rest = true;
			break;
		case DEV_SELECT:
		case DEV_ALIAS:
		case DEV_EXT:
			q->listed |= le16(p + 1) == id;
			break;
		case DEV_RANGE:
		case DEV_ALIAS_RANGE:
		case DEV_EXT_RANGE:
			from = le16(p + 1);
			range = true;
			break;
		case DEV_END:
			q->listed |= range && id >= from && id <= le16(p + 1);
			range = false;
			break;
		default:
			break;
		}
		p += len;
		left -= len;
	}
	return 0;
}

static int ivrs(const uint8_t *table, size_t size, struct question *q)
{
	size_t at = IVRS_FIRST;

	while (at + 4 <= size) {
		uint8_t type = table[at];
		uint16_t len = le16(table + at + 2);
		size_t head = type == IVHD_OLD ? IVHD_OLD_SIZE : IVHD_NEW_SIZE;

		if (len < 4 || len > size - at)
			return -EPROTO;
		if (type == IVHD_OLD || type == IVHD_NEW || type == IVHD_ACPI) {
			if (len < head)
				return -EPROTO;
			q->units++;
			if (le16(table + at + 16) == q->segment &&
			    ivhd_entries(table + at + head, len - head, q))
				return -EPROTO;
		}
		at += len;
	}
	return at == size ? 0 : -EPROTO;
}

int iommu_table_covers(const uint8_t *table, size_t size, uint16_t segment, uint8_t bus,
		       uint8_t devfn, unsigned int *units)
{
	struct question q = { .segment = segment, .bus = bus, .devfn = devfn };
	int rc;

	*units = 0;
	if (size < DMAR_FIRST || le32(table + 4) != size)
		return -EPROTO;
	/* Xen turns the name of a DMAR that it uses round, and leaves the rest. */
	if (!memcmp(table, "DMAR", 4) || !memcmp(table, "RMAD", 4))
		rc = dmar(table, size, &q);
	else if (!memcmp(table, "IVRS", 4))
		rc = ivrs(table, size, &q);
	else
		return -EPROTO;
	*units = q.units;
	return rc ? rc : q.listed || q.rest;
}
