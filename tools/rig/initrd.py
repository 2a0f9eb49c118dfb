# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot files: initial ramdisk, kernel and Xen, in the shape that loads fastest.

usage: initrd.py ROOT KERNEL-RELEASE OUT    writes OUT/initrd, OUT/vmlinuz and OUT/xen

The ramdisk holds a static busybox, the few modules that lead to a root disk, and one script.
It serves dom0 and every domU. A distribution's own would hold udev and much else and cost
several seconds of every boot under emulation, twice.
"""

import gzip
import lzma
import pathlib
import stat
import subprocess
import sys

# Which modules lead to the disk: in dom0 an AHCI disk, in a domU a Xen block device.
COMMON = ("crc32c_generic", "ext4", "overlay")
DISK = {"ahci": ("ahci", "sd_mod"), "xen": ("xen-blkfront",)}
APPLETS = ("sh", "mount", "insmod", "switch_root", "mkdir", "usleep", "cat", "poweroff", "ln",
           "readlink")

XZ_MAGIC = b"\xfd7zXZ\0"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ELF_MAGIC = b"\x7fELF"


def unpacked_kernel(image):
    """Return the ELF kernel inside a bzImage, or the image itself where that fails.

    Xen and xl take both. Unpacking it here costs nothing; under emulation it costs seconds.
    """
    for unpack, magic in ((_unxz, XZ_MAGIC), (_unzstd, ZSTD_MAGIC)):
        at = image.find(magic)
        if at >= 0:
            kernel = unpack(image[at:])
            if kernel and kernel.startswith(ELF_MAGIC):
                return kernel
    return image


def _unxz(data):
    try:
        return lzma.LZMADecompressor().decompress(data)
    except lzma.LZMAError:
        return None


def _unzstd(data):
    # Bytes follow the compressed stream, so zstd complains after it has written the kernel.
    try:
        return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True,
                              check=False).stdout
    except OSError:
        return None


def module_closure(moddir, names):
    """File names of `names` and all they need, in the order in which to load them."""
    needs = {}
    for line in (moddir / "modules.dep").read_text(encoding="ascii").splitlines():
        path, _, rest = line.partition(":")
        # modules.dep lists the nearest dependency first.
        needs[path] = list(reversed(rest.split()))
    by_name = {module_name(path): path for path in needs}
    ordered = []
    for name in names:
        path = by_name.get(name.replace("-", "_"))
        if path is None:
            continue  # built into the kernel
        for item in needs[path] + [path]:
            if item not in ordered:
                ordered.append(item)
    return ordered


def module_name(path):
    return pathlib.PurePath(path).name.partition(".ko")[0].replace("-", "_")


def read_module(path):
    data = path.read_bytes()
    if data.startswith(XZ_MAGIC):
        return lzma.decompress(data)
    if data.startswith(ZSTD_MAGIC):
        return _unzstd(data)
    return data


class Archive:
    """A cpio archive in the `newc` format, as the kernel wants it."""

    def __init__(self, out):
        self.out = out
        self.inode = 0

    def add(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        name = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self._padded(header + name)
        self._padded(data)

    def _padded(self, data):
        self.out.write(data + b"\0" * (-len(data) % 4))

    def close(self):
        self.add("TRAILER!!!", 0)


def write(path, root, release, init_script):
    """Write the ramdisk for kernel `release` with modules and busybox from `root`."""
    moddir = root / "lib/modules" / release
    with open(path, "wb") as out:
        archive = Archive(out)
        for name in ("bin", "dev", "proc", "sys", "root", "rw", "modules"):
            archive.add(name, stat.S_IFDIR | 0o755)
        archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
        archive.add("bin/busybox", stat.S_IFREG | 0o755, _busybox(root))
        for applet in APPLETS:
            archive.add(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox")
        archive.add("init", stat.S_IFREG | 0o755, pathlib.Path(init_script).read_bytes())
        _add_modules(archive, moddir)
        archive.close()


def _busybox(root):
    for name in ("usr/bin/busybox", "bin/busybox"):
        if (root / name).is_file():
            return (root / name).read_bytes()
    raise FileNotFoundError("no busybox in the root")


def _add_modules(archive, moddir):
    added = set()
    for kind, disk in DISK.items():
        order = module_closure(moddir, COMMON + disk)
        for item in order:
            name = module_name(item)
            if name not in added:
                added.add(name)
                archive.add(f"modules/{name}.ko", stat.S_IFREG | 0o644,
                            read_module(moddir / item))
        listing = " ".join(module_name(item) for item in order)
        archive.add(f"modules/{kind}", stat.S_IFREG | 0o644, listing.encode() + b"\n")


def main():
    root, release, out = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    kernel = (root / "boot" / f"vmlinuz-{release}").read_bytes()
    (out / "vmlinuz").write_bytes(unpacked_kernel(kernel))
    # QEMU's multiboot loader wants Xen unpacked.
    xen = next((root / "boot").glob("xen-*.gz"))
    (out / "xen").write_bytes(gzip.decompress(xen.read_bytes()))
    script = pathlib.Path(__file__).resolve().parent / "guest" / "initramfs-init"
    write(out / "initrd", root, release, script)


if __name__ == "__main__":
    main()
