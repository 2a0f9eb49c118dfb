#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

rig-until 20 test -b /dev/vda
xl block-attach "$RIG_DOMU" vdev=xvdc,access=rw,script=/rig/guest/block,target=/dev/vda
rig-wait sum 600 >"$RIG_SHARE/sum"
