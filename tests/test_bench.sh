#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The benchmark driver on what a run on the real Xen left, cut to size: it boots nothing.
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
exec python3 -B "${srcdir:-.}/tests/test_bench.py"
