#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Five domains with one number, one after the other, and one disk that each of them has.
set -euo pipefail

bdf=${RIG_BDFS%% *} domid=$(xl domid guest)
backend=/local/domain/0/backend/virtio-xenbus/$domid
inflight() { [ "$(xvshim status "$name" --json | jq '.devices[0].counters.inflight')" -gt 0 ]; }
closed() { [ "$(xvshim status "$name" --json | jq -r '.devices[0].state')" = closed ]; }
free() { [ "$(xvshim list --json | jq length)" = 0 ] && ! xenstore-exists "$backend"; }
export -f inflight closed free # for rig-until
export backend domid name

# Not in use and not remembered, neither by the daemon nor by the store, and back with its driver.
released() {
	rig-until 10 free || { xvshim list && xenstore-ls "$backend" && return 1; }
	[ -z "$(find /run/xvshim /var/run/xvshim -name 'dev-*' 2>/dev/null)" ]
	[ "$(basename "$(readlink "/sys/bus/pci/devices/$bdf/driver")")" = virtio-pci ]
}
# Xen's count, once it stands still: a guest that has just begun still reads its disks.
settled() {
	local before='' now i
	for ((i = 0; i < 30; i++)); do
		now=$(rig-grants "$domid")
		[ "$now" != "$before" ] || break
		before=$now
	done
	echo "$now"
}
pins() { rig-grants "$domid" | cut -d' ' -f2; }
idle() { [ "$(pins)" = 0 ]; }
export -f pins idle
make() {
	name=$1
	rig-domu create "$1" pv --domid "$domid" --script /rig/domu.sh
	[ "$(xl domid "$1")" = "$domid" ]
}
attach() { # and verified
	rig-domu wait-up "$name" 120
	xvshim attach "$name" "pci:$bdf" --take "$@" >/dev/null
	rig-wait -d "$name" checked 60 >/dev/null
}
destroy() {
	rig-domu expect-end "$name"
	xl destroy "$name"
}
load() { # the rest of it takes seconds
	rig-throttle 0 10
	rig-signal -d "$name" next load
	rig-until 30 inflight
}

# 1. Nobody serves, and requests are in flight.
name=guest
rig-wait checked 120 >/dev/null
load
# Otherwise it may see the end of the daemon in time to let go by itself.
kill -STOP "$(xvshim status guest --json | jq '.devices[0].worker')"
rig-xvshimd kill
destroy
[ "$(pins)" -gt 0 ] || { echo "no page of the dead domain is pinned"; exit 1; }
! make second 2>/run/rig/refused || { echo "its number was given away"; exit 1; }
cat /run/rig/refused
echo "verified: with requests in flight and no daemon Xen keeps the dead domain and its number"
rig-xvshimd start
rig-domu wait-gone guest 10
grep "domain $domid device 0: device reset, then .* pages unmapped" /share/xvshimd.log
released
rig-throttle 0 0
make second
attach --protection strict # which keeps no page of an idle guest
echo "verified: number $domid again, once the daemon was back and had let go: fio crc32c over 8 MiB"

# 2. Nobody serves, nothing is in flight: the number is free before anybody cleans up.
rig-signal -d second next idle
rig-until 10 idle
rig-xvshimd kill
destroy
rig-domu wait-gone second 10
make third
rig-domu wait-up third 120
xenstore-exists "$backend/0/state"
nodes=$(xenstore-ls "/local/domain/$domid") before=$(settled)
rig-xvshimd start
released
[ "$(xenstore-ls "/local/domain/$domid")" = "$nodes" ]
[ "$(settled)" = "$before" ] && [ "${before#* }" = 0 ]
attach
echo "verified: number $domid again, before the daemon was back: the dead one's disk is released, no node or grant of the new one touched; it has the disk: fio crc32c over 8 MiB"

# 3. With the daemon, under I/O, as fast as it goes.
load
destroy
rig-domu wait-gone third 10
make fourth
released
rig-throttle 0 0
attach
echo "verified: number $domid again at once under a daemon that serves: fio crc32c over 8 MiB"

# 4. The daemon hears of the end when there is a new one already.
rig-signal -d fourth next unbind
rig-wait -d fourth unbound 30 >/dev/null
rig-until 10 closed
kill -STOP "$(rig-xvshimd pid)"
destroy
rig-domu wait-gone fourth 10
make fifth
rig-domu wait-up fifth 120
before=$(settled)
kill -CONT "$(rig-xvshimd pid)"
released
attach
rig-signal -d fifth next end
rig-domu wait-done fifth 60
xvshim detach fifth "pci:$bdf"
released
[ "$(settled)" = "$before" ] && [ "${before#* }" = 0 ]
echo "verified: number $domid again before the daemon heard of the end: not taken for the old one; fio crc32c over 8 MiB, and Xen counts what it did before"
rig-domu shutdown fifth
