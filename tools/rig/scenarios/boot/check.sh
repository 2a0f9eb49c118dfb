#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What a run leaves behind is where it should be.
set -e
cd "$RIG_KEEP"
for file in dom0.console share/xen.dmesg share/dom0.dmesg share/console/guest-guest.log; do
	test -s "$file"
	echo "$file: $(wc -l <"$file") lines"
done
