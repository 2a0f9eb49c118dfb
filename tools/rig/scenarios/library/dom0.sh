#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The example fills its buffer with aa before the device is told of it, so what it prints comes from
# the device: chance from one, and from the other exactly the bytes that the host gave it.
set -euo pipefail

read -r chance zeroes <<<"$RIG_BDFS"
in=/usr/libexec/xvshim
before=$(rig-grants 0)
"$in/library_probe" "$chance"

first=$("$in/virtio_rng" "$chance")
second=$("$in/virtio_rng" "$chance")
known=$("$in/virtio_rng" "$zeroes")
printf '%s\n' "$first" "$second" "$known"
for line in "$first" "$second" "$known"; do
	[[ $line =~ ^32\ bytes\ at\ machine\ address\ 0x[0-9a-f]+:(\ [0-9a-f]{2}){32}$ ]]
	[[ $line != *' aa aa aa aa'* ]]
done
[ "${first#*: }" != "${second#*: }" ]
[[ ${known#*: } =~ ^(00\ ?){32}$ ]]

for bdf in "$chance" "$zeroes"; do
	driver=$(basename "$(readlink /sys/bus/pci/devices/"$bdf"/driver)")
	[ "$driver" = virtio-pci ] || { echo "$bdf: driver $driver"; exit 1; }
done
after=$(rig-grants 0)
[ "$before" = "$after" ] || { echo "dom0's own entries in use: before $before, after $after"; exit 1; }
echo "verified: a program of less than 100 lines reads nested virtio-rng devices by machine addresses"
