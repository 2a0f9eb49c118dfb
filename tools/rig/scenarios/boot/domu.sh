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
