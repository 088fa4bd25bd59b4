# SPDX-License-Identifier: LGPL-2.1-or-later
"""wnbd-client.exe as a user meets it, under Wine, on a machine without the driver.

WNBD_OUT names the folder with wnbd-client.exe and libwnbd.dll (default: out/windows).
Run: python3 -m unittest discover tests/client
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(os.environ.get("WNBD_OUT", REPOSITORY / "out" / "windows")).resolve()
CLIENT = BINARIES / "wnbd-client.exe"

NOT_SUPPORTED = 50
INVALID_PARAMETER = 87
OPEN_FAILED = 110
BUFFER_OVERFLOW = 111
NO_MORE_ITEMS = 259

NO_DRIVER = (
    "The WNBD driver is not installed: "
    "run `wnbd-client install-driver <wnbd.inf>` as administrator."
)


class Prefix:
    """A Wine prefix of our own; nothing of it is left, whatever happens."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="wnbd-client-test-")
        self.environment = dict(
            os.environ,
            WINEPREFIX=os.path.join(self.folder, "prefix"),
            WINEDLLOVERRIDES="mscoree,mshtml=;winedbg.exe=d",
            WINEDEBUG="-all",
            DISPLAY="",
            LC_ALL="C.UTF-8",
        )
        # A waiting process keeps Wine's services up between the runs, which then take no seconds each.
        self.keeper = None
        try:
            self.run(["wineboot", "-u"], timeout=300)
            self.keeper = subprocess.Popen(
                ["wine", "cmd.exe"],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self.pretend_to_be("win10")
        except BaseException:
            self.remove()
            raise

    def run(self, command, timeout=120):
        # Files, not pipes: whichever process starts Wine's services leaves them its output, and a pipe
        # would not end before they do.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            completed = subprocess.run(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=timeout,
                check=False,
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(
                command, completed.returncode, out.read(), err.read()
            )

    def pretend_to_be(self, windows):
        """Sets the version of Windows that programs are told; Wine's default is too old for WNBD."""
        key = "HKCU\\Software\\Wine"
        self.run(["wine", "reg", "add", key, "/v", "Version", "/d", windows, "/f"]).check_returncode()

    def remove(self):
        try:
            self.run(["wineserver", "-k"])
            self.run(["wineserver", "-w"])
            if self.keeper is not None:
                self.keeper.communicate(timeout=60)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class Result:
    def __init__(self, completed):
        # A process under Wine ends with the low 8 bits of its exit code, as any on Linux.
        self.code = completed.returncode
        self.out = completed.stdout.decode("utf-8").replace("\r\n", "\n")
        self.err = completed.stderr.decode("utf-8").replace("\r\n", "\n")


class WithoutDriver(unittest.TestCase):
    prefix: Prefix

    @classmethod
    def setUpClass(cls):
        if not CLIENT.exists():
            raise AssertionError(f"{CLIENT} is missing: build it, or set WNBD_OUT")
        # A test run that is told to stop still cleans up.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        cls.prefix = Prefix()
        cls.addClassCleanup(cls.prefix.remove)

    def client(self, *words):
        command = ["wine", str(CLIENT), *words]
        return Result(self.prefix.run([word.encode("utf-8") for word in command]))

    def assert_code(self, result, code):
        self.assertEqual(result.code, code & 0xFF, f"{result.out!r} {result.err!r}")

    def assert_one_line(self, result, pattern):
        """Standard error is exactly one line and matches the pattern as a whole."""
        self.assertRegex(result.err, r"\A[^\n]+\n\Z")
        self.assertIsNotNone(
            re.fullmatch(pattern, result.err.rstrip("\n")), f"{result.err!r} is not {pattern!r}"
        )

    def test_version_tells_client_and_library_and_that_the_driver_is_missing(self):
        for word in ("version", "-v"):
            result = self.client(word)
            self.assert_code(result, OPEN_FAILED)
            self.assertRegex(result.out, r"\Awnbd-client\.exe: \S+\nlibwnbd\.dll: \S[^\n]*\n\Z")
            self.assert_one_line(
                result,
                r"wnbd-client: Could not read the driver's version: .+ \(error 110\)\. " + re.escape(NO_DRIVER),
            )

    def test_version_as_json(self):
        result = self.client("version", "--format=json")
        self.assert_code(result, OPEN_FAILED)
        self.assertEqual(list(json.loads(result.out)), ["wnbd-client.exe", "libwnbd.dll"])

    def test_help_is_the_same_by_every_name_and_by_none(self):
        expected = self.client("help")
        self.assert_code(expected, 0)
        self.assertTrue(expected.out.startswith("wnbd-client commands: \n\nversion | -v       "))
        self.assertEqual(expected.err, "")
        for words in ((), ("-h",), ("--help",)):
            self.assertEqual(self.client(*words).out, expected.out, words)

    def test_every_command_explains_itself(self):
        rows = self.client("help").out.splitlines()[2:]
        commands = [row.split()[0] for row in rows]
        self.assertGreaterEqual(len(commands), 16)
        for command in commands:
            by_help = self.client("help", command)
            self.assert_code(by_help, 0)
            self.assertTrue(by_help.out.startswith(f"Usage: wnbd-client {command} "), by_help.out)
            by_option = self.client(command, "--help")
            self.assert_code(by_option, 0)
            self.assertEqual(by_option.out, by_help.out)

    def test_help_as_json_is_the_command_table(self):
        rows = self.client("help").out.splitlines()[2:]
        table = json.loads(self.client("help", "--format=json").out)
        self.assertEqual([entry["Names"][0] for entry in table], [row.split()[0] for row in rows])
        entry, = (entry for entry in table if entry["Names"][0] == "unmap")
        self.assertEqual(json.loads(self.client("unmap", "--help", "--format=json").out), entry)

    def test_a_shortened_help_removes_nothing(self):
        result = self.client("unmap", "d", "--h")
        self.assert_code(result, INVALID_PARAMETER)
        self.assertEqual(
            result.err,
            "wnbd-client: option '--h' is ambiguous and matches '--hard-disconnect', and '--help'\n",
        )

    def test_failures_as_json_are_one_object_on_one_line(self):
        for words, code, error in (
            (("list",), OPEN_FAILED, "Could not list the disks"),
            (("unmap", "d"), OPEN_FAILED, "Could not unmap the disk 'd'"),
            (("set-opt", "LogLevel", "1"), OPEN_FAILED, "Could not set the option 'LogLevel'"),
            (("map", "d", "--memory", "1M"), OPEN_FAILED, "Could not map the disk 'd'"),
            (("ping",), OPEN_FAILED, "The driver does not answer"),
            (("version",), OPEN_FAILED, "Could not read the driver's version"),
            (("list", "x"), INVALID_PARAMETER, "too many arguments"),
            (("map", "d", "s", "--port", "0"), INVALID_PARAMETER, "Missing NBD server port number"),
            (("show", ""), INVALID_PARAMETER, "Missing instance name"),
            (("mount",), INVALID_PARAMETER, "Unknown command: mount"),
            (("set-opt", "LogLevel", "1" * 256), BUFFER_OVERFLOW,
             "The value is too long: 256 UTF-16 units, at most 255 are allowed"),
            (("unmap", "d", "--soft-disconnect-timeout", "4294968"), INVALID_PARAMETER,
             "Invalid --soft-disconnect-timeout: 4294968. It must be at most 4294967 seconds"),
        ):
            with self.subTest(words=words):
                result = self.client(*words, "--format", "json")
                self.assert_code(result, code)
                self.assertRegex(result.err, r"\A[^\n]+\n\Z")
                failure = json.loads(result.err)
                self.assertEqual(list(failure), ["Error", "Reason", "Code", "Details", "Advice"])
                self.assertEqual((failure["Error"], failure["Code"]), (error, code))
                if code == OPEN_FAILED:
                    self.assertEqual(failure["Advice"], NO_DRIVER)

    def test_unknown_commands_are_named(self):
        result = self.client("mount")
        self.assert_code(result, INVALID_PARAMETER)
        self.assertEqual(result.err, "Unknown command: mount\n\nSee wnbd-client --help.\n")
        result = self.client("help", "mount")
        self.assert_code(result, INVALID_PARAMETER)
        self.assertEqual(result.err, "Unknown command: mount\n")

    def test_every_command_says_that_there_is_no_driver(self):
        table = (
            (OPEN_FAILED, "Could not list the disks", ("list",)),
            (OPEN_FAILED, "Could not list the disks", ("ls",)),
            (OPEN_FAILED, "Could not show the disk 'd'", ("show", "d")),
            (OPEN_FAILED, "Could not read the counters of 'd'", ("stats", "d")),
            (OPEN_FAILED, "Could not unmap the disk 'd'", ("unmap", "d")),
            (OPEN_FAILED, "Could not resize the disk 'd'", ("resize", "d", "64M")),
            (OPEN_FAILED, "Could not unmap the disk 'd'", ("rm", "d", "--hard-disconnect")),
            (OPEN_FAILED, "Could not list the options", ("list-opt",)),
            (OPEN_FAILED, "Could not read the option 'LogLevel'", ("get-opt", "LogLevel")),
            (OPEN_FAILED, "Could not set the option 'LogLevel'", ("set-opt", "LogLevel", "4")),
            (OPEN_FAILED, "Could not reset the option 'LogLevel'", ("reset-opt", "LogLevel")),
            (OPEN_FAILED, "Could not map the disk 'd'", ("map", "d", "127.0.0.1")),
            (OPEN_FAILED, "Could not map the disk 'd'", ("map", "d", "nbd://127.0.0.1:1/x")),
            (OPEN_FAILED, "Could not map the disk 'd'", ("map", "d", "--memory", "64M")),
            (OPEN_FAILED, "Could not map the disk 'd'", ("map", "d", "--file", "x.img")),
            (NO_MORE_ITEMS, "Could not reset the adapter", ("reset-adapter",)),
            (
                NO_MORE_ITEMS,
                "Could not open the adapter",
                ("reset-adapter", "--hard-disconnect-mappings"),
            ),
            (OPEN_FAILED, "The driver does not answer", ("ping",)),
            (OPEN_FAILED, "Could not reload the driver's options", ("reload-config",)),
        )
        for code, what, words in table:
            with self.subTest(words=words):
                result = self.client(*words)
                self.assert_code(result, code)
                self.assertEqual(result.out, "")
                self.assert_one_line(
                    result,
                    "wnbd-client: " + re.escape(what) + rf": .+ \(error {code}\)\. " + re.escape(NO_DRIVER),
                )

    def test_a_missing_inf_file_is_named(self):
        result = self.client("install-driver", "Z:\\nowhere\\wnbd.inf")
        self.assert_code(result, 2)
        self.assert_one_line(
            result,
            r"wnbd-client: Could not install the driver from 'Z:\\nowhere\\wnbd\.inf': "
            r".+ \(error 2\): .+\. Check the path of the INF file.+",
        )

    def test_a_windows_that_is_too_old_is_refused(self):
        self.addCleanup(self.prefix.pretend_to_be, "win10")
        self.prefix.pretend_to_be("win7")
        result = self.client("install-driver", "Z:\\nowhere\\wnbd.inf")
        self.assert_code(result, NOT_SUPPORTED)
        self.assert_one_line(
            result, r"wnbd-client: Could not install the driver .+ \(error 50\).+10\.0\.17763\) or newer\."
        )

    def test_the_completion_script_is_printed(self):
        result = self.client("completion", "powershell")
        self.assert_code(result, 0)
        self.assertIn("Register-ArgumentCompleter -Native -CommandName 'wnbd-client'", result.out)
        self.assertTrue(result.out.endswith("}\n"))
        result = self.client("completion", "fish")
        self.assert_code(result, INVALID_PARAMETER)
        self.assertEqual(result.err, "wnbd-client: There is no completion for 'fish'; give powershell.\n")

    def test_uninstalling_what_is_not_installed_succeeds(self):
        result = self.client("uninstall-driver")
        self.assert_code(result, 0)
        self.assertEqual((result.out, result.err), ("", ""))

    def test_bad_arguments_are_refused_in_one_line(self):
        long_name = "n" * 4096
        table = (
            ("too many arguments", ("list", "x")),
            ("unrecognised option '--nope'", ("list", "--nope")),
            (
                "the option '--instance-name' is required but missing",
                ("show",),
            ),
            (
                "the argument ('x') for option '--port' is invalid",
                ("map", "d", "s", "--port", "x"),
            ),
            ("Missing NBD server port number.", ("map", "d", "s", "--port", "0")),
            ("Invalid NBD server port number: 65536", ("map", "d", "s", "--port", "65536")),
            ("Missing instance name.", ("map", "", "s")),
            ("Missing NBD hostname.", ("map", "d", "")),
            ("Invalid --memory: 0. A disk has at least one block.", ("map", "d", "--memory", "0")),
            (
                "Invalid --memory: 9223372036854775808. It must be below 2^63 bytes.",
                ("map", "d", "--memory", "9223372036854775808"),
            ),
            (
                "Invalid --memory: 1000 is not a multiple of the block size, 512.",
                ("map", "d", "--memory", "1000"),
            ),
            ("--memory cannot be combined with a server.", ("map", "d", "s", "--memory", "1M")),
            (
                "Invalid --soft-disconnect-timeout: 4294968. It must be at most 4294967 seconds.",
                ("unmap", "d", "--soft-disconnect-timeout", "4294968"),
            ),
        )
        for line, words in table:
            with self.subTest(words=words):
                result = self.client(*words)
                self.assert_code(result, INVALID_PARAMETER)
                self.assertEqual(result.out, "")
                self.assertEqual(result.err, f"wnbd-client: {line}\n")
        for name in (long_name, "n" * 256):
            result = self.client("map", name, "--memory", "1M")
            self.assert_code(result, BUFFER_OVERFLOW)
            self.assertEqual(
                result.err,
                f"wnbd-client: The instance name is too long: {len(name)} bytes, at most 255 are allowed.\n",
            )

    def test_names_are_utf_8_whatever_the_code_page(self):
        result = self.client("show", "p\u00eb\u20ac\U0001d11e")
        self.assert_code(result, OPEN_FAILED)
        self.assertTrue(
            result.err.startswith("wnbd-client: Could not show the disk 'p\u00eb\u20ac\U0001d11e': "), result.err
        )

    def test_an_option_value_that_is_too_long_is_refused(self):
        result = self.client("set-opt", "LogLevel", "1" * 256)
        self.assert_code(result, BUFFER_OVERFLOW)
        self.assertEqual(
            result.err, "wnbd-client: The value is too long: 256 UTF-16 units, at most 255 are allowed.\n"
        )


if __name__ == "__main__":
    unittest.main()
