#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The stress test against the domU: undisturbed, then with its parts killed, then loopback.
set -euo pipefail

out=$RIG_SHARE/gntstress
field() { jq -r ".$2" "$out-$1.json"; }
report() {
	echo "figure: gntstress $1: $(field "$1" operations) operations in $(field "$1" seconds) s"
	jq -r '.kinds | to_entries[] | "  \(.key): \(.value.rounds) batches, \(.value.operations) operations, p50 \(.value.p50_ns) ns, p99 \(.value.p99_ns) ns"' "$out-$1.json"
	[ "$(field "$1" passed)" = true ]
}

rig-wait serving 120
xvshim gntstress guest --duration 15 --json >"$out-quiet.json"
report quiet

xvshim gntstress guest --chaos --duration 20 --seed 2 --json >"$out-chaos.json"
report chaos
echo "verified: $(field chaos kills) workers killed, $(field chaos pages_recovered) pages given back by the journal, no leak by Xen's count, no wrong byte"

# The keeper itself: what it left is found and given back by the next run.
pins() { set -- $(rig-grants "$(xl domid guest)") && echo "$2"; }
before=$(pins)
xvshim gntstress guest --duration 60 --mix devmap=1 --json >/dev/null &
sleep 5
kill -9 $!
wait $! || true
xvshim gntstress guest --ops 1000 | grep 'an earlier run was killed'
[ "$(pins)" = "$before" ]
echo "verified: keeper killed with SIGKILL, its pages given back by the next run"

xvshim gntstress --duration 5 --json >"$out-loopback.json"
report loopback
rig-signal stop
