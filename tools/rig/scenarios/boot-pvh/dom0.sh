#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

echo "the domU asks: $(rig-wait question 60)"
rig-signal answer 42
xl list -l "$RIG_DOMU" | grep -q '"type": "pvh"'
