#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The first domU is destroyed in here, the second one gets to the end.
set -euo pipefail

rig-until 120 test -b /dev/vda
rig-signal running
if [ "$RIG_NAME" = guest ]; then
	fio --name=load --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=32 \
		--rw=randwrite --bs=16k --size=128M --runtime=300 --time_based --output=/tmp/fio
	exit 1
fi
fio --name=verify --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=16 \
	--rw=randwrite --bs=16k --size=64M --verify=crc32c --verify_fatal=1 --output=/tmp/fio
echo "verified: fio crc32c over 64 MiB in the second domU"
