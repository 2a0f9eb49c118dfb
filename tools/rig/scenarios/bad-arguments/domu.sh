#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

rig-wait unload 300
rmmod xvshim_front
rig-signal unloaded
rig-wait load 120
modprobe xvshim_front
