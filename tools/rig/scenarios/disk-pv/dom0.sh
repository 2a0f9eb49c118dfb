#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# While the guest writes: what addresses did it use, and what did the device get?
set -euo pipefail

rig-wait wrote 300
if command -v xvshim >/dev/null && xvshim list | grep -q pci:; then
	xvshim translate guest --recent --json >"$RIG_SHARE/recent.json"
	jq -r '.[0].trace[-6:][] | "descriptor \(.daddr) -> machine \(.maddr), \(.len) bytes, \(.access)"' \
		"$RIG_SHARE/recent.json"
	total=$(jq '.[0].trace | length' "$RIG_SHARE/recent.json")
	same=$(jq '[.[0].trace[] | select(.daddr == .maddr)] | length' "$RIG_SHARE/recent.json")
	[ "$total" -gt 0 ] && [ "$same" = 0 ] || { echo "$same of $total addresses unchanged"; exit 1; }
	# dom0's own memory: a frame number is not the machine's either.
	pfn=$(xvshim translate pfn 0x5000 --json | jq -r '.mfn')
	[ "$pfn" != 0x5000 ] || { echo "pfn 0x5000 is mfn 0x5000"; exit 1; }
	echo "verified: $total of $total descriptor addresses changed; dom0's pfn 0x5000 is mfn $pfn"
fi
rig-wait sum 600 >"$RIG_SHARE/sum"
