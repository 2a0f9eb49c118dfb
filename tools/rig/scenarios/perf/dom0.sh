#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Gives the one nested disk to each of the three in turn, so that nothing else differs.
set -euo pipefail

bdf=${RIG_BDFS%% *}

iops() { # DISK DEPTH
	fio --name=read --filename="$1" --direct=1 --ioengine=libaio --iodepth="$2" \
		--rw=randread --bs=4k --runtime=5 --time_based --output-format=json |
		jq '.jobs[0].read.iops | floor'
}

disk=/dev/$(basename /sys/bus/pci/devices/"$bdf"/virtio*/block/*)
dd if=/dev/urandom of="$disk" bs=1M count=256 oflag=direct status=none
for round in 1 2; do
	for depth in 1 32; do
		echo "figure: 4 KiB random read, depth $depth, dom0 itself: $(iops "$disk" "$depth") IOPS"
	done
	rig-wait up-$round 60 >/dev/null

	xl block-attach guest "phy:$disk,xvdc,w"
	rig-signal blkback-$round /dev/xvdc
	rig-wait blkback-done-$round 120 >/dev/null
	xl block-detach guest xvdc
	rig-until 20 test -z "$(xl block-list guest | grep 51744 || true)"

	xvshim attach guest "pci:$bdf" --take >/dev/null
	rig-signal xvshim-$round /dev/vda
	rig-wait xvshim-done-$round 120 >/dev/null
	xvshim status guest --json >"$RIG_SHARE/status-$round.json"
	xvshim detach guest "pci:$bdf" >/dev/null
	rig-until 20 test -b "$disk"
done

worst=$(jq '.devices[0].counters.max_batch_hypercalls' "$RIG_SHARE/status-2.json")
[ "$worst" -le 2 ] || { echo "a batch cost $worst grant hypercalls"; exit 1; }
echo "verified: no batch cost more than $worst grant hypercalls besides the indirect copy"
jq -r '.devices[0].counters | "figure: a request cost \((.map_calls + .unmap_calls + .copy_calls) / .chains * 100 | floor / 100) grant hypercalls, \((.guest_kicks + .guest_notifies) / .chains * 100 | floor / 100) events"' \
	"$RIG_SHARE/status-2.json"
