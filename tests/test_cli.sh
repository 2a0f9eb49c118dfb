#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The command where there is no Xen: one clear line, the right exit status, a demo that works.
set -u

dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
failures=0

# expect STATUS LINES PATTERN COMMAND...: what it says on stderr
expect() {
	status=$1 lines=$2 pattern=$3
	shift 3
	"$@" >"$dir/out" 2>"$dir/err" </dev/null
	got=$?
	if [ "$got" != "$status" ] || [ "$(wc -l <"$dir/err")" != "$lines" ] ||
		! grep -q -e "$pattern" "$dir/err"; then
		echo "FAIL: $*: status $got, expected $status; stderr:"
		cat "$dir/err"
		failures=$((failures + 1))
	fi
}

at="--run-dir $dir/run"

if [ ! -e /proc/xen ]; then
	expect 1 1 'no Xen here' ./xvshim attach guest pci:0000:00:04.0 $at
	expect 1 1 'no Xen here' ./xvshim detach guest $at
	expect 1 1 'no Xen here' ./xvshim list $at
	expect 1 1 'no Xen here' ./xvshim status --json $at
	expect 1 1 'no Xen here' ./xvshim translate pfn 5 $at
	expect 1 1 'no Xen here' ./xvshim gntstress $at
	expect 1 1 'not a Xen domain\|without Xen' ./xvshimd --run-dir "$dir/run"
	[ ! -e "$dir/run" ] || { echo "FAIL: a run directory was left behind"; failures=1; }
fi

expect 2 2 'no such option' ./xvshim attach --nonsense $at
expect 2 1 'no command' ./xvshim nonsense
expect 2 1 'command comes first' ./xvshim --json list
expect 2 1 'takes a number' ./xvshim gntstress --sim --ops 0
expect 1 1 'version 2' ./xvshim gntstress --sim --mix transitive=1
expect 2 1 'no operation' ./xvshim gntstress --sim --mix devmap=1,nonsense=2
expect 2 1 'guest of its own' ./xvshim gntstress --sim guest
expect 2 1 'is for a DOMAIN' ./xvshim gntstress --chaos --restart true
expect 2 1 'number changes' ./xvshim gntstress 7 --chaos --restart true
expect 2 1 'operations of its own' ./xvshim gntstress --sim --compare 3 --chaos
expect 2 1 'takes a number' ./xvshim gntstress --sim --compare 65
expect 2 2 'does not take' ./xvshim list --chaos $at
for command in '' attach detach list status translate demo gntstress version; do
	./xvshim $command --help | grep -q '^usage: xvshim' ||
		{ echo "FAIL: no usage of '$command'"; failures=1; }
done

./xvshim demo >"$dir/demo" || { echo "FAIL: demo"; cat "$dir/demo"; failures=1; }
grep -q 'addresses shown were changed' "$dir/demo" || failures=1
./xvshim demo --json >"$dir/json" || failures=1
./xvshim gntstress --sim --ops 20000 >"$dir/stress" || { echo "FAIL: gntstress"; cat "$dir/stress"; failures=1; }
grep -q 'no leak, no wrong byte' "$dir/stress" || failures=1
./xvshim gntstress --sim --ops 20000 --json >"$dir/stress.json" || failures=1
if command -v python3 >/dev/null; then
	python3 -m json.tool "$dir/json" >/dev/null || { echo "FAIL: JSON of the demo"; failures=1; }
	python3 -m json.tool "$dir/stress.json" >/dev/null ||
		{ echo "FAIL: JSON of gntstress"; failures=1; }
fi

[ "$failures" = 0 ] || exit 1
