# SPDX-License-Identifier: GPL-2.0-or-later


class NotMeasured(Exception):
    """Why a figure is missing, in words."""
