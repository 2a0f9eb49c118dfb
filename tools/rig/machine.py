# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU with Xen in it: its command line, its process and its control socket."""

import ctypes
import json
import os
import re
import shlex
import signal
import socket
import subprocess
from dataclasses import dataclass

from ui import Failure

PR_SET_PDEATHSIG = 1
FIRST_NESTED_SLOT = 0x10
SHARE_SLOT = 0x1E
# The log has room for a dump of the grant tables with thousands of pages in use.
XEN_ARGS = ("dom0_mem=1G,max:1G console=com1 com1=115200 loglvl=all guest_loglvl=all noreboot "
            "conring_size=2M")
DOM0_ARGS = ("loglevel=6 rig.disk=ahci rig.root=/dev/rig1 rig.payload=/dev/rig3 "
             "rig.init=/rig/guest/dom0-init")

ACCEL = {
    "tcg": ["-accel", "tcg,thread={threads},tb-size=512", "-cpu", "qemu64,+svm,+npt"],
    "kvm": ["-accel", "kvm", "-cpu", "host"],
}


@dataclass
class Nested:
    """A device of the outer hypervisor that is to be handed through, at a known address."""

    arguments: str
    bdf: str
    disk: str = None  # its backing image, where the rig brings one

    @classmethod
    def parse(cls, index, text):
        driver, _, properties = text.partition(",")
        names = dict(item.partition("=")[::2] for item in properties.split(",") if item)
        if names.get("bus", "pcie.0") != "pcie.0":
            raise Failure(f"--nested {text}: only bus pcie.0, whose addresses are known here", 2)
        address = names.get("addr")
        if address is None:
            address = f"{FIRST_NESTED_SLOT + index:#x}"
            text += f",addr={address}"
        match = re.fullmatch(r"(?:0x)?([0-9a-fA-F]{1,2})(?:\.(?:0x)?([0-7]))?", address)
        if not match:
            raise Failure(f"--nested {text}: addr={address} is not SLOT[.FUNCTION]", 2)
        bdf = f"0000:00:{int(match[1], 16):02x}.{match[2] or 0}"
        disk = None
        if driver.startswith("virtio-blk-pci") and "drive" not in names:
            disk = f"nested{index}.img"
            text += f",drive=nested{index}"
        return cls(text, bdf, disk)


def drive(name, path, **options):
    settings = "".join(f",{key}={value}" for key, value in options.items())
    return ["-drive", f"if=none,id={name},format=raw,file={path}{settings}"]


def doubled(text):
    """QEMU takes a comma for the end of an option unless it is written twice."""
    return text.replace(",", ",,")


# QEMU before 8.1 (commit "accel/tcg: Always lock pages before translation") may translate code that
# another processor is just patching, and then runs a breakpoint that is gone already. Linux 6.12
# patches more in its first seconds and once died of what looks like it ("Oops: int3"). One thread for all
# processors has no such race, and takes longer.
TCG_THREADS = {"bookworm": "multi", "trixie": "single"}


def tcg_threads(options):
    # With one thread for all, a PVH guest gets events twice: README, "To know".
    return "multi" if options.guest == "pvh" else TCG_THREADS[options.release]


def boot(options):
    linux = " ".join([DOM0_ARGS, *options.dom0_args])
    if options.no_xen:
        return ["-kernel", "vmlinuz", "-append", f"console=ttyS0 {linux}", "-initrd", "initrd"]
    return ["-kernel", "xen", "-append", " ".join([XEN_ARGS, *options.xen_args]),
            "-initrd", doubled(f"vmlinuz console=hvc0 {linux}") + ",initrd"]


def command(options, nested):
    """The command line. File names are relative to the run's directory, where QEMU starts:
    that keeps spaces and commas in the names of the user's directories out of it."""
    accel = [part.format(threads=tcg_threads(options)) for part in ACCEL[options.accel]]
    line = ["qemu-system-x86_64", "-machine", "q35", *accel,
            "-smp", "2", "-m", "3G", "-nodefaults", "-display", "none", "-no-reboot",
            "-serial", "file:dom0.console", *boot(options)]
    for port, image in enumerate(("root.img", "root.img", "payload.img")):
        line += drive(f"disk{port}", image, snapshot="on", cache="unsafe")
        line += ["-device", f"ide-hd,drive=disk{port},bus=ide.{port}"]
    line += ["-fsdev", "local,id=share,path=share,security_model=none,multidevs=remap",
             "-device", f"virtio-9p-pci,fsdev=share,mount_tag=share,addr={SHARE_SLOT:#x}"]
    for device in nested:
        if device.disk:
            name = device.disk.partition(".")[0]
            line += drive(name, device.disk, cache="unsafe", discard="unmap")
        line += ["-device", device.arguments]
    for arguments in options.qemu_args:
        line += shlex.split(arguments)
    return line


class Machine:
    """The running QEMU. It dies with the rig, whatever happens to the rig."""

    def __init__(self, line, directory):
        ours, theirs = socket.socketpair()
        line = line + ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}",
                       "-mon", "chardev=qmp,mode=control"]
        (directory / "qemu.command").write_text(shlex.join(line) + "\n", encoding="utf-8")
        self.log = directory / "qemu.log"
        parent = os.getpid()

        def in_child():
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)  # the rig ended before the line above

        with open(self.log, "wb") as log:
            # A session of its own: Ctrl-C is for the rig, which then ends QEMU in order.
            self.process = subprocess.Popen(
                line, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[theirs.fileno()], start_new_session=True, preexec_fn=in_child,
                env=dict(os.environ, TMPDIR=str(directory)))
        theirs.close()
        self.socket = ours
        self.stream = None

    def running(self):
        return self.process.poll() is None

    def qmp(self, name, arguments=None, limit=10):
        """Run a QMP command and return its answer, a dictionary with `return` or `error`."""
        self.socket.settimeout(limit)
        if self.stream is None:
            self.stream = self.socket.makefile("rwb")
            self.stream.readline()  # greeting
            self._ask({"execute": "qmp_capabilities"})
        request = {"execute": name}
        if arguments:
            request["arguments"] = arguments
        return self._ask(request)

    def _ask(self, request):
        self.stream.write(json.dumps(request).encode() + b"\n")
        self.stream.flush()
        while True:
            line = self.stream.readline()
            if not line:
                return {"error": {"desc": "QEMU closed its control socket"}}
            answer = json.loads(line)
            if "return" in answer or "error" in answer:
                return answer

    def end(self):
        """End QEMU: politely, then for good."""
        if self.running():
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.socket.close()
