# SPDX-License-Identifier: GPL-2.0-or-later
"""One run: makes its directory, boots, watches until the end, and says what came of it."""

import contextlib
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import time

import consoles
import machine
import qmpdoor
from layers import HERE, need_tools
from ui import Failure

POLL = 0.1
# After a fatal line: time for the rest of the trace to come out.
FATAL_GRACE = 4
# After dom0 said that it is through: time to switch itself off.
OFF_LIMIT = 30
STATUS_TIMEOUT = 124
STATUS_FINDING = 3
TAIL_LINES = 40


class Run:
    """A run and its directory: links to the boot files, disks, consoles, and the share."""

    def __init__(self, ui, image, options):
        self.ui = ui
        self.image = image
        self.options = options
        self.nested = [machine.Nested.parse(i, text) for i, text in enumerate(options.nested)]
        self.scanner = consoles.Scanner(options.allow)
        self.tails = {}

    def __call__(self):
        with self._directory() as directory:
            self.directory = directory
            self.share = directory / "share"
            self._prepare()
            try:
                self._boot()
                self._check()
            except Failure:
                self._explain()
                raise

    # -- preparation -------------------------------------------------------------

    @contextlib.contextmanager
    def _directory(self):
        if self.options.keep:
            directory = pathlib.Path(self.options.keep).absolute()
            directory.mkdir(parents=True, exist_ok=True)
            leftovers = directory / "share"
            if leftovers.exists():
                shutil.rmtree(leftovers)
            yield directory
            for name in ("xen", "vmlinuz", "initrd", "root.img"):
                (directory / name).unlink(missing_ok=True)
        else:
            with tempfile.TemporaryDirectory(prefix="rig-") as name:
                yield pathlib.Path(name)

    def _prepare(self):
        for name in ("xen", "vmlinuz", "initrd", "root.img"):
            link = self.directory / name
            link.unlink(missing_ok=True)
            link.symlink_to(self.image / name)
        self.share.mkdir()
        (self.share / "qmp").mkdir()
        (self.directory / "dom0.console").write_bytes(b"")
        for device in self.nested:
            if device.disk:
                self._sparse(self.directory / device.disk, self.options.disk)
        self._payload()

    def _sparse(self, path, size):
        path.unlink(missing_ok=True)
        with open(path, "wb") as disk:
            disk.truncate(size)

    def _payload(self):
        """A small disk with the guest's side of the rig and the scripts of this run."""
        files = self.options.files and pathlib.Path(self.options.files).resolve()
        if files and files in self.directory.resolve().parents:
            raise Failure(f"--keep {self.directory} lies in --files {files}, which is copied", 2)
        top = self.directory / "payload"
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir()
        shutil.copytree(HERE / "guest", top / "guest")
        if self.options.files:
            shutil.copytree(self.options.files, top / "files")
        for side in ("dom0", "domu"):
            script = getattr(self.options, side)
            if script:
                target = top / f"{side}.sh"
                shutil.copy(script, target)
                target.chmod(0o755)
        (top / "config").write_text(self._config(), encoding="utf-8")
        size = sum(path.stat().st_size + 4096 for path in top.rglob("*")) // 1024 * 2 + 4096
        image = self.directory / "payload.img"
        self._sparse(image, 0)
        mke2fs = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^has_journal",
                  "-d", str(top), str(image), f"{size}k"]
        subprocess.run(mke2fs, check=True, stdin=subprocess.DEVNULL)
        shutil.rmtree(top)

    def _config(self):
        options = self.options
        values = {
            "RIG_NAME": options.name,
            "RIG_RELEASE": options.release,
            "RIG_GUEST": options.guest,
            "RIG_DOMU": "guest",
            "RIG_BDFS": " ".join(device.bdf for device in self.nested),
            "RIG_NO_ATTACH": "1" if options.no_attach else "",
            "RIG_ATTACH_ARGS": " ".join(options.attach_args),
            "RIG_XVSHIMD_ARGS": " ".join(options.xvshimd_args),
            "RIG_DOMU_ARGS": " ".join(options.domu_args),
        }
        lines = [f"{key}={shlex.quote(value)}" for key, value in values.items()]
        for key, _, value in (text.partition("=") for text in options.set):
            lines.append(f"export {key}={shlex.quote(value)}")
        return "\n".join(lines) + "\n"

    # -- the boot ----------------------------------------------------------------

    def _boot(self):
        need_tools("qemu-system-x86_64")
        options = self.options
        what = "Linux alone" if options.no_xen else "Xen"
        self.ui.note(f"booting {what} with {options.release}, guest {options.guest}, "
                     f"{options.accel}, at most {options.timeout} s")
        qemu = machine.Machine(machine.command(options, self.nested), self.directory)
        door = qmpdoor.Door(qemu, self.share / "qmp")
        try:
            self._watch(qemu, door)
        finally:
            qemu.end()
        self._poll(last=True)
        self._verdict(qemu)

    def _watch(self, qemu, door):
        deadline = time.monotonic() + self.options.timeout
        ended = fatal = None
        while qemu.running():
            self._poll()
            door.serve()
            now = time.monotonic()
            if now > deadline:
                raise Failure(f"not done after {self.options.timeout} s", STATUS_TIMEOUT)
            if self.scanner.fatal:
                fatal = fatal or now
                if now > fatal + FATAL_GRACE:
                    return
            if (self.share / "end").exists():
                ended = ended or now
                if now > ended + OFF_LIMIT:
                    raise Failure("dom0 did not switch itself off")
            time.sleep(POLL)

    def _poll(self, last=False):
        for line in self._tail(self.share / "events").lines(last):
            self.ui.note(line)
        for line in self._tail(self.share / "dom0.out").lines(last):
            self.ui.line("dom0", line)
        for source, path in self._consoles():
            for line in self._tail(path).lines(last):
                self._console_line(source, line)

    def _console_line(self, source, line):
        self.scanner.feed(source, line)
        if line.startswith("domu| "):
            self.ui.line(source, line[len("domu| "):])
        elif self.ui.verbose:
            self.ui.line(f"{source} console", line)

    def _tail(self, path):
        if path not in self.tails:
            self.tails[path] = consoles.Tail(path)
        return self.tails[path]

    def _consoles(self):
        found = [("dom0", self.directory / "dom0.console")]
        for path in sorted((self.share / "console").glob("guest-*.log")):
            found.append((path.stem.removeprefix("guest-"), path))
        return found

    # -- the outcome -------------------------------------------------------------

    def _verdict(self, qemu):
        if self.scanner.fatal:
            raise Failure(self.scanner.summary(), STATUS_FINDING)
        for what, status, reason in self._statuses():
            if status != 0:
                detail = f" ({reason})" if reason else ""
                raise Failure(f"{what} ended with {status}{detail}", status)
        if self.scanner.findings:
            raise Failure(self.scanner.summary(), STATUS_FINDING)
        if not (self.share / "end").exists():
            code = qemu.process.returncode
            raise Failure(f"the machine stopped before the run was over (QEMU status {code})")

    def _statuses(self):
        try:
            text = (self.share / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        for line in text.splitlines():
            what, status, *reason = line.split(" ", 2)
            yield what, int(status), " ".join(reason)

    def _check(self):
        if not self.options.check:
            return
        script = pathlib.Path(self.options.check).absolute()
        self.ui.note("check on the host starts")
        env = dict(os.environ, RIG_KEEP=str(self.directory), RIG_NAME=self.options.name,
                   RIG_RELEASE=self.options.release, RIG_GUEST=self.options.guest)
        result = subprocess.run([str(script)], cwd=script.parent, env=env, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, check=False)
        for line in result.stdout.splitlines():
            self.ui.line("check", line)
        if result.returncode != 0:
            raise Failure(f"check ended with {result.returncode}", result.returncode)

    def _explain(self):
        for source, path in self._consoles():
            self.ui.tail(path, TAIL_LINES, f"the console of {source}")
        self.ui.tail(self.share / "xvshimd.log", TAIL_LINES, "xvshimd's log")
        self.ui.tail(self.directory / "qemu.log", 10, "QEMU's messages")
        for finding in self.scanner.findings[:10]:
            self.ui.note("found: " + finding)
