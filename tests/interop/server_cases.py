# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every server as it is: data come back as they went, errors keep their meaning, refusals have names."""

import struct
import subprocess
import zlib

from tests.interop.exercising import Exercising
from tests.interop.servers import StorageDaemon, nbd_server, nbdkit, qemu_nbd

KIB, MIB = 1 << 10, 1 << 20
SMALL = ("--request-max", 256 * KIB)


def filtered(name, *words, plugin=("memory", "16M"), **more):
    return lambda: nbdkit(f"--filter={name}", *plugin, *words, **more)


# What data go through, and with which further words for the exerciser.
WRITABLE = {
    "nbdkit memory": lambda: nbdkit("memory", "16M"),
    "nbdkit file": lambda: nbdkit("file", "DISK"),
    "nbdkit, an export name in UTF-8": lambda: nbdkit("memory", "16M", export="Müller/ 100%"),
    "nbdkit, plain newstyle": lambda: nbdkit("--mask-handshake=0", "memory", "16M"),
    "nbdkit, fixed newstyle with its zeroes": lambda: nbdkit("--mask-handshake=1", "memory", "16M"),
    "nbdkit, plain newstyle without zeroes": lambda: nbdkit("--mask-handshake=2", "memory", "16M"),
    "nbdkit, simple replies": lambda: nbdkit("--no-sr", "memory", "16M"),
    "nbdkit, one thread": lambda: nbdkit("-t", "1", "memory", "16M"),
    "delay": filtered("delay", "rdelay=2ms", "wdelay=2ms"),
    "rate": filtered("rate", "rate=800M", "burstiness=1"),
    "multi-conn emulate": filtered("multi-conn", "multi-conn-mode=emulate"),
    "multi-conn disable": filtered("multi-conn", "multi-conn-mode=disable"),
    "multi-conn unsafe": filtered("multi-conn", "multi-conn-mode=unsafe"),
    "noextents": filtered("noextents"),
    "nozero none": filtered("nozero", "zeromode=none"),
    "nozero emulate": filtered("nozero", "zeromode=emulate"),
    "nozero notrim": filtered("nozero", "zeromode=notrim"),
    "nozero, fast zeroes are slow": filtered("nozero", "zeromode=plugin", "fastzeromode=slow"),
    "nozero, fast zeroes ignored": filtered("nozero", "zeromode=plugin", "fastzeromode=ignore"),
    "fua none": filtered("fua"),
    "fua emulate": filtered("fua", "fuamode=emulate"),
    "fua native": filtered("fua", "fuamode=native"),
    "fua force": filtered("fua", "fuamode=force"),
    "fua pass": filtered("fua", "fuamode=pass"),
    "fua discard": filtered("fua", "fuamode=discard"),
    "truncate": filtered("truncate", "truncate=8M"),
    "truncate, rounded": filtered("truncate", "round-up=4096", plugin=("memory", 16 * MIB)),
    "qemu-nbd": lambda: qemu_nbd(),
    "qemu-nbd, named": lambda: qemu_nbd("-x", "disk", export="disk"),
    "qemu-storage-daemon": lambda: StorageDaemon(),
    "qemu-storage-daemon, qcow2": lambda: StorageDaemon(form="qcow2"),
    "nbd-server": lambda: nbd_server("flush = true", "fua = true", "trim = true"),
    "nbd-server, nothing beyond reads and writes": lambda: nbd_server(),
}

ERRORS = {
    "EPERM": "not_permitted", "EIO": "io", "ENOMEM": "no_memory", "EINVAL": "invalid", "ENOSPC": "no_space",
}  # fmt: skip


class ServerCases(Exercising):
    # Of the servers under mixed load, every so many-th.
    stride = 1

    def test_data_come_back_as_they_went(self):
        for name, make in list(WRITABLE.items())[:: self.stride]:
            with self.subTest(name), make() as server:
                said = self.mixed(server.uri(), *SMALL, ios=800)
                self.assertEqual((said["failed"], said["failure"]), ({}, ""))

    def test_many_threads_on_one_disk(self):
        for make in (WRITABLE["nbdkit memory"], WRITABLE["qemu-storage-daemon"]):
            with make() as server:
                self.mixed(server.uri(), *SMALL, "--threads", 4, "--depth", 100, ios=1000)

    def test_what_a_server_loses_is_found(self):
        # Writes to the null plugin vanish: this is how the check above fails.
        with nbdkit("null", "16M") as server:
            (said,) = self.run_to_end("mixed", server.uri(), *SMALL, "--ios", 100, code=1)
            self.assertRegex(said["first_findings"][0], r"block \d+ holds zeroes instead of \d+")

    def test_requests_are_cut_at_the_servers_maximum(self):
        policy = ("blocksize-minimum=512", "blocksize-preferred=4K", "blocksize-maximum=64K",
                  "blocksize-error-policy=error")  # fmt: skip
        with nbdkit("--filter=blocksize-policy", "memory", "16M", *policy) as server:
            self.mixed(server.uri(), "--request-max", MIB, ios=600)
            properties, _ = self.operations(server.uri())
            self.assertEqual(properties["maximum_payload"], 64 * KIB)

    def test_a_large_minimum_block_is_obeyed(self):
        policy = ("blocksize-minimum=4K", "blocksize-preferred=4K", "blocksize-maximum=1M",
                  "blocksize-error-policy=error")  # fmt: skip
        with nbdkit("--filter=blocksize-policy", "memory", "16M", *policy) as server:
            self.mixed(server.uri(), *SMALL, "--block", 4096, ios=600)

    def test_a_pattern(self):
        with nbdkit("pattern", "1G") as server:
            for offset, length in ((0, 512), (1 * MIB, 3 * MIB), ((1 << 30) - 4096, 4096)):
                _, (read,) = self.operations(server.uri(), f"read:{offset}:{length}")
                expected = b"".join(struct.pack(">Q", at) for at in range(offset, offset + length, 8))
                self.assertEqual(read, {"operation": f"read:{offset}:{length}", "error": "none",
                                        "crc32": zlib.crc32(expected)})  # fmt: skip

    def test_data_between_holes(self):
        with nbdkit("data", "@65536 (0x55 0xAA)*32768 @1048576 0x77*512 @16777216") as server:
            _, outcomes = self.operations(
                server.uri(), "read:0:65536", "read:65536:65536", "read:1048576:512", "read:0:16777216"
            )
            whole = (bytes(65536) + b"\x55\xaa" * 32768).ljust(1048576, b"\0") + b"\x77" * 512
            self.assertEqual(outcomes[0]["all"], 0)
            self.assertEqual(outcomes[1]["crc32"], zlib.crc32(b"\x55\xaa" * 32768))
            self.assertEqual(outcomes[2]["all"], 0x77)
            self.assertEqual(outcomes[3]["crc32"], zlib.crc32(whole.ljust(16777216, b"\0")))

    def test_a_sparse_random_disk_reads_as_others_read_it(self):
        with nbdkit("sparse-random", "64M", "seed=5", "percent=30") as server:
            copy = server.folder / "copy"
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "raw", server.uri(), copy], check=True)
            parts = range(0, 64 * MIB, 8 * MIB)
            _, outcomes = self.operations(server.uri(), *(f"read:{at}:{8 * MIB}" for at in parts))
            content = copy.read_bytes()
            self.assertEqual([outcome["crc32"] for outcome in outcomes],
                             [zlib.crc32(content[at : at + 8 * MIB]) for at in parts])  # fmt: skip

    def test_each_command_does_what_it_says(self):
        operations = (
            "write:0:1048576:170", "read:0:1048576",
            "write:4096:4096:187:fua", "read:4096:4096", "read:8192:512",
            "flush",
            "trim:65536:65536", "trim:131072:65536:fua",
            "zero:262144:65536", "read:262144:65536", "read:327680:512",
            "zero:524288:65536:keep", "read:524288:65536",
            "zero:589824:65536:fua", "read:589824:65536",
        )  # fmt: skip
        for make in (lambda: nbdkit("file", "DISK"), qemu_nbd, StorageDaemon,
                     lambda: StorageDaemon(form="qcow2")):  # fmt: skip
            with make() as server, self.subTest(server.words[0]):
                _, outcomes = self.operations(server.uri(), *operations)
                self.assertEqual({outcome["error"] for outcome in outcomes}, {"none"})
                read = [outcome["all"] for outcome in outcomes if outcome["operation"].startswith("read")]
                self.assertEqual(read, [170, 187, 170, 0, 170, 0, 0])

    def test_flags_reach_the_server(self):
        with nbdkit("--filter=log", "memory", "16M", "logfile=FOLDER/calls") as server:
            self.operations(server.uri(), "write:0:4096:1", "write:4096:4096:1:fua", "zero:8192:4096",
                            "zero:16384:4096:keep:fua", "trim:32768:4096:fua", "flush")  # fmt: skip
            calls = (server.folder / "calls").read_text()
        for pattern in (r"Write id=\d+ offset=0x0 count=0x1000 fua=0", r"Write id=\d+ offset=0x1000 .*fua=1",
                        r"Zero id=\d+ offset=0x2000 .*trim=1 fua=0", r"Zero id=\d+ offset=0x4000 .*trim=0 fua=1",
                        r"Trim id=\d+ offset=0x8000 .*fua=1", r"Flush id="):  # fmt: skip
            self.assertRegex(calls, pattern)

    def test_read_only_exports_are_read_only(self):
        for make in (lambda: nbdkit("-r", "file", "DISK"), lambda: qemu_nbd("-r"),
                     lambda: StorageDaemon(writable=False), lambda: nbd_server("readonly = true")):  # fmt: skip
            with make() as server, self.subTest(server.words[0]):
                properties, outcomes = self.operations(server.uri(), "read:0:512", "write:0:512:1", "zero:0:512")
                self.assertTrue(properties["read_only"])
                self.assertEqual([outcome["error"] for outcome in outcomes],
                                 ["none", "not_permitted", "not_permitted"])  # fmt: skip

    def test_errors_keep_their_meaning(self):
        for error, name in ERRORS.items():
            with nbdkit("--filter=error", "memory", "16M", f"error={error}", "error-rate=100%") as server:
                seen = self.errors(server.uri(), "read:0:512", "write:0:512:1", "trim:0:512", "zero:0:512", "failure")
                self.assertEqual(seen, [name] * 4 + ["none"], error)

    def test_a_server_that_shuts_down_is_one_to_reconnect_to(self):
        with nbdkit("--filter=error", "memory", "16M", "error=ESHUTDOWN", "error-rate=100%") as server:
            self.assertEqual(self.errors(server.uri(reconnect_timeout=0), "read:0:512"), ["shutting_down"])
            self.assertEqual(self.errors(server.uri(reconnect_timeout=1), "read:0:512"), ["disconnected"])

    def test_some_errors_among_many_requests_harm_no_other(self):
        rates = ("error=EIO", "error-pread-rate=20%", "error-pwrite-rate=20%", "error-zero-rate=20%")
        with nbdkit("--filter=error", "memory", "16M", *rates) as server:
            said = self.mixed(server.uri(), *SMALL, "--errors-allowed", ios=1500)
            self.assertEqual(list(said["failed"]), ["io"])
            self.assertGreater(said["failed"]["io"], 100)

    def test_what_is_beyond_the_end_or_not_offered(self):
        with nbd_server() as server:
            self.assertEqual(
                self.errors(server.uri(), "read:16777216:512", "write:16776704:1024:1", "trim:0:512", "zero:0:512",
                            "write:0:512:1:fua", "flush", "read:16776704:512"),
                ["invalid", "no_space", "not_supported", "none", "not_supported", "not_supported", "none"],
            )  # fmt: skip

    def test_a_disk_that_is_made_larger_than_its_storage(self):
        with nbdkit("--filter=truncate", "memory", "8M", "truncate=16M") as server:
            _, outcomes = self.operations(server.uri(), "read:8388608:8388608", "write:8388608:512:1", "zero:8388608:512",
                                          "write:8388096:512:1")  # fmt: skip
            self.assertEqual([outcome["error"] for outcome in outcomes], ["none", "no_space", "none", "none"])
            self.assertEqual(outcomes[0]["all"], 0)

    def test_sizes_at_the_edges(self):
        with nbdkit("memory", "0") as server:
            self.assertIn("size of 0 bytes", self.open_error(server.uri()))
        with nbdkit("memory", "1000") as server:
            properties, (read,) = self.operations(server.uri(), "read:512:488")
            self.assertEqual((properties["size"], read["error"]), (1000, "none"))
        largest = (1 << 63) - 1
        with nbdkit("memory", largest) as server:
            properties, (read,) = self.operations(server.uri(), f"read:{largest - 488}:488")
            self.assertEqual((properties["size"], read["error"]), (largest, "none"))

    def test_zeroes_and_trim_beyond_32_bits_cover_their_whole_range(self):
        far = 9 << 30
        with nbdkit("memory", "16G") as server:
            for what in ("zero", "trim"):
                _, outcomes = self.operations(
                    server.uri(), "write:0:4096:1", f"write:{far}:8192:1", f"{what}:0:{far + 4096}", "read:0:4096",
                    f"read:{far}:4096", f"read:{far + 4096}:4096",
                )  # fmt: skip
                self.assertEqual([outcome["error"] for outcome in outcomes], ["none"] * 6)
                self.assertEqual([outcome["all"] for outcome in outcomes[3:]], [0, 0, 1])

    def test_export_names_of_up_to_4096_bytes(self):
        with nbdkit("memory", "16M") as server:
            for length in (255, 256, 4096):
                properties, _ = self.operations(server.uri("n" * length))
                self.assertEqual(properties["size"], 16 * MIB, length)
            self.assertIn("4097", self.open_error(server.uri("n" * 4097)))

    def test_refusals_are_named(self):
        with qemu_nbd("-x", "disk") as server:
            self.assertIn("no such export", self.open_error(server.uri("other")))
        with StorageDaemon() as server:
            self.assertIn("no such export", self.open_error(server.uri("other")))
        with nbd_server() as server:
            self.assertIn("cannot open export 'other'", self.open_error(server.uri("other")))

    def test_an_oldstyle_server_is_refused(self):
        with nbdkit("-o", "memory", "1M") as server:
            self.assertIn("oldstyle", self.open_error(server.uri()))

    def test_nobody_there(self):
        with nbdkit("memory", "1M") as server:
            server.kill()
            self.assertRegex(self.open_error(server.uri()), rf"(?s)127\.0\.0\.1:{server.port}.*refused")

    def test_a_server_that_wants_to_exit_is_let_go(self):
        with nbdkit("--filter=exitwhen", "memory", "16M", "exit-when-file-created=FOLDER/stop",
                    "exit-when-poll=1") as server:  # fmt: skip
            run = self.begin("ops", server.uri(), "write:0:512:9", "pause", "read:0:512")
            run.wait_for("error")
            (server.folder / "stop").touch()
            run.go_on()
            code, lines = run.end()
            self.assertEqual((code, [line["all"] for line in lines if "all" in line]), (0, [9]))
            # It had waited for us to leave.
            self.assertEqual(server.process.wait(timeout=30), 0)

    def test_unix_sockets(self):
        for make in (lambda: nbdkit("memory", "16M", tcp=False), lambda: qemu_nbd(tcp=False),
                     lambda: StorageDaemon(tcp=False)):  # fmt: skip
            with make() as server:
                if self.program.windows:
                    # By name, or as Wine's Winsock says it: no such address family.
                    self.assertRegex(self.open_error(server.uri()), "Unix sockets|10047")
                else:
                    self.mixed(server.uri(), *SMALL, ios=800)

    def test_ipv6(self):
        with nbdkit("memory", "16M", host="::1") as server:
            self.mixed(server.uri(), *SMALL, ios=300)

    def test_the_servers_file_holds_what_was_written(self):
        for make in (lambda: nbdkit("file", "DISK"), qemu_nbd, StorageDaemon, nbd_server):
            with make() as server, self.subTest(server.words[0]):
                self.assertEqual(self.errors(server.uri(), "write:8192:4096:119", "write:16773120:4096:7"),
                                 ["none"] * 2)  # fmt: skip
                content = server.disk.read_bytes()
                expected = bytes(8192) + b"w" * 4096
                self.assertEqual(content, expected.ljust(16773120, b"\0") + b"\7" * 4096)
