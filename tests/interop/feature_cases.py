# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is negotiated with each server, and what comes of it: chunks and holes, block status, connections."""

import json
import subprocess

from tests.interop.exercising import Exercising
from tests.interop.proxy import TO_CLIENT, TO_SERVER, Proxy
from tests.interop.servers import StorageDaemon, nbd_server, nbdkit, qemu_nbd

MIB = 1 << 20
SMALL = ("--request-max", 256 << 10)
SPARSE = ("data", "@1048576 (0x55)*1048576 @8388608 0x77*65536 @16777216")


def map_of_qemu(server):
    """[begin, end, allocated, zeroes] as qemu-img sees it, neighbours of one kind as one."""
    said = subprocess.run(["qemu-img", "map", "--output=json", "-f", "raw", server.uri()], check=True,
                          capture_output=True, timeout=60).stdout  # fmt: skip
    return merged([run["start"], run["start"] + run["length"], run["data"], run["zero"]] for run in json.loads(said))


def merged(runs):
    joined = []
    for begin, end, *kind in runs:
        if joined and joined[-1][1] == begin and joined[-1][2:] == kind:
            joined[-1][1] = end
        else:
            joined.append([begin, end, *kind])
    return joined


class FeatureCases(Exercising):
    def steps(self, server, *operations, **parameters):
        """The names of all messages, by direction, and how many connections there were."""
        with Proxy(server.address) as proxy:
            _, outcomes = self.operations(proxy.uri(server.export, **parameters), *operations)
            self.assertEqual(proxy.complaints, [])
            names = {direction: {step[1] for step in proxy.steps if step[0] == direction}
                     for direction in (TO_SERVER, TO_CLIENT)}  # fmt: skip
            return names, proxy.accepted, outcomes

    def test_what_each_server_answers_with(self):
        read = "read:0:16777216"
        for name, make, expected in (
            ("nbdkit", lambda: nbdkit(*SPARSE), {"chunk OFFSET_DATA"}),
            ("qemu-storage-daemon", StorageDaemon, {"chunk OFFSET_HOLE"}),
            ("nbdkit --no-sr", lambda: nbdkit("--no-sr", *SPARSE), {"simple READ"}),
            ("nbd-server", nbd_server, None),
        ):
            with make() as server, self.subTest(name):
                names, _, outcomes = self.steps(server, read, connections=1)
                self.assertEqual(outcomes[0]["error"], "none")
                self.assertIn("option EXTENDED_HEADERS", names[TO_SERVER])
                self.assertIn("reply GO ACK", names[TO_CLIENT])
                answers = {step for step in names[TO_CLIENT] if step.startswith(("chunk", "simple"))}
                self.assertTrue(expected is None or expected & answers, answers)

    def test_holes_are_read_as_zeroes_without_being_sent(self):
        with StorageDaemon(form="qcow2") as server:
            self.operations(server.uri(), "write:1048576:65536:7", "write:8388608:4096:9")
            names, _, (first, middle, whole) = self.steps(
                server, "read:0:1048576", "read:1048576:65536", "read:0:16777216", connections=1
            )
            self.assertIn("chunk OFFSET_HOLE", names[TO_CLIENT])
            self.assertEqual((first["all"], middle["all"], whole["error"]), (0, 7, "none"))

    def test_extents_are_those_that_qemu_sees(self):
        for name, make, operations in (
            ("data", lambda: nbdkit(*SPARSE), ()),
            ("sparse-random", lambda: nbdkit("sparse-random", "16M", "seed=3"), ()),
            ("file", lambda: nbdkit("file", "DISK"), ("write:1048576:65536:1", "write:4194304:4096:2")),
            ("noextents", lambda: nbdkit("--filter=noextents", "memory", "16M"), ()),
            ("qemu-nbd", qemu_nbd, ("write:1048576:65536:1",)),
            ("qcow2", lambda: StorageDaemon(form="qcow2"), ("write:1048576:65536:1", "zero:2097152:65536")),
        ):
            with make() as server, self.subTest(name):
                _, outcomes = self.operations(server.uri(), *operations, f"extents:0:{16 * MIB}")
                self.assertEqual({outcome["error"] for outcome in outcomes}, {"none"})
                at, runs = 0, []
                for length, allocated, zeroes in outcomes[-1]["extents"]:
                    runs.append([at, at + length, allocated, zeroes])
                    at += length
                self.assertEqual(merged(runs), map_of_qemu(server))

    def test_a_server_without_block_status(self):
        for make in (lambda: nbdkit("--no-sr", "memory", "16M"), nbd_server):
            with make() as server:
                _, (told,) = self.operations(server.uri(), "extents:0:65536")
                self.assertEqual(told["error"], "not offered")

    def test_several_connections_where_the_server_allows_them(self):
        for name, make, expected in (
            ("memory", lambda: nbdkit("memory", "16M"), 4),
            ("emulate", lambda: nbdkit("--filter=multi-conn", "memory", "16M", "multi-conn-mode=emulate"), 4),
            ("disable", lambda: nbdkit("--filter=multi-conn", "memory", "16M", "multi-conn-mode=disable"), 1),
        ):
            with make() as server, Proxy(server.address) as proxy, self.subTest(name):
                run = self.begin("ops", proxy.uri(connections=4), "read:0:512", "pause", "read:0:512")
                run.wait_until(lambda: proxy.accepted >= expected)
                run.go_on()
                self.assertEqual(run.end()[0], 0, str(run))
                self.assertEqual(proxy.accepted, expected)

    def test_a_server_that_allows_several_connections_and_serves_one(self):
        # nbd-server says CAN_MULTI_CONN, and with -d it serves one client after the other.
        with nbd_server() as server:
            self.mixed(server.uri(connections=4), *SMALL, "--threads", 2, ios=400)

    def test_data_come_back_over_several_connections(self):
        for make in (lambda: nbdkit("file", "DISK"), StorageDaemon):
            with make() as server:
                self.mixed(server.uri(connections=4), *SMALL, "--threads", 4, "--depth", 64, ios=800)

    def test_writing_through_makes_every_change_durable(self):
        with nbdkit("--filter=log", "memory", "16M", "logfile=FOLDER/calls") as server:
            self.operations(server.uri(write_through=1), "write:0:4096:1", "zero:8192:4096", "trim:65536:4096")
            calls = (server.folder / "calls").read_text()
            changes = [line for line in calls.splitlines() if any(f" {what} id=" in line for what in
                                                                  ("Write", "Zero", "Trim"))]  # fmt: skip
            self.assertEqual(len([line for line in changes if "fua=" in line]), 3, calls)
            self.assertEqual([line for line in changes if "fua=0" in line], [])
