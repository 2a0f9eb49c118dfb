#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# No device of QEMU hangs at a reset. One whose registers are moved to where nobody looks for them is
# as bad: it hears nothing of a reset, and writes as before.
set -euo pipefail

bdf=${RIG_BDFS%% *}
config=/sys/bus/pci/devices/$bdf/config
at=$((0x24)) # the upper half of base address 4, where QEMU has the registers
domid=$(xl domid guest)
where=$(od -An -tx1 -j$at -N4 "$config")
move_registers() {
	# shellcheck disable=SC2059 # it is the format that is wanted
	printf "$(printf '\\x%s' "$@")" | dd of="$config" bs=1 seek=$at conv=notrunc status=none
}
inflight() { [ "$(xvshim status guest --json | jq '.devices[0].counters.pages_mapped')" -gt 0 ]; }
held() { grep -q 'its pages are held, trying again' /share/xvshimd.log; }
zombie() { xl list | grep -q '^(null)'; }
pins() { rig-grants "$domid" | cut -d' ' -f2; }
released() { ! xvshim list | grep -q "$bdf"; }
export -f inflight held zombie released
export bdf

rig-wait running 120
rig-throttle 0 5 # xl pauses the domU for most of a second first: some must outlast that
rig-until 60 inflight
rig-domu expect-end guest
move_registers 40 00 00 00
xl destroy guest
rig-until 60 held
rig-until 30 zombie
before=$(pins)
echo "the domU is destroyed, the device silent, $before pages pinned"
[ "$before" -gt 0 ]
rig-throttle 0 0
# It is tried again and again, and nothing is let go.
xvshim list
if [ "$(pins)" != "$before" ] || ! zombie; then
	echo "pages were let go"
	exit 1
fi
# shellcheck disable=SC2086 # four bytes
move_registers $where
rig-until 60 released
rig-domu wait-gone guest 20
grep 'device reset, then .* pages unmapped' /share/xvshimd.log
echo "verified: hazard 35: $before pages stayed pinned while the reset was not confirmed, the domU a zombie; gone once it was"
[ "$(basename "$(readlink /sys/bus/pci/devices/"$bdf"/driver)")" = virtio-pci ]
