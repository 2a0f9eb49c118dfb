#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Ten minutes in which workers and the domU are killed; not part of `rig test`:
#   cd tools/rig && ./rig run --dom0 scenarios/gntstress/chaos.sh --domu scenarios/gntstress/domu.sh \
#       --files scenarios/gntstress --timeout 1500 --allow 'grant_table\.c|Error mfn' --keep /tmp/chaos
set -euo pipefail

again='rig-domu destroy guest && rig-domu create guest pv --script /rig/domu.sh'
rig-wait serving 120
rig-domu expect-end guest
xvshim gntstress guest --chaos --restart "$again" --duration "${GNTSTRESS_SECONDS:-600}" --json \
	>"$RIG_SHARE/gntstress.json" || status=$?
jq 'del(.kinds)' "$RIG_SHARE/gntstress.json"
[ "${status:-0}" = 0 ] && [ "$(jq .operations "$RIG_SHARE/gntstress.json")" -ge 1000000 ]
echo "verified: ten minutes of chaos, no leak, no wrong byte"
rig-signal stop
