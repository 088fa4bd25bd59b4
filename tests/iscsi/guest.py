# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Linux machine in QEMU whose only disk is a logical unit of ours.

The disk is `scsi-block` on virtio-scsi over QEMU's iscsi driver, so that the target gets the very commands
of Linux's sd driver. The kernel is Debian's, fetched by scripts/guest_kernel.sh; the root file system is
made here: busybox, mkfs.ext4, a few modules and a script.
"""

import os
import pathlib
import re
import shutil
import subprocess

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
KERNEL = pathlib.Path(os.environ.get("WNBD_GUEST", REPOSITORY / "build" / "guest")).resolve()

INIT = """#!/bin/sh
export PATH=/bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for module in {modules}; do insmod /modules/$module.ko; done
for attempt in $(seq 100); do [ -b /dev/sda ] && break; usleep 100000; done
if sh -e /script 2>&1; then echo "guest: done"; else echo "guest: failed"; fi
sync
poweroff -f
"""


def _modules(*wanted):
    """Paths of modules and of all they depend on, each after what it needs."""
    found = {path.stem: path for path in KERNEL.rglob("*.ko")}
    ordered = {}

    def add(name):
        if name in ordered:
            return
        depends = re.search(rb"\0depends=([^\0]*)\0", b"\0" + found[name].read_bytes())
        for needed in depends[1].decode().split(",") if depends and depends[1] else []:
            add(needed.replace("-", "_") if needed not in found else needed)
        ordered[name] = found[name]

    for name in wanted:
        add(name)
    return ordered


def _libraries(program):
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", listed)


def _copy(source, root, target):
    target = root / target.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def build_root(folder, script):
    """An initramfs in `folder` whose init runs `script`; its path."""
    root = pathlib.Path(folder) / "root"
    for name in ("bin", "dev", "proc", "sys", "mnt", "modules"):
        (root / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    _copy(busybox, root, "/bin/busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in applets.stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    mkfs = shutil.which("mkfs.ext4", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    _copy(mkfs, root, "/bin/mkfs.ext4")
    for library in _libraries(mkfs):
        _copy(library, root, library)
    modules = _modules("virtio_pci", "virtio_scsi", "sd_mod")
    for name, path in modules.items():
        _copy(path, root, f"/modules/{name}.ko")
    init = root / "init"
    init.write_text(INIT.format(modules=" ".join(modules)))
    (root / "script").write_text(script)
    init.chmod(0o755)
    image = pathlib.Path(folder) / "initramfs"
    with open(image, "wb") as out:
        subprocess.run(
            "find . | cpio --quiet -o -H newc", shell=True, cwd=root, stdout=out, check=True
        )
    shutil.rmtree(root)
    return image


def boot(folder, url, script, timeout=180):
    """Runs `script` in a machine with the disk as /dev/sda until it powers off; what it printed."""
    image = build_root(folder, script)
    finished = subprocess.run(
        [
            "qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-m", "256", "-nodefaults",
            "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
            "-kernel", str(KERNEL / "vmlinuz"), "-initrd", str(image),
            "-append", "console=ttyS0 quiet panic=-1 tsc=reliable",
            "-device", "virtio-scsi-pci",
            "-drive", f"if=none,id=disk,format=raw,file.driver=iscsi,{_drive(url)}",
            "-device", "scsi-block,drive=disk",
        ],  # fmt: skip
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    said = finished.stdout.decode("utf-8", "replace").replace("\r\n", "\n")
    if finished.returncode or "guest: done" not in said:
        raise AssertionError(f"the guest ended with {finished.returncode}:\n{said}")
    return said


def _drive(url):
    address, target, lun = re.fullmatch(r"iscsi://([^/]+)/([^/]+)/(\d+)", url).groups()
    return (
        f"file.transport=tcp,file.portal={address},file.target={target},file.lun={lun},"
        "file.initiator-name=iqn.2026-11.org.example:guest"
    )
