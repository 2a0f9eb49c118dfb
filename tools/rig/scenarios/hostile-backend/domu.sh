#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest of a hostile back end. Its disk does wrong what it is asked to at the first request for a
# sector of its second half.
set -euo pipefail

at=512 # 4 KiB blocks: the second half

# Written and read back, in the first half.
use() {
	dd if=/dev/urandom of=/tmp/data bs=64k count=8 status=none
	dd if=/tmp/data of="$1" bs=64k oflag=direct status=none
	dd if="$1" bs=64k count=8 iflag=direct status=none | cmp - /tmp/data
}
up() {
	rig-until 60 test -b "$1"
	udevadm settle # it looks at new disks
	use "$1"
	rig-signal "$2"
}
# Said to dom0, since the next disk is to have the same name: it could come between two looks, or while
# udev has the last one open, and would then have another.
gone() {
	rig-until 60 test ! -e "$1"
	udevadm settle
	rig-signal "$2"
}
trigger() { dd if="$1" of=/tmp/got bs=4k count=1 skip=$at iflag=direct status=none; }
said() { dmesg | grep -q "$1"; }
# Nearly all memory that is free, filled with a word of 16 bytes, and free again.
fill() {
	local mib
	printf %s "$1" >/tmp/mib
	for i in {1..16}; do # twice as long each time
		cat /tmp/mib /tmp/mib >/tmp/twice
		mv /tmp/twice /tmp/mib
	done
	mib=$(($(awk '/MemAvailable/ { print $2 }' /proc/meminfo) / 1024 - 64))
	mount -o remount,size="${mib}M" /dev/shm
	for ((i = 0; i < mib - 1; i++)); do cat /tmp/mib; done >/dev/shm/fill || true
	rm /dev/shm/fill
	echo "filled $mib MiB"
}
# How often one goes round in three seconds.
work() {
	local end=$((${EPOCHREALTIME/./} + 3000000)) n=0
	while [ "${EPOCHREALTIME/./}" -lt $end ]; do n=$((n + 1)); done
	echo $n
}
export -f said

# 45
fill xvshim-secret-45
rig-signal filled
up /dev/vda pool-used
rig-wait scanned 120 >/dev/null
dd if=/tmp/mib of=/dev/vda bs=64k count=4 oflag=direct status=none
rig-signal secret-written
gone /dev/vda pool-gone

# 42, 43, 46
up /dev/vda strict-up
dd if=/tmp/data of=/dev/vda bs=4k count=1 seek=$at oflag=direct status=none
rig-signal strict-written
rig-wait used-len >/dev/null
trigger /dev/vda
cmp -n 4096 /tmp/got /tmp/data
use /dev/vda
rig-signal used-len-done
rig-wait rewrite >/dev/null
trigger /dev/vda
use /dev/vda
rig-signal rewrite-done
alone=$(work)
rig-signal calm
rig-wait storm >/dev/null
stormy=$(work)
use /dev/vda
rig-signal storm-done "$stormy of $alone"
[ $((stormy * 10)) -gt "$alone" ] # the host has two processors, and dom0 takes one
gone /dev/vda strict-gone

# 44
up /dev/vda keep-up
rig-wait keep >/dev/null
trigger /dev/vda || true
rig-until 20 said 'keeps a page mapped that it had to give back'
if trigger /dev/vda 2>/dev/null; then exit 1; fi
fill overwritten-4444
rig-signal keep-filled
gone /dev/vda kept-gone

# 47
while ! xenstore-exists data/rig/s/raced; do
	[ ! -b /dev/vda ] || dd if=/dev/vda of=/dev/null bs=64k count=8 iflag=direct status=none 2>/dev/null || true
done
gone /dev/vda raced-gone
up /dev/vda raced-up

# 41: virtio_blk never ends what a broken queue has in flight, so nobody waits for it
echo 0 >/proc/sys/kernel/hung_task_timeout_secs
rig-wait used-range >/dev/null
trigger /dev/vda &
rig-until 20 said 'id 60000 out of range'
rig-signal used-range-done
up /dev/vdb used-never-up
rig-wait used-never >/dev/null
trigger /dev/vdb &
rig-until 20 said 'is not a head'
rig-signal used-never-done
up /dev/vdc last-up
rig-signal over
