#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

iops() { # DISK DEPTH
	fio --name=read --filename="$1" --direct=1 --ioengine=libaio --iodepth="$2" \
		--rw=randread --bs=4k --runtime=5 --time_based --output-format=json |
		jq '.jobs[0].read.iops | floor'
}

for round in 1 2; do
	rig-signal up-$round
	for path in blkback xvshim; do
		disk=$(rig-wait $path-$round 120)
		rig-until 20 test -b "$disk"
		for depth in 1 32; do
			echo "figure: 4 KiB random read, depth $depth, $path: $(iops "$disk" "$depth") IOPS"
		done
		rig-signal $path-done-$round
	done
done
