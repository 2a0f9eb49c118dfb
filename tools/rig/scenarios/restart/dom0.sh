#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The worker gets SIGKILL four times. Then what `systemctl restart` does, four times: SIGTERM, an
# end with status 0, another exec. The last time the daemon gets SIGKILL.
set -euo pipefail

status() { xvshim status guest --json | jq -r ".devices[0].$1"; }
moved() { [ "$(status counters.chains)" -gt $((before + 40)) ]; }
taken_over() { [ "$(status epoch)" -gt "$epoch" ] && [ "$(status state)" = connected ]; }
export -f status moved taken_over # for rig-until
export before epoch

# next_round: something is served, so something is in flight; what begins now is the next epoch.
next_round() {
	before=$(status counters.chains)
	rig-until 60 moved
	epoch=$(status epoch)
}

kill_worker() {
	local resumed
	next_round
	resumed=$(status counters.resumed)
	kill -KILL "$(status worker)"
	rig-until 20 taken_over
	resumed=$(($(status counters.resumed) - resumed))
	echo "worker killed, epoch $(status epoch): $resumed chains submitted again"
	[ "$resumed" -gt 0 ] || { echo "nothing was in flight"; exit 1; }
}

# restart_daemon HOW: stop or kill.
restart_daemon() {
	local begun
	next_round
	begun=$(date +%s%N)
	rig-xvshimd "$1"
	rig-xvshimd start
	rig-until 20 taken_over
	before=$(status counters.chains)
	rig-until 60 moved # and goes on
	echo "$1 and start: epoch $(status epoch), served again and 40 chains after $((($(date +%s%N) - begun) / 1000000)) ms"
}

rig-wait started 120
user=$(ps -o euser= -p "$(status worker)")
[ "$user" = xvshim ] || { echo "the worker runs as $user"; exit 1; }
rig-throttle 0 50 # fewer than any guest asks for, so the queue stays full
for _ in 1 2 3 4; do
	kill_worker
done
[ "$(status restarts)" -ge 4 ]
for how in stop stop stop stop kill; do
	restart_daemon "$how"
done
rig-throttle 0 0
rig-signal killed
rig-wait verified 400
[ "$(status counters.broken)" = 0 ] && [ "$(status counters.leaked_handles)" = 0 ]
resumed=$(status counters.resumed)

# What a guest writes into nodes of its own must not keep a daemon from starting.
rig-signal spoil
rig-wait spoilt 60
xenstore-read "/local/domain/$(xl domid guest)/device/virtio-xenbus/0/backend" | grep -F '\0' ||
	{ echo "the guest's node holds no NUL"; exit 1; }
epoch=$(status epoch)
rig-xvshimd stop
rig-xvshimd start
rig-until 20 taken_over
rig-signal read-again
rig-wait read 60
echo "verified: worker killed four times, daemon restarted four times and killed once, $resumed chains submitted again, none lost"
echo "verified: served again after a restart with a NUL in the guest's own node"
