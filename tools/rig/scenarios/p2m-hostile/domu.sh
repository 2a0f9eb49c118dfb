#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each disk is broken by one bad address; what it was to read never comes, so nobody waits for it.
set -euo pipefail

rig-until 60 test -b /dev/vdc
mfn=$(rig-wait mfn)
rig-signal ready

break_disk() {
	rig-wait "$2" 120 >/dev/null
	insmod /usr/libexec/xvshim/bad_page.ko kind="$2" mfn="$mfn"
	dd if=/dev/"$1" of=/dev/null bs=4k count=1 skip=100 iflag=direct >/dev/null 2>&1 &
	rig-wait "$2-seen" 60 >/dev/null
	rmmod bad_page
}
break_disk vda beyond
break_disk vdb absent
break_disk vdc foreign
rig-signal done
