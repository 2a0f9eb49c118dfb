#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Both disks at once, each with data of its own.
set -euo pipefail

rig-wait attached 300 >/dev/null
for disk in vda vdb; do
	rig-until 60 test -b /dev/$disk
	fio --name=verify-$disk --filename=/dev/$disk --direct=1 --ioengine=libaio --iodepth=16 \
		--rw=randwrite --bs=4k-64k --size=32M --verify=crc32c --verify_fatal=1 \
		--output=/tmp/fio-$disk &
	jobs="${jobs-} $!"
done
for job in $jobs; do
	wait "$job"
done
echo "verified: fio crc32c on a disk behind the IOMMU and on one that bypasses it, at once"
rig-signal sums "$(sha256sum </dev/vda | cut -d' ' -f1),$(sha256sum </dev/vdb | cut -d' ' -f1)"
