# SPDX-License-Identifier: LGPL-2.1-or-later
"""Without administrator rights: one line that says so. The client runs with a token in which the
administrators' group is disabled; the lab opens the adapter by the descriptor in the INF."""
import json
import subprocess
import unittest

from tests.lab.lab import Lab

ACCESS_DENIED = 5
OPEN_FAILED = 110
ELEVATE = 'Run it from an elevated prompt ("Run as administrator").'
WHY = "only administrators may use the WNBD adapter"


class Rights(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()
        cls.child, cls.number = cls.lab.map("kept", "--memory", "1M")

    def unprivileged(self, *arguments):
        return self.lab.run("labctl.exe", "unprivileged",
                            subprocess.list2cmdline(["wnbd-client.exe", *arguments]))

    def test_every_command_that_needs_the_adapter_says_so_in_one_line(self):
        for command in (
                ["list"], ["show", "kept"], ["stats", "kept"], ["ping"], ["reload-config"],
                ["map", "new", "--memory", "1M"], ["unmap", "kept"],
                ["unmap", "kept", "--hard-disconnect"], ["resize", "kept", "512K"], ["list-opt"],
                ["list-opt", "--persistent"], ["get-opt", "LogLevel"], ["set-opt", "LogLevel", "4"],
                ["set-opt", "LogLevel", "4", "--persistent"], ["reset-opt", "LogLevel"],
                ["reset-adapter"], ["reset-adapter", "--hard-disconnect-mappings"]):
            with self.subTest(command=" ".join(command)):
                # What is reset is the device; its error is Windows's own.
                code = ACCESS_DENIED if command[0] == "reset-adapter" else OPEN_FAILED
                refused = self.unprivileged(*command)
                self.assertEqual((refused.code, refused.stdout), (code, ""))
                self.assertRegex(refused.stderr, r"\Awnbd-client: [^\n]*\n\Z")
                self.assertTrue(
                    refused.stderr.endswith(f" (error {code}): {WHY}. {ELEVATE}\n"), refused.stderr)
        shown = json.loads(self.lab.client("show", "kept", "--format", "json").check().stdout)
        self.assertEqual((shown["DiskNumber"], shown["BlockCount"]), (self.number, 2048))
        self.assertIn("Value: 1\n", self.lab.client("get-opt", "LogLevel").check().stdout)
        self.assertIsNone(self.child.poll(), self.child.output())

    def test_as_json_the_line_has_its_five_keys(self):
        refused = self.unprivileged("list", "--format", "json")
        self.assertEqual((refused.code, refused.stdout), (OPEN_FAILED, ""))
        self.assertEqual(json.loads(refused.stderr),
                         {"Error": "Could not list the disks", "Reason": "Open failed",
                          "Code": OPEN_FAILED, "Details": WHY, "Advice": ELEVATE})

    def test_what_needs_no_rights_works(self):
        for command in (["help"], ["help", "map"], ["completion", "powershell"], ["list", "--help"]):
            self.assertEqual(self.unprivileged(*command).check().stderr, "", command)
        version = self.unprivileged("version")
        self.assertEqual(version.code, OPEN_FAILED)
        self.assertEqual([line.split(":")[0] for line in version.stdout.splitlines()],
                         ["wnbd-client.exe", "libwnbd.dll"])

    def test_uninstalling_takes_rights_too(self):
        refused = self.unprivileged("uninstall-driver")
        self.assertNotEqual(refused.code, 0)
        self.assertRegex(refused.stderr, r"\Awnbd-client: [^\n]*\n\Z")
        self.assertIn(ELEVATE, refused.stderr)
        self.lab.client("ping").check()


if __name__ == "__main__":
    unittest.main()
