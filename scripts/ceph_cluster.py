# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Ceph cluster of one monitor and one OSD on the loopback, and NBD exporters of its images.

Everything lies in one temporary folder and runs in the foreground of this process: the kernel ends it if
this process ends in whatever way, and leaving the `with` block removes all of it.
"""
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

START_TIMEOUT = 120  # seconds; a fresh OSD takes eight on an idle machine
STOP_TIMEOUT = 60

CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{port_v2},v1:127.0.0.1:{port_v1}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_allow_insecure_global_id_reclaim = false
ms_bind_port_min = 46800
ms_bind_port_max = 46900
keyring = {folder}/keyring
run_dir = {folder}/run
admin_socket = {folder}/run/$name.asok
log_file = {folder}/log/$name.log
crash_dir = {folder}/log
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
[client]
log_file =
admin_socket =
[mon]
mon_data = {folder}/mon
mon_cluster_log_file = {folder}/log/cluster.log
[osd]
osd_data = {folder}/osd
bluestore_block_size = 4294967296
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def die_with_parent():
    """Runs in a child before its program: SIGKILL when the parent ends."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def wait_for(condition, what, process=None, timeout=START_TIMEOUT):
    end = time.monotonic() + timeout
    while not condition():
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{what}: it ended with {process.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {timeout} s")
        time.sleep(0.1)


class Daemon:
    """A program that stays; its output goes to a file."""

    def __init__(self, command, log):
        self.command = [str(word) for word in command]
        self.log = log
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=die_with_parent)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """As a power cut would end it."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks it to end, and makes it if it does not."""
        if not self.running():
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()


class Exporter(Daemon):
    """qemu-storage-daemon with one image of the cluster. `tls` is a folder with certificates, or None."""

    def __init__(self, cluster, image, name, tls=None):
        self.port = free_port()
        server = f"addr.type=inet,addr.host=127.0.0.1,addr.port={self.port}"
        credentials = []
        if tls is not None:
            credentials = ["--object", f"tls-creds-x509,id=tls,endpoint=server,dir={tls},verify-peer=on"]
            server += ",tls-creds=tls"
        super().__init__(
            # cache.direct: what is acknowledged is in the cluster, not in this process, which may be
            # killed, and which is not the only one.
            ["qemu-storage-daemon", *credentials, "--blockdev",
             f"driver=rbd,node-name=disk,pool=rbd,image={image},conf={cluster.configuration},user=admin,"
             "discard=unmap,cache.direct=on", "--nbd-server", server,
             "--export", f"type=nbd,id=export,node-name=disk,name={image},writable=on"],
            cluster.folder / f"log/{name}.log")

    def start(self):
        super().start()
        wait_for(self.answers, f"{self.command[0]} on port {self.port}, see {self.log}", self.process)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False


class Cluster:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="wnbd-ceph-"))
        self.configuration = self.folder / "ceph.conf"
        self.daemons = []  # in the order of their start

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        for daemon in reversed(self.daemons):
            daemon.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command, timeout=START_TIMEOUT):
        """A command of Ceph's to its end; what it printed."""
        words = [str(word) for word in command]
        environment = os.environ | {"CEPH_CONF": str(self.configuration)}
        done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def _daemon(self, *command):
        daemon = Daemon(command, self.folder / f"log/{command[0]}.out")
        self.daemons.append(daemon)
        daemon.start()
        return daemon

    def _start(self):
        for name in ("mon", "osd", "run", "log"):
            (self.folder / name).mkdir()
        fsid, port_v2, port_v1 = uuid.uuid4(), free_port(), free_port()
        self.configuration.write_text(CONFIGURATION.format(
            fsid=fsid, port_v2=port_v2, port_v1=port_v1, folder=self.folder), encoding="ascii")
        self._make_keys()
        addresses = f"[v2:127.0.0.1:{port_v2},v1:127.0.0.1:{port_v1}]"
        self.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", addresses, self.folder / "monmap")
        self.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", self.folder / "monmap",
                 "--keyring", self.folder / "keyring")
        self._daemon("ceph-mon", "-c", self.configuration, "-i", "a", "-f")
        self.run("ceph", "--connect-timeout", START_TIMEOUT, "-s")
        osd = str(uuid.uuid4())
        self.run("ceph", "osd", "new", osd)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.osd = self._daemon("ceph-osd", "-c", self.configuration, "-i", "0", "-f")
        self.wait_for_osd()
        self.run("ceph", "osd", "pool", "create", "rbd", "8", "8", "replicated", "--size", "1")
        self.run("ceph", "osd", "pool", "application", "enable", "rbd", "rbd")

    def _make_keys(self):
        keyring = self.folder / "keyring"
        make = ("ceph-authtool", keyring, "--gen-key", "-n")
        self.run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.",
                 "--cap", "mon", "allow *")
        self.run(*make, "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *",
                 "--cap", "mgr", "allow *")
        self.run(*make, "osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *",
                 "--cap", "mgr", "allow profile osd")

    def wait_for_osd(self):
        wait_for(lambda: "1 up" in self.run("ceph", "osd", "stat"), f"the OSD, see {self.folder}/log",
                 self.osd.process)

    def make_image(self, name, size):
        self.run("rbd", "create", f"rbd/{name}", "--size", f"{size // (1 << 20)}M")

    def export(self, image, name, tls=None):
        """An exporter of the image, running."""
        exporter = Exporter(self, image, name, tls)
        self.daemons.append(exporter)
        exporter.start()
        return exporter

    def listeners_elsewhere(self):
        """Addresses beside 127.0.0.1 that one of the daemons listens on; there must be none."""
        pids = {daemon.process.pid for daemon in self.daemons}
        found = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
        return [line.split()[3] for line in found.splitlines()
                if any(int(pid) in pids for pid in re.findall(r"pid=(\d+)", line))
                and not line.split()[3].startswith("127.0.0.1:")]
