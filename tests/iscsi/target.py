# SPDX-License-Identifier: LGPL-2.1-or-later
"""`wnbd-client serve` as the tests run it: natively, or the Windows program under Wine."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
NATIVE = pathlib.Path(os.environ.get("WNBD_NATIVE", REPOSITORY / "build" / "native")) / "wnbd-client"

# What it says when it is ready.
READY = re.compile(r"Target *: (iqn\.\S+)\s+Portal *: ([\d.]+):(\d+)\s")


class Target:
    """Serves one disk from construction to stop() or kill(); `words` name its backend and options.

    A context manager, which kills what still runs and complains if it had crashed before.
    """

    def __init__(self, *words, port=0, name="disk", command=(NATIVE,), environment=None):
        """`environment` is added to ours."""
        self.words = [*map(str, command), "serve", name, *map(str, words), "--listen"]
        self.environment = dict(os.environ, **(environment or {}))
        self._folder = tempfile.TemporaryDirectory(prefix="wnbd-target-")
        self._log = open(pathlib.Path(self._folder.name) / "log", "w+b")
        self.port = port
        self.start()

    def start(self):
        """Starts, or starts again, on the same port."""
        begin = self._log.seek(0, os.SEEK_END)
        self.process = subprocess.Popen(
            [*self.words, f"127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self.environment,
        )
        deadline = time.monotonic() + 60
        while not (ready := READY.search(self.log()[begin:])):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.words} did not start:\n{self.log()}")
            time.sleep(0.02)
        self.iqn, host, port = ready.groups()
        self.port = int(port)
        self.address = (host, self.port)

    def log(self):
        return pathlib.Path(self._log.name).read_text("utf-8", "replace")

    def url(self, user=None, password=None):
        who = f"{user}%{password}@" if user else ""
        return f"iscsi://{who}{self.address[0]}:{self.port}/{self.iqn}/0"

    def wait_for_log(self, pattern, timeout=30):
        """The first match, once the log has it."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.log())):
            if time.monotonic() > deadline:
                raise AssertionError(f"{pattern!r} is not in the log:\n{self.log()}")
            time.sleep(0.02)
        return found

    def running(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=60)

    def stop(self, timeout=60):
        """Asks it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=timeout)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        crashed = self.process.poll()
        try:
            self.kill()
            if crashed and crashed < 0 and crashed != -signal.SIGKILL and kind is None:
                raise AssertionError(f"the target ended with {crashed}:\n{self.log()}")
        finally:
            self._log.close()
            self._folder.cleanup()
