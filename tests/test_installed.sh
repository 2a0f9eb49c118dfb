#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The library as it is installed: what it exports, its licence, and the example built against it.
# CC, EXAMPLE_CFLAGS, LIBRARY_SOURCES and srcdir come from the Makefile.
set -u

dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
failures=0
header=$srcdir/include/xvshim/xvshim.h

fail() {
	echo "FAIL: $*"
	failures=$((failures + 1))
}

# same WHAT A B: two sorted lists of names
same() {
	diff "$2" "$3" >"$dir/diff" || { fail "$1:"; cat "$dir/diff"; }
}

${MAKE:-make} install DESTDIR="$dir/root" >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }

pc=$(find "$dir/root" -name xvshim.pc)
[ -n "$pc" ] || { fail "no xvshim.pc was installed"; exit 1; }
library=$(find "$dir/root" -name 'libxvshim.so.*.*')
[ -n "$library" ] || { fail "no libxvshim was installed"; exit 1; }
for file in xvshim/xvshim.h libxvshim.so examples/virtio_rng.c man3/libxvshim.3 \
	man3/xvs_dma_alloc.3 man3/xvs_translate.3 man3/xvs_grant_map.3 man3/xvs_pci_take.3; do
	find "$dir/root" -path "*/$file" | grep -q . || fail "$file was not installed"
done

# Exported, declared, in the map: the same names.
nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$dir/exported"
sed -n 's/^[a-z].*\b\(xvs_[a-z_]*\)(.*/\1/p' "$header" | sort >"$dir/declared"
sed -n 's/^\t\(xvs_[a-z_]*\);/\1/p' "$srcdir/shim/lib/libxvshim.map" | sort >"$dir/mapped"
[ -s "$dir/declared" ] || fail "no function found in the header"
same "exported but not declared, or the other way round" "$dir/exported" "$dir/declared"
same "in the map but not declared, or the other way round" "$dir/mapped" "$dir/declared"

# Each function has its line in the synopsis of a manual page.
for name in $(cat "$dir/declared"); do
	grep -q "^\.BI\? .*[ *]$name([^)]" "$srcdir"/docs/man/*.3 || fail "no manual page tells of $name"
done

for file in $LIBRARY_SOURCES; do
	head -n 1 "$srcdir/$file" | grep -q 'LGPL-2.1-or-later\|MIT' ||
		fail "$file goes into the library and is not under its licence"
done

# The header alone, as C11 and as C++.
include=$dir/root$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --variable=includedir xvshim)
echo '#include <xvshim/xvshim.h>' >"$dir/alone.c"
$CC -std=c11 -pedantic -Wall -Wextra -Werror -I"$include" -fsyntax-only "$dir/alone.c" ||
	fail "the header does not compile alone"
if $CC -x c++ -fsyntax-only /dev/null 2>/dev/null; then
	$CC -x c++ -Wall -Werror -I"$include" -fsyntax-only "$dir/alone.c" ||
		fail "the header does not compile as C++"
else
	echo "no C++ compiler here: the header was not tried as C++"
fi

# The example, short as it is to stay, with the flags that pkg-config gives.
example=$(find "$dir/root" -path '*/examples/virtio_rng.c')
[ "$(wc -l <"$example")" -lt 100 ] || fail "the example has 100 lines or more"
flags=$(PKG_CONFIG_PATH=$(dirname "$pc") PKG_CONFIG_SYSROOT_DIR=$dir/root pkg-config --cflags --libs xvshim) ||
	fail "pkg-config does not know xvshim"
# shellcheck disable=SC2086
$CC $EXAMPLE_CFLAGS -o "$dir/rng" "$example" $flags || fail "the example does not compile"
LD_LIBRARY_PATH=$(dirname "$library") "$dir/rng" >"$dir/out" 2>"$dir/err"
status=$?
if [ "$status" != 1 ] || [ "$(wc -l <"$dir/err")" != 1 ] || [ -s "$dir/out" ]; then
	fail "the example without arguments: status $status"
	cat "$dir/out" "$dir/err"
fi

[ "$failures" = 0 ] || exit 1
