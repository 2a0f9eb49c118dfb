#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

status() { xvshim status guest --json | jq -r ".devices[0].$1"; }
moved() { [ "$(status counters.chains)" -gt $((before + 40)) ]; }
taken_over() { [ "$(status epoch)" -gt "$epoch" ] && [ "$(status state)" = connected ]; }
export -f status moved taken_over # for rig-until
export before epoch

rig-wait started 120
rig-throttle 0 50 # fewer than any guest asks for, so the queue stays full
for round in 1 2 3 4; do
	before=$(status counters.chains)
	rig-until 60 moved
	epoch=$(status epoch)
	resumed=$(status counters.resumed)
	kill -KILL "$(status worker)"
	rig-until 20 taken_over
	resumed=$(($(status counters.resumed) - resumed))
	echo "worker killed, epoch $(status epoch): $resumed chains submitted again"
	[ "$resumed" -gt 0 ] || { echo "nothing was in flight"; exit 1; }
done
rig-throttle 0 0
rig-signal killed
rig-wait verified 400
[ "$(status restarts)" -ge 4 ] && [ "$(status counters.broken)" = 0 ]
[ "$(status counters.leaked_handles)" = 0 ]
echo "verified: four kills, $(status counters.resumed) chains submitted again, none lost"
