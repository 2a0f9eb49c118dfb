# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache: a base root for each release, and run images with the project installed.

Two layers, each named by a hash of everything that went into it:

  base-RELEASE-HASH/root    a Debian root made by mmdebstrap, with kernel, Xen and compilers
  image-RELEASE-HASH/       root.img, vmlinuz, initrd, xen and build.log of one source state

A layer is made under a temporary name and renamed when complete, so a layer that exists is
a good one. A run holds a shared lock on its image, so that pruning never takes it away.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import time

from ui import Failure

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent

# Raise it when a change to this file makes older layers unusable.
LAYER_FORMAT = 1
KEEP_IMAGES = 3

# Debian roots are made and changed with things mounted in them. In a mount name space of its
# own the kernel takes every mount away with the last process, however that process ended.
CONFINED = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork",
            "--kill-child", "--mount-proc"]

XEN_VERSION = {"bookworm": "4.17", "trixie": "4.20"}
RELEASES = tuple(XEN_VERSION)

PACKAGES = """
    linux-image-amd64 linux-headers-amd64 initramfs-tools busybox-static zstd
    xen-hypervisor-{xen}-amd64 xen-utils-{xen} xenstore-utils qemu-system-xen
    gcc libc6-dev make autoconf automake libtool pkg-config
    libxen-dev libev-dev libseccomp-dev libjson-c-dev uthash-dev check
    udev kmod iproute2 procps util-linux mount pciutils strace psmisc
    e2fsprogs xfsprogs fio jq
"""

# Not needed at run time by anything that the rig starts.
DPKG_EXCLUDES = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
)

# Changes here cannot change what gets installed, so they need no new image.
SOURCE_IGNORED = ("tools/rig/", ".ci/", ".git", "quickstart")


def packages(release):
    return PACKAGES.format(xen=XEN_VERSION[release]).split()


def cache_dir():
    explicit = os.environ.get("XVSHIM_RIG_CACHE")
    if explicit:
        return pathlib.Path(explicit).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(home) / "xvshim-rig"


def digest(*parts):
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def file_digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


@contextlib.contextmanager
def locked(path, notice):
    """Hold an exclusive lock on `path`; call `notice` if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="ascii") as handle:
        if not try_lock(handle):
            notice()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def try_lock(handle):
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def source_files():
    """The files of the project as a user would get them: tracked, or new and not ignored."""
    # A checkout may belong to another user, as in a container of a CI.
    command = ["git", "-c", "safe.directory=*", "-C", str(PROJECT), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True).stdout
        names = [name.decode() for name in listed.split(b"\0") if name]
    except (OSError, subprocess.CalledProcessError):
        # An unpacked release tarball has no git: take all of it.
        names = [str(path.relative_to(PROJECT)) for path in PROJECT.rglob("*")]
        names = [name for name in names
                 if not name.startswith((".git/", "build/", "build-", "autom4te.cache/"))]
    names = [name for name in names if (PROJECT / name).is_file()]
    return sorted(set(names))


def source_digest(names):
    kept = [name for name in names
            if not name.startswith(SOURCE_IGNORED) and not name.endswith(".md")]
    modes = [(PROJECT / name).stat().st_mode & 0o111 for name in kept]
    return digest([(n, bool(m), file_digest(PROJECT / n)) for n, m in zip(kept, modes)])


class Layers:
    """Builds what is missing and returns paths into the cache."""

    def __init__(self, ui):
        self.ui = ui
        self.top = cache_dir()

    # -- base root ---------------------------------------------------------------

    def base_key(self, release):
        mirror = os.environ.get("XVSHIM_RIG_MIRROR", "")
        return digest(LAYER_FORMAT, release, packages(release), DPKG_EXCLUDES, mirror)

    def base(self, release):
        path = self.top / f"base-{release}-{self.base_key(release)}"
        if not path.exists():
            with self._build_lock(release):
                if not path.exists():
                    self._build_base(release, path)
        os.utime(path)
        return path

    def _build_base(self, release, path):
        need_root("building a Debian root")
        need_tools("mmdebstrap", "unshare")
        scratch = self._scratch(path)
        log = scratch / "build.log"
        command = [*CONFINED, "mmdebstrap", "--mode=root", "--variant=apt",
                   "--include=" + ",".join(packages(release)),
                   "--aptopt=APT::Install-Recommends \"false\""]
        command += [f"--dpkgopt=path-exclude={pattern}" for pattern in DPKG_EXCLUDES]
        command += [release, str(scratch / "root")]
        mirror = os.environ.get("XVSHIM_RIG_MIRROR")
        if mirror:
            command.append(mirror)
        with self.ui.step(f"base root {release}: mmdebstrap (log: {log})"):
            self._logged("mmdebstrap", command, log)
        scratch.rename(path)

    # -- run image ---------------------------------------------------------------

    def image_key(self, release, names):
        tools = [file_digest(HERE / name)
                 for name in ("build-image", "initrd.py", "guest/initramfs-init")]
        return digest(LAYER_FORMAT, self.base_key(release), source_digest(names), tools)

    def newest_image(self, release):
        """The image made last, whatever happened to the sources since."""
        made = sorted(self.top.glob(f"image-{release}-*"), key=lambda path: path.stat().st_mtime)
        if not made:
            return self.image(release)
        self.ui.note(f"run image {release}: the newest there is, sources not looked at")
        return made[-1], self._hold(made[-1])

    def image(self, release):
        """Return (path, lock): the lock has to stay open for as long as the image is used."""
        names = source_files()
        path = self.top / f"image-{release}-{self.image_key(release, names)}"
        if not path.exists():
            base = self.base(release)
            with self._build_lock(release):
                if not path.exists():
                    self._build_image(release, base, names, path)
                    self._prune(release, path)
        else:
            self.ui.note(f"run image {release}: cached")
        os.utime(path)
        return path, self._hold(path)

    def _build_image(self, release, base, names, path):
        need_root("building the run image")
        need_tools("unshare", "mke2fs", "tar")
        scratch = self._scratch(path)
        listing = scratch / "files"
        listing.write_text("".join(name + "\0" for name in names), encoding="utf-8")
        log = scratch / "build.log"
        self.ui.note(f"run image {release}: building (log: {log})")
        command = [*CONFINED, "sh", str(HERE / "build-image"),
                   str(base / "root"), str(PROJECT), str(scratch)]
        try:
            self._stepped(command, log)
        finally:
            shutil.rmtree(scratch / "work", ignore_errors=True)
        scratch.rename(path)

    # -- machines at once --------------------------------------------------------

    @contextlib.contextmanager
    def slot(self):
        """Wait for leave to boot a machine.

        Two emulated machines on two processors get on with each other; with a third, locks
        spin while their holders wait, and all of them together run into their time-outs.
        """
        count = int(os.environ.get("XVSHIM_RIG_SLOTS", max(2, os.cpu_count() // 2)))
        with contextlib.ExitStack() as stack:
            slots = [stack.enter_context(open(self.top / f"lock-slot{i}", "w", encoding="ascii"))
                     for i in range(count)]
            if not any(try_lock(slot) for slot in slots):
                self.ui.note(f"waiting: {count} other rigs run (XVSHIM_RIG_SLOTS allows more)")
                while not any(try_lock(slot) for slot in slots):
                    time.sleep(0.5)
            yield

    # -- helpers -----------------------------------------------------------------

    def _build_lock(self, release):
        def notice():
            self.ui.note(f"waiting: another rig builds for {release}")
        return locked(self.top / f"lock-{release}", notice)

    def _scratch(self, path):
        # Only the holder of the build lock is here: what is half made was left behind.
        kind_release = path.name.rpartition("-")[0]
        for leftover in self.top.glob(f"making-{kind_release}-*"):
            remove_tree(leftover)
        scratch = path.with_name("making-" + path.name)
        scratch.mkdir(parents=True)
        return scratch

    def _hold(self, path):
        handle = open(path / "vmlinuz", "rb")
        fcntl.flock(handle, fcntl.LOCK_SH)
        return handle

    def _prune(self, release, newest):
        images = sorted(self.top.glob(f"image-{release}-*"),
                        key=lambda path: path.stat().st_mtime, reverse=True)
        bases = [path for path in self.top.glob(f"base-{release}-*")
                 if not path.name.endswith(self.base_key(release))]
        for path in images[KEEP_IMAGES:] + bases:
            if path != newest and not self._in_use(path):
                remove_tree(path)

    def _in_use(self, path):
        try:
            with open(path / "vmlinuz", "rb") as handle:
                return not try_lock(handle)
        except OSError:
            return False  # no image, or half made

    def _logged(self, what, command, log):
        with open(log, "ab") as out:
            result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out,
                                    stderr=out, check=False)
        if result.returncode != 0:
            self._fail_with_log(what, log)

    def _stepped(self, command, log):
        """Run a script that names its steps on stdout and writes the rest to stderr."""
        with open(log, "ab") as err, subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=err, text=True) as process:
            try:
                for line in process.stdout:
                    self.ui.phase(line.strip())
            except BaseException:
                process.kill()
                raise
            finally:
                self.ui.phase(None)
        if process.returncode != 0:
            self._fail_with_log("the build", log)

    def _fail_with_log(self, what, log):
        kept = self.top / "last-failed-build.log"
        shutil.copy(log, kept)
        self.ui.tail(kept, 40)
        raise Failure(f"{what} failed, see {kept}")

    def clean(self):
        if not self.top.exists():
            return
        for path in self.top.iterdir():
            if path.is_dir() and self._in_use(path):
                self.ui.note(f"{path.name}: in use, left alone")
            elif path.is_dir():
                self.ui.note(f"removing {path.name}")
                remove_tree(path)
            elif not path.name.startswith("lock-"):
                path.unlink()


def need_root(what):
    if os.geteuid() != 0:
        raise Failure(f"{what} needs root; run `rig build` once as root")


def need_tools(*names):
    missing = [name for name in names if not shutil.which(name)]
    if missing:
        raise Failure("not installed on this machine: " + " ".join(missing))


def remove_tree(path):
    """Remove a layer, after making sure that nothing is mounted in it."""
    if not path.exists():
        return
    mounts = pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    inside = [line.split()[1] for line in mounts if line.split()[1].startswith(f"{path}/")]
    if inside:
        raise Failure(f"{inside[0]} is still mounted, not removing {path}")
    if path.name.startswith(("base-", "image-")):
        # Without its final name a half removed layer is never taken for a good one.
        doomed = path.with_name("making-" + path.name)
        if doomed.exists():
            shutil.rmtree(doomed)
        path = path.rename(doomed)
    shutil.rmtree(path)
