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
	echo "$text" | grep -Eo '`(test_[a-z0-9_]*\.c|[a-z0-9-]*/dom0\.sh)` `[a-z0-9_]*`' | tr -d '`' |
		sed "s/^/$number /"
done)
echo "$named" | {
	while read -r number file function; do
		two=$(printf %02d "$number")
		case $file in
		*.sh) file=tools/rig/scenarios/$file starts="^$function\(\)" is_run="^$function\$" ;;
		*) file=tests/$file starts="^START_TEST\($function\)"
			is_run="tcase_add_(loop_)?test\([a-z0-9_]*, $function|&$function\\b" ;;
		esac
		grep -Eq "$starts" "$srcdir/$file" || fail "$number: no $function in $file"
		grep -Eq "$is_run" "$srcdir/$file" || fail "$number: $function is not run"
		echo "$function" | grep -Eq "^hazard_([0-9]{2}_)*${two}_" || fail "$number: $function has another number"
	done
	exit "$bad"
} || bad=1

for number in $(seq 1 50); do
	echo "$named" | grep -q "^$number " || fail "$number: no test"
done

# The last column: scenarios. The hostile ones say for each hazard what came of it.
scenarios_of() {
	sed -n "s/^| $1 |.*| \([^|]*\) |\$/\1/p" "$doc" | grep -o '`[a-z0-9-]*`' | tr -d '`'
}
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
