# SPDX-License-Identifier: LGPL-2.1-or-later
"""TLS with every server that has it: data, certificates and keys good and bad, what is said of them, reconnects.

The servers' TLS is GnuTLS; ours is GnuTLS or Schannel."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from tests.interop.exerciser import account
from tests.interop.exercising import Exercising
from tests.interop.kill_cases import PATIENT
from tests.interop.proxy import TO_CLIENT, TO_SERVER, Proxy
from tests.interop.servers import StorageDaemon, nbd_server, nbdkit, qemu_nbd

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "tls" / "make_certificates.sh"
SMALL = ("--request-max", 256 << 10)
KEYS = r"HKEY_CURRENT_USER\Software\Wine\Crypto\RSA"


class TlsCases(Exercising):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="wnbd-tls-")))
        subprocess.run(["sh", SCRIPT, cls.folder], check=True)
        (cls.folder / "psk-folder").mkdir()
        shutil.copy(cls.folder / "psk", cls.folder / "psk-folder" / "keys.psk")
        foreign = cls.folder / "foreign"
        shutil.copytree(cls.folder / "other", foreign)
        shutil.copy(cls.folder / "ca-cert.pem", foreign)

    # The servers. `certificates` names a folder below ours.

    def nbdkit(self, *words, tls="require", certificates=".", plugin=("memory", "16M"), **more):
        return nbdkit(f"--tls={tls}", f"--tls-certificates={self.folder / certificates}", *words, *plugin,
                      scheme="nbds", **more)  # fmt: skip

    def nbdkit_psk(self):
        return nbdkit("--tls=require", f"--tls-psk={self.folder / 'psk'}", "memory", "16M", scheme="nbds")

    def credentials(self, verify="no"):
        return f"tls-creds-x509,id=tls,endpoint=server,dir={self.folder},verify-peer={verify}"

    def qemu_nbd(self, credentials):
        return qemu_nbd("--object", credentials, "--tls-creds", "tls", scheme="nbds")

    def uri(self, server, certificates=".", **parameters):
        folder = self.program.path(self.folder / certificates)
        return server.uri(tls_certificates=folder, **parameters)

    def refused(self, server, certificates=".", **parameters):
        return self.open_error(self.uri(server, certificates, **parameters))

    def goes_through(self, disk, *words, ios=600):
        said = self.mixed(disk, *SMALL, *words, ios=ios)
        self.assertEqual((said["failed"], said["failure"]), ({}, ""))

    # What goes through.

    def test_data_come_back_as_they_went(self):
        for name, make in {
            "nbdkit": self.nbdkit,
            "qemu-nbd": lambda: self.qemu_nbd(self.credentials()),
            "qemu-storage-daemon": lambda: StorageDaemon(tls="tls", nodes=("--object", self.credentials()),
                                                         scheme="nbds"),
            "nbd-server": lambda: nbd_server("flush = true", certificates=self.folder, scheme="nbds"),
        }.items():  # fmt: skip
            with self.subTest(name), make() as server:
                # nbd-server serves nobody without a certificate.
                self.goes_through(self.uri(server, "." if name == "nbd-server" else "lonely"))

    def test_large_requests_and_many_connections_go_through(self):
        with self.nbdkit() as server:
            self.mixed(self.uri(server, connections=4), "--request-max", 4 << 20, ios=300)
        with self.nbdkit() as server:
            self.goes_through(self.uri(server, connections=1), "--threads", 4, "--depth", 100)
        with self.nbdkit() as server:
            self.goes_through(self.uri(server, connections=4), "--threads", 4)

    def test_nothing_goes_in_plain_text(self):
        with self.nbdkit() as server, Proxy(server.address) as proxy:
            uri = self.uri(proxy).replace("nbd://", "nbds://")
            self.assertEqual(self.errors(uri, "write:0:512:1", "read:0:512"), ["none"] * 2)
            self.assertEqual({step[1] for step in proxy.steps}, {"greeting", "flags", "option STARTTLS",
                                                                 "reply STARTTLS ACK", "encrypted"})  # fmt: skip

    def test_both_versions_go_through(self):
        priorities = {"1.2": "NORMAL:-VERS-ALL:+VERS-TLS1.2", "1.3": "NORMAL:-VERS-ALL:+VERS-TLS1.3"}
        for version, priority in priorities.items():
            credentials = f"{self.credentials()},priority={priority}"
            with self.subTest(version), self.qemu_nbd(credentials) as server:
                if self.program.windows and version == "1.3":
                    # Wine's Schannel ends at 1.2, and qemu sends no alert.
                    self.assertIn("closed the connection during the TLS handshake", self.refused(server))
                else:
                    self.goes_through(self.uri(server))

    def test_elliptic_curves(self):
        with self.nbdkit(certificates="curve") as server:
            self.goes_through(self.uri(server, "curve-lonely"), ios=50)
        with self.nbdkit("--tls-verify-peer", certificates="curve") as server:
            if self.program.windows:
                # Wine has the older key store only.
                self.assertRegex(self.refused(server, "curve"),
                                 r"cannot use '.+client-key\.pem': Windows's key store does not take it: .+; "
                                 r"make the client's key an RSA key, which every Windows takes")  # fmt: skip
            else:
                self.goes_through(self.uri(server, "curve"), ios=50)

    def test_a_host_name_is_a_name(self):
        with self.nbdkit() as server:
            self.goes_through(self.uri(server).replace("127.0.0.1", "localhost"), ios=50)

    def test_a_unix_socket_has_no_name(self):
        with self.nbdkit(tcp=False) as server:
            self.assertIn("unix", server.uri())
            if self.program.windows:
                self.assertIn("not supported: Unix sockets on this system: Windows has them since version 1803 (Server "
                              "2019), Wine has none; use TCP", self.refused(server))  # fmt: skip
                return
            self.goes_through(self.uri(server), ios=50)
            self.assertIn("not for 'other.example'", self.refused(server, tls_hostname="other.example"))

    def test_a_client_certificate_is_shown(self):
        for make in (lambda: self.nbdkit("--tls-verify-peer"),
                     lambda: self.qemu_nbd(self.credentials(verify="yes"))):  # fmt: skip
            with make() as server:
                self.goes_through(self.uri(server))

    def test_a_pre_shared_key_is_used_or_refused_by_name(self):
        psk = f"tls-creds-psk,id=tls,endpoint=server,dir={self.folder / 'psk-folder'}"
        key = {"tls_psk_file": self.program.path(self.folder / "psk")}
        if self.program.windows:
            with self.nbdkit_psk() as server:
                self.assertIn("not supported: pre-shared keys in Windows's TLS; use certificates",
                              self.open_error(server.uri(**key, tls_username="bob")))  # fmt: skip
            return
        with self.nbdkit_psk() as server:
            self.goes_through(server.uri(**key, tls_username="bob"))
            self.assertIn("no key for the user 'carol'", self.open_error(server.uri(**key, tls_username="carol")))
        with self.qemu_nbd(psk) as server:
            self.goes_through(server.uri(**key, tls_username="alice"))

    def test_prefer_takes_what_is_there(self):
        for server in (nbdkit("memory", "16M"), self.nbdkit()):
            with server:
                server.scheme = "nbd"
                self.goes_through(self.uri(server, tls="prefer"), ios=50)

    # What is refused, and what is said then.

    def test_an_unknown_ca_is_refused(self):
        with self.nbdkit() as server:
            self.assertRegex(self.refused(server, "other"),
                             r"the server's certificate is not signed by a CA in '.+ca-cert\.pem'")  # fmt: skip
            self.assertIn("not signed by a CA that this system trusts", self.open_error(server.uri()))

    def test_dates_are_checked(self):
        with self.nbdkit(certificates="expired") as server:
            self.assertIn("expired on 2021-01-01 00:00 UTC", self.refused(server))
        with self.nbdkit(certificates="future") as server:
            self.assertIn("not valid before 2090-01-01 00:00 UTC", self.refused(server))

    def test_names_are_checked(self):
        with self.nbdkit(certificates="elsewhere") as server:
            for host in ("127.0.0.1", "localhost"):
                uri = self.uri(server).replace("127.0.0.1", host)
                self.assertIn(f"certificate is for 'elsewhere.example', not for '{host}'", self.open_error(uri))
            self.goes_through(self.uri(server, tls_hostname="elsewhere.example"), ios=50)

    def test_an_address_is_no_name(self):
        with self.nbdkit(certificates="far") as server:
            self.assertIn("certificate is for '127.0.0.1', not for '127.0.0.1'", self.refused(server))

    def test_revoked_certificates_are_refused(self):
        with self.nbdkit() as server:
            self.assertRegex(self.refused(server, "revoked"), r"certificate is revoked by '.+ca-crl\.pem'")
            # Another authority has nothing to say of it.
            self.goes_through(self.uri(server, "meddling"), ios=50)
        with self.nbdkit(certificates="elsewhere") as server:
            self.goes_through(self.uri(server, "revoked", tls_hostname="elsewhere.example"), ios=50)

    def test_what_is_not_from_the_authority_is_refused(self):
        with self.nbdkit(certificates="forged") as server:
            self.assertIn("certificate is not accepted: a signature is wrong", self.refused(server))
        with self.nbdkit(certificates="impostor") as server:
            self.assertRegex(self.refused(server), r"the server's certificate is not signed by a CA in '.+ca-cert\.pem'")

    def test_a_clients_certificate_makes_no_server(self):
        with self.nbdkit(certificates="misused") as server:
            self.assertIn("certificate is not accepted: it is not made for a server", self.refused(server))

    def test_verification_can_be_left_out(self):
        with self.nbdkit(certificates="expired") as server:
            self.goes_through(self.uri(server, "other", tls_verify_peer=0), ios=50)

    def test_a_missing_client_certificate_is_said(self):
        for name, make in {
            "nbdkit": lambda: self.nbdkit("--tls-verify-peer"),
            "qemu-nbd": lambda: self.qemu_nbd(self.credentials(verify="yes")),
            "nbd-server": lambda: nbd_server(certificates=self.folder, scheme="nbds"),
        }.items():
            with self.subTest(name), make() as server:
                for _ in range(3):
                    self.assertRegex(self.refused(server, "lonely"),
                                     "the server wants a client certificate: put client-cert.pem and client-key.pem "
                                     "into the folder of the TLS certificates")  # fmt: skip

    def test_a_foreign_client_certificate_is_refused(self):
        for name, make in {
            "nbdkit": lambda: self.nbdkit("--tls-verify-peer"),
            "qemu-nbd": lambda: self.qemu_nbd(self.credentials(verify="yes")),
            "nbd-server": lambda: nbd_server(certificates=self.folder, scheme="nbds"),
        }.items():
            with self.subTest(name), make() as server:
                for _ in range(3):
                    said = self.refused(server, "foreign", connections=1)
                    self.assertRegex(said, "it may not accept the client certificate|"
                                           "the server does not accept the client certificate")  # fmt: skip
                    self.assertIn("check that it comes from a CA that the server trusts", said)

    def test_files_that_cannot_be_used_are_named(self):
        with self.nbdkit() as server:
            self.assertRegex(self.refused(server, "nowhere"), r"cannot use '.+nowhere.ca-cert\.pem': No such file")
            mixed = self.folder / "mixed"
            mixed.mkdir()
            for name in ("ca-cert.pem", "client-cert.pem"):
                shutil.copy(self.folder / name, mixed)
            shutil.copy(self.folder / "server-key.pem", mixed / "client-key.pem")
            self.assertRegex(self.refused(server, "mixed"), r"the key in '.+client-key\.pem' does not belong to "
                                                            r"the certificate in '.+client-cert\.pem'")  # fmt: skip

    def test_a_damaged_pfx_says_how_to_make_one(self):
        if not self.program.windows:
            self.skipTest("PFX is Windows's")
        damaged = self.folder / "damaged"
        shutil.copytree(self.folder / "lonely", damaged)
        (damaged / "client.pfx").write_bytes((self.folder / "pfx" / "client.pfx").read_bytes()[:500])
        with self.nbdkit() as server:
            self.assertRegex(self.refused(server, "damaged"), r"cannot use '.+client\.pfx': it is no PFX file .+; make "
                                                              r"one with: openssl pkcs12")  # fmt: skip

    def test_who_requires_tls_gets_it_or_nothing(self):
        with nbdkit("memory", "16M", scheme="nbds") as server:
            self.assertIn("TLS is required, but the server does not offer it", self.refused(server))
        with self.nbdkit() as server:
            server.scheme = "nbd"
            for plain in (server.uri(), server.uri(tls="off")):
                self.assertIn("it demands TLS", self.open_error(plain))

    # The key store, as Wine has it.

    def stored_keys(self):
        said = subprocess.run(["wine", "reg", "query", KEYS], env=self.program.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)  # fmt: skip
        return set(re.findall(r"\\(wnbd-[-\d]+)", said.stdout.decode()))

    def holding_a_key(self, server):
        """A run that waits, and the key that has come with it."""
        before = self.stored_keys()
        run = self.begin("ops", self.uri(server), "read:0:512", "pause", "read:0:512")
        self.assertEqual(run.wait_for("error")["error"], "none")
        (key,) = self.stored_keys() - before
        return run, key

    def test_keys_of_processes_that_were_killed_are_deleted(self):
        if not self.program.windows:
            self.skipTest("Windows's key store")
        with self.nbdkit("--tls-verify-peer") as server:
            killed, left = self.holding_a_key(server)
            killed.process.kill()
            killed.process.wait(timeout=30)
            self.assertEqual(self.stored_keys(), {left})
            first, its = self.holding_a_key(server)
            self.assertEqual(self.stored_keys(), {its})
            # A live process's stays.
            second, others = self.holding_a_key(server)
            self.assertEqual(self.stored_keys(), {its, others})
            for run in (first, second):
                run.go_on()
                code, lines = run.end()
                self.assertEqual((code, lines[-1]["error"]), (0, "none"), str(run))
            self.assertEqual(self.stored_keys(), set())

    # What breaks on the way.

    def test_the_server_is_killed_under_load(self):
        with self.nbdkit("-t", "4", plugin=("file", "DISK")) as server:
            run = self.begin("writer", self.uri(server, **PATIENT), "--region", 4 << 20, "--request-max", 65536)
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
            uri = self.uri(proxy, **PATIENT).replace("nbd://", "nbds://")
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
                    # A connection that was lost at once is no new one: the delays would go on to grow.
                    time.sleep(0.1)
            run.go_on()
            code, lines = run.end()
            self.assertEqual((code, account(lines)["lost"]), (0, False), str(run))
