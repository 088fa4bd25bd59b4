# SPDX-License-Identifier: LGPL-2.1-or-later
"""A package as `./run package` leaves it, and the tools that look at it: osslsigncode, openssl and
msitools, none of which uses our code."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEST_CERTIFICATE = ROOT / "build/signing/test-certificate.pem"


def run(*command, cwd=ROOT, check=True, **variables):
    """A program's result; with `check`, a failure raises and tells what it said."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, text=True, errors="replace",
                          env=os.environ | {k: str(v) for k, v in variables.items()},
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class Package:
    def __init__(self, folder=ROOT / "out/package"):
        self.folder = Path(folder)
        self.driver = self.folder / "driver"

    @property
    def msi(self):
        (path,) = self.folder.glob("*.msi")
        return path

    @property
    def zip(self):
        (path,) = self.folder.glob("*.zip")
        return path

    @property
    def version(self):
        return re.fullmatch(r"wnbd-(.*)\.msi", self.msi.name).group(1)

    def unpack(self, place):
        """Unpacks the zip; returns the folder of what is installed."""
        run("python3", "-m", "zipfile", "-e", self.zip, place)
        return Path(place) / f"wnbd-{self.version}"


def verify(path, catalogue=None, trusted=TEST_CERTIFICATE):
    """Whether osslsigncode accepts the signature in a file, or the catalogue's for the file."""
    options = ["-catalog", catalogue] if catalogue else []
    done = run("osslsigncode", "verify", "-CAfile", trusted, "-ignore-timestamp", *options,
               "-in", path, check=False)
    return done.returncode == 0


def table(msi, name):
    """The rows of an installer's table, as {column: value}."""
    lines = run("msiinfo", "export", msi, name).stdout.replace("\r", "").split("\n")
    columns = lines[0].split("\t")
    return [dict(zip(columns, line.split("\t"))) for line in lines[3:] if line]
