#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

coproc PROBE { exec /usr/libexec/xvshim/xen_probe pattern:64; }
pid=$PROBE_PID
read -r pfns <&"${PROBE[0]}"
rig-signal pfns "$pfns"
rig-wait read 120
echo >&"${PROBE[1]}"
wait "$pid" || { echo "dom0's mark is not in the page"; exit 1; }
