#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# While the guest writes: what addresses did it use, and what did the device get?
set -euo pipefail

rig-wait wrote 300 >/dev/null
xvshim translate guest --recent --json >"$RIG_SHARE/recent.json"
jq -r '.[0].trace[-6:][] | "descriptor \(.daddr) -> machine \(.maddr), \(.len) bytes, \(.access)"' \
	"$RIG_SHARE/recent.json"

# As numbers, and without the bit that says "grant": the page named must not be the page reached.
total=0
while read -r daddr maddr; do
	total=$((total + 1))
	if [ $((daddr & 0xfffffffffff)) = $((maddr)) ]; then
		echo "address $daddr was not changed"
		exit 1
	fi
	[ $((daddr & 0xfff)) = $((maddr & 0xfff)) ] || { echo "$daddr: offset changed"; exit 1; }
done < <(jq -r '.[0].trace[] | "\(.daddr) \(.maddr)"' "$RIG_SHARE/recent.json")
[ "$total" -gt 0 ] || { echo "nothing was translated"; exit 1; }

# dom0's own memory: of a hundred frames none may have its own number in the machine.
for pfn in $(seq 20480 16 22080); do
	mfn=$(xvshim translate pfn "$pfn" --json | jq -r '.mfn')
	if [ $((mfn)) = "$((pfn))" ]; then
		echo "pfn $pfn is mfn $mfn"
		exit 1
	fi
done
echo "verified: $total of $total descriptor addresses changed; 101 of dom0's frames looked up, none has pfn = mfn"
rig-wait sum 600 >"$RIG_SHARE/sum"
