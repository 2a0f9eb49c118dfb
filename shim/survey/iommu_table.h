/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the firmware's tables say stands behind an IOMMU: ACPI DMAR (Intel VT-d specification,
 * "BIOS Considerations") and IVRS (AMD I/O Virtualization Technology specification, "I/O
 * Virtualization ACPI Table"). A DMAR may be called RMAD: so Xen keeps dom0's kernel off it.
 * Pure: bytes in, an answer out. The bytes are the outer hypervisor's, so every length is checked.
 */
#ifndef XVS_SURVEY_IOMMU_TABLE_H
#define XVS_SURVEY_IOMMU_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Does a unit of the table translate for this function? 1 yes, 0 no, -EPROTO: the table is
 * malformed or of another kind. units: how many IOMMUs it describes.
 *
 * A DMAR scope that names a bridge covers every bus above the one it starts at: which buses are
 * behind a bridge is written in the bridge, not in the table.
 */
int iommu_table_covers(const uint8_t *table, size_t size, uint16_t segment, uint8_t bus,
		       uint8_t devfn, unsigned int *units);

#endif
