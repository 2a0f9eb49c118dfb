#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Everything is counted while the disk is detached and the guest is quiet: Xen's own grant dump,
# and the daemon's descriptors and memory. Block devices of the guest use no persistent grants,
# so an idle guest's count is exact. ROUNDS: how often, at least 3, 8 unless it is said.
set -euo pipefail

bdf=${RIG_BDFS%% *} domid=$(xl domid guest)
pid=$(rig-xvshimd pid)
descriptors() { find "/proc/$pid/fd" -mindepth 1 | wc -l; }
memory() { awk '/^Rss|^Private_Dirty/ { kib[$1] = $2 } END { print kib["Private_Dirty:"] }' "/proc/$pid/smaps_rollup"; }
count() { echo "$(rig-grants "$domid") $(descriptors)"; }

rounds=${ROUNDS:-8}
[ "$rounds" -ge 3 ] || { echo "ROUNDS=$rounds: two of them are under I/O, so 3 at least"; exit 1; }
for round in $(seq 0 "$rounds"); do
	rig-wait "up-$round" 120
	xvshim detach guest "pci:$bdf"
	rig-wait "down-$round" 120
	if [ "$round" = 0 ]; then # the first one warmed everything up
		before=$(count)
		memory_before=$(memory)
	fi
	xvshim attach guest "pci:$bdf" --take >/dev/null
	rig-signal "attached-$round"
done
last=$((rounds + 1))
rig-wait "up-$last" 120
xvshim detach guest "pci:$bdf"
rig-wait "down-$last" 120
after=$(count)
memory_after=$(memory)
echo "entries in use, device pins, descriptors: before $before, after $after; daemon $memory_before KiB, then $memory_after KiB"
[ "$before" = "$after" ]
[ "$memory_after" -le $((memory_before + 128)) ]
[ "$(echo "$after" | cut -d' ' -f2)" = 0 ]
echo "verified: $last times detach and attach, 2 under I/O; Xen's grant dump and descriptors as before, memory within 128 KiB"
