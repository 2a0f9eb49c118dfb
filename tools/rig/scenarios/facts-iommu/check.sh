#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The images outside hold what the guest saw.
set -e
inside=$(cat "$RIG_KEEP/share/sums")
outside=$(sha256sum <"$RIG_KEEP/nested0.img" | cut -d' ' -f1),$(sha256sum <"$RIG_KEEP/nested1.img" | cut -d' ' -f1)
[ -n "$inside" ] && [ "$inside" = "$outside" ] || {
	echo "the guest saw $inside, the images have $outside"
	exit 1
}
echo "verified: both images outside hold the guest's bytes"
