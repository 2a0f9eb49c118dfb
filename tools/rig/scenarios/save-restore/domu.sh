#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Does what dom0 tells it, one word at a time, and answers. It goes through the saves with its domain:
# the pattern is in memory, so what is read afterwards is what was written before.
set -uo pipefail

disk=/dev/vda load=''
export disk

reads() { dd if="$disk" of=/tmp/back bs=64k count=4 iflag=direct status=none; }
moving() { [ "$(awk '{ print $1 + $5 }' /sys/block/vda/stat)" -gt $((seen + 20)) ]; }
export -f moving # for rig-until

write() {
	head -c 262144 /dev/urandom >/tmp/pattern
	dd if=/tmp/pattern of="$disk" bs=64k oflag=direct conv=nocreat status=none && compare
}
compare() { reads && cmp /tmp/pattern /tmp/back; }

# Writes and reads back, beside the pattern; an error ends it. nocreat: of a disk that has gone dd would
# make a file.
loop() {
	local i
	for ((i = 0; ; i++)); do
		dd if=/tmp/pattern of="$disk" bs=64k seek=$((16 + 4 * (i % 16))) oflag=direct conv=nocreat status=none || return 1
		dd if="$disk" of=/tmp/loop bs=64k skip=$((16 + 4 * (i % 16))) count=4 iflag=direct status=none || return 1
		cmp /tmp/pattern /tmp/loop || return 1
		[ ! -e /tmp/enough ] || return 0
	done
}
begin_load() {
	seen=$(awk '{ print $1 + $5 }' /sys/block/vda/stat)
	export seen
	rm -f /tmp/enough
	loop &
	load=$!
	rig-until 30 moving
}
end_load() {
	touch /tmp/enough
	wait "$load"
}

obey() {
	case $1 in
	here) true ;;
	there) rig-until 60 test -b "$disk" ;;
	gone) rig-until 60 test ! -e "$disk" ;;
	write) write ;;
	compare) compare ;;
	load) begin_load ;;
	idle) end_load ;;
	*) false ;;
	esac
}

for ((number = 1; ; number++)); do
	verb=$(rig-wait "do-$number" 600) || exit 1
	[ "$verb" != end ] || exit 0
	if obey "$verb"; then answer=yes; else answer=no; fi
	rig-signal "did-$number" "$answer"
done
