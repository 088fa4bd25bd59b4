# SPDX-License-Identifier: LGPL-2.1-or-later
"""TLS with every server that has it: certificates, private CAs, clients' certificates, PSK; refusals; reconnects."""

import pathlib
import subprocess
import tempfile

from tests.interop.exerciser import account
from tests.interop.exercising import Exercising
from tests.interop.kill_cases import PATIENT
from tests.interop.proxy import TO_CLIENT, TO_SERVER, Proxy
from tests.interop.servers import StorageDaemon, nbd_server, nbdkit, qemu_nbd

SMALL = ("--request-max", 256 << 10)
KEY = "0123456789abcdef" * 4


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


def make_certificates(folder):
    """A CA, a server for 127.0.0.1 and a client, laid out as libnbd and qemu have it."""
    folder.mkdir()
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 30,
            "-subj", f"/CN=CA {folder.name}", "-keyout", folder / "ca-key.pem", "-out", folder / "ca-cert.pem",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    for who, extensions in (
        ("server", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n"),
        ("client", "extendedKeyUsage=clientAuth\n"),
    ):
        (folder / "extensions").write_text(f"basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n{extensions}")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={who}", "-keyout",
                folder / f"{who}-key.pem", "-out", folder / "request")  # fmt: skip
        openssl("x509", "-req", "-in", folder / "request", "-CA", folder / "ca-cert.pem", "-CAkey",
                folder / "ca-key.pem", "-CAcreateserial", "-days", 30, "-extfile", folder / "extensions", "-out",
                folder / f"{who}-cert.pem")  # fmt: skip


class TlsCases(Exercising):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="wnbd-pki-")))
        cls.pki = cls.folder / "pki"
        make_certificates(cls.pki)
        # Who trusts this CA alone has no certificate of a client.
        cls.trusting = cls.folder / "trusting"
        cls.trusting.mkdir()
        (cls.trusting / "ca-cert.pem").write_bytes((cls.pki / "ca-cert.pem").read_bytes())
        make_certificates(cls.folder / "other")
        (cls.folder / "other" / "client-key.pem").unlink()
        (cls.folder / "other" / "client-cert.pem").unlink()
        (cls.folder / "psk").write_text(f"alice:{KEY}\n")

    def nbdkit(self, *words, mode="require", plugin=("memory", "16M"), **more):
        return nbdkit(f"--tls={mode}", f"--tls-certificates={self.pki}", *words, *plugin, scheme="nbds", **more)

    def credentials(self):
        return ("--object", f"tls-creds-x509,id=tls,endpoint=server,verify-peer=no,dir={self.pki}")

    def with_ca(self, folder=None):
        return {"tls_certificates": self.program.path(folder or self.trusting)}

    def test_data_come_back_as_they_went(self):
        for name, make in {
            "nbdkit": self.nbdkit,
            "qemu-nbd": lambda: qemu_nbd(*self.credentials(), "--tls-creds", "tls", scheme="nbds"),
            "qemu-storage-daemon": lambda: StorageDaemon(tls="tls", nodes=self.credentials(), scheme="nbds"),
            "nbd-server": lambda: nbd_server(certificates=self.pki, scheme="nbds"),
        }.items():
            with self.subTest(name), make() as server:
                # nbd-server serves nobody without a certificate.
                folder = self.pki if name == "nbd-server" else self.trusting
                said = self.mixed(server.uri(**self.with_ca(folder)), *SMALL, ios=600)
                self.assertEqual((said["failed"], said["failure"]), ({}, ""))

    def test_nothing_goes_in_plain_text(self):
        with self.nbdkit() as server, Proxy(server.address) as proxy:
            uri = proxy.uri(**self.with_ca()).replace("nbd://", "nbds://")
            self.assertEqual(self.errors(uri, "write:0:512:1", "read:0:512"), ["none"] * 2)
            self.assertEqual({step[1] for step in proxy.steps}, {"greeting", "flags", "option STARTTLS",
                                                                 "reply STARTTLS ACK", "encrypted"})  # fmt: skip

    def test_many_connections(self):
        with self.nbdkit() as server:
            self.mixed(server.uri(connections=4, **self.with_ca()), *SMALL, "--threads", 4, ios=500)

    def test_a_clients_certificate_is_shown_where_it_is_asked_for(self):
        with self.nbdkit("--tls-verify-peer") as server:
            self.assertEqual(self.errors(server.uri(**self.with_ca(self.pki)), "read:0:512"), ["none"])
            self.assertTrue(self.open_error(server.uri(**self.with_ca())))

    def test_a_shared_key(self):
        with nbdkit("--tls=require", f"--tls-psk={self.folder / 'psk'}", "memory", "16M", scheme="nbds") as server:
            key = {"tls_psk_file": self.program.path(self.folder / "psk"), "tls_username": "alice"}
            if self.program.windows:
                self.assertRegex(self.open_error(server.uri(**key)), "(?i)psk|shared key")
            else:
                self.mixed(server.uri(**key), *SMALL, ios=300)
                self.assertIn("bob", self.open_error(server.uri(**key | {"tls_username": "bob"})))

    def test_whoever_is_not_known_is_refused(self):
        with self.nbdkit() as server:
            unknown = server.uri(**self.with_ca(self.folder / "other"))
            self.assertRegex(self.open_error(unknown), "(?i)certificate|trust")
            self.assertEqual(self.errors(unknown + "&tls-verify-peer=0", "read:0:512"), ["none"])
            misnamed = server.uri(**self.with_ca(), tls_hostname="elsewhere.example")
            self.assertIn("elsewhere.example", self.open_error(misnamed))

    def test_require_prefer_and_off(self):
        with nbdkit("memory", "16M") as plain:
            self.assertIn("TLS", self.open_error(plain.uri(tls="require")))
            self.assertEqual(self.errors(plain.uri(tls="prefer"), "read:0:512"), ["none"])
        with self.nbdkit() as server:
            server.scheme = "nbd"
            self.assertIn("TLS", self.open_error(server.uri(tls="off")))
            self.assertEqual(self.errors(server.uri(tls="prefer", **self.with_ca()), "read:0:512"), ["none"])

    def test_the_server_is_killed_under_load(self):
        with self.nbdkit("-t", "4", plugin=("file", "DISK")) as server:
            run = self.begin("writer", server.uri(**self.with_ca(), **PATIENT), "--region", 4 << 20, "--request-max",
                             65536)  # fmt: skip
            for _ in range(4):
                run.more_acknowledged(50)
                server.restart()
            run.more_acknowledged(20)
            run.go_on()
            code, lines = run.end()
            self.assertEqual((code, account(lines)["lost"]), (0, False), str(run))

    def test_the_network_is_cut_within_the_handshake(self):
        # Bytes of either side after which it ends: in the plain part, in TLS's handshake, in what comes after.
        with self.nbdkit("-t", "1", plugin=("file", "DISK")) as server, Proxy(server.address, parse=False) as proxy:
            uri = proxy.uri(**self.with_ca(), **PATIENT).replace("nbd://", "nbds://")
            run = self.begin("writer", uri, "--region", 4 << 20, "--request-max", 65536)
            run.more_acknowledged(20)
            for direction in (TO_CLIENT, TO_SERVER):
                for limit in (10, 30, 50, 100, 300, 700, 1100, 1500, 3000):
                    proxy.limited.clear()
                    proxy.byte_limits[direction] = limit
                    proxy.cut()
                    self.assertTrue(proxy.limited.wait(60), f"{limit} {direction}\n{run}")
                    proxy.heal()
                    run.more_acknowledged(3)
            run.go_on()
            code, lines = run.end()
            self.assertEqual((code, account(lines)["lost"]), (0, False), str(run))
