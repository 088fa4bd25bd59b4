# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Ceph RBD image as a Windows disk, and what becomes of it when servers die.

A cluster from Debian's packages, two NBD servers of one image over TLS, and the Windows client that ships,
in the lab.
Under load, the OSD is killed and started again, then an NBD server is restarted; then that one is killed for
good, and the disk goes on over the other one.
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

from ceph_cluster import Cluster
from demo import MIB, Lab, fail, sha256, show, step

IMAGE = "disk"
IMAGE_SIZE = 128 * MIB
# At the disk's beginning, the payload lies behind it. Small, so that most blocks are written and read again: an
# older content would be seen.
LOAD_REGION = 2 * MIB
PAYLOAD_AT = 64 * MIB + 8192
PAYLOAD_LENGTH = 8 * MIB + 4096
CALIBRATION_IOS = 1000
LOAD_SECONDS = 15  # that a load is to take, undisturbed
OUTAGE = 3  # seconds
# Longer than Ceph takes to break the lock of an exporter that has died (osd_client_watch_timeout, 30 s).
PATIENCE = "request-timeout=60"


def run(*command, **more):
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)


def make_certificates(folder):
    """A certificate authority, the servers' certificate for 127.0.0.1, and the client's. Two folders, laid out
    as qemu and libnbd expect them."""
    server, client = folder / "server", folder / "client"
    for place in (server, client):
        place.mkdir()
    key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    run("openssl", "req", "-x509", *key, "-subj", "/CN=The demo's authority",
        "-keyout", folder / "ca-key.pem", "-out", server / "ca-cert.pem")
    (client / "ca-cert.pem").write_bytes((server / "ca-cert.pem").read_bytes())
    for place, name, usage in ((server, "server", "serverAuth"), (client, "client", "clientAuth")):
        extensions = folder / f"{name}.cnf"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n"
                              f"extendedKeyUsage={usage}\n", encoding="ascii")
        run("openssl", "req", "-new", *key[:-2], "-subj", f"/CN=The demo's {name}",
            "-keyout", place / f"{name}-key.pem", "-out", folder / f"{name}.csr")
        run("openssl", "x509", "-req", "-days", "2", "-in", folder / f"{name}.csr",
            "-CA", server / "ca-cert.pem", "-CAkey", folder / "ca-key.pem", "-CAcreateserial",
            "-extfile", extensions, "-out", place / f"{name}-cert.pem")
    return server, client


class Disk:
    """The mapped disk, in the lab."""

    def __init__(self, lab, work, name, uri, *options):
        self.lab, self.work, self.name = lab, work, name
        print(f"\n> wnbd-client.exe map {name} {uri} {' '.join(options)}".rstrip(), flush=True)
        self.child, self.drive = lab.map(name, uri, *options)
        print(f"\\\\.\\PhysicalDrive{self.drive}", flush=True)

    def replies(self):
        """How many requests it has answered so far."""
        text = self.lab.client("stats", self.name).check().stdout
        return int(re.search(r"TotalReceivedIOReplies\s*: (\d+)", text).group(1))

    def start_load(self, ios, seed):
        return self.lab.start("disktool.exe", "load", self.drive, "--ios", ios, "--depth", 16,
                              "--region", LOAD_REGION, "--seed", seed)

    def load_rate(self):
        """I/Os a second."""
        begin = time.monotonic()
        self.finish_load(self.start_load(CALIBRATION_IOS, 1))
        return CALIBRATION_IOS / (time.monotonic() - begin)

    def finish_load(self, load):
        code = load.wait(timeout=300)
        if code != 0:
            fail(f"the load ended with {code}\n{load.output()}\n{self.child.output()}")
        print(f"the load: {load.output().strip()}", flush=True)

    def under_load(self, ios, seed, disturb):
        """A load with its content checked; `disturb` comes in its middle, and it must outlive that."""
        load = self.start_load(ios, seed)
        begun = self.replies()
        while self.replies() < begun + ios // 10:
            if load.poll() is not None:
                fail(f"the load ended too early\n{load.output()}")
        disturb()
        if load.poll() is not None:
            fail("the load was over before the servers were back: nothing is shown\n"
                 f"{load.output()}\n{self.child.output()}")
        left = self.replies()
        self.finish_load(load)
        print(f"{self.replies() - left} requests were answered after that", flush=True)

    def write(self, payload):
        show(self.lab, "disktool.exe", "write", self.drive, self.lab.windows_path(payload),
             "--offset", PAYLOAD_AT, "--flush")

    def read(self):
        copy = self.work / "read"
        show(self.lab, "disktool.exe", "read", self.drive, self.lab.windows_path(copy), "--unbuffered")
        return copy

    def unmap(self):
        show(self.lab, "wnbd-client.exe", "unmap", self.name)
        if self.child.wait(timeout=30) != 0:
            fail(f"map ended with exit code {self.child.returncode}\n{self.child.output()}")
        print(f"What `map` said meanwhile:\n{self.child.output().rstrip()}", flush=True)


def compare(disk, cluster, payload, where):
    """What the disk says, and what Ceph says by a way that has nothing of ours."""
    step(f"{where}: the disk and `rbd export` must be the same, and hold the payload")
    copy, exported = disk.read(), disk.work / "exported"
    exported.unlink(missing_ok=True)
    show(disk.lab, "disktool.exe", "flush", disk.drive)
    cluster.run("rbd", "export", "--no-progress", IMAGE, exported)
    print(f"disk       sha256 {sha256(copy)}\nrbd export sha256 {sha256(exported)}", flush=True)
    if sha256(copy) != sha256(exported):
        fail("they differ")
    with open(exported, "rb") as file:
        file.seek(PAYLOAD_AT)
        if file.read(PAYLOAD_LENGTH) != payload.read_bytes():
            fail("the payload is not there")
    print(f"the payload of {PAYLOAD_LENGTH} bytes is at {PAYLOAD_AT}", flush=True)


def restart_osd(cluster):
    print(f"the OSD is killed, and started {OUTAGE} s later", flush=True)
    begin = time.monotonic()
    cluster.osd.kill()
    time.sleep(OUTAGE)
    cluster.osd.start()
    cluster.wait_for_osd()
    print(f"the OSD is up again after {time.monotonic() - begin:.1f} s", flush=True)


def restart_exporter(exporter):
    print(f"the exporter is stopped, and started {OUTAGE} s later", flush=True)
    exporter.stop()
    time.sleep(OUTAGE)
    exporter.start()
    print("the exporter is up again", flush=True)


def kill_exporter(exporter):
    exporter.kill()
    print("the first exporter is dead, and stays so; Ceph shuts it out after some 30 s, and only then lets the "
          "other one write", flush=True)


def address(exporter):
    return f"127.0.0.1:{exporter.port}"


def disk_life(lab, cluster, work, first, second, uri):
    step("Map the image: Windows has a disk whose blocks lie in the cluster")
    show(lab, "wnbd-client.exe", "install-driver", lab.inf)
    disk = Disk(lab, work, "image", uri)
    show(lab, "wnbd-client.exe", "show", disk.name)

    step(f"Write {PAYLOAD_LENGTH} bytes at {PAYLOAD_AT}, flush, and put load on it")
    payload = work / "payload"
    payload.write_bytes(os.urandom(PAYLOAD_LENGTH))
    disk.write(payload)
    rate = disk.load_rate()
    ios = max(CALIBRATION_IOS, int(rate * LOAD_SECONDS))
    print(f"{rate:.0f} I/Os a second", flush=True)

    step("Kill the OSD under load: the requests wait for it, and none fails")
    disk.under_load(ios, 2, lambda: restart_osd(cluster))
    step("Restart the exporter under load: the client connects again and replays what was not answered")
    disk.under_load(ios, 3, lambda: restart_exporter(first))
    compare(disk, cluster, payload, "After both")
    disk.unmap()

    step("Map it with both exporters, and kill the first one for good, under load")
    disk = Disk(lab, work, "image", uri + "&host=" + urllib.parse.quote(address(second), safe=":"))
    disk.under_load(ios, 4, lambda: kill_exporter(first))
    compare(disk, cluster, payload, "Over the second exporter")
    disk.unmap()
    show(lab, "wnbd-client.exe", "uninstall-driver")


def main():
    parser = argparse.ArgumentParser(prog="./run demo --ceph", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", action="store_true", help="without TLS")
    plain = parser.parse_args().plain
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="wnbd-demo-") as folder:
        work = Path(folder)
        step("Start a Ceph cluster: one monitor, one OSD (bluestore), on the loopback")
        with Cluster() as cluster:
            cluster.make_image(IMAGE, IMAGE_SIZE)
            print(cluster.run("rbd", "info", IMAGE).strip(), flush=True)
            step("Export the image twice" + ("" if plain else ", over TLS, with client certificates asked for"))
            server, client = (None, None) if plain else make_certificates(work)
            first, second = (cluster.export(IMAGE, name, server) for name in ("first", "second"))
            print(f"qemu-storage-daemon serves it at {address(first)} and {address(second)}", flush=True)
            if elsewhere := cluster.listeners_elsewhere():
                fail(f"something listens outside the loopback: {elsewhere}")
            step("Open a lab")
            with Lab() as lab:
                query, scheme = PATIENCE, "nbd"
                if client is not None:
                    folder = urllib.parse.quote(lab.windows_path(client), safe="")
                    query, scheme = f"tls-certificates={folder}&{PATIENCE}", "nbds"
                disk_life(lab, cluster, work, first, second, f"{scheme}://{address(first)}/{IMAGE}?{query}")
            step("Stop the cluster")
    print("\ndemo: passed")


if __name__ == "__main__":
    main()
