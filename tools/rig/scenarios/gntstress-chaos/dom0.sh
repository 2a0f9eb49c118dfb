#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Workers, keepers and the domU itself are killed at random moments; Xen's own count decides.
set -euo pipefail

out=$RIG_SHARE/gntstress
. "$RIG_FILES/report.sh"

# All operations but those on the handle table, which every back end of dom0 shares.
mix=default,frames=1
again='rig-domu create guest pv --script /rig/domu.sh && rig-domu expect-end guest'
seed=$EPOCHSECONDS

rig-wait serving 120
rig-domu expect-end guest
echo "seed $seed"
xvshim gntstress guest --chaos --restart "$again" --duration 660 --seed "$seed" \
	--mix "$mix" --json >"$out-chaos.json" || true
report chaos || {
	# Who has what of a domain that does not go.
	{ xl list; ps -eo pid,ppid,stat,args; xl debug-keys gq; sleep 2; xl dmesg; } >"$out-chaos.xen"
	grep -A12 'dying=[12]' "$out-chaos.xen" | tail -30
	exit 1
}
[ "$(field chaos operations)" -ge 1000000 ]
[ "$(field chaos peer_kills)" -ge 1 ]
echo "verified: $(field chaos seconds) s of chaos, $(field chaos operations) operations, $(field chaos kills) workers and $(field chaos peer_kills) domUs killed, $(field chaos pages_recovered) pages given back by the journal, no leak by Xen's count, no wrong byte"

# Keepers, each at a moment of its own from its start to the middle of its work.
rounds=8
for ((i = 1; i <= rounds; i++)); do
	timeout -s KILL "$((RANDOM % 6)).$((1 + RANDOM % 9))" \
		xvshim gntstress guest --chaos --mix "$mix" --seed "$i" --json >/dev/null || true
done
xvshim gntstress guest --ops 20000 --json >"$out-after.json"
report after
echo "verified: $rounds keepers killed, the next run begins with $(jq .before.handles "$out-after.json") device maps and ends with $(jq .after.handles "$out-after.json")"
[ "$(field after before.handles)" = 0 ]
[ "$(field after after.handles)" = 0 ]
rig-signal stop
rig-domu wait-done guest 60
