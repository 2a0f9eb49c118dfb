#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# docs/security.md says of fifty hazards what happens and which test shows it: all of them are
# there, in order, and so are the tests and the scenarios.
set -eu

srcdir=${srcdir:-$(dirname "$0")/..}
doc=${1:-$srcdir/docs/security.md}
bad=0

fail() {
	echo "$doc: $*"
	bad=1
}

rows=$(sed -n 's/^| \([0-9][0-9]*\) |.*/\1/p' "$doc" | tr '\n' ' ')
[ "$rows" = "$(seq -s ' ' 1 50) " ] || fail "the rows are $rows"

# A line for each test named: number, file, function.
named=$(sed -n 's/^| \([0-9][0-9]*\) |\(.*\)/\1 \2/p' "$doc" | while read -r number text; do
	echo "$text" | grep -o '`test_[a-z0-9_]*\.c` `[a-z0-9_]*`' | tr -d '`' | sed "s/^/$number /"
done)
echo "$named" | {
	while read -r number file function; do
		two=$(printf %02d "$number")
		grep -q "^START_TEST($function)" "$srcdir/tests/$file" || fail "$number: no $function in $file"
		grep -Eq "tcase_add_(loop_)?test\([a-z0-9_]*, $function|&$function\\b" "$srcdir/tests/$file" ||
			fail "$number: $function is not run"
		echo "$function" | grep -Eq "^hazard_([0-9]{2}_)*${two}_" || fail "$number: $function has another number"
	done
	exit "$bad"
} || bad=1

# What the last column of row $1 names.
scenarios_of() {
	sed -n "s/^| $1 |.*| \([^|]*\) |\$/\1/p" "$doc" | grep -o '`[a-z0-9-]*`' | tr -d '`'
}

# A row without a test says so, and not when there is one. A scenario is one, too.
for number in $(seq 1 50); do
	row=$(sed -n "s/^| $number |//p" "$doc")
	two=$(printf %02d "$number")
	has=$(grep -lE "^START_TEST\(hazard_([0-9]{2}_)*${two}_" "$srcdir"/tests/*.c | wc -l)
	if echo "$named" | grep -q "^$number " || { [ "$has" = 0 ] && [ -n "$(scenarios_of "$number")" ]; }; then
		continue
	elif [ "$has" -gt 0 ]; then
		fail "$number: there is a test, but none is named"
	elif ! echo "$row" | grep -q 'not yet\|does not apply'; then
		fail "$number: neither a test nor why not"
	fi
done

# The last column: scenarios. The hostile ones say for each hazard what came of it.
says() {
	grep -q "hazard $2:" "$srcdir/tools/rig/scenarios/$1/dom0.sh" && return
	[ "$1" = hostile-guest ] && grep -q "hg_step(g, $2, \"hazard\"" "$srcdir"/tests/hostile_guest_*.c
}
for number in $(seq 1 50); do
	for scenario in $(scenarios_of "$number"); do
		dir=$srcdir/tools/rig/scenarios/$scenario
		[ -f "$dir/scenario.json" ] || { fail "$number: no scenario $scenario" && continue; }
		case $scenario in
		hostile-*) says "$scenario" "$number" || fail "$number: $scenario says nothing of it" ;;
		esac
	done
done
exit "$bad"
