#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The same loads on one nested disk by several paths in turn, so that nothing else differs.
#
# In the environment (rig --set): PATHS, see give(); LOADS of RW,BS,DEPTH; ROUNDS; DURATION of a
# measurement in seconds; COUNTED, requests of a load whose hypercalls Xen traces, 0 for none.
#
# Prints "sample: JSON" for each measurement, "figure: ..." of the medians at the end.
set -euo pipefail
. /rig/files/paths.sh

bdf=${RIG_BDFS%% *}
traces=0

# Percent of a processor that dom0 had in two seconds of the load, as Xen accounts for it.
dom0_busy() {
	sleep 1.2 # fio is up and warm
	xentop -b -d 2 -i 2 | awk '$1 == "Domain-0" { busy = $4 } END { print busy }'
}

run_load() { # PATH DISK LOAD LIMIT: in the background where it can be watched
	if [ "$1" = dom0 ]; then
		load "$2" "$3" "$4" >/tmp/result &
	else
		job "$RIG_DOMU" load "$2" "$3" "$4"
		result "$RIG_DOMU" >/tmp/result &
	fi
}

measure() { # ROUND PATH DISK LOAD
	local busy
	sync && echo 3 >/proc/sys/vm/drop_caches
	run_load "$2" "$3" "$4" "$DURATION"
	busy=$(dom0_busy)
	wait $!
	sample --argjson round "$1" --arg path "$2" --arg load "$4" --argjson busy "$busy" \
		'. + {round: $round, path: $path, load: $load, dom0_busy: $busy,
			dom0_us: ($busy * 10000 / .iops)}' /tmp/result
}

counters() { # PATH: the daemon's own counters
	case $1 in
	xvshim*)
		xvshim status "$RIG_DOMU" --json | jq -c '.devices[0].counters |
			with_entries(select(.value | type == "number"))'
		;;
	*) echo '{}' ;;
	esac
}

# System calls of the process that serves the disk, counted by the kernel.
hist=/sys/kernel/tracing/events/raw_syscalls/sys_enter
begin_calls() { # PATH
	calls=
	[[ $1 = xvshim* ]] || return 0
	mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
	calls="hist:keys=common_pid if common_pid == $(xvshim status "$RIG_DOMU" --json | jq '.devices[0].worker')"
	echo "$calls" >$hist/trigger
}
end_calls() { # prints an object
	[ -n "$calls" ] || { echo '{}' && return; }
	awk '/Hits:/ { print "{\"syscalls\": " $2 "}" }' $hist/hist
	echo "!$calls" >$hist/trigger
}

# Two runs with different numbers of requests: what the start of fio costs is in both.
count() { # PATH DISK LOAD
	local n trace before after was tracer calls more
	for n in "$COUNTED" $((COUNTED * 3)); do
		traces=$((traces + 1))
		trace=trace-$traces
		was=$(counters "$1")
		before=$(events)
		# Hypercalls and page faults, and which domain a processor runs. Xen's own pages
		# cannot be written to 9p.
		xentrace -D -e 0x00221000 -S 2048 "/tmp/$trace" >/dev/null &
		tracer=$!
		begin_calls "$1"
		run_load "$1" "$2" "$3" "x$n"
		wait $!
		more=$(end_calls)
		kill -INT "$tracer"
		wait "$tracer" || true
		mv "/tmp/$trace" "$RIG_SHARE/"
		after=$(events)
		sample --arg path "$1" --arg load "$3" --arg trace "$trace" \
			--argjson guest "$(xl domid "$RIG_DOMU")" --argjson events $((after - before)) \
			--argjson was "$was" --argjson now "$(counters "$1")" --argjson more "$more" \
			'. + $more + {counted: $path, load: $load, trace: $trace, guest: $guest, dom0_events: $events,
				counters: ($now | with_entries(.value -= $was[.key]))}' /tmp/result
	done
}

# From the command in dom0 to the first block that the guest read. Sets disk. Fails when the guest
# does not get it; then the path is left out.
timed_give() { # ROUND PATH
	local begun=$EPOCHREALTIME ready guest_disk=/dev/xvdc
	[[ $2 != xvshim* ]] || guest_disk=/dev/vda
	[ "$2" = dom0 ] || job "$RIG_DOMU" ready "$guest_disk"
	disk=$(give "$2" "$RIG_DOMU" "$bdf") || disk=
	[ "$2" != dom0 ] || return 0
	ready=$(result "$RIG_DOMU")
	if [ "$ready" = never ]; then
		sample -n --arg path "$2" '{missing: $path}'
		[ -z "$disk" ] || take_back "$2" "$RIG_DOMU" "$bdf" || true
		return 1
	fi
	# By dom0's clock: the guest's may be seconds away from it.
	sample -n --argjson round "$1" --arg path "$2" --argjson begun "$begun" \
		--argjson ready "$EPOCHREALTIME" '{round: $round, attached: $path, attach_s: ($ready - $begun)}'
}

# What must hold in every run, and the counts of one.
two_hypercalls() { # PATH
	local now worst
	[ "$1" = xvshim ] || return 0
	now=$(counters "$1")
	worst=$(jq .max_batch_hypercalls <<<"$now")
	[ "$worst" -le 2 ] || { echo "a batch cost $worst grant hypercalls"; exit 1; }
	said=$(jq -r 'def per(n): n / .chains * 100 | floor / 100;
		"verified: no batch cost more than \(.max_batch_hypercalls) grant hypercalls besides the " +
		"indirect copy\nfigure: a request cost " +
		"\(per(.map_calls + .unmap_calls + .copy_calls)) grant hypercalls, " +
		"\(per(.guest_kicks + .guest_notifies)) events"' <<<"$now")
}

# From exec to the line that says ready, some times.
starts() {
	local begun line pid
	rig-xvshimd stop
	for _ in 1 2 3 4 5 6 7; do
		begun=$EPOCHREALTIME
		coproc daemon { exec xvshimd 2>&1; }
		# shellcheck disable=SC2154
		pid=$daemon_PID
		until [[ ${line:-} = *ready* ]]; do
			read -r line <&"${daemon[0]}"
		done
		sample -n --argjson ended "$EPOCHREALTIME" --argjson begun "$begun" \
			'{start_ms: (($ended - $begun) * 1000)}'
		line=
		kill "$pid"
		wait "$pid"
	done
	rig-xvshimd start
}

# Maps of grants in batches against maps one by one, both of dom0's own pages.
maps() {
	/usr/libexec/xvshim/xen_probe bench >"$RIG_SHARE/maps"
	sed -n 's/^sample: //p' "$RIG_SHARE/maps" | while read -r line; do
		sample . <<<"$line"
	done
}

disk=$(own_disk "$bdf")
dd if=/dev/urandom of="$disk" bs=1M count=256 oflag=direct status=none
for round in $(seq "$ROUNDS"); do
	for path in $PATHS; do
		[[ " ${missing:-} " != *" $path "* ]] || continue
		if ! timed_give "$round" "$path"; then
			missing="${missing:-} $path"
			continue
		fi
		for load in $LOADS; do
			measure "$round" "$path" "$disk" "$load"
		done
		if [ "$round" = 1 ] && [ "$COUNTED" != 0 ]; then
			for load in $LOADS; do
				count "$path" "$disk" "$load"
			done
		fi
		[ "$round" != 1 ] || memory "$path"
		two_hypercalls "$path"
		take_back "$path" "$RIG_DOMU" "$bdf"
	done
done
job "$RIG_DOMU" end
if [ "$COUNTED" != 0 ]; then
	starts
	maps
fi
echo "${said:-}"
jq -rs 'def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
	[.[] | select(.iops and .round)] | group_by(.load)[] |
	(.[0].load | split(",")) as [$rw, $size, $depth] | "figure: \($rw) \($size), depth \($depth): " +
	([group_by(.path)[] | "\(.[0].path) \(map(.iops) | median | floor)"] | join(", ")) +
	" IOPS, medians of \(map(.round) | max)"' "$samples"
