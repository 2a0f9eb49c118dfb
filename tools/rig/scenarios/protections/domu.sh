#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SIZE: what fio writes and verifies on each disk; 256M is the verification of disk-pv.
set -euo pipefail

disk() { echo /dev/vd$(echo abcd | cut -c$(($1 + 1))); }

for i in 0 1 2 3; do
	mode=$(rig-wait "disk-$i" 300)
	rig-until 60 test -b "$(disk "$i")"
	rig-verify-disk "$(disk "$i")" virtio_blk "${SIZE:-64M}" | sed "s/^verified: /verified: $mode: /"
	rig-signal "sum-$i" "$(sha256sum <"$(disk "$i")")"
done
# lazy has pages to give back, whatever the guest asks for meanwhile: for its age, or its memory.
(while dd if=/dev/vdd of=/dev/null bs=1M count=16 iflag=direct status=none; do :; done) &
rig-signal through

# More than is free: page cache and kept pages have to go.
rig-wait squeeze 800
kill $!
free=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
head -c "$((free * 9 / 10))k" /dev/zero | tail -c "$((free * 9 / 10))k" >/dev/null
echo 2 >/proc/sys/vm/drop_caches
rig-signal squeezed
for i in 0 1 2 3; do
	rig-wait "gone-$i" 120
done
rig-signal quiet
