#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -uo pipefail

read -r first second network balloon <<<"$RIG_BDFS"
failures=0

# The whole of what an attach could change.
snapshot() {
	xenstore-ls -f /local/domain/0/backend/virtio-xenbus 2>/dev/null | grep -v '= ""$'
	xenstore-ls -f "/local/domain/$(xl domid guest)/device/virtio-xenbus" 2>/dev/null | grep -v '= ""$'
	for bdf in $RIG_BDFS; do
		echo "$bdf $(readlink "/sys/bus/pci/devices/$bdf/driver") $(cat "/sys/bus/pci/devices/$bdf/driver_override")"
	done
	find /run/xvshim -mindepth 1 -printf '%p %s\n' 2>/dev/null | sort
}

# refused PATTERN COMMAND...
refused() {
	local pattern=$1 out status before after
	shift
	before=$(snapshot)
	out=$("$@" 2>&1)
	status=$?
	after=$(snapshot)
	if [ "$status" = 0 ] || [ "$(echo "$out" | wc -l)" != 1 ] || ! echo "$out" | grep -q "$pattern"; then
		echo "FAIL: $*: status $status: $out"
		failures=$((failures + 1))
	elif [ "$before" != "$after" ]; then
		echo "FAIL: $*: something changed:"
		diff <(echo "$before") <(echo "$after")
		failures=$((failures + 1))
	else
		echo "status $status: $out"
	fi
}

refused 'no.*device\|not exist\|not there' xvshim attach guest pci:0000:77:00.0
refused 'not a PCI address\|not an address\|SSSS:BB:DD.F' xvshim attach guest pci:nonsense
refused 'not a source\|source' xvshim attach guest "$first"
refused 'not.*virtio' xvshim attach guest "pci:$network"
refused 'balloon' xvshim attach guest "pci:$balloon" --take
refused 'virtio-pci.*--take\|held by' xvshim attach guest "pci:$first"
refused "no.*domain\|no such domain" xvshim attach nobody "pci:$first" --take
refused "no.*domain\|no such domain" xvshim attach 4711 "pci:$first" --take
refused 'the one that xvshimd runs in' xvshim attach 0 "pci:$first" --take

disk=/dev/$(basename /sys/bus/pci/devices/"$second"/virtio*/block/*)
mkfs.ext4 -q -F "$disk" && mkdir -p /tmp/mnt && mount "$disk" /tmp/mnt
refused 'mounted\|in use' xvshim attach guest "pci:$second" --take
umount /tmp/mnt

rmmod uio_pci_generic
refused 'modprobe uio_pci_generic' xvshim attach guest "pci:$first" --take
modprobe uio_pci_generic

xvshim attach guest "pci:$first" --take || failures=$((failures + 1))
refused 'already' xvshim attach guest "pci:$first" --take
refused 'not attached\|no such\|has no' xvshim detach guest "pci:$second"
xvshim detach guest "pci:$first" || failures=$((failures + 1))
refused 'not attached\|no such\|has no' xvshim detach guest "pci:$first"

# Another program may drive it by UIO, which does not show.
echo uio_pci_generic >"/sys/bus/pci/devices/$second/driver_override"
echo "$second" >"/sys/bus/pci/devices/$second/driver/unbind"
echo "$second" >/sys/bus/pci/drivers_probe
refused 'held by uio_pci_generic.*--take' xvshim attach guest "pci:$second"
before=$(snapshot)
xvshim attach guest "pci:$second" --take && xvshim detach guest "pci:$second" || failures=$((failures + 1))
[ "$before" = "$(snapshot)" ] || { echo "FAIL: left otherwise"; failures=$((failures + 1)); }

# A guest that lacks the module.
rig-signal unload
rig-wait unloaded 60
refused 'modprobe xvshim_front' xvshim attach guest "pci:$first" --take --timeout 3
rig-signal load

rig-xvshimd stop
refused 'xvshimd' xvshim attach guest "pci:$first" --take
refused 'xvshimd' xvshim list
rig-xvshimd start

[ "$failures" = 0 ] && echo "verified: every bad argument gets one line and changes nothing"
exit "$failures"
