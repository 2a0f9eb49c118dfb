#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

bdf=${RIG_BDFS%% *}
before=$(rig-grants 0)
dd if=/dev/urandom of=/dev/"$(basename /sys/bus/pci/devices/"$bdf"/virtio*/block/*)" bs=1M count=1 \
	oflag=direct status=none
/usr/libexec/xvshim/xen_probe "pci:$bdf"
after=$(rig-grants 0)
[ "$before" = "$after" ] || { echo "dom0's own entries in use: before $before, after $after"; exit 1; }
echo "verified: the seam on the real Xen, no grant left in use"
