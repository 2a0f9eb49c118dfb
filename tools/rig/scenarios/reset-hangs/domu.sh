#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Destroyed in here.
set -euo pipefail

rig-until 120 test -b /dev/vda
rig-signal running
fio --name=load --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=32 \
	--rw=randwrite --bs=16k --size=64M --runtime=300 --time_based --output=/tmp/fio
exit 1
