#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Both disks at the same time: every block that comes back is the one that was written.
set -euo pipefail
rig-wait attached 200
rig-until 60 test -b /dev/vda
rig-until 60 test -b /dev/vdb
[ "$(cat /sys/block/vda/device/features | cut -c34)" = 1 ] # ACCESS_PLATFORM, of the transport
fio --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bsrange=512-256k \
	--size=64M --verify=crc32c --verify_fatal=1 --output=/tmp/fio \
	--name=first --filename=/dev/vda --name=second --filename=/dev/vdb
echo "verified: fio crc32c on both disks at once, 64 MiB each, 512 B to 256 KiB, depth 16"
rig-signal sums "$(sha256sum </dev/vda | cut -d' ' -f1) $(sha256sum </dev/vdb | cut -d' ' -f1)"
