#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
set -e
echo "here is $RIG_NAME, kernel $(uname -r)"
touch /root/changes-stay-in-memory
