#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Each image outside holds what the guest saw.
set -e
for i in 0 1 2 3; do
	inside=$(cut -d' ' -f1 "$RIG_KEEP/share/sum-$i")
	outside=$(sha256sum "$RIG_KEEP/nested$i.img" | cut -d' ' -f1)
	[ -n "$inside" ] && [ "$inside" = "$outside" ] || {
		echo "disk $i: the guest saw $inside, the image has $outside"
		exit 1
	}
done
echo "verified: the four images outside hold the guest's bytes, of all protections"
