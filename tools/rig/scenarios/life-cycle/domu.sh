#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Does what dom0 tells it, word by word.
set -uo pipefail

disk=/dev/vda load= driver=/sys/bus/xen/drivers/virtio-xenbus

device() { ls /sys/bus/xen/devices | grep '^virtio-xenbus-' | head -n 1; }

io() { # what was written is what is read
	head -c 262144 /dev/urandom >/tmp/pattern
	dd if=/tmp/pattern of="$disk" bs=64k oflag=direct conv=nocreat status=none &&
		dd if="$disk" of=/tmp/back bs=64k count=4 iflag=direct status=none &&
		cmp /tmp/pattern /tmp/back
}

moving() { [ "$(awk '{ print $1 + $5 }' /sys/block/vda/stat)" -gt $((seen + 20)) ]; }
export -f moving # for rig-until

moving_on() {
	seen=$(awk '{ print $1 + $5 }' /sys/block/vda/stat)
	export seen
	rig-until 30 moving
}

begin_load() {
	(while dd if="$disk" of=/dev/null bs=64k iflag=direct status=none; do :; done) 2>/dev/null &
	load=$!
	moving_on
}

end_load() { # may have ended by itself, with its disk
	[ -z "$load" ] || kill "$load" 2>/dev/null
	wait
	load=
}

# xenbus holds the module for each device that is bound, so until then it says "in use".
unload() {
	dev=$(device)
	! modprobe -r xvshim_front 2>/dev/null && moving_on &&
		echo "$dev" >"$driver/unbind" && modprobe -r xvshim_front && end_load
}

obey() {
	case $1 in
	there) rig-until 90 test -b "$disk" ;;
	gone) rig-until 90 test ! -e "$disk" && end_load ;;
	io) io ;;
	load) begin_load ;;
	idle) end_load ;;
	fails) wait && ! dd if="$disk" of=/dev/null bs=64k count=1 iflag=direct 2>/dev/null ;;
	unbind) dev=$(device) && echo "$dev" >"$driver/unbind" && end_load ;;
	bind) echo "$dev" >"$driver/bind" ;;
	unload) unload ;;
	reload) modprobe xvshim_front ;;
	*) false ;;
	esac
}

trap end_load EXIT # or the run would wait for it
number=$(rig-wait first 300) || exit 1
while :; do
	words=$(rig-wait "do-$number" 600) || exit 1
	if [ "$words" = end ]; then
		rig-signal "did-$number"
		exit 0
	fi
	for word in $words; do
		obey "$word" || { echo "$word (number $number: $words) failed"; exit 1; }
	done
	rig-signal "did-$number"
	number=$((number + 1))
done
