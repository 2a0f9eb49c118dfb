#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# First the same questions as without an IOMMU, then both disks serve the guest at once.
set -euo pipefail

/rig/files/ask
for bdf in $RIG_BDFS; do
	timeout 120 xvshim attach "$RIG_DOMU" "pci:$bdf" --take
done
xvshim probe | grep -A1 'held by uio_pci_generic'
rig-signal attached
rig-wait sums 300 >"$RIG_SHARE/sums"
if xl dmesg | grep -iE '(DMAR|IOMMU).*fault'; then
	echo "the IOMMU stopped an access"
	exit 1
fi
echo "verified: no fault of the IOMMU"
