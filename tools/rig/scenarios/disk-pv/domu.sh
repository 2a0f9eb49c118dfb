#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Uses the disk as a guest would, then tells dom0 the checksum of all of it.
set -euo pipefail

# Another scenario may bring the disk under another name.
disk=/dev/vda
driver=virtio_blk
[ ! -e /rig/files/disk ] || read -r disk driver </rig/files/disk

rig-verify-disk "$disk" "$driver" 256M wrote
rig-signal sum "$(sha256sum <"$disk")"
