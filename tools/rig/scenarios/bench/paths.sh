# SPDX-License-Identifier: GPL-2.0-or-later
# The ways of a nested disk to a guest, and work for the guests. For dom0; sourced, never run.
# shellcheck shell=bash

. /rig/files/load.sh

samples=$RIG_SHARE/samples

# sample JQ-ARGUMENTS...: the line of JSON that jq makes of them, to the log and to a file.
sample() {
	jq -c "$@" | tee -a "$samples" | sed 's/^/sample: /'
}

# Block device of dom0's own driver on the nested device BDF, once it is there.
own_disk() { # BDF
	rig-until 20 compgen -G "/sys/bus/pci/devices/$1/virtio*/block/*" >/dev/null
	set -- /sys/bus/pci/devices/"$1"/virtio*/block/*
	rig-until 20 test -b "/dev/${1##*/}"
	echo "/dev/${1##*/}"
}

# What xl starts for a PV guest whose configuration has a qdisk, and where it looks for it when a
# disk comes later.
start_qemu() { # GUEST
	local id
	id=$(xl domid "$1")
	xenstore-exists "/local/domain/$id/image/device-model-pid" && return 0
	xenstore-write /local/domain/0/backend/qdisk ""
	/usr/libexec/xen-qemu-system-i386 -xen-domid "$id" -xen-attach -name "$1" -M xenpv \
		-nodefaults -no-user-config -nographic -monitor none -serial none -parallel none \
		</dev/null >>"$RIG_SHARE/qemu.log" 2>&1 &
	xenstore-write "/local/domain/$id/image/device-model-pid" $!
	rig-until 30 xenstore-exists "/local/domain/0/device-model/$id/state"
}

vbd() { # GUEST BDF MORE: a Xen block device on dom0's disk
	local disk
	disk=$(own_disk "$2")
	xl block-attach "$1" "format=raw,vdev=xvdc,access=rw,$3,target=$disk"
}

# give PATH GUEST BDF: prints the name of the disk on the side that uses it. PATH is dom0,
# blkback, qdisk, xvshim, xvshim:MODE for a protection mode other than the default, or xvshim:p2m
# for that addressing. The guest has to ask for the last two (parameters of xvshim_front).
give() {
	case $1 in
	dom0) own_disk "$3" ;;
	blkback) vbd "$2" "$3" script=/rig/guest/block >&2 && echo /dev/xvdc ;;
	qdisk)
		# Without direct-io-safe: it makes QEMU ask for aio=native, which Debian 12's build for
		# Xen does not have, so no disk would appear. What QEMU reads goes through dom0's
		# page cache instead: measure() empties that.
		start_qemu "$2" >&2 && vbd "$2" "$3" backendtype=qdisk >&2 && echo /dev/xvdc
		;;
	xvshim) xvshim attach "$2" "pci:$3" --take >&2 && echo /dev/vda ;;
	xvshim:p2m) xvshim attach "$2" "pci:$3" --take --addressing p2m >&2 && echo /dev/vda ;;
	xvshim:*) xvshim attach "$2" "pci:$3" --take --protection "${1#*:}" >&2 && echo /dev/vda ;;
	*) echo "no way $1" >&2 && return 1 ;;
	esac
}

no_vbd() {
	[ -z "$(xl block-list "$1" | awk '$1 == 51744')" ]
}

export -f no_vbd # rig-until is a program of its own

take_back() { # PATH GUEST BDF
	case $1 in
	blkback | qdisk) xl block-detach "$2" xvdc && rig-until 20 no_vbd "$2" ;;
	xvshim*) xvshim detach "$2" "pci:$3" >/dev/null && own_disk "$3" >/dev/null ;;
	esac
}

declare -A jobs

# job GUEST WORDS...: what the guest is to do next; result GUEST: what came out of its last job;
# stop GUEST: enough of it.
job() {
	local guest=$1
	shift
	rig-signal -d "$guest" "job-${jobs[$guest]:-0}" "$*"
	jobs[$guest]=$((${jobs[$guest]:-0} + 1))
}

result() {
	local n=$((jobs[$1] - 1)) signals
	rig-wait -d "$1" "result-$n" 240
	# The names of all nodes in a folder of the store fit into 2048 bytes, or no more is written.
	signals=/local/domain/$(xl domid "$1")/data/rig/s
	xenstore-rm "$signals/job-$n" "$signals/result-$n"
}

stop() {
	rig-signal -d "$1" "stop-$((jobs[$1] - 1))"
}

pss() { # PID
	awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"
}

# What the daemon's processes take, what they share divided among them. For all devices that are
# attached.
memory() { # PATH
	local worker workers=()
	[[ $1 = xvshim* ]] || return 0
	for worker in $(xvshim status --json | jq '.devices[].worker'); do
		workers+=("$(pss "$worker")")
	done
	sample -n --arg path "$1" --argjson keeper "$(pss "$(rig-xvshimd pid)")" \
		--argjson workers "[$(IFS=, && echo "${workers[*]}")]" \
		'{memory: $path, keeper_kib: $keeper, workers_kib: $workers}'
}
