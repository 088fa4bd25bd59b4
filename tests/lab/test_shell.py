# SPDX-License-Identifier: LGPL-2.1-or-later
"""`wnbd-client shell`: one process that takes every command, and needs no file once it runs."""
import contextlib
import json
import re
import subprocess
import unittest
from pathlib import Path

from tests.lab.lab import Lab, clean

FILE_NOT_FOUND = 2
INVALID_PARAMETER = 87
BUFFER_OVERFLOW = 111


class Shell:
    """A running shell that is spoken to through pipes, in JSON."""

    def __init__(self, lab, debug="-all"):
        self.errors = lab.place / "shell.err"
        environment = lab.environment() | {"WINEDEBUG": debug}
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                ["wine", str(lab.programs / "wnbd-client.exe"), "shell", "--format", "json"],
                env=environment, cwd=lab.programs, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True, encoding="utf-8")
        lab.children.append(self.process)
        self.residence = json.loads(self.process.stdout.readline())

    def run(self, line):
        """Returns what the command printed, and its exit code."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        printed = ""
        for answer in self.process.stdout:
            if answer.startswith('{"ExitCode":'):
                return printed, json.loads(answer)["ExitCode"]
            printed += answer
        raise AssertionError(f"the shell ended after {line!r}: {self.error_text()}")

    def error_text(self):
        return self.errors.read_text(encoding="utf-8", errors="replace")

    def close(self, *lines):
        """Ends the shell, and returns its exit code."""
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.close()
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code


@contextlib.contextmanager
def renamed(*folders):
    """For a while, nothing can be loaded from these."""
    away = [(folder, folder.with_name(folder.name + ".away")) for folder in folders]
    for folder, gone in away:
        folder.rename(gone)
    try:
        yield
    finally:
        for folder, gone in away:
            gone.rename(folder)


def files_opened(trace):
    """The names in Wine's trace of what was loaded and opened, but for devices."""
    names = re.findall(r"trace:loaddll:\w+ Loaded (L\"[^\"]*\")", trace)
    names += re.findall(r"trace:file:CreateFileW? ?(L?\"[^\"]*\")", trace)
    # Wine writes them as C strings: these begin with \\\\.\\ or \\\\?\\root#.
    device = re.compile(r'(?i)L"(\\\\){2}(\.|\?(\\\\)root#)')
    return [name for name in names if not device.match(name)]


class InTheLab(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()

    def test_it_works_on_when_nothing_can_be_loaded_any_more(self):
        served, number = self.lab.map("kept", "--memory", "16M")
        shell = Shell(self.lab, debug="+loaddll,+file")
        loaded = files_opened(shell.error_text())
        self.assertTrue([name for name in loaded if "libwnbd" in name], "the trace shows nothing")
        before = len(shell.error_text())
        system = self.lab.prefix / "drive_c/windows/system32"
        with renamed(self.lab.programs, system):
            with self.assertRaises(FileNotFoundError):
                self.lab.client("list")
            self.assertEqual([d["InstanceName"] for d in json.loads(shell.run("list")[0])], ["kept"])
            shown = json.loads(shell.run("show kept")[0])
            self.assertEqual((shown["DiskNumber"], shown["MaxIOReqPerLun"]), (number, 255))
            self.assertIn("OutstandingIOCount", json.loads(shell.run("stats kept")[0]))
            self.assertEqual(json.loads(shell.run("get-opt LogLevel")[0])["Name"], "LogLevel")
            self.assertEqual(shell.run("ping")[1], 0)
            self.assertEqual(shell.run("help")[1], 0)
            self.assertEqual(shell.run("show nobody"), ("", FILE_NOT_FOUND))
            self.assertEqual(shell.run("nonsense"), ("", INVALID_PARAMETER))
            self.assertEqual(shell.run("unmap kept"), ("", 0))
            self.assertEqual(json.loads(shell.run("list")[0]), [])
            self.assertEqual(shell.run("unmap kept --hard-disconnect"), ("", FILE_NOT_FOUND))
            self.assertEqual(files_opened(shell.error_text()[before:]), [])
        self.assertEqual(served.wait(timeout=30), 0, served.output())
        self.assertEqual(shell.close("list", "exit"), 0)

    def test_what_it_says_is_locked_is_locked_and_the_rest_is_told(self):
        """By the kernel's own count. That it is all there is, is what VirtualQuery says."""
        shell = Shell(self.lab)
        status = Path(f"/proc/{shell.process.pid}/status").read_text(encoding="ascii")
        locked = int(re.search(r"^VmLck:\s+(\d+) kB", status, re.M).group(1)) * 1024
        self.assertGreater(locked, 4 << 20)
        self.assertLessEqual(shell.residence["LockedBytes"], locked)
        if shell.residence["UnlockedBytes"] != 0:
            self.assertIn("could not be locked in memory", shell.error_text())
        self.assertEqual(shell.close("quit"), 0)

    def test_it_serves_what_it_maps_until_it_ends(self):
        shell = Shell(self.lab)
        numbers = {}
        for name in ("one", "and two"):
            mapped, code = shell.run(f'map "{name}" --memory 8M')
            self.assertEqual(code, 0, shell.error_text())
            numbers[name] = json.loads(mapped)["DiskNumber"]
        data = self.lab.place / "data"
        data.write_bytes(bytes(range(256)) * 16)
        back = self.lab.place / "back"
        self.lab.disktool("write", numbers["and two"], self.lab.windows_path(data)).check()
        self.lab.disktool("read", numbers["and two"], self.lab.windows_path(back),
                          "--length", 4096).check()
        self.assertEqual(back.read_bytes(), data.read_bytes())
        self.assertEqual(shell.run("map one --memory 8M"), ("", 183))
        self.assertEqual(shell.run("unmap one"), ("", 0))
        self.assertEqual(json.loads(shell.run("map one --memory 4M")[0])["InstanceName"], "one")
        self.assertEqual(shell.close("exit"), 0)
        self.assertEqual(json.loads(self.lab.client("list", "--format", "json").check().stdout), [])

    def test_a_server_that_is_not_there_fails_its_map_alone(self):
        shell = Shell(self.lab)
        printed, code = shell.run("map d 127.0.0.1 --port 1")
        self.assertEqual((printed, code), ("", 2250))
        failure = json.loads(shell.error_text().splitlines()[-1])
        self.assertEqual(failure["Error"], "Could not map the disk 'd'")
        self.assertIn("127.0.0.1", failure["Details"])
        # The next command's failure does not speak of it.
        shell.run("show d")
        self.assertIsNone(json.loads(shell.error_text().splitlines()[-1])["Details"])
        self.assertEqual(shell.close(), FILE_NOT_FOUND)

    def test_lines_are_read_like_command_lines(self):
        shell = Shell(self.lab)
        for line, error in (
            (r'show "a \"b\" c"', "Could not show the disk 'a \"b\" c'"),
            ("show p\u00eb\u20ac", "Could not show the disk 'p\u00eb\u20ac'"),
            ("\t show   x\t", "Could not show the disk 'x'"),
            ("exit now", "too many arguments"),
            ("shell", "This is a shell already."),
            ("show " + "n" * 70000, "The line is too long: at most 65536 bytes are allowed"),
        ):
            printed, code = shell.run(line)
            self.assertEqual(printed, "")
            self.assertNotEqual(code, 0)
            self.assertEqual(json.loads(shell.error_text().splitlines()[-1])["Error"].rstrip("."),
                             error.rstrip("."))
        self.assertEqual(shell.run("list --format table")[0].split()[0], "Pid")
        self.assertEqual(shell.close("", "show x", "exit", "list"), FILE_NOT_FOUND)

    def test_without_json_failures_tell_their_code(self):
        done = subprocess.run(
            ["wine", str(self.lab.programs / "wnbd-client.exe"), "shell"], input=b"list\r\nrm x\r\n",
            env=self.lab.environment() | {"WINEDEBUG": "-all"}, capture_output=True, timeout=60,
            check=False)
        self.assertEqual(done.returncode, FILE_NOT_FOUND)
        self.assertRegex(clean(done.stdout.decode()), r"\Awnbd-client shell, \d+ MiB .*\nPid .*\n\Z")
        self.assertTrue(clean(done.stderr.decode()).endswith("Exit code: 2\n"), done.stderr)


if __name__ == "__main__":
    unittest.main()
