# SPDX-License-Identifier: GPL-2.0-or-later
# One load on one disk, for both sides. For bash; sourced, never run.
# shellcheck shell=bash

# load DISK RW,BS,DEPTH SECONDS|xNUMBER: fio for so long, after a second to warm up, or for so many
# requests. Prints one line of JSON.
load() {
	local rw bs depth limit
	IFS=, read -r rw bs depth <<<"$2"
	case $3 in
	x*) limit=(--number_ios="${3#x}" --io_size=100g) ;; # past the end of the disk, too
	*) limit=(--ramp_time=1 --runtime="$3" --time_based) ;;
	esac
	fio --name=load --filename="$1" --direct=1 --ioengine=libaio --rw="$rw" --bs="$bs" \
		--iodepth="$depth" "${limit[@]}" --output-format=json |
		jq -c '.jobs[0] | (.read, .write) | select(.total_ios > 0) |
			{ios: .total_ios, iops, mib_s: (.bw_bytes / 1048576), lat_us: (.lat_ns.mean / 1000)}'
}

# Notifications that this kernel got for disks, the nested device's own interrupts apart. A queue of
# xvshim_front is an event channel (xen-dyn) in the guest, the device's own a xen-pirq in dom0.
events() {
	awk 'NR == 1 { cpus = NF }
		/blkif|xvshim|evtchn:(xen-)?qemu|xen-dyn.*virtio[0-9]+-req/ {
			for (i = 2; i <= cpus + 1; i++)
				n += $i
		}
		END { print n + 0 }' /proc/interrupts
}
