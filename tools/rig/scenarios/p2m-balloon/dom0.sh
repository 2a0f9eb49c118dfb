#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# 50 times down and up again. What is reached is what Xen counts, pages held by others included.
set -euo pipefail

has() { local now; now=$(xl list guest | awk 'NR == 2 { print $3 }'); [ "$now" "$1" "$2" ]; }
status() { xvshim status guest --json | jq -r ".devices[0].$1"; }
export -f has

[ "$(status addressing)" = p2m ]
rig-wait started 120
for _ in $(seq 50); do
	xl mem-set guest 400
	rig-until 60 has -le 401
	xl mem-set guest 500
	rig-until 60 has -ge 499
done
rig-signal ballooned
rig-wait verified 300
[ "$(status counters.broken)" = 0 ] || { status counters.broken_reason; exit 1; }
stale=$(status counters.p2m_stale)
[ "$stale" -gt 0 ] || { echo "no page that was held went away: nothing was tried"; exit 1; }
echo "verified: 50 times 100 MiB down and up, $stale held pages given up for it"
