#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Uses the disk as a guest would, then tells dom0 the checksum of all of it.
set -euo pipefail

# Another scenario may bring the disk under another name.
disk=/dev/vda
driver=virtio_blk
[ ! -e /rig/files/disk ] || read -r disk driver </rig/files/disk

rig-until 60 test -b "$disk"
bound=$(basename "$(readlink "/sys/block/${disk#/dev/}/device/driver")")
[ "$bound" = "$driver" ] || { echo "$disk is driven by $bound, not $driver"; exit 1; }
echo "verified: $disk is driven by $driver"

mkfs.ext4 -q -F "$disk"
mount "$disk" /mnt
cp -r /usr/sbin /mnt/copy
(cd /usr/sbin && find . -type f -exec sha256sum {} +) >/tmp/sums
umount /mnt
mount "$disk" /mnt
(cd /mnt/copy && sha256sum --quiet -c /tmp/sums)
umount /mnt
fsck.ext4 -fn "$disk" >/dev/null 2>&1
echo "verified: ext4 with $(wc -l </tmp/sums) files, unmounted and mounted again, fsck clean"
rig-signal wrote

fio --name=verify --filename="$disk" --direct=1 --ioengine=libaio --iodepth=32 \
	--rw=randwrite --bsrange=512-256k --blocksize_unaligned=0 --size=256M \
	--verify=crc32c --verify_fatal=1 --output=/tmp/fio
echo "verified: fio crc32c, 256 MiB random, 512 B to 256 KiB, depth 32"

rig-signal sum "$(sha256sum <"$disk")"
