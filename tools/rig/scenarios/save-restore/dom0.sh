#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The toolstack knows nothing of our devices. The guest's module does: it resets its device before
# the domain is saved, and begins anew where there is a back end when it is restored.
set -euo pipefail

bdf=${RIG_BDFS%% *} file=$RIG_SHARE/saved number=0
trap 'rm -f "$file"' EXIT
mkfifo /run/rig/pipe

ask() {
	number=$((number + 1))
	rig-signal "do-$number" "$1"
	answer=$(rig-wait "did-$number" 60)
}
guest() {
	ask "$1"
	[ "$answer" = yes ] || { echo "guest, $1: no"; return 1; }
}
attach() { xvshim attach guest "pci:$bdf" --take --timeout 60 >/dev/null && guest there; }
free() { [ "$(xvshim list --json | jq length)" = 0 ] && [ -z "$(xenstore-list /local/domain/0/backend/virtio-xenbus)" ]; }
connected() { [ "$(xvshim status guest --json | jq -r '.devices[0].state')" = connected ]; }
waiting() { [ "$(xvshim status guest --json | jq -r '.devices[0].state')" = waiting ]; }
export -f free connected waiting # for rig-until
released() {
	rig-until 10 free || { xvshim list && return 1; }
	[ -z "$(find /run/xvshim /var/run/xvshim -name 'dev-*' 2>/dev/null)" ]
	[ "$(basename "$(readlink "/sys/bus/pci/devices/$bdf/driver")")" = virtio-pci ]
}
# xl writes pages of the guest, which 9p does not take from where they are.
write_out() {
	local status=0
	timeout 130 cat /run/rig/pipe >"$file" &
	timeout 120 xl save "$@" guest /run/rig/pipe >/run/rig/save 2>&1 || status=$?
	wait $!
	[ "$status" = 0 ] || cat /run/rig/save
	return "$status"
}
save() { # and the domain is gone
	rig-domu expect-end guest
	write_out
	rig-domu wait-gone guest 20
}
restore() {
	timeout 120 xl restore "$@" "$file" >/run/rig/restore 2>&1 || { cat /run/rig/restore; return 1; }
}

# 1. As it should be.
attach
guest write
xvshim detach guest "pci:$bdf"
guest gone
save
released
restore
guest here
attach
guest compare
guest write
echo "verified: detached, saved, restored, attached again: what was written before is read after"

# 2. The domain is saved and goes on; it does not matter that the device is attached.
guest load
write_out -c
rig-until 20 connected
guest idle
guest compare
[ "$(xvshim status guest --json | jq '.devices[0].counters.leaked_handles')" = 0 ]
echo "verified: saved with -c under I/O, still attached: goes on, each block verified"

# 3. Saved with the device attached; restored where there is one again.
guest load
save
released
echo "verified: saved with the device attached and in use: reset, released, back with dom0's driver"
restore -p
xvshim attach guest "pci:$bdf" --take --timeout 90 >/dev/null &
attaching=$!
rig-until 20 waiting
xl unpause guest
wait "$attaching"
guest idle
guest compare
echo "verified: restored paused, attached, unpaused: the disk is back, no I/O failed, each block verified"

# 4. Restored where there is none. What was held up fails, and the disk goes: nobody waits for ever.
guest load
save
released
restore
ask idle
[ "$answer" = no ] || { echo "guest, idle: $answer, without a disk"; exit 1; }
guest gone
grep 'nobody has attached the device again' /share/console/guest-guest.log
attach
guest compare
guest load
guest idle
echo "verified: restored without it: I/O fails and the disk goes, with a line in the guest's log; attached later it is back, with its data"

# 5. Restored where another one waits for it. The driver is not set to work on what it does not know.
guest load
save
released
restore -p
xvshim attach guest "pci:$bdf" --take --protection pool --timeout 60 >/run/rig/attach 2>&1 &
attaching=$!
rig-until 20 waiting
xl unpause guest
ask idle
[ "$answer" = no ] || { echo "guest, idle: $answer, with another disk"; exit 1; }
! wait "$attaching" || { echo "attached"; exit 1; }
grep 'nothing usable in the back end.*for the device that was saved' /run/rig/attach
guest gone
grep 'nothing usable in the back end.*for the device that was saved' /share/console/guest-guest.log
rig-until 10 free
attach
guest compare
echo "verified: restored with one that offers other protections: I/O fails and the disk goes, with a line in the guest's log; attached as it was it is back, with its data"
rig-signal "do-$((number + 1))" end
