# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers are killed and networks break at every step and under load: the disk stays, and no promise that it
made is broken."""

import random
import time

from tests.interop.exerciser import account
from tests.interop.exercising import Exercising
from tests.interop.proxy import TO_CLIENT, TO_SERVER, Link, Proxy, Trap
from tests.interop.servers import StorageDaemon, nbd_server, nbdkit

MIB = 1 << 20

# Reconnects soon and often, and waits for longer than any test's servers are away. (A connection that lives for
# less than the delay is no end of a loss: the delays go on growing.)
PATIENT = {"reconnect_delay": "0.01", "reconnect_timeout": 120}
LOAD = ("--region", 4 * MIB, "--request-max", 65536, "--depth", 16)
NEGOTIATION = ("greeting", "flags", "option", "reply", "export")


def file_server(*words, **more):
    """What it was told survives it, in the page cache."""
    return nbdkit("file", "DISK", *words, **more)


def serial_server():
    """nbdkit 1.32 with several threads for one connection aborts now and then when that connection breaks
    (raw_send_socket: Assertion `sock >= 0' failed): where the network breaks and the server must not, it has one."""
    return file_server("-t", "1")


class KillCases(Exercising):
    # Of all the places at which something can be cut, every so many-th.
    stride = 1

    def setUp(self):
        self.random = random.Random(11)

    # --- Helpers

    def writer(self, disk, *words, **more):
        run = self.begin("writer", disk, *LOAD, *words, **more)
        run.more_acknowledged(20)
        return run

    def finish(self, run):
        """The writer reads everything back, and nothing is wrong."""
        run.go_on()
        code, lines = run.end()
        self.assertEqual(code, 0, str(run))
        self.assertFalse(account(lines)["lost"], str(run))
        return account(lines)

    @staticmethod
    def last_read(lines):
        """The byte that it consisted of."""
        return [line["all"] for line in lines if "all" in line][-1]

    def places(self, steps, negotiation):
        """Traps' first arguments for every place in the steps that were seen."""
        seen = sorted(step for step in steps if step[1].startswith(NEGOTIATION) == negotiation)
        wheres = [
            (direction, name, where)
            for direction, name, has_payload in seen
            for where in ("before", "header", *(["payload"] if has_payload else []), "after")
            if name != "command DISC"
        ]
        return wheres[:: self.stride]

    def steps(self):
        """Everything that client and server say to each other in a short life."""
        with file_server() as server, Proxy(server.address) as proxy:
            self.operations(proxy.uri(), "write:0:4096:1", "write:4096:4096:1:fua", "read:0:8192", "flush")
            self.assertEqual(proxy.complaints, [])
            return set(proxy.steps)

    # --- The first connection

    def test_the_first_negotiation_is_cut_at_every_step(self):
        with file_server() as server:
            for place in self.places(self.steps(), negotiation=True):
                if place[1:] in (("reply GO ACK", "after"), ("option GO", "after")):
                    continue  # that is transmission, or may be: the answer can be faster than the cut
                with self.subTest(place), Proxy(server.address) as proxy:
                    trap = proxy.set_trap(Trap(*place, Link.cut))
                    said = self.open_error(proxy.uri(**PATIENT))
                    self.assertTrue(trap.sprung.is_set())
                    self.assertIn(f"127.0.0.1:{proxy.port}", said)

    # --- Every step, under load

    def at_every_step(self, act, after):
        """Springs a trap at every step in the life of one writer; `after` mends what `act` broke."""
        with serial_server() as server, Proxy(server.address) as proxy:
            steps = self.steps()
            run = self.writer(proxy.uri(connections=1, **PATIENT))
            for negotiation in (True, False):
                for place in self.places(steps, negotiation):
                    trap = proxy.set_trap(Trap(*place, lambda link: act(server, link)))
                    if negotiation:
                        proxy.cut()
                    self.assertTrue(trap.sprung.wait(60), f"{trap} never came:\n{server.said()}\n{run}")
                    after(server)
                    run.more_acknowledged(3)
            said = self.finish(run)
            self.assertEqual(proxy.complaints, [])
            return said

    def test_the_network_is_cut_at_every_step(self):
        self.at_every_step(lambda server, link: link.cut(), lambda server: None)

    def test_the_server_is_killed_at_every_step(self):
        self.at_every_step(lambda server, link: server.kill(), lambda server: server.start())

    # --- Under load

    def kill_under_load(self, server, disk, kills=6):
        run = self.writer(disk, "--threads", 2)
        for _ in range(kills):
            run.more_acknowledged(self.random.randrange(20, 400))
            server.kill()
            time.sleep(self.random.random() * 0.3)
            server.start()
            run.more_acknowledged(1)
        return self.finish(run)

    def test_killed_under_load(self):
        for make in (file_server, StorageDaemon, lambda: nbd_server("flush = true", "fua = true")):
            with make() as server, self.subTest(server.words[0]):
                self.kill_under_load(server, server.uri(**PATIENT))

    def test_killed_under_load_with_several_connections(self):
        with file_server() as server, Proxy(server.address) as proxy:
            self.kill_under_load(server, proxy.uri(connections=4, **PATIENT))
            self.assertGreaterEqual(proxy.accepted, 4 * 7)

    def test_the_network_is_cut_and_healed(self):
        for make in (serial_server, StorageDaemon):
            with make() as server, Proxy(server.address) as proxy, self.subTest(server.words[0]):
                run = self.writer(proxy.uri(server.export, connections=2, **PATIENT))
                for _ in range(3):
                    proxy.refuse()
                    proxy.cut()
                    time.sleep(self.random.random())
                    proxy.heal()
                    run.more_acknowledged(50)
                self.finish(run)

    def test_an_orderly_end_is_a_loss_too(self):
        with serial_server() as server, Proxy(server.address) as proxy:
            run = self.writer(proxy.uri(**PATIENT))
            for direction in (TO_CLIENT, TO_SERVER) * 2:
                before = proxy.accepted
                proxy.close_half(direction)
                run.wait_until(lambda: proxy.accepted > before)
                run.more_acknowledged(50)
            self.finish(run)

    # --- Slow and silent

    def test_a_slow_network_is_no_loss(self):
        with file_server() as server, Proxy(server.address) as proxy:
            run = self.writer(proxy.uri(connections=1, request_timeout=20, **PATIENT))
            proxy.delays = {TO_SERVER: 0.05, TO_CLIENT: 0.05}
            time.sleep(2)
            proxy.heal()
            self.finish(run)
            self.assertEqual(proxy.accepted, 1)

    def test_a_silent_server_is_noticed_by_the_deadline_of_requests(self):
        for direction in (TO_CLIENT, TO_SERVER):
            with serial_server() as server, Proxy(server.address) as proxy, self.subTest(direction):
                run = self.writer(proxy.uri(connections=1, request_timeout=1, keep_alive=0, **PATIENT))
                proxy.stall(direction)
                run.wait_until(lambda: proxy.accepted > 1)
                proxy.heal()
                run.more_acknowledged(50)
                self.finish(run)

    def test_a_silent_server_is_noticed_by_keeping_alive(self):
        with serial_server() as server, Proxy(server.address) as proxy:
            uri = proxy.uri(connections=1, request_timeout=1, keep_alive="0.5", **PATIENT)
            run = self.begin("ops", uri, "write:0:512:5", "pause", "read:0:512")
            run.wait_for("operation")
            proxy.stall()
            # Nothing is asked for, and yet the client finds out.
            run.wait_until(lambda: proxy.accepted > 1)
            proxy.heal()
            run.go_on()
            code, lines = run.end()
            self.assertEqual((code, self.last_read(lines)), (0, 5), str(run))

    # --- Several addresses

    def test_failover_between_two_servers_of_one_file(self):
        with file_server() as first, file_server(folder=first.folder) as second:
            disk = first.uri(host=f"127.0.0.1:{second.port}", **PATIENT)
            run = self.writer(disk, "--threads", 2)
            for victim in (first, second, first, second):
                victim.kill()
                run.more_acknowledged(100)
                victim.start()
            self.finish(run)

    # --- For good

    def test_a_server_that_is_gone_for_good_fails_the_disk(self):
        with file_server() as server:
            state = server.folder / "promises"
            run = self.writer(server.uri(reconnect_delay="0.1", reconnect_timeout=1), "--state",
                              self.program.path(state))  # fmt: skip
            server.kill()
            code, lines = run.end()
            self.assertEqual((code, account(lines)["lost"]), (0, True), str(run))
            self.assertIn("refused", account(lines)["failure"])
            server.start()
            self.run_to_end("check", server.uri(), "--state", self.program.path(state))

    def test_no_reconnect_if_none_is_wanted(self):
        with file_server() as server:
            run = self.writer(server.uri(reconnect_timeout=0))
            server.restart()
            code, lines = run.end()
            self.assertEqual((code, account(lines)["lost"]), (0, True), str(run))

    def test_hold_holds(self):
        with file_server() as server:
            run = self.writer(server.uri(reconnect_delay="0.1", reconnect_timeout="0.3", on_timeout="hold"))
            server.kill()
            time.sleep(3)
            self.assertIsNone(run.process.poll(), str(run))
            server.start()
            run.more_acknowledged(50)
            self.assertGreaterEqual(self.finish(run)["longest_ms"], 2000)

    # --- What comes back is not what went

    def test_a_resized_disk_has_its_new_size_after_a_reconnect(self):
        with StorageDaemon() as server:
            load = self.writer(server.uri(**PATIENT))
            run = self.begin("ops", server.uri(**PATIENT), "size", "pause", "size", "write:25165824:512:3",
                             "read:25165824:512")  # fmt: skip
            self.assertEqual(run.wait_for("operation")["size"], 16 * MIB)
            server.resize(32 * MIB)
            self.assertEqual(run.wait_for("resized")["resized"], 32 * MIB)
            run.go_on()
            code, lines = run.end()
            self.assertEqual((code, self.last_read(lines)), (0, 3), str(run))
            self.assertEqual([line["size"] for line in lines if line.get("operation") == "size"],
                             [16 * MIB, 32 * MIB])  # fmt: skip
            self.finish(load)

    def test_an_export_that_has_become_read_only_is_refused(self):
        with file_server() as server:
            run = self.writer(server.uri(reconnect_delay="0.1", reconnect_timeout=3))
            server.kill()
            server.words.insert(1, "-r")
            server.start()
            code, lines = run.end()
            self.assertEqual((code, account(lines)["lost"]), (0, True), str(run))
            self.assertIn("read-only", account(lines)["failure"])

    # --- That the check can fail

    def lying(self, *words, cache, code, **parameters):
        """A writer over kills of a server that keeps what it is told in memory; its findings."""
        with nbdkit("--filter=cache", "file", "DISK", f"cache={cache}") as server:
            run = self.writer(server.uri(**PATIENT, **parameters), *words)
            for _ in range(2):
                run.more_acknowledged(300)
                server.restart()
            run.go_on()
            ended, lines = run.end()
            self.assertEqual(ended, code, str(run))
            return account(lines)["first_findings"]

    def test_a_server_that_loses_what_it_flushed_is_found(self):
        # cache=unsafe says yes to a flush and does nothing.
        findings = self.lying("--cache-may-be-lost", cache="unsafe", code=1)
        self.assertRegex(findings[0], "lost: .* flushed was")

    def test_a_servers_cache_is_lost_with_it(self):
        # What was acknowledged and not flushed went with the server, as with a machine's power.
        findings = self.lying(cache="writeback", code=1)
        self.assertRegex(findings[0], "lost: .* (acknowledged|flushed) was")

    def test_writing_through_loses_nothing_even_so(self):
        self.lying(cache="writeback", code=0, write_through=1)
