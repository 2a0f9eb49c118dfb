#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Tells hostile_back what to do wrong, and looks at what it can see of the guest.
set -euo pipefail

coproc back { exec /usr/libexec/xvshim/hostile_back "$(xl domid guest)"; }
# shellcheck disable=SC2154 # coproc sets it
from=${back[0]} to=${back[1]}
tell() {
	echo "$*" >&"$to"
	read -r -t 200 answer <&"$from" || answer='no answer'
	echo "back end: $*: $answer"
	[[ $answer = ok* ]]
}
secret_in() { [[ $answer =~ 'the secret in '([0-9]+)$ ]] && echo "${BASH_REMATCH[1]}"; }

hazard_45_nothing_stale_is_shared() {
	rig-wait filled 200 >/dev/null
	tell scan
	at_first=$(secret_in)
	tell open pool
	rig-wait pool-used 120 >/dev/null
	tell scan
	[ "$(secret_in)" -le "$at_first" ] || { echo "pages that the guest granted hold its secret"; exit 1; }
	pages=$(echo "$answer" | cut -d' ' -f2)
	rig-signal scanned
	rig-wait secret-written 60 >/dev/null
	tell scan
	[ "$(secret_in)" -gt 0 ] || { echo "a secret that was written to the disk is not found"; exit 1; }
	echo "verified: hazard 45: protection pool: $pages granted pages read, nothing of what was in the guest's memory; found once it was written to the disk"
	tell close
	rig-wait pool-gone 60 >/dev/null
}

hazard_42_used_length_above_the_buffer() {
	tell used-len
	rig-signal used-len
	rig-wait used-len-done 60 >/dev/null
	tell check
	echo "verified: hazard 42: a used length of 2 GiB for 4 KiB: virtio_blk does not look at it, data and disk are as they should be"
}

hazard_43_rewrites_what_was_agreed_on() {
	tell rewrite
	rig-signal rewrite
	rig-wait rewrite-done 60 >/dev/null
	tell check
	[[ $answer = "ok 3 "* ]] || { echo "tables can be written"; exit 1; }
	echo "verified: hazard 43: Xen refuses to map tables and rings for writing; control page and config written over, the disk works"
}

hazard_46_storm_of_events() {
	rig-wait calm 60 >/dev/null
	rig-signal storm
	tell storm 6000
	echo "verified: hazard 46: $answer; the guest's own work meanwhile: $(rig-wait storm-done 60) rounds"
}

hazard_44_keeps_a_page_mapped() {
	tell open strict
	rig-wait keep-up 60 >/dev/null
	tell keep
	rig-signal keep
	rig-wait keep-filled 120 >/dev/null
	tell kept
	tell unkeep
	echo "verified: hazard 44: a page kept mapped: device broken, the page not used again while all other memory was; let go without a BUG"
	tell close
	rig-wait kept-gone 60 >/dev/null
}

hazard_47_states_in_any_order() {
	tell races 12
	rig-signal raced
	rig-wait raced-gone 60 >/dev/null
	tell open pool
	rig-wait raced-up 120 >/dev/null
	echo "verified: hazard 47: 12 connections ended in any state, with I/O; then one that works"
}

hazard_41_bad_used_ids() {
	tell used-range
	rig-signal used-range
	rig-wait used-range-done 60 >/dev/null
	tell abandon
	tell open pool
	rig-wait used-never-up 60 >/dev/null
	tell used-never
	rig-signal used-never
	rig-wait used-never-done 60 >/dev/null
	tell abandon
	tell open pool
	rig-wait last-up 60 >/dev/null
	echo "verified: hazard 41: used ids outside the table and not in flight: the queue is broken, another disk works"
}

hazard_45_nothing_stale_is_shared

tell open strict
rig-wait strict-written 60 >/dev/null
hazard_42_used_length_above_the_buffer
hazard_43_rewrites_what_was_agreed_on
hazard_46_storm_of_events
tell close
rig-wait strict-gone 60 >/dev/null

hazard_44_keeps_a_page_mapped
hazard_47_states_in_any_order
hazard_41_bad_used_ids
rig-wait over 60 >/dev/null
tell abandon # or the domU stays for the pages of it that are mapped here
# The guest's reads of the broken disks never come back, so it does not shut down.
rig-domu destroy guest
xenstore-rm /local/domain/0/backend/virtio-hostile
