#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# CYCLES (200) lives of the first disk, of eleven kinds in turn. The guest does what it is told and says
# when it is done. What is held is counted while nothing is attached, at the beginning and at the end.
set -euo pipefail

bdf=${RIG_BDFS%% *} cycles=${CYCLES:-200} port=0000:00:1c.0
number=0
[ "$cycles" -ge 22 ] || { echo "CYCLES=$cycles: 22 at least, so that each kind comes before memory is looked at, and after"; exit 1; }

# -- the guest --

guest() { # WORD...
	number=$((number + 1))
	rig-signal "do-$number" "$*"
	rig-wait "did-$number" 300 >/dev/null
}
begin_guest() {
	rig-signal first "$((number + 1))"
	rig-domu go guest 2>/dev/null || true
}

status() { xvshim status guest "pci:$bdf" --json | jq -r ".devices[0].$1"; }
served_again() { [ "$(status epoch)" -gt "$epoch" ] && [ "$(status state)" = connected ]; }
nothing_attached() { [ "$(xvshim list --json | jq length)" = 0 ]; }
export -f status served_again nothing_attached # for rig-until
export bdf epoch

attach() { xvshim attach guest "pci:$bdf" --take --timeout 120 >/dev/null && guest there io; }
detach() { xvshim detach guest "pci:$bdf" --timeout 60 && guest gone; }

# -- what is held --

descriptors() { find "/proc/$(rig-xvshimd pid)/fd" -mindepth 1 | wc -l; }
memory() { awk '/^Private_Dirty/ { print $2 }' "/proc/$(rig-xvshimd pid)/smaps_rollup"; }
ports() { # event channels of dom0 that lead to the guest
	"$(find /usr/lib/xen* -name lsevtchn | head -n 1)" 0 | grep -c "Remote Domain $1\b" || true
}
watches() { # of all connections
	rm -f /run/rig/memreport # it is added to
	xenstore-control memreport /run/rig/memreport >/dev/null 2>&1 || { echo unknown && return; }
	grep -c 'struct watch ' /run/rig/memreport || true
}
held() {
	local domid
	domid=$(xl domid guest)
	echo "grants and pins $(rig-grants "$domid"), ports $(ports "$domid"), descriptors $(descriptors)," \
		"watches $(watches), files $(find /run/xvshim /var/run/xvshim -name 'dev-*' 2>/dev/null | wc -l)"
}

count_of() { # WHAT HELD
	sed "s/grants and pins [0-9]* /pins /; s/.*$1 \([0-9]*\).*/\1/" <<<"$2"
}

# -- lives: each begins and ends with the disk attached --

reattach() { detach && attach; }

unbind() {
	guest load unbind bind there io
}

unload() { # under I/O
	guest load unload reload there io
}

pause() {
	guest load
	xl pause guest
	epoch=$(status epoch)
	kill -KILL "$(status worker)"
	rig-until 20 served_again
	xl unpause guest
	guest idle io
}

kill_worker() {
	guest load
	epoch=$(status epoch)
	kill -KILL "$(status worker)"
	rig-until 20 served_again
	guest idle io
}

restart() {
	guest load
	epoch=$(status epoch)
	rig-xvshimd "$1"
	rig-xvshimd start
	rig-until 20 served_again
	guest idle io
}

interrupt() { # detach while attaching, at another moment each time
	local attaching
	detach
	xvshim attach guest "pci:$bdf" --take --timeout 60 >/dev/null 2>&1 &
	attaching=$!
	sleep "0.$((RANDOM % 10))"
	xvshim detach guest "pci:$bdf" --force >/dev/null 2>&1 || true
	wait "$attaching" || true
	xvshim detach guest "pci:$bdf" --force >/dev/null 2>&1 || true
	rig-until 30 nothing_attached
	guest gone
	attach
}

detach_loaded() {
	guest load
	detach
	attach
}

take() { # by force, under load: its requests end in an error, and it lets go in good order
	guest load
	xvshim detach guest "pci:$bdf" --force --timeout 60
	guest fails gone
	attach
}

reboot() {
	local old
	old=$(xl domid guest)
	rig-domu expect-end guest
	guest load
	xl reboot guest
	rig-until 120 rebooted "$old"
	rig-domu wait-up guest 240
	begin_guest
	rig-until 60 nothing_attached
	attach
}
rebooted() { [ "$(xl domid guest 2>/dev/null || echo "$1")" != "$1" ]; }
export -f rebooted

# The outer hypervisor takes a disk away that the guest has in use, and brings one back: after the
# guest's was detached, or before. Then dom0's driver has the new one at the old one's address.
plugged() { compgen -G "/sys/bus/pci/devices/$port/0000:??:??.?/virtio*" >/dev/null; }
unplugged() { ! compgen -G "/sys/bus/pci/devices/$port/0000:??:??.?" >/dev/null; }
export -f plugged unplugged
export port
plug() {
	rig-qmp '{"execute": "device_add", "arguments": {"driver": "virtio-blk-pci", "id": "plug", "drive": "plugged", "bus": "rootport"}}' >/dev/null
}
dom0_reads() {
	[ "$(basename "$(readlink "/sys/bus/pci/devices/$1/driver")")" = virtio-pci ] &&
		dd if="/dev/$(ls "/sys/bus/pci/devices/$1"/virtio*/block)" of=/dev/null bs=4k count=64 iflag=direct status=none
}
export -f dom0_reads
unplugs=0
unplug() {
	local other early=$((unplugs % 2))
	unplugs=$((unplugs + 1))
	detach
	rig-until 60 plugged
	other=$(basename "$(compgen -G "/sys/bus/pci/devices/$port/0000:??:??.?" | head -n 1)")
	xvshim attach guest "pci:$other" --take --timeout 120 >/dev/null
	guest there load
	rig-qmp '{"execute": "device_del", "arguments": {"id": "plug"}}' >/dev/null
	rig-until 60 unplugged
	guest fails # no request waits for ever
	[ "$(xvshim status guest "pci:$other" --json | jq '.devices[0].counters.failed')" -gt 0 ]
	if [ "$early" = 1 ]; then
		plug
		rig-until 60 dom0_reads "$other"
	fi
	xvshim detach guest "pci:$other" --timeout 60
	guest gone
	if [ "$early" = 1 ]; then
		dom0_reads "$other" || { echo "the disk that came is not dom0's any more"; exit 1; }
	else
		plug
	fi
	attach
}

rig-until 60 nothing_attached
rig-signal first 1
begin_guest
attach
for round in 1 2 3; do reattach; done # everything is warm
reboot # after the first of a guest xl itself has two watches less, and keeps to that
detach
before=$(held)
echo "before: $before"
attach
used=$(held)
echo "in use: $used"
for what in pins ports descriptors watches files; do # each of the counts counts something
	[ "$(count_of $what "$before")" -lt "$(count_of $what "$used")" ] || { echo "$what are not counted"; exit 1; }
done

kinds=(reattach unbind unload pause kill_worker "restart stop" interrupt detach_loaded unplug "restart kill" take)
declare -A count
last=$((cycles >= 80 ? 40 : cycles / 2))
for ((i = 0; i < cycles; i++)); do
	kind=${kinds[i % ${#kinds[@]}]}
	[ $((i % 50)) != 49 ] || kind=reboot
	# Its memory is compared in the life of one keeper, which ends with these.
	[ "$i" -lt $((cycles - last)) ] || [ "${kind% *}" != restart ] || kind=reattach
	[ "$i" -lt $((cycles - last)) ] || [ "$kind" != reboot ] || kind=unbind
	if [ "$i" = $((cycles - last + last / 8)) ]; then
		detach # what a worker shares with the keeper is not the keeper's own
		memory_before=$(memory)
		attach
	fi
	echo "life $i: $kind"
	$kind
	count[${kind%% *}]=$((${count[${kind%% *}]:-0} + 1))
done
detach
after=$(held)
echo "after:  $after"
echo "keeper: $memory_before KiB, $(memory) KiB $((last - last / 8)) lives later"
[ "$before" = "$after" ]
[ "$(memory)" -le $((memory_before + 128)) ]
guest end
echo "verified: $cycles lives ($(for k in "${!count[@]}"; do echo -n "$k ${count[$k]} "; done)), held afterwards what was held before"
