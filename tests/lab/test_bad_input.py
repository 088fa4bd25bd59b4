# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever a user or a server does wrong gets one clear line, an exit code, and leaves nothing behind."""
import shutil
import struct
import time
import unittest

from tests.lab import servers
from tests.lab.lab import Lab

ERROR_ALREADY_EXISTS = 183


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()

    def assert_refused(self, *arguments, says, code=None):
        """One line on standard error names the fault; no disk is left."""
        done = self.lab.client(*arguments, timeout=90)
        self.assertNotEqual(done.code, 0, done)
        if code is not None:
            self.assertEqual(done.code, code, done)
        lines = [line for line in done.stderr.splitlines() if line.startswith("wnbd-client: ")]
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertRegex(lines[0], says)
        self.assertEqual(self.mapped(), [])

    def mapped(self):
        listed = self.lab.client("list").check().stdout.splitlines()
        self.assertTrue(listed[0].startswith("Pid "), listed)
        return [line.split()[-1] for line in listed[1:] if line.strip()]

    def test_names_have_a_limit(self):
        longest = "n" * 255
        child, _ = self.lab.map(longest, "--memory", "16M")
        self.assertEqual(self.mapped(), [longest])
        self.lab.client("unmap", longest).check()
        child.wait(timeout=30)
        for length in (256, 4096):
            self.assert_refused("map", "n" * length, "--memory", "16M", says="(?i)name.*255|too long")
            for command in ("show", "stats", "unmap"):
                self.assert_refused(command, "n" * length, says="(?i)name|long")

    def test_sizes_must_make_sense(self):
        for size in ("0", "8E", "1000", "-1", "12x"):
            self.assert_refused("map", "size", "--memory", size, says="(?i)size|multiple|memory")

    def test_ports_must_be_ports(self):
        for port in ("0", "65536", "-1", "x"):
            self.assert_refused("map", "port", "127.0.0.1", "--port", port, says="(?i)port", code=87)

    def test_a_name_is_mapped_once(self):
        child, _ = self.lab.map("twice", "--memory", "16M")
        again = self.lab.client("map", "twice", "--memory", "16M")
        self.assertEqual(again.code, ERROR_ALREADY_EXISTS, again)
        self.assertRegex(again.stderr, "(?i)already")
        self.assertEqual(self.mapped(), ["twice"])
        self.lab.client("unmap", "twice").check()
        child.wait(timeout=30)

    def test_unknown_names_are_named(self):
        for command in ("show", "stats", "unmap"):
            self.assert_refused(command, "nobody", says="nobody", code=2)

    def test_nobody_listens(self):
        self.assert_refused("map", "x", "127.0.0.1", "--port", str(servers.free_port()),
                            says="(?i)connect")

    def test_servers_that_lie_or_leave(self):
        def lie_about_option_length(connection):
            option, _ = servers.greet(connection)
            connection.sendall(struct.pack(">QIII", servers.REPLY_MAGIC, option, servers.REP_INFO,
                                           0xFFFFFFFF))
            time.sleep(1)

        def answer_another_option(connection):
            option, _ = servers.greet(connection)
            connection.sendall(servers.option_reply(option + 1, servers.REP_ACK))
            time.sleep(1)

        def short_information(connection):
            option, _ = servers.greet(connection)
            connection.sendall(servers.option_reply(option, servers.REP_INFO, b"\0\0\0"))
            time.sleep(1)

        faults = {
            "hangs up at once": lambda c: None,
            "hangs up after the greeting": servers.greet,
            "sends garbage": lambda c: c.sendall(b"\xDE\xAD" * 64),
            "lies about a length": lie_about_option_length,
            "answers another option": answer_another_option,
            "tells too little": short_information,
            "has an empty export": lambda c: servers.go(c, 0),
        }
        for name, talk in faults.items():
            with self.subTest(name), servers.Scripted(talk) as server:
                self.assert_refused("map", "liar", server.uri, says="(?i)nbd|server|export|size")


class WithoutDriver(unittest.TestCase):
    def test_a_missing_inf_and_no_driver(self):
        with Lab() as lab:
            missing = lab.client("install-driver", "Z:\\nowhere\\wnbd.inf")
            self.assertEqual(missing.code, 2, missing)
            self.assertRegex(missing.stderr, "wnbd-client: .*nowhere")
            alone = lab.programs / "alone"
            alone.mkdir()
            shutil.copy(lab.programs / "wnbd.inf", alone)
            (alone / "other.inf").write_text('[Version]\nSignature="$WINDOWS NT$"\n')
            for inf, code, says in (("alone\\wnbd.inf", 2, "no file .*wnbd.sys"),
                                    ("alone\\other.inf", 13, "not WNBD's INF"),
                                    ("wnbd.sys", None, "no INF file"), ("", 87, "INF file name")):
                done = lab.client("install-driver", inf, timeout=30)
                self.assertNotEqual(done.code, 0, done)
                if code is not None:
                    self.assertEqual(done.code, code, done)
                self.assertRegex(done.stderr, f"wnbd-client: .*{says}")
            for arguments in (("list",), ("map", "x", "--memory", "16M"), ("unmap", "x")):
                done = lab.client(*arguments)
                self.assertNotEqual(done.code, 0, done)
                self.assertRegex(done.stderr, "install-driver")


if __name__ == "__main__":
    unittest.main()
