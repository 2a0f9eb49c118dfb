#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "victim" uses its disk as anybody would. The other one runs hostile_guest, whose steps dom0 looks at.
set -euo pipefail

victim() {
	local rounds=0
	rig-until 120 test -b /dev/vda
	until xenstore-exists data/rig/s/stop; do
		fio --name=verify --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=8 \
			--rw=randwrite --bsrange=4k-64k --size=6M --verify=crc32c --verify_fatal=1 \
			--randseed=$rounds --output=/tmp/fio
		rounds=$((rounds + 1))
	done
	echo "verified: the other guest wrote and verified its disk $rounds times meanwhile"
}

if [ "$RIG_NAME" = victim ]; then
	victim
	exit
fi
echo 'blacklist xvshim_front' >/etc/modprobe.d/hostile.conf # or udev loads it again
rmmod xvshim_front
modprobe -a xen-gntalloc xen-evtchn
insmod /usr/libexec/xvshim/table_version.ko
rig-signal ready
rig-wait go 300 >/dev/null
rig-until 60 xenstore-exists device/virtio-xenbus/0/backend

# shellcheck disable=SC2086
/usr/libexec/xvshim/hostile_guest data/rig/s ${PART:-}
rig-signal over
