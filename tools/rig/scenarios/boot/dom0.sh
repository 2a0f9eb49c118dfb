#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The two sides meet, a second domU comes and goes, and the helpers fail where they should.
set -euo pipefail

[ "$RIG_SIDE" = dom0 ]
answer=$(rig-wait question 60)
echo "the domU asks: $answer"
rig-signal answer 42

echo "a signal that never comes is an error"
if rig-wait never 1; then
	exit 1
fi

rig-domu create second pv --memory 256 --script /rig/files/second.sh
rig-domu wait-up second
rig-domu wait-done second
echo "the second domU's script passed"
rig-domu destroy second
xl list
