# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lab: a Wine prefix of its own in which the real binaries meet our Storport.

    with Lab() as lab:
        lab.run("wnbd-client.exe", "install-driver", lab.inf).check()

Binaries that ship come from $WNBD_OUT (default out/windows), the lab's own from $WNBD_LAB_BUILD
(default build/windows). Leaving the `with` block ends every process of the prefix, whatever happened,
and raises if the verifier found anything.
"""
import atexit
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(os.environ.get("WNBD_OUT", ROOT / "out/windows"))
LAB_BUILD = Path(os.environ.get("WNBD_LAB_BUILD", ROOT / "build/windows"))
WORK = ROOT / "build/lab"

# Wine's own chatter, not ours.
NOISE = ("wine32", "multiarch", "apt-get", "winediag", "it looks like")

SHIPPED = ("wnbd.sys", "wnbd.inf", "libwnbd.dll", "wnbd-client.exe")


class LabError(AssertionError):
    """Something in the lab went as it must not."""


@dataclass
class Result:
    """What a program printed, and its exit code (the Win32 status, cut to 8 bits by the host)."""

    command: str
    code: int
    stdout: str
    stderr: str

    def check(self, code=0):
        if self.code != code:
            raise LabError(f"{self.command}: exit code {self.code}, not {code}\n"
                           f"{self.stdout}{self.stderr}")
        return self


def clean(text):
    """A program's output without Wine's remarks and carriage returns."""
    lines = text.replace("\r", "").splitlines(keepends=True)
    return "".join(line for line in lines if not any(noise in line for noise in NOISE))


def wine_environment(prefix):
    environment = dict(os.environ)
    environment.update(
        WINEPREFIX=str(prefix),
        WINEDLLOVERRIDES="mscoree,mshtml=;winedbg.exe=d;cfgmgr32=n,b",
        WINEDEBUG="fixme-all,err-all,+debugstr",
        DISPLAY="",
    )
    return environment


def stop_prefix(prefix):
    """Ends every process of a prefix."""
    environment = wine_environment(prefix)
    for option in ("-k", "-w"):
        try:
            subprocess.run(["wineserver", option], env=environment, timeout=30,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        except subprocess.TimeoutExpired:
            subprocess.run(["wineserver", "-k9"], env=environment, timeout=30, check=False)


def template():
    """The prefix that all others are copied from; made once, which takes Wine some 20 s."""
    WORK.mkdir(parents=True, exist_ok=True)
    place = WORK / "template"
    with open(WORK / "template.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            making = WORK / "template.making"
            shutil.rmtree(making, ignore_errors=True)
            environment = wine_environment(making)
            environment["WINEDEBUG"] = "-all"
            subprocess.run(["wineboot", "-i"], env=environment, check=True, timeout=300,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # Wine 8 plays Windows 7 unless told otherwise, which the installer rightly refuses.
            subprocess.run(["wine", "winecfg", "/v", "win10"], env=environment, check=True,
                           timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stop_prefix(making)
            making.rename(place)
    return place


class Lab:
    """One run. Every path it gives to programs is a Windows path."""

    def __init__(self, environment=None, files=()):
        """`environment` adds variables for everything that runs in the lab, the driver included;
        `files` are further programs to have beside the client."""
        WORK.mkdir(parents=True, exist_ok=True)
        self.extra_environment = dict(environment or {})
        self.files = [Path(f) for f in files]
        self.place = Path(tempfile.mkdtemp(prefix="run-", dir=WORK))
        self.prefix = self.place / "prefix"
        self.programs = self.place / "programs"
        self.driver_log_path = self.place / "driver.log"
        self.children = []
        self.stopped = False

    # --- Beginning and end

    def __enter__(self):
        atexit.register(self.stop)
        self._old_handlers = {s: signal.signal(s, self._on_signal)
                              for s in (signal.SIGTERM, signal.SIGHUP)}
        try:
            self._copy_template()
            self._copy_programs()
            self._start_server()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, value, traceback):
        self.stop()
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        violations = self.violations()
        if kind is not None:
            print(self.driver_log()[-4000:])
        elif violations:
            raise LabError("the verifier found:\n" + "\n".join(violations))
        if not os.environ.get("WNBD_LAB_KEEP"):
            shutil.rmtree(self.place, ignore_errors=True)
        return False

    def _on_signal(self, number, _frame):
        self.stop()
        raise SystemExit(128 + number)

    def stop(self):
        """Ends every process of this lab. Idempotent."""
        if self.stopped:
            return
        self.stopped = True
        for child in self.children:
            if child.poll() is None:
                child.kill()
        stop_prefix(self.prefix)
        for child in self.children:
            child.wait(timeout=30)
        if getattr(self, "log_file", None):
            self.log_file.close()

    def restart(self):
        """Ends everything and starts anew, as a reboot would: the registry stays, the driver is loaded
        again."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
        stop_prefix(self.prefix)
        for child in self.children:
            child.wait(timeout=30)
        self.log_file.close()
        self._start_server()

    def _copy_template(self):
        # Programs in a prefix are never written in place, so they can be shared by hard links; the
        # registry is written and is copied.
        subprocess.run(["cp", "-a", "--link", str(template()), str(self.prefix)], check=True)
        for hive in self.prefix.glob("*.reg"):
            content = hive.read_bytes()
            hive.unlink()
            hive.write_bytes(content)

    def _copy_programs(self):
        self.programs.mkdir()
        for name in SHIPPED:
            shutil.copy(OUT / name, self.programs)
        # An unsigned package still names its catalogue.
        (self.programs / "wnbd.cat").touch()
        for name in ("disktool.exe", "labctl.exe", "cfgmgr32.dll"):
            shutil.copy(self._built(name), self.programs)
        for extra in self.files:
            shutil.copy(extra, self.programs)
        drivers = self.prefix / "drive_c/windows/system32/drivers"
        target = drivers / "storport.sys"
        target.unlink(missing_ok=True)
        shutil.copy(self._built("storport.sys"), target)

    @staticmethod
    def _built(name):
        found = sorted(p for p in LAB_BUILD.rglob(name) if "CMakeFiles" not in p.parts)
        if not found:
            raise LabError(f"{name} is not built: ./run build")
        return found[0]

    def _start_server(self):
        # The kernel process inherits the standard error of what starts the wineserver: the driver's
        # messages go to a file from there on. When the last program of a prefix ends, Wine stops its
        # services too, and with them the driver: a shell that waits for input keeps all up.
        self.log_file = open(self.driver_log_path, "ab")
        holder = subprocess.Popen(["wine", "cmd"], env=self.environment(), stdin=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL, stderr=self.log_file)
        self.children.append(holder)
        # Any program's start waits until Wine is up.
        subprocess.run(["wine", "cmd", "/c", "exit"], env=self.environment(), check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=self.log_file, timeout=120)
        # The driver's process does not see our variables: the lab's storport.sys looks for its own in
        # the registry when the driver starts.
        key = r"HKLM\System\CurrentControlSet\Control\Session Manager\Environment"
        for name, value in self.extra_environment.items():
            subprocess.run(["wine", "reg", "add", key, "/v", name, "/d", str(value), "/f"],
                           env=self.environment() | {"WINEDEBUG": "-all"}, check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=120)

    def environment(self):
        return wine_environment(self.prefix) | self.extra_environment

    # --- Paths

    @property
    def inf(self):
        return self.windows_path(self.programs / "wnbd.inf")

    @staticmethod
    def windows_path(path):
        return "Z:" + str(Path(path).resolve()).replace("/", "\\")

    # --- Programs

    def _command(self, program, arguments):
        return ["wine", str(self.programs / program), *map(str, arguments)]

    def run(self, program, *arguments, timeout=120):
        """Runs a program to its end."""
        command = self._command(program, arguments)
        text = " ".join([program, *map(str, arguments)])
        environment = self.environment()
        environment["WINEDEBUG"] = "-all"
        # Files, not pipes: what Wine starts in the background inherits them, and a pipe would have its end
        # only with the last of those.
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            def texts():
                for file in (stdout, stderr):
                    file.seek(0)
                    yield clean(file.read().decode(errors="replace"))

            try:
                done = subprocess.run(command, env=environment, cwd=self.programs, timeout=timeout,
                                      stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                      check=False)
            except subprocess.TimeoutExpired as expired:
                raise LabError(f"{text}: did not end within {timeout} s\n"
                               + "".join(texts())) from expired
            return Result(text, done.returncode, *texts())

    def start(self, program, *arguments):
        """Starts a program that stays, such as `map`; its output goes to files beside the log."""
        number = len(self.children)
        environment = self.environment()
        environment["WINEDEBUG"] = "-all"
        stdout = open(self.place / f"child{number}.out", "wb")
        stderr = open(self.place / f"child{number}.err", "wb")
        child = subprocess.Popen(self._command(program, arguments), env=environment,
                                 cwd=self.programs, stdin=subprocess.DEVNULL, stdout=stdout,
                                 stderr=stderr)
        stdout.close()
        stderr.close()
        child.raw_output = lambda: (
            (self.place / f"child{number}.out").read_text(errors="replace")
            + (self.place / f"child{number}.err").read_text(errors="replace"))
        child.output = lambda: clean(child.raw_output())
        self.children.append(child)
        return child

    def client(self, *arguments, timeout=120):
        return self.run("wnbd-client.exe", *arguments, timeout=timeout)

    def disktool(self, *arguments, timeout=300):
        return self.run("disktool.exe", *arguments, timeout=timeout)

    def install(self):
        self.client("install-driver", self.inf).check()

    def map(self, name, *arguments, timeout=30):
        """Starts `map` and waits until Windows has a disk number for it; returns (child, number)."""
        child = self.start("wnbd-client.exe", "map", name, *arguments)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            number = self.disk_number(name)
            if number is not None and number >= 0:
                return child, number
            if child.poll() is not None:
                break
            time.sleep(0.2)
        # All that was said, Wine's remarks too: where the client says nothing they may tell why.
        raise LabError(f"map {name} gave no disk (exit code {child.poll()})\n"
                       + child.raw_output())

    def disk_number(self, name):
        """The PhysicalDrive number, -1 when not known yet, None when there is no such mapping."""
        shown = self.client("show", name)
        if shown.code != 0:
            return None
        for line in shown.stdout.splitlines():
            label, _, value = line.partition(":")
            if label.strip() == "DiskNumber":
                return int(value)
        return None

    # --- What the driver and the verifier said

    def driver_log(self):
        if not self.driver_log_path.exists():
            return ""
        return self.driver_log_path.read_text(errors="replace")

    def violations(self):
        return [line for line in self.driver_log().splitlines() if "VERIFIER:" in line]
