# SPDX-License-Identifier: LGPL-2.1-or-later
"""wnbd-client with its driver: both output formats, exit codes, and one line for each failure."""
import json
import re
import unittest
from unittest import mock

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit, free_port


def table(text):
    """The `label : value` lines of a table."""
    pairs = (line.partition(":")[::2] for line in text.splitlines() if ":" in line)
    return {label.strip(): value.strip() for label, value in pairs}


class WithDriver(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()
        cls.server = cls.enterClassContext(Nbdkit("memory", "16M"))
        cls.child, cls.number = cls.lab.map("disk0", cls.server.uri)

    def json(self, *words):
        done = self.lab.client(*words, "--format", "json").check()
        self.assertEqual(done.stderr, "")
        return json.loads(done.stdout)

    def test_json_says_what_the_table_says(self):
        disk, = self.json("list")
        self.assertEqual(list(disk), ["Pid", "DiskNumber", "Nbd", "Owner", "InstanceName"])
        header, row = self.lab.client("list").check().stdout.splitlines()
        self.assertEqual(header.split(), list(disk))
        self.assertEqual(row.split(), [str(disk["Pid"]), str(self.number), "true", "wnbd-client", "disk0"])

        shown = self.json("show", "disk0")
        nbd = shown.pop("NbdProperties")
        self.assertEqual(nbd["Hostname"], "127.0.0.1")
        lines = table(self.lab.client("show", "disk0").check().stdout)
        for label, value in (shown | nbd).items():
            self.assertEqual(lines[label], str(int(value) if isinstance(value, bool) else value), label)
        self.assertEqual(len(lines), len(shown) + len(nbd))

        stats = self.json("stats", "disk0")
        self.assertEqual(list(stats), list(table(self.lab.client("stats", "disk0").check().stdout)))
        never = [value for label, value in stats.items() if label.startswith("Time")]
        self.assertTrue(all(value is None or value >= 0 for value in never), stats)

        versions = table(self.lab.client("version").check().stdout)
        self.assertEqual(self.json("version"), versions)
        self.assertEqual(list(versions), ["wnbd-client.exe", "libwnbd.dll", "wnbd.sys"])
        self.assertEqual(self.json("ping"), {"Answers": True})
        self.assertEqual(self.lab.client("ping").check().stdout, "The driver answers.\n")

        options = {option["Name"]: option["Value"] for option in self.json("list-opt")}
        self.assertEqual(self.json("get-opt", "LogLevel"), {"Name": "LogLevel", "Value": options["LogLevel"]})
        listed = table(self.lab.client("list-opt").check().stdout)
        self.assertEqual(list(options), list(listed))
        self.assertIs(options["WppLoggingEnabled"], False)
        self.assertTrue(listed["WppLoggingEnabled"].startswith("false (Default: false)"))

    def test_each_failure_is_one_line_that_says_what_to_do(self):
        image = self.lab.windows_path(self.lab.place / "none.img")
        port = str(free_port())
        for words, code, says in (
            (("map", "disk0", "--memory", "8M"), 183, "Could not map the disk 'disk0': .*Unmap that disk first"),
            (("map", "e", "--file", image), 161, "Could not map the disk 'e': .*none.img.*--disk-size"),
            (("map", "e", "--memory", "100T"), 161, "Could not map the disk 'e': .*larger than.*Check the size"),
            (("map", "e", "127.0.0.1", "--port", port), 2250, f"NBD server 127.0.0.1:{port}.*running"),
            (("map", "e", "no.such.host.invalid"), 2250, "no.such.host.invalid.*name cannot be resolved"),
            (("map", "e", "nbd://["), 87, "Invalid NBD URI"),
            (("map", "e"), 87, "--hostname.*required.*--memory or --file"),
            (("show", "nobody"), 2, "Could not show the disk 'nobody': .*wnbd-client list"),
            (("stats", "nobody"), 2, "Could not read the counters of 'nobody': .*wnbd-client list"),
            (("unmap", "nobody"), 2, "Could not unmap the disk 'nobody': .*wnbd-client list"),
            (("unmap", "disk0", "--h"), 87, "'--h' is ambiguous and matches '--hard-disconnect', and '--help'"),
            (("get-opt", "Nope"), 2, "Could not read the option 'Nope': .*wnbd-client list-opt"),
            (("set-opt", "LogLevel", "9"), 87, "Could not set the option 'LogLevel': .*LogLevel takes"),
            (("reset-opt", "Nope"), 2, "Could not reset the option 'Nope': .*wnbd-client list-opt"),
        ):
            with self.subTest(words=words):
                done = self.lab.client(*words)
                # The host cuts exit codes to 8 bits; the shell's test has a whole one.
                self.assertEqual(done.code, code & 0xFF, done)
                self.assertEqual(done.stdout, "")
                self.assertRegex(done.stderr, rf"\Awnbd-client: [^\n]*{says}[^\n]*\n\Z")
                shown = re.search(r"\(error (\w+)\)", done.stderr)
                if shown:
                    self.assertEqual(int(shown.group(1), 0), code)

    def candidates(self, line):
        """What is to be typed instead of the line's last word, as the script for PowerShell is told."""
        with mock.patch.dict(self.lab.extra_environment, WNBD_COMPLETION_LINE=line):
            told = self.lab.client("completion", "powershell", "--candidates").check()
        self.assertEqual(told.stderr, "")
        for each in told.stdout.splitlines():
            self.assertRegex(each, r"\A[^\t]+\t[^\t]+\t(Command|Parameter(Name|Value))\t[^\t]+\Z")
        return [each.split("\t")[0] for each in told.stdout.splitlines()]

    def test_completion_knows_the_disks_and_the_drivers_options(self):
        self.lab.map("d\u00efsk", "--memory", "1M")
        self.assertEqual(sorted(self.candidates("wnbd-client show 'D")), ["'d\u00efsk'", "disk0"])
        self.assertEqual(self.candidates("wnbd-client.exe show d\u00ef"), ["'d\u00efsk'"])
        self.lab.client("unmap", "d\u00efsk").check()
        self.assertEqual(self.candidates("wnbd-client unmap "), ["disk0"])
        self.assertEqual(self.candidates("wnbd-client get-opt stale"),
                         ["StaleReqTimeoutMs", "StaleConnTimeoutMs"])
        self.assertEqual(self.candidates("wnbd-client set-opt EtwLoggingEnabled "), ["true", "false"])
        self.assertEqual(self.candidates("wnbd-client set-opt LogLevel "), [])
        self.assertIn("resize", self.candidates("wnbd-client "))


if __name__ == "__main__":
    unittest.main()
