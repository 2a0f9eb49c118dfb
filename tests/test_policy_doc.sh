#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# docs/addressing.md says of nineteen cases what settles them and what shows it: all of them are
# there, in order, each with a test that exists and is run, and so do the scenarios.
set -eu

srcdir=${srcdir:-$(dirname "$0")/..}
doc=${1:-$srcdir/docs/addressing.md}
bad=0

fail() {
	echo "$doc: $*"
	bad=1
}

rows=$(sed -n 's/^| \(C[0-9][0-9]*\) |.*/\1/p' "$doc" | tr '\n' ' ')
[ "$rows" = "$(seq -f C%g -s ' ' 1 19) " ] || fail "the rows are $rows"

for case in $(seq -f C%g 1 19); do
	row=$(sed -n "s/^| $case |//p" "$doc")
	# The last column; tests are named by file and function, or by a script alone.
	shown=$(echo "$row" | sed 's/.*| \([^|]*\) |$/\1/')
	named=$(echo "$shown" | grep -o '`test_[a-z0-9_]*\.c` `[a-z0-9_]*`' | tr -d '`') || named=
	[ -n "$named" ] || echo "$shown" | grep -q '`tests/[a-z_]*\.sh`' || fail "$case: no test"
	while read -r file function; do
		[ -n "$file" ] || continue
		grep -q "^START_TEST($function)" "$srcdir/tests/$file" ||
			fail "$case: no $function in $file"
		grep -Eq "tcase_add_(loop_)?test\([a-z0-9_]*, $function\b|&$function\b" "$srcdir/tests/$file" ||
			fail "$case: $function is not run"
	done <<-END
		$named
	END
	for script in $(echo "$shown" | grep -o '`tests/[a-z_]*\.sh`' | tr -d '`'); do
		[ -f "$srcdir/$script" ] || fail "$case: no $script"
	done
	for scenario in $(echo "$shown" | sed -n 's/.*rig: //p' | grep -o '`[a-z0-9-]*`' | tr -d '`'); do
		[ -f "$srcdir/tools/rig/scenarios/$scenario/scenario.json" ] ||
			fail "$case: no scenario $scenario"
	done
	# A case that no scenario shows says why: "not yet", or what the rig lacks.
	echo "$shown" | grep -q 'rig' || echo "$row" | grep -q 'not yet' ||
		fail "$case: neither a scenario nor why not"
done
exit "$bad"
