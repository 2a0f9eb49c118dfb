#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The image outside holds what the guest saw.
set -e
inside=$(cut -d' ' -f1 "$RIG_KEEP/share/sum")
outside=$(sha256sum "$RIG_KEEP/nested0.img" | cut -d' ' -f1)
[ -n "$inside" ] && [ "$inside" = "$outside" ] || {
	echo "the guest saw $inside, the image has $outside"
	exit 1
}
echo "verified: the image outside holds the guest's bytes"
