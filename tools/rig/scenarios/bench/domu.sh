#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Does what dom0 says, job after job:
#   ready DISK                 wait for the disk and read its first block; says now, or never
#   load DISK LOAD LIMIT       see load.sh
#   busy DISK LOAD             the load until dom0 says stop
#   end
set -euo pipefail
. /rig/files/load.sh

first_block() {
	dd if="$1" of=/dev/null bs=4096 count=1 iflag=direct status=none
}

# A guest that was paused takes the time for a processor that was stuck.
echo 0 >/proc/sys/kernel/watchdog
echo 1 >/sys/module/rcupdate/parameters/rcu_cpu_stall_suppress

for ((n = 0; ; n++)); do
	job=$(rig-wait "job-$n" 900)
	read -r verb disk what limit <<<"$job"
	case $verb in
	ready)
		ready=never
		if rig-until 30 test -b "$disk"; then
			first_block "$disk"
			ready=now
		fi
		rig-signal "result-$n" "$ready"
		;;
	load)
		before=$(events)
		result=$(load "$disk" "$what" "$limit")
		rig-signal "result-$n" \
			"$(jq -c --argjson n $(($(events) - before)) '.guest_events = $n' <<<"$result")"
		;;
	busy)
		rig-until 30 test -b "$disk"
		load "$disk" "$what" 100000 >/dev/null 2>&1 &
		busy=$!
		rig-wait "stop-$n" 3600 >/dev/null
		# What it measured is not looked at; and of eight that were interrupted one went on.
		pkill -KILL -x fio
		wait "$busy" || true
		rig-signal "result-$n"
		;;
	end) exit 0 ;;
	*) echo "no job: $job" && exit 1 ;;
	esac
done
