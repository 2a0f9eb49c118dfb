#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Through the page cache, so that pages of all of the guest's memory are written to the disk and
# read from it; then directly.
set -euo pipefail

rig-until 60 test -b /dev/vda
mkfs.ext4 -q -F /dev/vda
mount /dev/vda /mnt
rig-signal started
rounds=0
until rig-wait ballooned 1 >/dev/null 2>&1; do
	head -c 48M /dev/urandom >/tmp/data
	sum=$(sha256sum </tmp/data)
	cp /tmp/data /mnt/data
	sync
	echo 3 >/proc/sys/vm/drop_caches
	[ "$(sha256sum </mnt/data)" = "$sum" ] || { echo "round $rounds: wrong bytes"; exit 1; }
	rm /mnt/data /tmp/data
	rounds=$((rounds + 1))
done
umount /mnt
fsck.ext4 -fn /dev/vda >/dev/null 2>&1
! dmesg | grep -iE 'I/O error|vda.*error|critical' || exit 1
echo "verified: $rounds rounds of 48 MiB written, dropped from the cache and read back; fsck clean"
rig-signal verified
