# SPDX-License-Identifier: GPL-2.0-or-later
"""Lets a script in dom0 act as the outer hypervisor: plug a device, break a disk, inject.

`rig-qmp` in dom0 leaves a request in the share; it is carried out on QEMU's control socket.
"""

import json


class Door:
    def __init__(self, qemu, directory):
        self.qemu = qemu
        self.directory = directory

    def serve(self):
        for request in sorted(self.directory.glob("*.request")):
            answer = self._carry_out(request.read_text(encoding="utf-8"))
            request.unlink()
            # Written under another name first: the reader must never see half of it.
            partial = request.with_suffix(".partial")
            partial.write_text(json.dumps(answer) + "\n", encoding="utf-8")
            partial.rename(request.with_suffix(".answer"))

    def _carry_out(self, text):
        try:
            request = json.loads(text)
            return self.qemu.qmp(request["execute"], request.get("arguments"))
        except (ValueError, KeyError, TypeError, OSError) as error:
            return {"error": {"desc": str(error)}}
