#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every domU of the scenario: verifies its disk, then does as dom0 says.
set -euo pipefail

rig-until 240 test -b /dev/vda
fio --name=verify --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=16 \
	--rw=randwrite --bs=16k --size=8M --verify=crc32c --verify_fatal=1 --output=/tmp/fio
rig-signal checked
case $(rig-wait next 120) in
load)
	fio --name=load --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=32 \
		--rw=randwrite --bs=16k --size=32M --runtime=300 --time_based --output=/tmp/fio
	exit 1
	;;
unbind)
	device=$(basename /sys/bus/xen/devices/virtio-xenbus-*)
	echo "$device" >/sys/bus/xen/drivers/virtio-xenbus/unbind
	rig-signal unbound
	;;
idle) ;;
end) exit 0 ;;
esac
rig-wait never 600
