# SPDX-License-Identifier: LGPL-2.1-or-later
"""nbd_exercise as the tests run it: natively with a sanitizer, or the Windows program under Wine."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

from tests.lab import lab

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


class Native:
    """The build of one preset: `asan`, `tsan`, or `native` without a sanitizer."""

    windows = False

    def __init__(self, preset):
        build = "native" if preset == "native" else f"native-{preset}"
        self.command = [REPOSITORY / "build" / build / "nbd_exercise"]
        self.environment = dict(os.environ)
        self.slowness = 1 if preset == "native" else 4

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @staticmethod
    def path(path):
        return str(path)


class Wine:
    """The Windows build, in a Wine prefix of its own."""

    windows = True
    slowness = 3

    def __init__(self):
        self.command = ["wine", REPOSITORY / "build" / "windows" / "nbd_exercise.exe"]

    def __enter__(self):
        self._folder = tempfile.mkdtemp(prefix="wnbd-nbd-wine-", dir=lab.template().parent)
        self._prefix = pathlib.Path(self._folder) / "prefix"
        subprocess.run(["cp", "-a", "--reflink=auto", lab.template(), self._prefix], check=True)
        self.environment = lab.wine_environment(self._prefix) | {"WINEDEBUG": "-all"}
        # One program that stays keeps the prefix up, so that the others start quickly.
        self._holder = subprocess.Popen(["wine", "cmd"], env=self.environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        return self

    def __exit__(self, *_):
        self._holder.kill()
        lab.stop_prefix(self._prefix)
        self._holder.wait(timeout=30)
        self._holder.stdin.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @staticmethod
    def path(path):
        return lab.Lab.windows_path(path)


def account(lines):
    """What a writer says of its run: its last line, but for what is told while its disk is closed."""
    return next(line for line in reversed(lines) if "lost" in line)


class Exercise:
    """One run. Its lines of JSON are in `lines` as they come."""

    def __init__(self, program, mode, disk, *words):
        self.words = [*map(str, program.command), mode, str(disk), *map(str, words)]
        self._errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.words, env=program.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self.lines = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self.lines.append({"ended": True})
            self._changed.notify_all()

    def wait_for(self, key, at_least=None, timeout=120):
        """The first line that has `key`, with a value of at least that much."""
        end = time.monotonic() + timeout
        seen = 0
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    if key in line and (at_least is None or line[key] >= at_least):
                        return line
                    if "ended" in line:
                        raise AssertionError(f"it ended without {key}:\n{self}")
                seen = len(self.lines)
                if not self._changed.wait(end - time.monotonic()):
                    raise AssertionError(f"no {key} {at_least or ''} within {timeout} s:\n{self}")

    def acknowledged(self):
        """Of a writer: how many writes by now."""
        with self._changed:
            return max((line.get("acknowledged", 0) for line in self.lines), default=0)

    def more_acknowledged(self, count, timeout=120):
        """Waits until so many more writes have been acknowledged than now."""
        return self.wait_for("acknowledged", self.acknowledged() + count, timeout)

    def wait_until(self, true, timeout=60):
        """For what happens elsewhere than in its lines."""
        end = time.monotonic() + timeout
        while not true():
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"it did not come to that:\n{self}")
            time.sleep(0.02)

    def go_on(self):
        """Ends a `pause`, or a writer's work."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def end(self, timeout=180):
        """Waits for its end; (exit code, its lines)."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired as expired:
            self.process.kill()
            raise AssertionError(f"it did not end within {timeout} s:\n{self}") from expired
        self._reader.join(30)
        return code, [line for line in self.lines if "ended" not in line]

    def __str__(self):
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace")
        return "\n".join([" ".join(self.words), *map(str, self.lines[-20:]), errors[-6000:]])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=30)
        self._reader.join(30)
        self.process.stdin.close()
        self.process.stdout.close()
        self._errors.close()
