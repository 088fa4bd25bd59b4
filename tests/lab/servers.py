# SPDX-License-Identifier: LGPL-2.1-or-later
"""NBD servers for the lab's tests: real ones, and one that misbehaves."""
import socket
import struct
import subprocess
import threading
import time

NBDMAGIC = b"NBDMAGIC"
IHAVEOPT = b"IHAVEOPT"
REPLY_MAGIC = 0x3E889045565A9
OPT_EXPORT_NAME, OPT_GO = 1, 7
REP_ACK, REP_INFO = 1, 3
REP_ERR_UNSUP = 2**31 + 1
OPT_GO = 7


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Nbdkit:
    """nbdkit with a plugin and filters: `Nbdkit("memory", "64M")`."""

    def __init__(self, *arguments, filters=()):
        self.port = free_port()
        self.uri = f"nbd://127.0.0.1:{self.port}/"
        command = ["nbdkit", "--foreground", "--ipaddr=127.0.0.1", f"--port={self.port}",
                   *(f"--filter={f}" for f in filters), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"{command} did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)


class Scripted:
    """A server that says what a test tells it to: `talk(connection)` runs for each client."""

    def __init__(self, talk):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.uri = f"nbd://127.0.0.1:{self.port}/x"
        self.talk = talk
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self.talk(connection)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def receive(connection, length):
    data = b""
    while len(data) < length:
        chunk = connection.recv(length - len(data))
        if not chunk:
            raise OSError("the client hung up")
        data += chunk
    return data


def greet(connection):
    """The fixed newstyle greeting, up to and including the client's NBD_OPT_GO. Whatever it asks for before
    that is unknown here."""
    connection.sendall(NBDMAGIC + IHAVEOPT + struct.pack(">H", 3))
    receive(connection, 4)
    while True:
        option, data = receive_option(connection)
        if option == OPT_GO:
            return option, data
        connection.sendall(option_reply(option, REP_ERR_UNSUP))


def receive_option(connection):
    _, option, length = struct.unpack(">8sII", receive(connection, 16))
    return option, receive(connection, length)


def option_reply(option, kind, payload=b""):
    return struct.pack(">QIII", REPLY_MAGIC, option, kind, len(payload)) + payload


def go(connection, size, flags=1):
    """Says yes to NBD_OPT_GO."""
    option, _ = greet(connection)
    connection.sendall(option_reply(option, REP_INFO, struct.pack(">HQH", 0, size, flags))
                       + option_reply(option, REP_ACK))
