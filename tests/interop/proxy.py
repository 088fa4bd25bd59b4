# SPDX-License-Identifier: LGPL-2.1-or-later
"""A bad network between client and server, at will: it cuts, heals, delays, stalls, closes by halves, and does
so at a byte or at a step of the protocol that a test names."""

import collections
import contextlib
import ctypes
import socket
import struct
import threading
import time

from tests.interop.nbd_wire import ENDLESS, Conversation, Unit, Unparsable

TO_SERVER, TO_CLIENT = "to server", "to client"

_LIBC = ctypes.CDLL(None, use_errno=True)


class Ended(Exception):
    """The other side has closed."""


class Trap:
    """Something that happens once, when a message comes by: `act(link)` at the place in it.

    `where`: "before" it, in the middle of its "header", in the middle of its "payload", or "after" it.
    """

    def __init__(self, direction, name, where, act, nth=1):
        self.step = (direction, name)
        self.where = where
        self.act = act
        self.left = nth
        self.sprung = threading.Event()

    def __str__(self):
        return f"{self.where} {self.step[1]!r} {self.step[0]}"


def _reset(connection):
    """connect() to no family is how Linux resets at once, whoever is blocked in the socket."""
    with contextlib.suppress(OSError):
        if connection.family == socket.AF_INET and connection.fileno() >= 0:
            nowhere = struct.pack("H14x", socket.AF_UNSPEC)
            _LIBC.connect(connection.fileno(), nowhere, len(nowhere))


class Link:
    """One client's connection and ours to the server."""

    def __init__(self, proxy, client, server):
        self.proxy = proxy
        self.sockets = {TO_SERVER: server, TO_CLIENT: client}  # by where they lead
        self.sources = {TO_SERVER: client, TO_CLIENT: server}
        self.sent = {TO_SERVER: 0, TO_CLIENT: 0}
        self.over = False

    def cut(self, _=None):
        """As a line that breaks with a reset: what is under way is lost."""
        for each in self.sockets.values():
            _reset(each)
        self.close()

    def close(self):
        """Orderly: what has been sent arrives, then the end."""
        self.over = True
        for each in self.sockets.values():
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.proxy.forget(self)

    def close_half(self, direction):
        """Nothing more will go this way; the other way stays open."""
        with contextlib.suppress(OSError):
            self.sockets[direction].shutdown(socket.SHUT_WR)


class Pump(threading.Thread):
    """One direction of one link."""

    def __init__(self, link, direction, units):
        super().__init__(daemon=True)
        self.link, self.direction, self.units = link, direction, units
        self.incoming = bytearray()
        self.outgoing = bytearray()

    def run(self):
        try:
            for unit in self.units(self.need):
                self.move(unit)
        except (OSError, Ended, Unparsable) as end:
            if isinstance(end, Unparsable):
                self.link.proxy.complaints.append(str(end))
            with contextlib.suppress(OSError):
                self.flush()
        self.link.close_half(self.direction)
        self.link.proxy.pump_ended(self.link)

    def need(self, count):
        while len(self.incoming) < count:
            self.flush()
            more = self.link.sources[self.direction].recv(1 << 18)
            if not more:
                raise Ended
            self.incoming += more
        taken = bytes(self.incoming[:count])
        del self.incoming[:count]
        return taken

    def flush(self):
        proxy = self.link.proxy
        if not self.outgoing:
            return
        proxy.gates[self.direction].wait()
        if delay := proxy.delays[self.direction]:
            time.sleep(delay)
        limit = proxy.byte_limits[self.direction]
        room = len(self.outgoing) if limit is None else limit - self.link.sent[self.direction]
        allowed = bytes(self.outgoing[: max(room, 0)])
        self.link.sockets[self.direction].sendall(allowed)
        self.link.sent[self.direction] += len(allowed)
        if len(allowed) < len(self.outgoing):
            proxy.limited.set()
            self.link.cut()
            raise Ended
        self.outgoing.clear()

    def move(self, unit):
        trap = self.link.proxy.trap_for(self.direction, unit)
        if trap and trap.where == "before":
            self.spring(trap)
        half = len(unit.header) // 2
        self.outgoing += unit.header[:half]
        if trap and trap.where == "header":
            self.spring(trap)
        self.outgoing += unit.header[half:]
        if unit.payload is None:
            while True:
                self.outgoing += self.need(max(1, len(self.incoming)))
        half = unit.payload // 2
        self.move_bytes(half)
        if trap and trap.where == "payload":
            self.spring(trap)
        self.move_bytes(unit.payload - half)
        if trap and trap.where == "after":
            self.spring(trap)

    def move_bytes(self, count):
        while count > 0:
            part = min(count, 1 << 18)
            self.outgoing += self.need(part)
            count -= part

    def spring(self, trap):
        # What came before the place has arrived when it happens.
        self.flush()
        trap.act(self.link)
        trap.sprung.set()


class Proxy:
    """Listens on a port of its own and passes everything on to `server`: a (host, port) or the path of a Unix
    socket. `parse=False`: it does not look into what it passes on, and no trap can be set."""

    def __init__(self, server, parse=True):
        self.server = server
        self.parse = parse
        self.links = set()
        self.lock = threading.Lock()
        self.steps = collections.Counter()  # (direction, name, has a payload): how often it came by
        self.accepted = 0
        self.complaints = []
        self.traps = []
        self.gates = {TO_SERVER: threading.Event(), TO_CLIENT: threading.Event()}
        self.limited = threading.Event()
        self.refusing = False
        self._pumps_ended = collections.Counter()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.heal()
        threading.Thread(target=self._accept, daemon=True).start()

    def uri(self, export="", **parameters):
        query = "&".join(f"{key.replace('_', '-')}={value}" for key, value in parameters.items())
        return f"nbd://127.0.0.1:{self.port}/{export}" + (f"?{query}" if query else "")

    # --- What a network can do

    def heal(self):
        """Everything passes again. What was cut stays cut."""
        self.refusing = False
        self.delays = {TO_SERVER: 0, TO_CLIENT: 0}  # seconds for each send
        self.byte_limits = {TO_SERVER: None, TO_CLIENT: None}  # of each link; cut when it is reached
        for gate in self.gates.values():
            gate.set()

    def cut(self):
        """All connections that are."""
        for link in self._links():
            link.cut()

    def refuse(self):
        """New connections are closed at once."""
        self.refusing = True

    def stall(self, *directions):
        """Nothing moves that way any more; connections are taken, and stay."""
        for direction in directions or (TO_SERVER, TO_CLIENT):
            self.gates[direction].clear()

    def close_half(self, direction):
        for link in self._links():
            link.close_half(direction)

    def set_trap(self, trap):
        with self.lock:
            self.traps.append(trap)
        return trap

    # --- Its inner life

    def _links(self):
        with self.lock:
            return list(self.links)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            server = None if self.refusing else self._connect()
            if server is None:
                client.close()
                continue
            link = Link(self, client, server)
            for each in (client, server):
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.links.add(link)
            talk = Conversation() if self.parse else None
            Pump(link, TO_SERVER, talk.to_server if talk else _raw).start()
            Pump(link, TO_CLIENT, talk.to_client if talk else _raw).start()

    def _connect(self):
        try:
            if isinstance(self.server, tuple):
                return socket.create_connection(self.server, timeout=10)
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self.server))
            return server
        except OSError:
            return None

    def trap_for(self, direction, unit):
        with self.lock:
            self.steps[direction, unit.name, bool(unit.payload)] += 1
            for trap in self.traps:
                if trap.step == (direction, unit.name) and (trap.where != "payload" or unit.payload):
                    trap.left -= 1
                    if trap.left == 0:
                        self.traps.remove(trap)
                        return trap
        return None

    def forget(self, link):
        with self.lock:
            self.links.discard(link)

    def pump_ended(self, link):
        with self.lock:
            self._pumps_ended[link] += 1
            both = self._pumps_ended[link] == 2
            if both:
                del self._pumps_ended[link]
                self.links.discard(link)
        if both:
            for each in link.sockets.values():
                each.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A blocked accept() is not ended by close() alone.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.heal()
        for link in self._links():
            link.close()


def _raw(need):
    """Everything as it comes."""
    yield Unit("bytes", need(1), ENDLESS)
