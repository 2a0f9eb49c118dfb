#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

[ "$RIG_SIDE" = domu ]
rig-signal question "what is the answer?"
answer=$(rig-wait answer 60)
echo "dom0 says: $answer"
[ "$answer" = 42 ]
for tool in fio mkfs.ext4 mkfs.xfs sha256sum; do
	command -v "$tool"
done

modprobe xenfs
mount -t xenfs xenfs /proc/xen
[ "$(xvshim probe --json | jq -r .machine.host)" = domU ]
if doctor=$(xvshim doctor); then
	echo "the doctor finds nothing wrong in a domU"
	exit 1
fi
echo "$doctor"
grep -q '^WRONG  host' <<<"$doctor"
echo "verified: probe and doctor know a domU"
