#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

modprobe xen-gntalloc
xvshim-gntserver &
server=$!
trap 'kill "$server"' EXIT
rig-signal serving
rig-wait stop 1500
trap - EXIT
kill "$server"
wait "$server"
