#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What `systemctl restart` does: SIGTERM, an end with status 0, another exec. The last time SIGKILL.
set -euo pipefail

status() { xvshim status guest --json | jq -r ".devices[0].$1"; }
moved() { [ "$(status counters.chains)" -gt $((before + 40)) ]; }
taken_over() { [ "$(status epoch)" -gt "$epoch" ] && [ "$(status state)" = connected ]; }
export -f status moved taken_over # for rig-until
export before epoch

rig-wait started 120
rig-throttle 0 50 # fewer than any guest asks for, so the queue stays full
for how in stop stop stop stop kill; do
	before=$(status counters.chains)
	rig-until 60 moved
	epoch=$(status epoch)
	begun=$(date +%s%N)
	rig-xvshimd "$how"
	rig-xvshimd start
	rig-until 20 taken_over
	before=$(status counters.chains)
	rig-until 60 moved # and goes on
	echo "$how and start: epoch $(status epoch), served again and 40 chains after $((($(date +%s%N) - begun) / 1000000)) ms"
done
rig-throttle 0 0
rig-signal killed
rig-wait verified 400
[ "$(status counters.broken)" = 0 ] && [ "$(status counters.leaked_handles)" = 0 ]
echo "verified: daemon restarted four times and killed once, $(status counters.resumed) chains submitted again, none lost"
