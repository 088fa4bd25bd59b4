# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is packaged is signed, and the catalogue lists what lies in the driver folder."""

import hashlib
import re
import shutil
import tempfile
import unittest
from pathlib import Path

from tests.driver.test_image import DEFINITIONS, definitions, faults
from tests.package.package import ROOT, TEST_CERTIFICATE, Package, run, verify

# Certificate trust list, which openssl knows by its number only.
CTL = ":1.3.6.1.4.1.311.10.1"


def flipped(path, place, offset):
    """A copy with one bit changed."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    copy = Path(place) / path.name
    copy.write_bytes(data)
    return copy


class Signatures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.package = Package()
        cls.place = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.tree = cls.package.unpack(cls.place / "zip")
        cls.catalogue = cls.package.driver / "wnbd.cat"
        cls.sys = cls.package.driver / "wnbd.sys"
        cls.inf = cls.package.driver / "wnbd.inf"

    def signed_files(self):
        return [self.sys, self.catalogue, self.package.msi, self.tree / "bin/wnbd-client.exe",
                self.tree / "bin/libwnbd.dll"]

    def test_everything_that_runs_is_signed(self):
        for path in self.signed_files():
            with self.subTest(path.name):
                self.assertTrue(verify(path))

    def test_a_signature_by_somebody_else_is_not_ours(self):
        other = self.place / "other.pem"
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other",
            "-keyout", self.place / "other.key", "-out", other)
        self.assertFalse(verify(self.sys, trusted=other))

    def test_one_changed_bit_breaks_the_signature(self):
        for path in self.signed_files():
            data = path.read_bytes()
            places = {"cabinet": data.index(b"MSCF") + 200} if path.suffix == ".msi" else {
                "middle": len(data) // 2}
            if path.suffix in (".sys", ".exe", ".dll"):
                places["first code"] = 0x1000
            for name, offset in places.items():
                with self.subTest(path.name, place=name):
                    self.assertFalse(verify(flipped(path, self.place, offset)))

    def test_the_catalogue_lists_the_driver_signed_or_not(self):
        self.assertTrue(verify(self.sys, self.catalogue))
        self.assertTrue(verify(ROOT / "out/windows/wnbd.sys", self.catalogue))

    def test_the_catalogue_lists_no_other_file(self):
        self.assertFalse(verify(flipped(self.sys, self.place, 0x1000), self.catalogue))
        self.assertFalse(verify(self.tree / "bin/libwnbd.dll", self.catalogue))

    def verified_list(self):
        """The catalogue's content, once openssl has verified its signature, and its members' hashes."""
        lines = run("openssl", "asn1parse", "-inform", "DER", "-in", self.catalogue).stdout.split("\n")
        begin = next(i for i, line in enumerate(lines) if "prim" in line and line.endswith(CTL)) + 2
        offset, head, length = map(int, re.match(
            r" *(\d+):d=5 +hl=(\d+) +l= *(\d+) cons: SEQUENCE", lines[begin]).groups())
        # What is signed is the content without its own head.
        content = self.catalogue.read_bytes()[offset + head : offset + head + length]
        (self.place / "content").write_bytes(content)
        run("openssl", "smime", "-verify", "-inform", "DER", "-in", self.catalogue, "-binary",
            "-content", self.place / "content", "-CAfile", TEST_CERTIFICATE, "-purpose", "any",
            "-out", self.place / "verified")
        # An entry's name is its hash; at the same depth behind the list stands the signer's own.
        member = re.compile(r" *(\d+):d=8 .*OCTET STRING +\[HEX DUMP\]:([0-9A-F]{64})\Z")
        found = [match for match in map(member.match, lines) if match]
        return content, [m.group(2) for m in found if int(m.group(1)) < offset + head + length]

    def test_the_catalogue_lists_exactly_the_two_files(self):
        content, members = self.verified_list()
        said = run("osslsigncode", "verify", "-CAfile", TEST_CERTIFICATE, "-in", self.sys).stdout
        driver = re.search(r"Calculated message digest *: *([0-9A-F]{64})", said).group(1)
        inf = hashlib.sha256(self.inf.read_bytes()).hexdigest().upper()
        self.assertEqual(sorted(members), sorted([driver, inf]))
        for digest in members:
            self.assertEqual(content.count(bytes.fromhex(digest)), 2, "as name and as hash")
        for text in ("wnbd.sys", "wnbd.inf", "root\\wnbd", "2:10.0", "_v100_X64"):
            self.assertIn((text + "\0").encode("utf-16-le"), content, text)

    def test_the_signed_driver_still_loads_on_1809(self):
        self.assertEqual(faults(self.sys.read_bytes(), definitions(DEFINITIONS)), [])

    def test_the_inf_is_the_one_that_was_built(self):
        self.assertEqual(self.inf.read_bytes(), (ROOT / "out/windows/wnbd.inf").read_bytes())

    def test_the_test_certificate_is_given_and_signs_code_only(self):
        given = run("openssl", "x509", "-inform", "DER", "-in", self.package.folder / "wnbd-test.cer",
                    "-outform", "PEM").stdout
        self.assertEqual(given.strip(), TEST_CERTIFICATE.read_text().strip())
        text = run("openssl", "x509", "-in", TEST_CERTIFICATE, "-noout", "-text").stdout
        self.assertIn("Code Signing", text)
        self.assertIn("CA:FALSE", text)

    def test_the_zip_holds_what_lies_beside_it(self):
        for path in sorted(self.package.driver.iterdir()):
            self.assertEqual(path.read_bytes(), (self.tree / "driver" / path.name).read_bytes())
        self.assertEqual((self.tree / self.package.msi.name).read_bytes(),
                         self.package.msi.read_bytes())


class CatalogueMaker(unittest.TestCase):
    """packaging/make_catalogue.py with what is no driver."""

    def setUp(self):
        self.place = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def make(self, *files):
        return run("/usr/bin/python3", ROOT / "packaging/make_catalogue.py", "--time", 0,
                   "-o", self.place / "x.cat", *files, check=False)

    def test_a_file_that_is_missing_or_cut_off_gets_one_plain_line(self):
        whole = (ROOT / "out/windows/wnbd.sys").read_bytes()
        for name, data in (("empty.sys", b"MZ"), ("head.sys", whole[:0x90]),
                           ("wild.sys", whole[:0x3C] + b"\xff\xff\xff\x7f" + whole[0x40:]),
                           ("none.sys", None)):
            with self.subTest(name):
                if data is not None:
                    (self.place / name).write_bytes(data)
                done = self.make(self.place / name)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"\Amake_catalogue: .*\n\Z")
                self.assertFalse((self.place / "x.cat").exists())

    def test_text_that_begins_otherwise_is_hashed_as_it_is(self):
        shutil.copy(ROOT / "out/windows/wnbd.inf", self.place / "a.inf")
        self.assertEqual(self.make(self.place / "a.inf").returncode, 0)
        digest = hashlib.sha256((self.place / "a.inf").read_bytes()).digest()
        self.assertEqual((self.place / "x.cat").read_bytes().count(digest), 2)


if __name__ == "__main__":
    unittest.main()
