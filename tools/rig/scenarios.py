# SPDX-License-Identifier: GPL-2.0-or-later
"""The project's own scenarios: folders with a description, arguments and scripts.

  scenarios/NAME/scenario.json   {"description": "...", "args": ["--guest", "pv", ...],
                                  "releases": ["bookworm"]}
  scenarios/NAME/dom0.sh         optional; runs in dom0
  scenarios/NAME/domu.sh         optional; runs in the domU, at the same time
  scenarios/NAME/check.sh        optional; runs on the host afterwards
Every other file in the folder is there on both sides, under /rig/files.
"""

import json
from dataclasses import dataclass

from layers import HERE
from ui import Failure

FOLDER = HERE / "scenarios"
FIELDS = {"description", "args", "releases"}


@dataclass
class Scenario:
    name: str
    description: str
    args: list
    releases: list

    @property
    def folder(self):
        return FOLDER / self.name

    def arguments(self):
        """Arguments for `rig run`."""
        line = ["--name", self.name, "--files", str(self.folder)]
        for option, script in (("--dom0", "dom0.sh"), ("--domu", "domu.sh"),
                               ("--check", "check.sh")):
            if (self.folder / script).exists():
                line += [option, str(self.folder / script)]
        return line + self.args


def load(name):
    path = FOLDER / name / "scenario.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise Failure(f"no scenario {name}; `rig list` shows what there is", 2) from None
    except ValueError as error:
        raise Failure(f"{path}: {error}", 2) from None
    unknown = set(data) - FIELDS
    if unknown:
        raise Failure(f"{path}: unknown field {', '.join(sorted(unknown))}", 2)
    return Scenario(name, data.get("description", ""), data.get("args", []),
                    data.get("releases", ["bookworm"]))


def names():
    return sorted(path.parent.name for path in FOLDER.glob("*/scenario.json"))
