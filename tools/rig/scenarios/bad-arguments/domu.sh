#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

rig-wait unload 300
echo 'blacklist xvshim_front' >/etc/modprobe.d/none.conf # udev would load it again
rmmod xvshim_front
rig-signal unloaded
rig-wait load 120
rm /etc/modprobe.d/none.conf
modprobe xvshim_front
