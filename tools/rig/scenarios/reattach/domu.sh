#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -uo pipefail

rounds=${ROUNDS:-8} last=$((rounds + 1))

moving() { [ "$(awk '{ print $5 }' /sys/block/vda/stat)" -gt 100 ]; }
export -f moving # for rig-until

for round in $(seq 0 "$last"); do
	rig-until 60 test -b /dev/vda || exit 1
	if [ "$round" = $((rounds / 3)) ] || [ "$round" = $((rounds * 2 / 3)) ]; then
		fio --name=load --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=16 \
			--rw=randwrite --bs=4k --size=64M --runtime=60 --time_based \
			>/tmp/fio 2>&1 &
		rig-until 30 moving || exit 1
	else
		dd if=/dev/vda of=/dev/null bs=64k count=16 iflag=direct status=none || exit 1
	fi
	rig-signal "up-$round"
	rig-until 60 test ! -e /dev/vda || exit 1
	wait # fio ends with an error when its disk goes
	rig-signal "down-$round"
	[ "$round" = "$last" ] || rig-wait "attached-$round" 60 || exit 1
done
exit 0
