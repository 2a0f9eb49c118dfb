#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The images outside hold what the guest saw.
set -e
outside="$(sha256sum <"$RIG_KEEP/nested0.img" | cut -d' ' -f1) $(sha256sum <"$RIG_KEEP/nested1.img" | cut -d' ' -f1)"
[ "$(cat "$RIG_KEEP/share/sums")" = "$outside" ] || {
	echo "the guest saw $(cat "$RIG_KEEP/share/sums"), the images have $outside"
	exit 1
}
echo "verified: both images outside hold the guest's bytes"
