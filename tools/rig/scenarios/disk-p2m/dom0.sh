#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# disk-pv once more, in addressing p2m.
set -euo pipefail

used=$(xvshim status guest --json | jq -r '.devices[0].addressing')
[ "$used" = p2m ] || { echo "addressing is '$used'"; exit 1; }
/rig/files/disk-dom0.sh
xvshim status guest | grep -A1 -E 'p2m|kept|hypercalls'
grants=$(rig-grants "$(xl domid guest)")
echo "verified: addressing p2m; entries of the guest in use: $grants"
