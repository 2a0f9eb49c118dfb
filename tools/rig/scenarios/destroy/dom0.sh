#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

bdf=${RIG_BDFS%% *}
inflight() { [ "$(xvshim status guest --json | jq '.devices[0].counters.pages_mapped')" -gt 0 ]; }
released() { ! xvshim list | grep -q "$bdf" && ! xenstore-exists "/local/domain/0/backend/virtio-xenbus/$domid/0"; }
export -f inflight released # for rig-until

rig-wait running 120
rig-throttle 0 10 # xl pauses the domU for most of a second first: some must outlast that
rig-until 60 inflight
rig-domu expect-end guest
domid=$(xl domid guest)
export bdf domid
begun=$(date +%s%N)
xl destroy guest
rig-domu wait-gone guest 5
took=$((($(date +%s%N) - begun) / 1000000))
echo "verified: destroyed under I/O, gone from xl list after $took ms"
[ "$took" -le 5000 ]
rig-until 5 released
grep 'device reset, then .* pages unmapped' /share/xvshimd.log || { echo "no page was mapped when the domU died"; exit 1; }
[ "$(basename "$(readlink /sys/bus/pci/devices/"$bdf"/driver)")" = virtio-pci ]

rig-throttle 0 0
rig-domu create second pv --script /rig/domu.sh
rig-domu wait-up second 240
xvshim attach second "pci:$bdf" --take
rig-domu wait-done second 240
xvshim detach second "pci:$bdf"
rig-domu shutdown second
