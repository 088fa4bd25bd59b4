# SPDX-License-Identifier: LGPL-2.1-or-later
"""wnbd-client serve as a user meets it: the program of this machine, and the Windows one under Wine.

WNBD_NATIVE names the native program (default: build/native/wnbd-client), WNBD_OUT the folder with
wnbd-client.exe (default: out/windows). The initiator is libiscsi's.
Run: python3 -m unittest tests.client.test_serve
"""

import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from tests.client.test_without_driver import BINARIES, REPOSITORY, Prefix

NATIVE = pathlib.Path(os.environ.get("WNBD_NATIVE", REPOSITORY / "build/native/wnbd-client"))
SECRET = "a secret of ours"
PREFIX = "iqn.2026-11.internal.wnbd:"
PATIENCE = 120  # seconds; the machine may be busy

INVALID_PARAMETER = 87
WRITE_FAULT = 29


class Served:
    """A serve that runs, until stop()."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        encoding="utf-8")
        os.set_blocking(self.process.stdout.fileno(), False)
        self.out = ""
        deadline = time.monotonic() + PATIENCE
        while "}\n" not in self.out or not self.out.rstrip().endswith("}"):
            ready, _, _ = select.select([self.process.stdout], [], [], 0.5)
            piece = self.process.stdout.read() if ready else None
            self.out += piece or ""
            if piece == "" or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError(f"serve did not begin: {self.process.communicate()}")
        self.answer = json.loads(self.out)
        self.portal = self.answer["Portals"][0]

    def url(self, lun=0, user=""):
        return f"iscsi://{user}{self.portal}/{self.answer['Target']}/{lun}"

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def stop(self, number=signal.SIGINT):
        """Ends it as a user would; its log and its exit code."""
        self.process.send_signal(number)
        log = self.process.stderr.read()
        self.process.wait(PATIENCE)
        return self.process.returncode, log


def initiator(*command, **variables):
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False,
                          env={**os.environ, **variables})


class Serve:
    """What holds for either program. `command` starts it."""

    command: list
    environment: dict

    def path(self, path):
        return str(path)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wnbd-serve-"))
        self.addCleanup(lambda: subprocess.run(["rm", "-rf", self.folder], check=True))

    def serve(self, *words, listen="127.0.0.1:0", **variables):
        served = Served([*self.command, "serve", *words, "--listen", listen, "--format", "json"],
                        {**self.environment, **variables})
        self.addCleanup(served.end)
        return served

    def refused(self, *words, code=INVALID_PARAMETER, **variables):
        """What it says when it does not serve."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run([*self.command, "serve", *words], stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=err, timeout=PATIENCE, check=False,
                                  env={**self.environment, **variables})
            out.seek(0)
            err.seek(0)
            self.assertEqual(out.read(), b"")
            text = err.read().decode().replace("\r\n", "\n")
        self.assertEqual(done.returncode, code, text)
        self.assertRegex(text, r"\Awnbd-client: [^\n]+\n\Z")
        return text.removeprefix("wnbd-client: ").rstrip("\n")

    def secret_file(self, text):
        path = self.folder / "secret"
        path.write_bytes(text.encode())
        return self.path(path)

    def test_a_disk_is_served_until_it_is_interrupted(self):
        served = self.serve("disk0", "--memory", "64M", "--lun", "memory:32M", "--serial", "S1")
        self.assertEqual(served.answer["Target"], PREFIX + "disk0")
        self.assertRegex(served.portal, r"\A127\.0\.0\.1:[1-9]\d*\Z")
        self.assertIs(served.answer["Chap"], False)
        self.assertEqual([unit["SerialNumber"] for unit in served.answer["Units"]], ["S1", "S1-1"])
        listed = initiator("iscsi-ls", "-s", f"iscsi://{served.portal}")
        self.assertIn(f"Target:{PREFIX}disk0 Portal:{served.portal},1", listed.stdout)
        self.assertEqual(len(re.findall("DIRECT_ACCESS", listed.stdout)), 2, listed.stdout)
        written = initiator("qemu-io", "-f", "raw", "-c", "write -P 7 1M 1M", "-c",
                            "read -P 7 1M 1M", served.url())
        self.assertEqual(written.returncode, 0, written.stdout + written.stderr)
        code, log = served.stop()
        self.assertEqual(code, 0, log)
        self.assertIn("stopped, everything is flushed", log)

    def test_the_initiators_are_asked_to_log_out(self):
        served = self.serve("disk0", "--memory", "1M")
        client = subprocess.Popen(["qemu-io", "-f", "raw", served.url()], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        client.stdin.write("write 0 64k\n")
        client.stdin.flush()
        self.assertIn("wrote", client.stdout.readline())
        code, log = served.stop(signal.SIGTERM if self.native else signal.SIGINT)
        self.assertEqual(code, 0, log)
        # It does as it is asked; cut off, it would be said to have been.
        self.assertRegex(log, r"127\.0\.0\.1:\d+: connection closed")
        self.assertNotIn(": the target stops", log)
        client.kill()
        client.communicate()

    def test_a_file_keeps_what_was_written(self):
        image = self.folder / "disk.img"
        words = ("disk1", "--file", self.path(image), "--size", "4M")
        served = self.serve(*words)
        done = initiator("qemu-io", "-f", "raw", "-c", "write -P 5 2M 64k", served.url())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(served.stop()[0], 0)
        self.assertEqual(image.stat().st_size, 4 << 20)
        self.assertEqual(image.read_bytes()[2 << 20:(2 << 20) + 65536], b"\5" * 65536)
        served = self.serve(*words, "--read-only")
        done = initiator("qemu-io", "-r", "-f", "raw", "-c", "read -P 5 2M 64k", served.url())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(served.stop()[0], 0)

    def test_chap_keeps_strangers_out(self):
        served = self.serve("disk0", "--memory", "1M", "--chap-user", "me", "--chap-secret-file",
                            self.secret_file(SECRET + "\r\nnot this\n"))
        self.assertIs(served.answer["Chap"], True)
        self.assertNotEqual(initiator("iscsi-inq", served.url()).returncode, 0)
        wrong = initiator("iscsi-inq", served.url(), LIBISCSI_CHAP_USERNAME="me",
                          LIBISCSI_CHAP_PASSWORD="another secret")
        self.assertNotEqual(wrong.returncode, 0)
        right = initiator("iscsi-inq", served.url(), LIBISCSI_CHAP_USERNAME="me",
                          LIBISCSI_CHAP_PASSWORD=SECRET)
        self.assertEqual(right.returncode, 0, right.stdout + right.stderr)
        code, log = served.stop()
        self.assertEqual(code, 0, log)
        self.assertNotIn(SECRET, log)
        self.assertRegex(log, r"WARNING 127\.0\.0\.1:\d+: |ERROR 127\.0\.0\.1:\d+: |\"WARNING\"")

    def test_a_secret_may_come_from_the_environment(self):
        served = self.serve("disk0", "--memory", "1M", "--chap-user", "me",
                            WNBD_CHAP_SECRET=SECRET)
        right = initiator("iscsi-inq", served.url(), LIBISCSI_CHAP_USERNAME="me",
                          LIBISCSI_CHAP_PASSWORD=SECRET)
        self.assertEqual(right.returncode, 0, right.stdout + right.stderr)
        self.assertEqual(served.stop()[0], 0)

    def test_bad_chap_secrets_are_refused(self):
        missing = self.path(self.folder / "nowhere")
        chap = ("x", "--memory", "1M", "--chap-user", "me")
        self.assertEqual(self.refused(*chap, "--chap-secret-file", missing),
                         f"Could not read the secret file '{missing}'. "
                         "Check its path and whether you may read it.")
        self.assertEqual(self.refused(*chap),
                         "There is no secret for 'me': give --chap-secret-file, "
                         "or set WNBD_CHAP_SECRET.")
        for bad in ("", "too short", "x" * 300, "with a \1 in it"):
            path = self.secret_file(bad)
            self.assertEqual(self.refused(*chap, "--chap-secret-file", path),
                             f"The secret in the first line of '{path}' must have 12 to 255 bytes, "
                             "none of them a control character.")
        self.assertEqual(self.refused(*chap, "--mutual-user", "you", WNBD_CHAP_SECRET=SECRET,
                                      WNBD_MUTUAL_SECRET=SECRET),
                         "The two secrets must differ.")

    def test_a_port_in_use_is_named(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            place = f"127.0.0.1:{taken.getsockname()[1]}"
            text = self.refused("x", "--memory", "1M", "--listen", place, code=self.in_use_code)
        self.assertRegex(text, rf"\ACould not serve 'x': cannot listen on {re.escape(place)}: .+\. "
                               r"Give another port with --listen\.\Z")

    def test_strangers_need_a_flag_or_chap(self):
        words = ("x", "--memory", "1M", "--listen", "0.0.0.0:0")
        self.assertEqual(self.refused(*words),
                         "Could not serve 'x': '0.0.0.0' is no loopback address: whoever reaches it "
                         "could read and write the disk. Ask initiators for a secret with "
                         "--chap-user, or give --allow-anyone.")
        for more in (("--allow-anyone",), ("--chap-user", "me")):
            served = self.serve("x", "--memory", "1M", *more, listen="0.0.0.0:0",
                                WNBD_CHAP_SECRET=SECRET)
            self.assertRegex(served.portal, r"\A0\.0\.0\.0:\d+\Z")
            self.assertEqual(served.stop()[0], 0)

    def test_what_cannot_be_opened_is_named(self):
        nowhere = self.path(self.folder / "none" / "disk.img")
        text = self.refused("x", "--file", nowhere, code=self.bad_path_code)
        self.assertIn(f"Could not serve 'x': cannot use the file '{nowhere}' as a disk: ", text)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        text = self.refused("x", f"nbd://127.0.0.1:{port}/e", code=self.no_server_code)
        self.assertIn(f"cannot open export 'e' of NBD server 127.0.0.1:{port}", text)
        text = self.refused("x", "banana", code=self.bad_path_code)
        self.assertIn("'banana' names no disk", text)
        uneven = self.folder / "uneven"
        uneven.write_bytes(bytes(1000))
        text = self.refused("x", "--file", self.path(uneven), code=self.bad_path_code)
        self.assertIn("its size of 1000 bytes is not a multiple of 512", text)

    def test_wrong_words_are_refused(self):
        for line, words in (
            ("Nothing to serve: give an NBD URI, --file, --memory or --lun.", ("x",)),
            ("Invalid --block-size: 1024. It must be 512 or 4096.",
             ("x", "--memory", "1M", "--block-size", "1024")),
            ("the option '--target-name' is required but missing", ("--memory", "1M")),
        ):
            self.assertEqual(self.refused(*words), line)


class NativeServe(Serve, unittest.TestCase):
    native = True
    command = [str(NATIVE)]
    environment = dict(os.environ)
    # Win32 errors that eight bits cannot tell become 1.
    in_use_code = bad_path_code = no_server_code = 1

    def test_commands_that_need_the_driver_say_so(self):
        for words in (("list",), ("map", "d", "--memory", "1M"), ("shell",)):
            done = subprocess.run([NATIVE, *words], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 50)
            self.assertEqual(done.stderr, f"wnbd-client: '{words[0]}' needs Windows, "
                                          "where the WNBD driver is.\n")

    def test_help_and_version_are_there(self):
        helped = subprocess.run([NATIVE, "help", "serve"], capture_output=True, text=True, check=True)
        self.assertIn("Usage: wnbd-client serve <target-name> <backend>", helped.stdout)
        version = subprocess.run([NATIVE, "version"], capture_output=True, text=True, check=True)
        self.assertRegex(version.stdout, r"\Awnbd-client: \d+\.\d+\.\d+[^\n]*\n\Z")


class WindowsServe(Serve, unittest.TestCase):
    native = False
    # Under Wine a process ends with the low eight bits of its exit code.
    in_use_code = 10048 & 0xFF
    bad_path_code = 161
    no_server_code = 2250 & 0xFF

    @classmethod
    def setUpClass(cls):
        cls.prefix = Prefix()
        cls.addClassCleanup(cls.prefix.remove)
        cls.environment = cls.prefix.environment
        cls.command = ["wine", str(BINARIES / "wnbd-client.exe")]

    def path(self, path):
        return "Z:" + str(path).replace("/", "\\")


if __name__ == "__main__":
    unittest.main()
