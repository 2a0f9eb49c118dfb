#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The stress test against the domU: undisturbed, then with its parts killed, then loopback.
# blkback without persistent grants: else the domU's disk adds to what Xen counts as in use.
set -euo pipefail

out=$RIG_SHARE/gntstress
. "$RIG_FILES/report.sh"

rig-wait serving 120
xl dmesg -c >/dev/null
xvshim gntstress guest --duration 10 --json >"$out-quiet.json"
report quiet

# The one line of Xen's that the scenario allows: hostmap-ro tries one write a batch through a
# read-only mapping, Xen's handler of the fault looks whether the page is dom0's own, and notes
# that it is not.
notes=$(xl dmesg | grep -c 'Error mfn .*: rd=d0 od=d' || true)
tries=$(field quiet 'kinds["hostmap-ro"].rounds // 0')
[ "$notes" = "$tries" ] || { echo "$notes notes 'Error mfn' for $tries tries to write"; exit 1; }
echo "verified: $notes notes 'Error mfn' in Xen's log, one for each write refused, no other"

xvshim gntstress guest --chaos --duration 15 --seed 2 --mix default,frames=1 --json >"$out-chaos.json"
report chaos
echo "verified: $(field chaos kills) workers killed, $(field chaos pages_recovered) pages given back by the journal, no leak by Xen's count, no wrong byte"

# The keeper itself, at a moment when pages are mapped for certain: its worker is stopped until
# Xen's own count shows some, and dies with the keeper.
guest=$(xl domid guest)
pins() {
	local count
	count=$(rig-grants "$guest") && echo "${count#* }"
}
stopped_with_pages() {
	worker=$(pgrep -P "$keeper" -x xvshim) && kill -STOP "$worker" || return 1
	held=$(pins)
	[ "$held" -le "$before" ] || return 0
	kill -CONT "$worker"
	return 1
}
before=$(pins)
xvshim gntstress guest --duration 100 --mix devmap=1 --batch 256 --json >/dev/null &
keeper=$!
limit=$((SECONDS + 60))
until stopped_with_pages; do
	[ "$SECONDS" -lt "$limit" ] || { echo "no pages seen mapped in 60 s"; exit 1; }
done
kill -9 "$keeper"
wait "$keeper" || true
xvshim gntstress guest --ops 1000 >"$out-after.txt"
grep 'an earlier run was killed' "$out-after.txt"
[ "$(pins)" = "$before" ]
echo "verified: keeper killed with SIGKILL, its $((held - before)) pages given back by the next run"

xvshim gntstress --duration 5 --json >"$out-loopback.json"
report loopback
rig-signal stop
