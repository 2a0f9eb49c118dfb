#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two disks of one guest, each driven by its own rule.
set -euo pipefail
for bdf in $RIG_BDFS; do
	xvshim attach guest "pci:$bdf" --take >/dev/null
done
rig-signal attached
rig-wait sums 400 >"$RIG_SHARE/sums"
for bdf in $RIG_BDFS; do
	xvshim status guest "pci:$bdf" --json |
		jq -e '.devices[0].counters | .broken == 0 and .leaked_handles == 0 and .chains > 100' \
			>/dev/null
done
if xl dmesg | grep -iE '(DMAR|IOMMU).*fault'; then
	echo "the IOMMU stopped an access"
	exit 1
fi
xl info | grep -E '^virt_caps' || true
xl dmesg | grep -E 'I/O virtualisation|Dom0 mode' || true
if xl dmesg | grep -q 'I/O virtualisation enabled'; then
	iommu=on
else
	iommu=off
fi
[ "$iommu" = "$(cat /rig/files/expect)" ] || { echo "Xen's IOMMU is $iommu"; exit 1; }
echo "verified: Xen's IOMMU is $iommu, both disks served, no access stopped"
