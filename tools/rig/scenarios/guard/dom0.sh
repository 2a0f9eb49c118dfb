#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Xen drives an IOMMU, the firmware claims that it covers the disk, and so the toolstack and Xen let a
# guest have it; but the disk bypasses it. First the guard only warns, and the guest has the disk;
# then the guard is to enforce.
set -euo pipefail

bdf=${RIG_BDFS%% *}
log=/share/xvshimd.log
fails() { ! "$@"; } # unlike a bare !, it ends the script
holder() {
	local link
	link=$(readlink "/sys/bus/pci/devices/$bdf/driver") && basename "$link" || echo none
}
says() { tail -n +"$((from + 1))" "$log" | grep "guard: $bdf.*$1"; }
mark() { from=$(wc -l <"$log"); }
held_by() { [ "$(holder)" = "$1" ]; }
command_register() { od -An -tx2 -j4 -N2 "/sys/bus/pci/devices/$bdf/config" | tr -d ' '; }
back_to_dom0() {
	held_by virtio-pci || echo "$bdf" >/sys/bus/pci/drivers/virtio-pci/bind
	udevadm settle
	dd if=/dev/"$(basename /sys/bus/pci/devices/"$bdf"/virtio*/block/*)" bs=64k count=16 \
		iflag=direct of=/dev/null status=none
}
# To pciback by hand: what xl pci-assignable-add does, without the quarantine at its end, which may
# find the device gone.
to_pciback() {
	held_by none || echo "$bdf" >"/sys/bus/pci/devices/$bdf/driver/unbind"
	echo "$bdf" >/sys/bus/pci/drivers/pciback/new_slot
	echo "$bdf" >/sys/bus/pci/drivers/pciback/bind
}
from_pciback() {
	echo "$bdf" >/sys/bus/pci/drivers/pciback/unbind
	echo "$bdf" >/sys/bus/pci/drivers/pciback/remove_slot
}

# give NAME: a new guest gets the device, in its configuration or, where the toolstack does not
# take it there, once it runs. What worked the first time has to be what is refused later.
way=
give() {
	if [ "$way" != attach ] && rig-domu create "$1" pv --config "pci = [ '$bdf' ]"; then
		way=config
		rig-domu wait-up "$1" 240
		return
	fi
	[ "$way" != config ] || return 1
	if [ -z "$way" ] || ! xl domid "$1" >/dev/null 2>&1; then
		rig-domu create "$1" pv
		rig-domu wait-up "$1" 240
	fi
	timeout 60 xl pci-attach "$1" "$bdf" || return 1
	way=attach
}
export -f says held_by holder
export bdf log from

# The hook that a toolstack could ask says no, and what it says is what the guard goes by.
fails xvshim probe --assignable "$bdf"
modprobe xen-pciback

mark
to_pciback
xl pci-assignable-list | grep "${bdf#0000:}"
rig-until 10 says 'is ready to be assigned, which is not safe: bit 33 is not offered'
held_by pciback
fails xvshim doctor >"$RIG_SHARE/doctor.txt"
grep -A1 "WRONG.*$bdf" "$RIG_SHARE/doctor.txt"
give first
echo "the guest has it by: $way"
rig-until 10 says "is assigned to domain 'first', which is not safe"
xl pci-list first | grep "${bdf#0000:}"
echo "verified: guard = warn: named at pciback and in the guest, and left there"
rig-domu shutdown first
from_pciback
back_to_dom0

rig-xvshimd stop
mark
rig-xvshimd start --guard enforce
begun=$(date +%s%N)
to_pciback
rig-until 10 held_by none
says 'taken from pciback'
echo "figure: guard: taken from pciback $((($(date +%s%N) - begun) / 1000000)) ms after it was sent there, at most"
xl pci-assignable-list >"$RIG_SHARE/assignable-list"
fails grep "${bdf#0000:}" "$RIG_SHARE/assignable-list"
if give refused >"$RIG_SHARE/refused.txt" 2>&1; then
	echo "a guest got the device"
	exit 1
fi
grep -m1 "${bdf#0000:}" "$RIG_SHARE/refused.txt" || tail -n 3 "$RIG_SHARE/refused.txt"
! xl domid refused >/dev/null 2>&1 || rig-domu shutdown refused
back_to_dom0
echo "verified: guard = enforce: the device does not stay assignable, and xl refuses the guest"

# Assigned while no daemon ran: taken when it starts, from a guest that runs.
rig-xvshimd stop
to_pciback
give second
mark
rig-xvshimd start --guard enforce
rig-until 10 says 'taken from pciback and from the guest'
held_by none
[ "$(command_register)" = 0000 ]
xl list second
xl list second | awk 'NR == 2 && $5 ~ /p/ { exit 1 }' # it runs on, without the device
echo "verified: taken from a guest that had it: no memory decoding, no bus mastering, no driver"
rig-domu shutdown second
back_to_dom0
