#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# 1, 2, 4, ... guests at work at once, each with a nested disk of its own.
#
# In the environment (rig --set): GUESTS, the numbers; PATHS, see give(); LOADS of RW,BS,DEPTH;
# ROUNDS; DURATION of a measurement in seconds.
#
# All that is counted is counted in dom0 over the same seconds, so a fio that starts or ends
# later than another changes nothing. Prints "sample: JSON" for each measurement.
set -euo pipefail
. /rig/files/paths.sh

read -ra bdfs <<<"$RIG_BDFS"
count=${#bdfs[@]}
declare -A disks
is=() # a guest's place: pause or unpause, the last that it was told

make_guests() {
	local i
	for ((i = 0; i < count; i++)); do
		rig-domu create "g$i" pv --memory 256 --script /rig/domu.sh
	done
	for ((i = 0; i < count; i++)); do
		rig-domu wait-up "g$i" 300
	done
}

# One number a guest, of the requests that were completed so far.
completed() { # PATH
	local i
	case $1 in
	xvshim*)
		xvshim status --json | jq -r '.devices | sort_by(.domid)[] | .counters.completions'
		;;
	*)
		for ((i = 0; i < count; i++)); do
			awk '{ print $1 + $5 }' "/sys/block/${own[i]#/dev/}/stat"
		done
		;;
	esac
}

all_at_work() { # PATH FIRST END: each of these guests completes requests
	local now i
	mapfile -t now < <(completed "$1")
	for ((i = $2; i < $3; i++)); do
		[ "${now[i]}" -gt $((start[i] + 50)) ] || return 1
	done
}

await_all() { # PATH FIRST END: a function cannot be told to rig-until
	local until=$((SECONDS + 120))
	until all_at_work "$1" "$2" "$3"; do
		[ "$SECONDS" -lt "$until" ] || { echo "not all guests from $2 to $3 are at work"; return 1; }
	done
}

# The others stand still, and what runs in a guest is started once: eight fio that start at once, or
# scripts in eight guests that are told something, take minutes on two processors.
only() { # FIRST END: of the guests, these run
	local i want
	for ((i = 0; i < count; i++)); do
		want=pause
		[ "$i" -lt "$1" ] || [ "$i" -ge "$2" ] || want=unpause
		[ "${is[i]:-unpause}" = "$want" ] || xl "$want" "g$i"
		is[i]=$want
	done
}

begin_load() { # PATH LOAD: in one guest after the other
	local i
	for ((i = 0; i < count; i++)); do
		only "$i" $((i + 1))
		mapfile -t start < <(completed "$1")
		job "g$i" busy "${disks[g$i]}" "$2"
		await_all "$1" "$i" $((i + 1))
	done
}

end_load() {
	local i
	for ((i = 0; i < count; i++)); do
		only "$i" $((i + 1))
		stop "g$i"
		result "g$i" >/dev/null
	done
	only 0 "$count"
}

# The same for all, which is Xen's default, while it is measured. In between dom0 comes first, or this
# script waits with eight guests for its turn, for minutes. It is no way to measure: dom0's processor a
# request then goes up with the number of guests.
weight() { xl sched-credit2 -d 0 -w "$1"; }
first=4096 equal=256

measure() { # ROUND PATH N LOAD
	local begun ended busy before after
	only 0 "$3"
	mapfile -t start < <(completed "$2")
	await_all "$2" 0 "$3"
	begun=$EPOCHREALTIME
	before=$(completed "$2")
	weight $equal
	busy=$(xentop -b -d "$DURATION" -i 2 | awk '$1 == "Domain-0" { busy = $4 } END { print busy }')
	weight $first
	ended=$EPOCHREALTIME
	after=$(completed "$2" | jq -sc .)
	before=$(jq -sc . <<<"$before")
	sample -n --argjson round "$1" --arg path "$2" --argjson guests "$3" --arg load "$4" \
		--argjson busy "$busy" --argjson before "$before" --argjson after "$after" \
		--argjson seconds "$(jq -n "$ended - $begun")" \
		'[range($guests) | ($after[.] - $before[.]) / $seconds] as $each | ($each | add) as $iops |
		{round: $round, path: $path, guests: $guests, load: $load, iops: $iops, each: $each,
		dom0_busy: $busy, dom0_us: ($busy * 10000 / $iops)}'
}

weight $first
make_guests
for ((i = 0; i < count; i++)); do
	own[i]=$(own_disk "${bdfs[i]}")
	dd if=/dev/urandom of="${own[i]}" bs=1M oflag=direct status=none count=$((DISK_MIB))
done
# A ratio is one of numbers of guests, so these take turns within a path.
for path in $PATHS; do
	for ((i = 0; i < count; i++)); do
		disks[g$i]=$(give "$path" "g$i" "${bdfs[i]}")
	done
	memory "$path"
	for load in $LOADS; do
		begin_load "$path" "$load"
		for round in $(seq "$ROUNDS"); do
			for n in $GUESTS; do
				measure "$round" "$path" "$n" "$load"
			done
		done
		end_load
	done
	for ((i = 0; i < count; i++)); do
		take_back "$path" "g$i" "${bdfs[i]}"
	done
done
for ((i = 0; i < count; i++)); do
	job "g$i" end
done
for ((i = 0; i < count; i++)); do
	rig-domu shutdown "g$i" 120
done
jq -rs 'def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
	[.[] | select(.iops)] | group_by([.path, .guests])[] | "figure: \(.[0].path), \(.[0].guests) guests: " +
	"\(map(.iops) | median | floor) IOPS, dom0 \(map(.dom0_us) | median | floor) us a request, " +
	"fastest / slowest \(map((.each | max) / (.each | min)) | median * 100 | floor / 100)"' "$samples"
