#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Looks at what the daemon makes of each step of hostile_guest. A step is: number of the hazard, what
# is expected, and the reason or a sentence.
set -euo pipefail

bdf=${RIG_BDFS%% *} other=${RIG_BDFS##* }
domid=$(xl domid guest)
pid=$(rig-xvshimd pid)
now() { date +%s%N | cut -c1-13; }
descriptors() { find "/proc/$pid/fd" -mindepth 1 | wc -l; }
memory() { awk '/^Private_Dirty/ { print $2 }' "/proc/$pid/smaps_rollup"; }
count() { echo "$(rig-grants "$domid") $(descriptors)"; }
pins() { rig-grants "$domid" | cut -d' ' -f2; }
device() { xvshim status "$1" --json | jq -r ".devices[0]$2"; }
progress() { device victim .counters.completions; }
fail() {
	echo "hazard $number: $*"
	xvshim status guest
	exit 1
}

is_broken() {
	local n pages leaked reason
	read -r n pages leaked reason < <(device guest '.counters | "\(.broken) \(.pages_mapped) \(.leaked_handles) \(.broken_reason)"')
	[ "$n" = $((broken + 1)) ] && [ "$pages $leaked" = "0 0" ] && [[ $reason = *"$text"* ]]
}
is_refused() {
	local state why
	IFS=$'\t' read -r state why < <(device guest '| "\(.backend_state)\t\(.error)"')
	[[ $state = Clos* ]] && [[ $why = *"$text"* ]] &&
		[ "$(xenstore-read "/local/domain/0/backend/virtio-xenbus/$domid/0/error")" = "$why" ]
}
is_in_flight() { [ "$(device guest .counters.inflight)" -ge "$text" ]; }
export -f device is_broken is_refused is_in_flight
export domid

# So slow that what is in flight stays there, however busy the machine is. 0: fast again.
slow_down() {
	local limits='"bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0'
	rig-qmp "{\"execute\": \"block_set_io_throttle\", \"arguments\": {\"device\": \"nested0\", $limits, \"bps\": $1}}" |
		grep -q '"return"'
}

# While the guest floods: is the daemon there, and do the others get on?
flooded() {
	local begun
	victim_before=$(progress) memory_before=$(memory) flood_began=$(now)
	begun=$(now)
	xvshim list >/dev/null
	echo "an answer in a flood took $(($(now) - begun)) ms"
	[ $(($(now) - begun)) -le 5000 ] || fail "the daemon does not answer"
}
calm() {
	local completions took kib
	completions=$(($(progress) - victim_before)) took=$(($(now) - flood_began))
	kib=$(($(memory) - memory_before))
	echo "in $took ms of it: the other guest had $completions completions, the daemon grew by $kib KiB"
	[ "$completions" -gt 0 ] || fail "the other guest stood still"
	[ "$kib" -le 512 ] || fail "the daemon grew by $kib KiB"
}

hazard() {
	local progress
	[ "$(device guest '| "\(.restarts) \(.counters.broken)"')" = "0 $broken" ] ||
		fail "a worker died, or the device broke without being told"
	progress=$(progress)
	[ "$progress" -gt "$victim_at" ] || fail "the other guest stood still"
	victim_at=$progress
	echo "verified: hazard $number: $text"
}

look() {
	case $kind in
	broken)
		is_broken || rig-until 20 is_broken || fail "not broken once more because '$text'"
		broken=$((broken + 1))
		;;
	served) [ "$(device guest .counters.broken)" = "$broken" ] || fail "broken" ;;
	baseline) broken=$(device guest .counters.broken) ;;
	refused) rig-until 20 is_refused || fail "not refused because '$text'" ;;
	inflight) rig-until 20 is_in_flight || fail "nothing is in flight" ;;
	pins) [ "$(pins)" = "$text" ] || fail "pages are still mapped" ;;
	note) noted=$(pins) && [ "$noted" -gt 0 ] || fail "nothing is mapped" ;;
	noted) [ "$(pins)" = "$noted" ] || fail "Xen counts other pages than before: $(pins), not $noted" ;;
	throttle) slow_down "$text" ;;
	calm) calm ;;
	hazard) hazard ;;
	flood | end) ;;
	*) fail "what is $kind?" ;;
	esac
}

rig-domu create victim pv --script /rig/domu.sh
rig-wait ready 120
rig-domu wait-up victim 240
xvshim attach victim "pci:$other" --take

# 30: unplugged before anybody set it up, and again. It also warms everything up.
number=30
! xvshim attach guest "pci:$bdf" --take --timeout 2 || fail "attached to a guest without a driver"
! xvshim detach guest "pci:$bdf" || fail "detached twice"
before=$(count)
memory_at_first=$(memory)

victim_at=$(progress) broken=0 kind=''
xvshim attach guest "pci:$bdf" --take &
attach=$!
rig-signal go
# What rig-wait and rig-signal do, with fewer processes: there are a hundred steps.
base=/local/domain/$domid/data/rig
exec {watch}< <(exec xenstore-watch "$base")
next_step() {
	local path
	while ! xenstore-read "$base/s/step-$step" 2>/dev/null; do
		read -r -t 120 path <&"$watch" || return 1
		[ "$path" != "$base/done" ] || return 1
	done
}
for ((step = 1; ; step++)); do
	read -r number kind text < <(next_step) || break
	export broken text
	look
	xenstore-write "$base/s/seen-$step" 1
	[ "$kind" != flood ] || flooded
	[ "$kind" != end ] || break
done
[ "$kind" = end ] || { echo "it ended before its last step"; exit 1; }
wait $attach
rig-wait over 60

# The front end has gone without a word: it is waited for, and then not.
number=30
! xvshim detach guest "pci:$bdf" --timeout 2 || fail "a front end that is silent let go"
xvshim detach guest "pci:$bdf" --force
! xvshim detach guest "pci:$bdf" --force 2>/dev/null || fail "detached twice"
echo "verified: hazard 30: unplugged before it was set up, from a silent front end, and twice"
after=$(count)
memory_at_last=$(memory)
echo "entries in use, device pins, descriptors: before $before, after $after; daemon $memory_at_first KiB, then $memory_at_last KiB"
[ "$before" = "$after" ]
[ "$(echo "$after" | cut -d' ' -f2)" = 0 ]
[ "$memory_at_last" -le $((memory_at_first + 256)) ]
echo "verified: after all of it Xen's grant dump and the daemon's descriptors are as before, its memory within 256 KiB"
rig-signal -d victim stop
rig-domu wait-done victim 120
xvshim detach victim "pci:$other"
rig-domu shutdown victim
