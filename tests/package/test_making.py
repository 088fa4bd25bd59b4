# SPDX-License-Identifier: LGPL-2.1-or-later
"""`./run package` itself: the same output for the same input, and signing with a given certificate."""

import http.server
import shutil
import tempfile
import threading
import unittest
from pathlib import Path

from tests.package.package import ROOT, Package, run, verify

PASSWORD = "it's a \"secret\""

CA_EXTENSIONS = "basicConstraints=critical,CA:TRUE"
LEAF_EXTENSIONS = """
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,{usage}
"""


def issue(place, name, usage):
    """A certificate by the authority in `place`, for one use."""
    (place / f"{name}.ext").write_text(LEAF_EXTENSIONS.format(usage=usage))
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
        "-keyout", place / f"{name}.key", "-out", place / f"{name}.csr")
    run("openssl", "x509", "-req", "-in", place / f"{name}.csr", "-CA", place / "ca.pem",
        "-CAkey", place / "ca.key", "-CAcreateserial", "-days", "30",
        "-extfile", place / f"{name}.ext", "-out", place / f"{name}.pem")


class TimestampServer(http.server.BaseHTTPRequestHandler):
    """RFC 3161 by openssl ts."""

    place = None
    served = 0

    def do_POST(self):  # noqa: N802, the name is http.server's
        query = self.place / "query.tsq"
        query.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.place / "reply.tsr"
        run("openssl", "ts", "-reply", "-config", self.place / "tsa.cnf", "-queryfile", query,
            "-out", reply)
        body = reply.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        type(self).served += 1

    def log_message(self, *_arguments):
        pass


class PackageMaker(unittest.TestCase):
    """Makes packages in a folder of its own."""

    @classmethod
    def setUpClass(cls):
        cls.place = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def package(self, check=True, **variables):
        folder = self.place / self.id().rsplit(".", 1)[-1]
        done = run("./run", "package", check=check, WNBD_PACKAGE_OUT=folder, **variables)
        return done, Package(folder)


class TestKey(PackageMaker):
    def test_the_same_source_time_and_key_give_the_same_files(self):
        contents = []
        for _ in range(2):
            _, package = self.package(SOURCE_DATE_EPOCH=1790000000)
            contents.append({str(path.relative_to(package.folder)): path.read_bytes()
                             for path in package.folder.rglob("*") if path.is_file()})
        self.assertEqual(contents[0].keys(), contents[1].keys())
        for name, data in contents[0].items():
            self.assertTrue(data == contents[1][name], f"{name} differs")

    def test_wrong_settings_get_one_plain_line_and_leave_the_last_package(self):
        (self.place / "empty.pfx").touch()
        kept = self.place / self.id().rsplit(".", 1)[-1] / "kept"
        kept.parent.mkdir()
        kept.touch()
        for says, variables in (
            ("cannot read /nowhere.pfx", {"WNBD_SIGN_PFX": "/nowhere.pfx"}),
            ("cannot open .*empty.pfx", {"WNBD_SIGN_PFX": self.place / "empty.pfx"}),
            ("belong together", {"WNBD_SIGN_KEY": self.place / "empty.pfx"}),
            ("not both", {"WNBD_SIGN_PFX": self.place / "empty.pfx",
                          "WNBD_SIGN_CERT": self.place / "empty.pfx"}),
        ):
            with self.subTest(says):
                done, _ = self.package(check=False, **variables)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertRegex(done.stderr, f"run package: .*{says}")
                self.assertTrue(kept.exists())


class GivenCertificate(PackageMaker):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=root",
            "-addext", CA_EXTENSIONS, "-keyout", cls.place / "ca.key", "-out", cls.place / "ca.pem")
        issue(cls.place, "publisher", "codeSigning")
        issue(cls.place, "clock", "timeStamping")
        (cls.place / "password").write_text(PASSWORD + "\n")
        run("openssl", "pkcs12", "-export", "-in", cls.place / "publisher.pem",
            "-inkey", cls.place / "publisher.key", "-out", cls.place / "publisher.pfx",
            "-passout", f"file:{cls.place / 'password'}")

    def assert_signed(self, package):
        for path in (package.driver / "wnbd.sys", package.driver / "wnbd.cat", package.msi):
            self.assertTrue(verify(path, trusted=self.place / "ca.pem"), path.name)
            self.assertFalse(verify(path), "not by the test key")
        self.assertFalse((package.folder / "wnbd-test.cer").exists())

    def test_a_pfx_with_a_password_signs(self):
        _, package = self.package(WNBD_SIGN_PFX=self.place / "publisher.pfx",
                                  WNBD_SIGN_PASSWORD=PASSWORD, WNBD_SIGN_CHAIN=self.place / "ca.pem")
        self.assert_signed(package)

    def test_a_wrong_password_is_said(self):
        done, _ = self.package(check=False, WNBD_SIGN_PFX=self.place / "publisher.pfx",
                               WNBD_SIGN_PASSWORD="other")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "cannot open .*publisher.pfx: is the password right")

    def test_pem_files_sign_and_the_time_is_certified(self):
        shutil.copy(ROOT / "tests/package/tsa.cnf", self.place / "tsa.cnf")
        config = (self.place / "tsa.cnf").read_text().replace("@PLACE@", str(self.place))
        (self.place / "tsa.cnf").write_text(config)
        (self.place / "serial").write_text("01\n")
        TimestampServer.place = self.place
        server = http.server.HTTPServer(("127.0.0.1", 0), TimestampServer)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            _, package = self.package(
                WNBD_SIGN_CERT=self.place / "publisher.pem", WNBD_SIGN_KEY=self.place / "publisher.key",
                WNBD_SIGN_CHAIN=self.place / "ca.pem",
                WNBD_TIMESTAMP_URL=f"http://127.0.0.1:{server.server_port}/")
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        self.assert_signed(package)
        self.assertEqual(TimestampServer.served, 5, "sys, dll, exe, cat and msi")
        said = run("osslsigncode", "verify", "-CAfile", self.place / "ca.pem",
                   "-TSA-CAfile", self.place / "ca.pem", "-in", package.driver / "wnbd.sys").stdout
        self.assertRegex(said, "(?i)timestamp server signature verification: ok")


if __name__ == "__main__":
    unittest.main()
