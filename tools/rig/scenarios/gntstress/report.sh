# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced: reads $out-NAME.json, the results of a run. shellcheck shell=bash

# One value of run $1.
field() {
	jq -r ".$2" "$out-$1.json"
}

# Prints run $1; false if it did not pass.
report() {
	echo "figure: gntstress $1: $(field "$1" operations) operations in $(field "$1" seconds) s"
	jq -r '.kinds | to_entries[] | "  \(.key): \(.value.rounds) batches, \(.value.operations) operations, p50 \(.value.p50_ns) ns, p99 \(.value.p99_ns) ns"' "$out-$1.json"
	jq -r '"  held before: \(.before.text); after: \(.after.text)"' "$out-$1.json"
	[ "$(field "$1" passed)" = true ] || { field "$1" story; return 1; }
}
