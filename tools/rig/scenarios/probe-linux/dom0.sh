#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail
read -ra bdfs <<<"$RIG_BDFS"

# expect STATUS PATTERN COMMAND...
expect() {
	local want=$1 pattern=$2 got=0 out
	shift 2
	out=$("$@" 2>&1) || got=$?
	echo "$out"
	[ "$got" = "$want" ] || { echo "$*: status $got instead of $want"; exit 1; }
	grep -q -- "$pattern" <<<"$out" || { echo "$*: does not say '$pattern'"; exit 1; }
}

xvshim probe
says() { xvshim probe --json | jq -re --arg bdf "$1" ".devices[] | select(.address == \$bdf) | $2"; }
for bdf in "${bdfs[@]}"; do
	[ "$(says "$bdf" .decision.verdict)" = refuse ]
done
expect 0 'no Xen' xvshim probe --explain "${bdfs[0]}"
expect 1 "not safe" xvshim probe --assignable "${bdfs[1]}"
expect 1 'there is no Xen here' xvshim doctor
expect 1 'Xen' xvshim list
echo "verified: Linux without Xen: every device explained, none served, and the doctor says what is missing"
