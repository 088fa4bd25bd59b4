# SPDX-License-Identifier: LGPL-2.1-or-later
"""The target at its limits: too many connections, and a backend that never answers."""

import os
import select
import struct
import threading
import time
import unittest

from tests.iscsi.burst import connect
from tests.iscsi.initiator import Closed, Wire
from tests.iscsi.target import Target
from tests.lab import servers

CONNECTIONS_MAX = 128  # ServerSettings::connection_limit


class Connections(unittest.TestCase):
    def test_one_too_many_is_closed_and_the_others_are_served_on(self):
        target = self.enterContext(Target("--memory", "1M"))
        witness = self.enterContext(connect(target))
        # They are taken in the order in which they come.
        idle = [self.enterContext(Wire(target.address)) for _ in range(CONNECTIONS_MAX - 1)]
        late = self.enterContext(Wire(target.address))
        self.assertTrue(late.closed_by_target())
        target.wait_for_log(rf"{late.peer}: closed, since there are {CONNECTIONS_MAX} connections already")
        data = os.urandom(4096)
        witness.write(0, data)
        self.assertEqual(witness.read(0, 8), data)
        # Whoever goes makes room for another one.
        idle[0].close()
        deadline = time.monotonic() + 30
        while True:
            try:
                with connect(target) as disk:
                    self.assertEqual(disk.read(0, 8), data)
                    disk.logout()
                break
            except (Closed, OSError):
                self.assertLess(time.monotonic(), deadline, target.log())
                time.sleep(0.1)
        self.assertEqual(target.stop(), 0, target.log())


class DeafInitiator(unittest.TestCase):
    """An initiator that reads nothing any more, as one does that is cut off from the network."""

    READS, BLOCKS = 64, 2048  # 64 MiB: more than sockets hold

    def test_its_next_login_takes_the_place_of_the_session_that_cannot_be_sent_to(self):
        with Target("--memory", "8M") as target:
            isid = b"\x80" + os.urandom(5)
            deaf = self.enterContext(connect(target, isid=isid))
            room = self.BLOCKS * deaf.block_size
            for _ in range(self.READS):
                deaf.send(deaf.command_pdu(deaf.read_cdb(0, self.BLOCKS), room))
            # Bytes have arrived that nobody reads: before long the target can't send any more.
            self.assertTrue(select.select([deaf.socket], [], [], 30)[0])
            time.sleep(1)
            with connect(target, isid=isid) as again:
                self.assertEqual(len(again.read(0, 8)), 8 * again.block_size)
                again.logout()
            self.assertTrue(deaf.closed_by_target())
            self.assertEqual(target.stop(), 0, target.log())


class SilentServer(servers.Scripted):
    """An NBD server that says yes to everything but answers no request."""

    GO, GO_FLAGS, SIZE = 7, 1 | 4, 1 << 20  # HAS_FLAGS, SEND_FLUSH
    UNSUPPORTED = 0x8000_0001

    def __init__(self):
        self.asked = threading.Event()
        super().__init__(self.be_silent)

    def be_silent(self, connection):
        option, _ = servers.greet(connection)
        while option != self.GO:
            connection.sendall(servers.option_reply(option, self.UNSUPPORTED))
            option, _ = servers.receive_option(connection)
        info = struct.pack(">HQH", 0, self.SIZE, self.GO_FLAGS)
        connection.sendall(servers.option_reply(option, servers.REP_INFO, info)
                           + servers.option_reply(option, servers.REP_ACK))
        while connection.recv(1):
            self.asked.set()


class HungBackend(unittest.TestCase):
    def test_the_target_stops_all_the_same_and_says_what_it_gave_up(self):
        with SilentServer() as server, Target(server.uri) as target:
            with connect(target) as disk:
                disk.send(disk.command_pdu(disk.write_cdb(0, 8), 4096, bytes(4096)))
                self.assertTrue(server.asked.wait(30), "the write never reached the backend")
                self.assertNotEqual(target.stop(timeout=120), 0)
                self.assertIn("A backend did not end its commands within", target.log())


if __name__ == "__main__":
    unittest.main()
