#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# probe and doctor on this machine, against what the scenario's file "expect" says of it: lines of
# ADDRESS, a tab and a jq expression about the device; "machine" about the machine itself.
set -euo pipefail

fails() { ! "$@"; } # unlike a bare !, it ends the script

xvshim probe | tee "$RIG_SHARE/probe.txt"
xvshim probe --json >"$RIG_SHARE/probe.json"
wrong=0 checked=0
while IFS=$'\t' read -r address expression; do
	[ -n "$expression" ] || continue
	if [ "$address" = machine ]; then
		part=.machine
	else
		part=".devices[] | select(.address == \"$address\")"
	fi
	checked=$((checked + 1))
	jq -e "$part | $expression" "$RIG_SHARE/probe.json" >/dev/null || {
		echo "not so: $address: $expression"
		wrong=1
	}
done </rig/files/expect
[ "$wrong" = 0 ]
echo "verified: $checked facts and decisions of $(jq '.devices | length' "$RIG_SHARE/probe.json") devices"

# The hook for a toolstack says the same by its exit status, with and without the segment.
while read -r address assignable; do
	status=0
	xvshim probe --assignable "${address#0000:}" >>"$RIG_SHARE/assignable.txt" || status=$?
	[ "$status" = "$([ "$assignable" = true ] && echo 0 || echo 1)" ]
	xvshim probe --explain "$address" >>"$RIG_SHARE/explain.txt"
done < <(jq -r '.devices[] | "\(.address) \(.decision.assignable)"' "$RIG_SHARE/probe.json")
grep 'serve or not' "$RIG_SHARE/explain.txt"

# Registers of a device: without a driver both halves, under UIO the half that was selected last.
bdf=${RIG_BDFS%% *}
features() { xvshim probe --explain "$1" --json | jq -r '"\(.features_from) \(.features_known) \(.features)"'; }
driver=$(features "$bdf")
echo "$bdf" >/sys/bus/pci/drivers/virtio-pci/unbind
free=$(features "$bdf")
[ "${free% *}" = "registers 0xffffffffffffffff" ] || { echo "without a driver: $free"; exit 1; }
# The driver took a part of what the device offers, and shows its transport's bits unchanged.
offered=${free##* } agreed=${driver##* }
[ $((agreed & ~offered)) = 0 ] && [ $((agreed >> 32 & 0x13)) = $((offered >> 32 & 0x13)) ]
echo uio_pci_generic >"/sys/bus/pci/devices/$bdf/driver_override"
echo "$bdf" >/sys/bus/pci/drivers/uio_pci_generic/bind
held=$(features "$bdf")
[ "${held% *}" = "registers 0xffffffff00000000" ] || { echo "under UIO: $held"; exit 1; }
[ $((${held##* } >> 32)) = $((offered >> 32)) ]
echo "$bdf" >/sys/bus/pci/drivers/uio_pci_generic/unbind
echo >"/sys/bus/pci/devices/$bdf/driver_override"
echo "$bdf" >/sys/bus/pci/drivers/virtio-pci/bind
udevadm settle
dd if=/dev/"$(basename /sys/bus/pci/devices/"$bdf"/virtio*/block/*)" bs=64k count=16 iflag=direct \
	of=/dev/null status=none
echo "verified: features from the driver ($driver), from registers ($free), under UIO ($held)"

# As a person without privilege.
setpriv --reuid=65534 --regid=65534 --clear-groups xvshim probe >"$RIG_SHARE/unprivileged.txt"
grep 'needs root' "$RIG_SHARE/unprivileged.txt"

status=0
xvshim doctor | tee "$RIG_SHARE/doctor.txt" || status=$?
[ "$status" = "$(cat /rig/files/doctor 2>/dev/null || echo 0)" ]
rmmod uio_pci_generic
fails xvshim doctor >"$RIG_SHARE/doctor-sick.txt"
grep -A1 'WRONG.*uio_pci_generic' "$RIG_SHARE/doctor-sick.txt"
modprobe uio_pci_generic
echo "verified: the doctor names a missing module and the command that mends it"
