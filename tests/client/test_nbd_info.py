# SPDX-License-Identifier: LGPL-2.1-or-later
"""wnbd-client nbd-info against real servers: the program of this machine, and the Windows one under Wine.

WNBD_NATIVE and WNBD_OUT: as in test_serve.py."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from tests.client.test_serve import BINARIES, INVALID_PARAMETER, NATIVE, PATIENCE
from tests.client.test_without_driver import Prefix
from tests.lab.servers import Nbdkit, free_port

MIB = 1 << 20
CERTIFICATES = pathlib.Path(__file__).resolve().parents[1] / "tls" / "make_certificates.sh"
NOT_SUPPORTED = 50


class NbdInfo:
    """What holds for either program. `command` starts it."""

    command: list
    environment: dict

    def info(self, *words):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run([*self.command, "nbd-info", *words], stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=err, timeout=PATIENCE, check=False,
                                  env=self.environment)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode().replace("\r\n", "\n"))
        return done.returncode, *texts

    def answer(self, *words):
        code, out, err = self.info(*words, "--format", "json")
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def test_what_an_export_has_to_offer(self):
        with Nbdkit("memory", "16M", "blocksize-minimum=512", "blocksize-preferred=4K",
                    "blocksize-maximum=1M", filters=["blocksize-policy"]) as server:
            said = self.answer(server.uri + "disk")
            _, table, _ = self.info(server.uri + "disk")
        self.assertEqual(said["Server"], f"127.0.0.1:{server.port}")
        self.assertEqual((said["ExportName"], said["Size"]), ("disk", 16 * MIB))
        self.assertEqual((said["Tls"], said["TlsSession"]), (False, ""))
        self.assertEqual((said["MinimumBlock"], said["PreferredBlock"], said["MaximumPayload"]),
                         (512, 4096, MIB))
        self.assertEqual(said["Replies"], "structured")
        self.assertEqual(said["Contexts"], ["base:allocation"])
        for flag in ("SEND_FLUSH", "SEND_FUA", "SEND_TRIM", "SEND_WRITE_ZEROES", "CAN_MULTI_CONN"):
            self.assertIn(flag, said["Flags"])
        self.assertNotIn("READ_ONLY", said["Flags"])
        lines = dict(line.split(" : ", 1) for line in table.splitlines())
        self.assertEqual(lines["Size          "], str(16 * MIB))
        self.assertEqual(lines["Flags         "].split(", "), said["Flags"])

    def test_which_tls_it_is(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["sh", CERTIFICATES, folder], check=True)
            with Nbdkit("--tls=require", f"--tls-certificates={folder}", "memory", "1M") as server:
                uri = server.uri.replace("nbd://", "nbds://") + "?tls-verify-peer=0"
                said = self.answer(uri)
                _, table, _ = self.info(uri)
        self.assertIs(said["Tls"], True)
        self.assertRegex(said["TlsSession"], r"\ATLS 1\.[23], AES-\d+-GCM\Z")
        self.assertRegex(table, r"\nTls            : 1\nTlsSession     : " + said["TlsSession"] + r"\n")

    def test_the_map_of_an_export(self):
        # A megabyte of data within holes.
        with Nbdkit("data", "@4194304 (0xFF)*1048576", "size=16M") as server:
            said = self.answer(server.uri, "--map")
            _, table, _ = self.info(server.uri, "--map")
        runs = [(run["Offset"], run["Length"], run["Type"]) for run in said["Map"]]
        self.assertEqual(runs, [(0, 4 * MIB, "hole,zero"), (4 * MIB, MIB, "data"),
                                (5 * MIB, 11 * MIB, "hole,zero")])
        self.assertEqual(said["Totals"], {"data": MIB, "zero": 0, "hole": 0, "hole,zero": 15 * MIB})
        self.assertRegex(table, r"\nTotal +15728640 +hole,zero, 93\.8%\n")

    def test_the_exports_of_a_server(self):
        with Nbdkit("eval", "list_exports=echo INTERLEAVED; echo a; echo first; echo 'b c'; echo",
                    "get_size=echo 1M",
                    "pread=dd if=/dev/zero count=$3 iflag=count_bytes") as server:
            listed = self.answer(server.uri + "none", "--list")
            _, table, _ = self.info(server.uri, "--list")
        self.assertEqual(listed, [{"Name": "a", "Description": "first"},
                                  {"Name": "b c", "Description": ""}])
        self.assertEqual(table, "'a'    first\n'b c'\n")

    def test_a_server_that_tells_no_allocation(self):
        with Nbdkit("--no-sr", "memory", "1M") as server:
            code, out, err = self.info(server.uri, "--map")
        self.assertEqual((code, out), (NOT_SUPPORTED, ""))
        self.assertEqual(err, f"wnbd-client: Could not ask '{server.uri}': the server tells no "
                              "allocation (base:allocation) of this export.\n")

    def test_what_cannot_be_asked_is_told_in_one_line(self):
        nowhere = f"nbd://127.0.0.1:{free_port()}/"
        for words, code, says in (
            (("http://x/",), INVALID_PARAMETER, "Invalid NBD URI: http://x/: the scheme 'http' is not"),
            (("nbd://x/", "--list", "--map"), INVALID_PARAMETER, "--list cannot be combined"),
            ((nowhere,), self.no_server_code, f"Could not ask '{nowhere}': cannot connect"),
            ((nowhere, "--list"), self.no_server_code, f"Could not ask '{nowhere}': cannot connect"),
        ):
            with self.subTest(words):
                got, out, err = self.info(*words)
                self.assertEqual((got, out), (code, ""), err)
                self.assertRegex(err, r"\Awnbd-client: [^\n]+\n\Z")
                self.assertIn(says, err)


class NativeNbdInfo(NbdInfo, unittest.TestCase):
    command = [str(NATIVE)]
    environment = dict(os.environ)
    no_server_code = 1  # a Win32 error that eight bits cannot tell

    def test_tls_with_a_shared_key(self):
        with tempfile.TemporaryDirectory() as folder:
            keys = pathlib.Path(folder) / "keys"
            keys.write_text("alice:0123456789abcdef0123456789abcdef\n")
            with Nbdkit("--tls=require", f"--tls-psk={keys}", "memory", "1M") as server:
                place = f"127.0.0.1:{server.port}/"
                for uri in (f"nbds://alice@{place}?tls-psk-file={keys}",
                            f"nbd://{place}?tls=prefer&tls-username=alice&tls-psk-file={keys}"):
                    self.assertRegex(self.answer(uri)["TlsSession"], r"\ATLS 1\.3, (AES|CHACHA)")
                code, out, err = self.info("nbd://" + place)
                self.assertEqual((code, out), (1, ""))
                self.assertIn("TLS", err)
            with Nbdkit("memory", "1M") as server:
                place = f"127.0.0.1:{server.port}/"
                said = self.answer(f"nbd://alice@{place}?tls-psk-file={keys}")
                self.assertIs(said["Tls"], False)
                code, out, err = self.info(f"nbds://alice@{place}?tls-psk-file={keys}")
                self.assertEqual((code, out), (1, ""))
                self.assertIn("TLS", err)

    def test_a_unix_socket_and_nbd_servers_size(self):
        # nbd-server answers NBD_OPT_INFO with a size of 0.
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "disk").write_bytes(bytes(MIB))
            socket = folder / "socket"
            (folder / "config").write_text(
                f"[generic]\nunixsock = {socket}\nallowlist = true\n[e]\nexportname = {folder}/disk\n")
            server = subprocess.Popen(["nbd-server", "-d", "-C", folder / "config"],
                                      stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                for _ in range(200):
                    code, out, err = self.info(f"nbd+unix:///e?socket={socket}", "--format", "json")
                    if code == 0:
                        break
                    server.poll()
                self.assertEqual(code, 0, err)
                said = json.loads(out)
                self.assertEqual((said["Server"], said["Size"]), (str(socket), MIB))
            finally:
                server.kill()
                server.wait()


class WindowsNbdInfo(NbdInfo, unittest.TestCase):
    no_server_code = 2250 & 0xFF

    @classmethod
    def setUpClass(cls):
        cls.prefix = Prefix()
        cls.addClassCleanup(cls.prefix.remove)
        cls.environment = cls.prefix.environment
        cls.command = ["wine", str(BINARIES / "wnbd-client.exe")]


if __name__ == "__main__":
    unittest.main()
