#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

# Of the disk with the counter; then of all: how many chains reached a device?
counter() { xvshim status guest --json | jq "[.devices[].counters.$1] | add"; }
counted() { [ "$(counter "$1")" -ge 1 ]; }
export -f counter counted

# A page of dom0's own, which the guest claims to be its.
pfn=$((20480 + RANDOM % 1000))
rig-signal mfn "$(($(xvshim translate pfn $pfn --json | jq -r .mfn)))"
rig-wait ready 200
xl mem-set guest 450 # so that there are pages without memory
sleepless() { [ "$(xl list guest | awk 'NR == 2 { print $3 }')" -le 451 ]; }
export -f sleepless
rig-until 60 sleepless

for kind in beyond:p2m_beyond absent:p2m_absent foreign:p2m_refused; do
	before=$(counter chains)
	rig-signal "${kind%:*}"
	rig-until 60 counted "${kind#*:}"
	after=$(counter chains)
	[ "$(counter "${kind#*:}")" = 1 ]
	[ "$before" = "$after" ] || { echo "$kind: a chain reached the device"; exit 1; }
	xvshim status guest --json | jq -r '.devices[].counters.broken_reason | select(. != "")' |
		tail -1
	rig-signal "${kind%:*}-seen"
done
[ "$(counter broken)" = 3 ]
echo "verified: a pfn beyond the guest's memory, one without memory and one with dom0's frame: each refused and counted, nothing reached the device"
# The guest's reads never come back, so it does not shut down.
rig-domu expect-end guest
rig-wait done 60
rig-domu destroy guest
