# SPDX-License-Identifier: LGPL-2.1-or-later
"""Certificates and keys, good and bad, at the servers that have TLS: theirs is GnuTLS, ours GnuTLS or Schannel."""

import pathlib
import shutil
import subprocess
import tempfile

from tests.interop.exercising import Exercising
from tests.interop.servers import Server, nbd_server, nbdkit, qemu_nbd

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "tls" / "make_certificates.sh"
SMALL = ("--request-max", 256 << 10)


class CertificateCases(Exercising):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.mkdtemp(prefix="wnbd-tls-")
        cls.addClassCleanup(shutil.rmtree, folder)
        subprocess.run(["sh", SCRIPT, folder], check=True)
        cls.folder = pathlib.Path(folder)
        (cls.folder / "psk-folder").mkdir()
        shutil.copy(cls.folder / "psk", cls.folder / "psk-folder" / "keys.psk")

    # The servers. `certificates` names a folder below ours.

    def nbdkit(self, *words, tls="require", certificates=".", **more):
        return nbdkit(f"--tls={tls}", f"--tls-certificates={self.folder / certificates}", *words, "memory", "16M",
                      scheme="nbds", **more)  # fmt: skip

    def nbdkit_psk(self):
        return nbdkit("--tls=require", f"--tls-psk={self.folder / 'psk'}", "memory", "16M", scheme="nbds")

    def qemu_credentials(self, verify="no"):
        return f"tls-creds-x509,id=tls,endpoint=server,dir={self.folder},verify-peer={verify}"

    def qemu_nbd(self, credentials):
        return qemu_nbd("--object", credentials, "--tls-creds", "tls", scheme="nbds")

    def storage_daemon(self, credentials):
        return Server(
            "qemu-storage-daemon", "--object", credentials,
            "--blockdev", "driver=file,node-name=disk,filename=DISK,discard=unmap",
            "--nbd-server", "addr.type=inet,addr.host=HOST,addr.port=PORT,tls-creds=tls",
            "--export", "type=nbd,id=export,node-name=disk,name=disk,writable=on",
            export="disk", scheme="nbds",
        )  # fmt: skip

    def nbd_server(self):
        tls = (f"certfile = {self.folder}/server-cert.pem", f"keyfile = {self.folder}/server-key.pem",
               f"cacertfile = {self.folder}/ca-cert.pem", "force_tls = true")  # fmt: skip
        return nbd_server("flush = true", "[generic]", *tls, scheme="nbds")

    def uri(self, server, certificates=".", **parameters):
        folder = self.program.path(self.folder / certificates)
        return server.uri(tls_certificates=folder, **parameters)

    def refused(self, server, certificates=".", **parameters):
        return self.open_error(self.uri(server, certificates, **parameters))

    def goes_through(self, disk, *words, ios=800):
        said = self.mixed(disk, *SMALL, *words, ios=ios)
        self.assertEqual((said["failed"], said["failure"]), ({}, ""))

    # What goes through.

    def test_data_come_back_as_they_went(self):
        psk = f"tls-creds-psk,id=tls,endpoint=server,dir={self.folder / 'psk-folder'}"
        servers = {
            "nbdkit": self.nbdkit,
            "qemu-nbd": lambda: self.qemu_nbd(self.qemu_credentials()),
            "qemu-storage-daemon": lambda: self.storage_daemon(self.qemu_credentials()),
            "nbd-server": self.nbd_server,
        }
        for name, make in servers.items():
            with self.subTest(name), make() as server:
                self.goes_through(self.uri(server))
        if self.program.windows:
            return
        with self.subTest("qemu-nbd, psk"), self.qemu_nbd(psk) as server:
            self.goes_through(server.uri(tls_psk_file=self.folder / "psk", tls_username="alice"))

    def test_large_requests_and_many_connections_go_through(self):
        with self.nbdkit() as server:
            self.mixed(self.uri(server, connections=4), "--request-max", 4 << 20, ios=300)
        with self.nbdkit() as server:
            self.goes_through(self.uri(server, connections=1), "--threads", 4, "--depth", 100)

    def test_both_versions_go_through(self):
        priorities = {"1.2": "NORMAL:-VERS-ALL:+VERS-TLS1.2", "1.3": "NORMAL:-VERS-ALL:+VERS-TLS1.3"}
        for version, priority in priorities.items():
            credentials = f"{self.qemu_credentials()},priority={priority}"
            with self.subTest(version), self.qemu_nbd(credentials) as server:
                if self.program.windows and version == "1.3":
                    # Wine's Schannel ends at 1.2, and qemu sends no alert.
                    self.assertIn("closed the connection during the TLS handshake", self.refused(server))
                else:
                    self.goes_through(self.uri(server))

    def test_a_host_name_is_a_name(self):
        with self.nbdkit() as server:
            self.goes_through(self.uri(server).replace("127.0.0.1", "localhost"), ios=50)

    def test_a_unix_socket_has_no_name(self):
        if self.program.windows:
            self.skipTest("Windows has none")
        with self.nbdkit(tcp=False) as server:
            self.goes_through(self.uri(server), ios=50)
            self.assertIn("unix", server.uri())
            self.assertIn("not for 'other.example'", self.refused(server, tls_hostname="other.example"))

    def test_a_client_certificate_is_shown(self):
        with self.nbdkit("--tls-verify-peer") as server:
            self.goes_through(self.uri(server))
        with self.qemu_nbd(self.qemu_credentials(verify="yes")) as server:
            self.goes_through(self.uri(server))

    def test_a_pre_shared_key_is_used_or_refused_by_name(self):
        with self.nbdkit_psk() as server:
            key = self.program.path(self.folder / "psk")
            uri = server.uri(tls_psk_file=key, tls_username="bob")
            if self.program.windows:
                self.assertIn("not supported: pre-shared keys in Windows's TLS; use certificates", self.open_error(uri))
            else:
                self.goes_through(uri)

    def test_prefer_takes_what_is_there(self):
        for server in (nbdkit("memory", "16M"), self.nbdkit()):
            with server:
                server.scheme = "nbd"
                self.goes_through(self.uri(server, tls="prefer"), ios=50)

    def test_a_killed_server_is_found_again(self):
        with self.nbdkit() as server:
            with self.begin("ops", self.uri(server, reconnect_delay=0.1), "read:0:4096", "pause", "read:0:4096") as run:
                run.wait_for("error")
                server.restart()
                run.go_on()
                code, lines = run.end()
                self.assertEqual(code, 0, str(run))
                # The news of the return may come after the read's.
                reads = [line["error"] for line in lines if "all" in line]
                self.assertEqual(reads, ["none", "none"], str(run))

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

    def test_revoked_certificates_are_refused(self):
        with self.nbdkit() as server:
            self.assertRegex(self.refused(server, "revoked"), r"certificate is revoked by '.+ca-crl\.pem'")

    def test_verification_can_be_left_out(self):
        with self.nbdkit(certificates="expired") as server:
            self.goes_through(self.uri(server, "other", tls_verify_peer=0), ios=50)

    def test_a_missing_client_certificate_is_said(self):
        for make in (lambda: self.nbdkit("--tls-verify-peer"),
                     lambda: self.qemu_nbd(self.qemu_credentials(verify="yes"))):  # fmt: skip
            with make() as server:
                self.assertIn("the server wants a client certificate", self.refused(server, "lonely"))

    def test_a_foreign_client_certificate_is_refused(self):
        foreign = self.folder / "foreign"
        shutil.copytree(self.folder / "other", foreign)
        shutil.copy(self.folder / "ca-cert.pem", foreign)
        with self.nbdkit("--tls-verify-peer") as server:
            self.open_error(self.uri(server, "foreign", connections=1))

    def test_files_that_cannot_be_used_are_named(self):
        with self.nbdkit() as server:
            self.assertRegex(self.refused(server, "nowhere"), r"cannot use '.+nowhere.ca-cert\.pem': No such file")
            mixed = self.folder / "mixed"
            shutil.copytree(self.folder, mixed, ignore=shutil.ignore_patterns("*-folder", "p*", "server*", "*ed*"))
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
            self.assertRegex(self.refused(server, "damaged"),
                             r"cannot use '.+client\.pfx': it is no PFX file .+; make one with: openssl pkcs12")  # fmt: skip

    def test_who_requires_tls_gets_it_or_nothing(self):
        with nbdkit("memory", "16M", scheme="nbds") as server:
            self.assertIn("TLS is required, but the server does not offer it", self.refused(server))
        with self.nbdkit() as server:
            server.scheme = "nbd"
            for plain in (server.uri(), server.uri(tls="off")):
                self.assertIn("it demands TLS", self.open_error(plain))
