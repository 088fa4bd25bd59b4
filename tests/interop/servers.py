# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real NBD servers, from Debian's packages, that can be killed and started again at the same address.

Each keeps its files in a folder of its own; `disk` there is what file-based servers serve. The words SOCKET,
PORT, DISK and FOLDER in a command stand for what they name.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

from tests.lab.servers import free_port


class Server:
    """Runs from construction to stop(), kill() or the end of the `with` block."""

    def __init__(self, *words, tcp=True, host="127.0.0.1", size=16 << 20, export="", scheme="nbd", folder=None):
        """`size`: of the disk's file, made unless it is 0; `folder`: another server's, to share its disk."""
        self._own_folder = None if folder else tempfile.TemporaryDirectory(prefix="wnbd-nbd-")
        self.folder = pathlib.Path(folder or self._own_folder.name)
        self.disk = self.folder / "disk"
        if size and not self.disk.exists():
            self.disk.touch()
            os.truncate(self.disk, size)
        self.size = size
        self.host = host
        self.export = export
        self.scheme = scheme
        self.port = free_port() if tcp else None
        self.socket = None if tcp else self.folder / f"socket{time.monotonic_ns()}"
        self.words = [self._replaced(str(word)) for word in words]
        self.log = open(self.folder / f"log{time.monotonic_ns()}", "w+b")
        self.start()

    def _replaced(self, word):
        for name, value in (("SOCKET", self.socket), ("HOST", self.host), ("PORT", self.port),
                            ("DISK", self.disk), ("FOLDER", self.folder)):  # fmt: skip
            word = re.sub(rf"\b{name}\b", str(value), word)
        return word

    @property
    def address(self):
        """For sockets: (host, port), or a path."""
        return (self.host, self.port) if self.port else str(self.socket)

    def uri(self, export=None, **parameters):
        """Parameters with more than one value are given as lists; _ stands for -."""
        pairs = [("socket", self.socket)] if self.socket else []
        for key, value in parameters.items():
            pairs += [(key.replace("_", "-"), each) for each in (value if isinstance(value, list) else [value])]
        query = "&".join(f"{key}={urllib.parse.quote(str(value))}" for key, value in pairs)
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"{self.scheme}://{host}:{self.port}" if self.port else f"{self.scheme}+unix://"
        name = urllib.parse.quote(self.export if export is None else export)
        return f"{where}/{name}" + (f"?{query}" if query else "")

    def start(self):
        if self.socket:
            self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            self.words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True
        )
        end = time.monotonic() + 30
        while not self.listening():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise AssertionError(f"{self.words} did not start:\n{self.said()}")
            time.sleep(0.01)

    def listening(self):
        """Looked up, not tried: some servers serve one connection and end."""
        if self.port:
            wanted = f":{self.port:04X} "
            tables = [pathlib.Path("/proc/net", name).read_text() for name in ("tcp", "tcp6")]
            # The local address, then a remote one of zeroes, then the state: 0A is LISTEN.
            return any(
                wanted in line and line.split()[1].endswith(wanted.strip()) and line.split()[3] == "0A"
                for line in "".join(tables).splitlines()
            )
        table = pathlib.Path("/proc/net/unix").read_text().splitlines()
        return any(line.endswith(f" {self.socket}") and " 00010000 " in line for line in table)

    def said(self):
        return pathlib.Path(self.log.name).read_text("utf-8", "replace")

    def kill(self):
        """At once, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def restart(self):
        self.kill()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.log.close()
        if self._own_folder:
            self._own_folder.cleanup()


def nbdkit(*words, tcp=True, **more):
    where = ["-i", "HOST", "-p", "PORT"] if tcp else ["-U", "SOCKET"]
    return Server("nbdkit", "-f", "--exit-with-parent", *where, *words, tcp=tcp, **more)


def qemu_nbd(*words, tcp=True, form="raw", disk="DISK", **more):
    where = ["-b", "HOST", "-p", "PORT"] if tcp else ["-k", "SOCKET"]
    return Server("qemu-nbd", "--persistent", *where, "-f", form, "--discard=unmap", *words, disk, tcp=tcp, **more)


def nbd_server(*options, certificates=None, **more):
    """nbd-server with one export, `disk`; `options` are lines of its section. `certificates`: a folder, for TLS."""
    folder = tempfile.TemporaryDirectory(prefix="wnbd-nbd-")
    server = None

    class NbdServer(Server):
        def start(self):
            (self.folder / "config").write_text(
                f"[generic]\nlistenaddr = {self.host}\nport = {self.port}\nallowlist = true\n"
                + (
                    f"certfile = {certificates}/server-cert.pem\nkeyfile = {certificates}/server-key.pem\n"
                    f"cacertfile = {certificates}/ca-cert.pem\nforce_tls = true\n"
                    if certificates
                    else ""
                )
                + f"[disk]\nexportname = {self.disk}\n" + "".join(f"{line}\n" for line in options)
            )
            super().start()

        def __exit__(self, *arguments):
            super().__exit__(*arguments)
            folder.cleanup()

    server = NbdServer("nbd-server", "-d", "-C", "FOLDER/config", export="disk", folder=folder.name, **more)
    return server


class StorageDaemon(Server):
    """qemu-storage-daemon with one node, `disk`, exported under that name, and its monitor."""

    def __init__(self, form="raw", tcp=True, size=16 << 20, nodes=(), writable=True, tls=None, **more):
        """`nodes`: further words; `tls`: the id of an object among them."""
        self.form = form
        folder = tempfile.TemporaryDirectory(prefix="wnbd-nbd-")
        self.monitor_path = pathlib.Path(folder.name) / "monitor"
        if form != "raw":
            subprocess.run(["qemu-img", "create", "-q", "-f", form, f"{folder.name}/disk", str(size)], check=True)
        where = "addr.type=inet,addr.host=HOST,addr.port=PORT" if tcp else "addr.type=unix,addr.path=SOCKET"
        super().__init__(
            "qemu-storage-daemon",
            "--chardev", f"socket,id=monitor,path={self.monitor_path},server=on,wait=off",
            "--monitor", "chardev=monitor",
            "--blockdev", "driver=file,node-name=file,filename=DISK,discard=unmap",
            "--blockdev", f"driver={form},node-name=disk,file=file,discard=unmap",
            *nodes,
            "--nbd-server", f"{where},tls-creds={tls}" if tls else where,
            "--export", f"type=nbd,id=export,node-name=disk,name=disk,writable={'on' if writable else 'off'}",
            tcp=tcp, size=size, export="disk", folder=folder.name, **more,
        )  # fmt: skip
        self._its_folder = folder

    def command(self, command, /, **arguments):
        """One QMP command's answer."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(30)
            monitor.connect(str(self.monitor_path))
            with monitor.makefile("rw") as lines:
                lines.readline()
                for line in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                    print(json.dumps(line), file=lines, flush=True)
                    while "event" in (answer := json.loads(lines.readline())):
                        pass
        if "return" not in answer:
            raise AssertionError(f"{command}: {answer}")
        return answer["return"]

    def resize(self, size):
        """QEMU resizes no node that is exported: the export goes, with its clients' connections, and comes back."""
        self.command("block-export-del", id="export", mode="hard")
        end = time.monotonic() + 30
        while self.command("query-block-exports"):
            assert time.monotonic() < end, "the export stays"
            time.sleep(0.01)
        self.command("block_resize", **{"node-name": "disk", "size": size})
        self.command("block-export-add", **{"type": "nbd", "id": "export", "node-name": "disk", "name": "disk",
                                            "writable": True})  # fmt: skip

    def __exit__(self, *arguments):
        super().__exit__(*arguments)
        self._its_folder.cleanup()
