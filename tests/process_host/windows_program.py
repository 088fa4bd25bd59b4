# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs programs of the one-process host, each time in a Wine prefix of its own that leaves no process.

    python3 -m tests.process_host.windows_program bench/driver_bench.exe WNBD.SYS --json out.jsonl

A program's path is relative to $WNBD_LAB_BUILD (default build/windows); wnbd.sys is $WNBD_OUT/wnbd.sys
(default out/windows/wnbd.sys), and stands for WNBD.SYS among the arguments.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(os.environ.get("WNBD_OUT", ROOT / "out/windows"))
BUILD = Path(os.environ.get("WNBD_LAB_BUILD", ROOT / "build/windows"))
DRIVER = OUT / "wnbd.sys"

# Wine's own chatter, not ours.
NOISE = ("wine32", "multiarch", "apt-get", "it looks like")


class Wine:
    """A prefix for a few programs, one after the other."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="wnbd-process-host-")
        self.environment = dict(
            os.environ,
            WINEPREFIX=os.path.join(self.folder, "prefix"),
            WINEDLLOVERRIDES="mscoree,mshtml=;winedbg.exe=d",
            WINEDEBUG="-all",
            DISPLAY="",
        )
        self._wine("wineboot", "-i", timeout=180)
        return self

    def __exit__(self, *_):
        for option in ("-k", "-w"):
            try:
                subprocess.run(["wineserver", option], env=self.environment, timeout=30, check=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            except subprocess.TimeoutExpired:
                subprocess.run(["wineserver", "-k9"], env=self.environment, timeout=30, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wine(self, *command, timeout):
        subprocess.run(command, env=self.environment, timeout=timeout, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, program, *arguments, timeout=900):
        """Exit code and output (both streams together) of a program; -1 if it had to be stopped."""
        command = ["wine", str(BUILD / program), *map(str, arguments)]
        try:
            done = subprocess.run(command, env=self.environment, timeout=timeout, check=False, text=True,
                                  errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            code, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired as stopped:
            code = -1
            output = (stopped.stdout or b"").decode(errors="replace") + f"\nstopped after {timeout} s\n"
        lines = output.replace("\r", "").splitlines(keepends=True)
        return code, "".join(line for line in lines if not any(noise in line for noise in NOISE))


def main():
    program, *arguments = sys.argv[1:]
    arguments = [str(DRIVER) if argument == "WNBD.SYS" else argument for argument in arguments]
    with Wine() as wine:
        code, output = wine.run(program, *arguments)
    print(output, end="")
    sys.exit(code if code >= 0 else 1)


if __name__ == "__main__":
    main()
