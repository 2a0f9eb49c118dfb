#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SIZE: what fio writes and verifies.
set -euo pipefail

size=${SIZE:-96M}
rig-until 60 test -b /dev/vda
rig-signal started
fio --name=verify --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=32 \
	--rw=randwrite --bsrange=4k-64k --size="$size" --verify=crc32c --verify_fatal=1 \
	--output=/tmp/fio || { cat /tmp/fio; exit 1; }
rig-wait killed 5 || { echo "fio ended before all kills were done"; exit 1; }
! dmesg | grep -iE 'I/O error|vda.*error|critical' || exit 1
echo "verified: fio crc32c over ${size}, no I/O error in the guest's log"
rig-signal verified
rig-wait spoil 60
xenstore-write device/virtio-xenbus/0/backend 'a\000b'
rig-signal spoilt
rig-wait read-again 60
dd if=/dev/vda of=/dev/null bs=1M count=1 iflag=direct status=none
rig-signal read
