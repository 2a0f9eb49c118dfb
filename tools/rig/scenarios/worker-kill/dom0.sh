#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

status() { xvshim status guest --json | jq -r ".devices[0].$1"; }

rig-wait started 120
for round in 1 2 3 4; do
	before=$(status counters.chains)
	moved() { [ "$(status counters.chains)" -gt $((before + 40)) ]; }
	rig-until 60 moved
	epoch=$(status epoch)
	kill -KILL "$(status worker)"
	taken_over() { [ "$(status epoch)" -gt "$epoch" ] && [ "$(status state)" = connected ]; }
	rig-until 20 taken_over
	echo "worker killed, epoch $(status epoch), $(status counters.resumed) chains submitted again so far"
done
rig-signal killed
rig-wait verified 400
[ "$(status restarts)" -ge 4 ] && [ "$(status counters.broken)" = 0 ]
[ "$(status counters.leaked_handles)" = 0 ]
[ "$(status counters.resumed)" -gt 0 ] || { echo "nothing was in flight at any kill"; exit 1; }
echo "verified: four kills, $(status counters.resumed) chains submitted again, none lost"
