# SPDX-License-Identifier: GPL-2.0-or-later
# Shared by the inits and the helpers of both sides. For bash; sourced, never run.
# shellcheck shell=bash

# Everything the sides tell each other lives under this node of the domain in XenStore:
#   up         the domU's init is ready
#   go         dom0 lets the domU's script start
#   done       status of the domU's script      dom0-done   status of dom0's script
#   s/NAME     what rig-signal wrote
RIG_NODE=data/rig

# shellcheck disable=SC1091
. /rig/config

# What every program expects below / and a kernel alone does not make.
rig_mounts() {
	mount -t tmpfs tmpfs /run
	mount -t tmpfs tmpfs /tmp
	mkdir -p /dev/pts /dev/shm /run/lock /run/rig
	mount -t devpts devpts /dev/pts
	mount -t tmpfs tmpfs /dev/shm
	ln -sf /proc/self/fd /dev/fd
	ln -sf fd/0 /dev/stdin
	ln -sf fd/1 /dev/stdout
	ln -sf fd/2 /dev/stderr
}

rig_on_dom0() {
	[ "${RIG_SIDE:-}" = dom0 ]
}

rig_die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# XenStore node of domain $1, by name; inside a domU the domain is always its own.
rig_base() {
	local id
	if rig_on_dom0; then
		id=$(xl domid "$1" 2>/dev/null) || return 1
		echo "/local/domain/$id/$RIG_NODE"
	else
		echo "$RIG_NODE"
	fi
}

# The file that says that the end of domain $1, by name, is expected; of this one, not of one
# that is made later by the same name.
rig_end_mark() {
	echo "/run/rig/end-$1-$(xl domid "$1" 2>/dev/null)"
}

# rig_await BASE KEY LIMIT ENDED...: print the value of BASE/KEY as soon as it exists.
# Gives up after LIMIT seconds, when the domain is gone, or when a node BASE/ENDED exists:
# the other side has ended, nobody will write KEY any more. Status 0, or 1 with the reason
# on stderr.
rig_await() {
	local base=$1 key=$2 limit=$3 ended fd pid status=1 until left value _event
	shift 3
	local watches=("$base")
	if rig_on_dom0; then
		watches+=(@releaseDomain)
	fi
	until=$((SECONDS + limit))
	exec {fd}< <(exec xenstore-watch "${watches[@]}" 2>/dev/null)
	pid=$!
	while :; do
		# Read the end first: a key written just before the end is then seen below.
		ended=$(rig_ended "$base" "$@")
		if value=$(xenstore-read "$base/$key" 2>/dev/null); then
			printf '%s\n' "$value"
			status=0
			break
		fi
		if [ -n "$ended" ]; then
			echo "waited for '$key': $ended" >&2
			break
		fi
		left=$((until - SECONDS))
		if [ "$left" -le 0 ] || ! read -r -t "$left" -u "$fd" _event; then
			echo "waited $limit s for '$key' in vain" >&2
			break
		fi
	done
	kill "$pid" 2>/dev/null
	exec {fd}<&-
	return "$status"
}

rig_ended() {
	local base=$1 node
	shift
	if rig_on_dom0 && ! xenstore-exists "${base%/"$RIG_NODE"}/name" 2>/dev/null; then
		echo "the domain is gone"
		return
	fi
	for node; do
		if xenstore-exists "$base/$node" 2>/dev/null; then
			echo "the other side has ended ($node)"
			return
		fi
	done
}

# rig_until LIMIT COMMAND...: repeat COMMAND until it succeeds. For states that nothing
# announces; where XenStore does, use rig-wait.
rig_until() {
	local limit=$1 until
	shift
	until=$((SECONDS + limit))
	until "$@"; do
		if [ "$SECONDS" -ge "$until" ]; then
			echo "rig: waited $limit s in vain for: $*" >&2
			return 1
		fi
		sleep 0.05
	done
}
