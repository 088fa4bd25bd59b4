# SPDX-License-Identifier: LGPL-2.1-or-later
"""The driver's options, through the client and the library into the driver and its registry key."""
import json
import re
import subprocess
import unittest

from tests.lab.lab import Lab

FILE_NOT_FOUND = 2
INVALID_HANDLE = 6
INVALID_PARAMETER = 87
SHUTDOWN_IN_PROGRESS = 1115

DEFAULTS = {
    "LogLevel": 1,
    "NewMappingsAllowed": True,
    "EtwLoggingEnabled": True,
    "WppLoggingEnabled": False,
    "DbgPrintEnabled": True,
    "MaxIOReqPerAdapter": 1000,
    "MaxIOReqPerLun": 255,
    "RemoveStaleConnections": True,
    "StaleReqTimeoutMs": 15000,
    "StaleConnTimeoutMs": 60000,
}
LONGEST_MS = (2**63 - 1) // 10000
BOOLEANS = [name for name, default in DEFAULTS.items() if isinstance(default, bool)]
STATE_KEY = r"HKLM\System\CurrentControlSet\Services\wnbd\State"


class Options(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()

    def setUp(self):
        self.forget_all()

    # --- Helpers

    def registry(self, *arguments):
        return subprocess.run(["wine", "reg", *arguments], capture_output=True, text=True, timeout=60,
                              env=self.lab.environment() | {"WINEDEBUG": "-all"}, check=False)

    def stored_in_registry(self):
        """Each value's name and number. A REG_QWORD is exported as hex(b)."""
        path = self.lab.place / "state.reg"
        done = self.registry("export", STATE_KEY, self.lab.windows_path(path), "/y")
        self.assertEqual(done.returncode, 0, done)
        values = re.findall(r'"(\w+)"=hex\(b\):((?:\w\w,?){8})', path.read_text("utf-16"))
        return {name: int.from_bytes(bytes.fromhex(data.replace(",", "")), "little")
                for name, data in values}

    def store(self, name, kind, value):
        done = self.registry("add", STATE_KEY, "/v", name, "/t", kind, "/d", str(value), "/f")
        self.assertEqual(done.returncode, 0, done)

    def forget_all(self):
        self.registry("delete", STATE_KEY, "/va", "/f")
        self.lab.client("reload-config").check()

    def listed(self, *arguments):
        text = self.lab.client("list-opt", "--format", "json", *arguments).check().stdout
        return {entry["Name"]: entry["Value"] for entry in json.loads(text)}

    def set(self, name, value, *arguments):
        return self.lab.client("set-opt", name, value, *arguments).check()

    def value(self, name, *arguments):
        text = self.lab.client("get-opt", name, "--format", "json", *arguments).check().stdout
        return json.loads(text)["Value"]

    def assert_refused(self, done, code, says):
        self.assertEqual(done.code, code & 0xFF, done)
        self.assertRegex(done.stderr, r"\Awnbd-client: [^\n]+\n\Z")
        self.assertIn(says, done.stderr)

    # --- Claims

    def test_ten_options_with_their_names_types_and_defaults(self):
        self.assertEqual(list(self.listed().items()), list(DEFAULTS.items()))
        table = self.lab.client("list-opt").check().stdout
        self.assertIn("NewMappingsAllowed     : true (Default: true)\n", table)
        self.assertIn("MaxIOReqPerAdapter     : 1000 (Default: 1000)\n", table)
        self.assertEqual(self.lab.client("list-opt", "--persistent").check().stdout, "")
        self.assertEqual(self.lab.client("get-opt", "loglevel").check().stdout,
                         "Name: loglevel\nValue: 1\n")

    def test_words_and_numbers_become_the_options_type(self):
        words = ("0", "1", "f", "T", "FALSE", "true", "no", "Yes", "N", "y")
        for word in words:
            self.set("RemoveStaleConnections", word)
            self.assertIs(self.value("RemoveStaleConnections"), word in words[1::2], word)
        for text, number in (("17", 17), ("0x1F", 31)):
            self.set("MaxIOReqPerLun", text)
            self.assertEqual(self.value("MaxIOReqPerLun"), number)

    def test_a_value_out_of_range_is_refused_and_the_range_is_named(self):
        ranges = {"LogLevel": (0, 4), "MaxIOReqPerAdapter": (1, 131072), "MaxIOReqPerLun": (1, 1024),
                  "StaleReqTimeoutMs": (1, LONGEST_MS), "StaleConnTimeoutMs": (1, LONGEST_MS)}
        for name, (least, most) in ranges.items():
            values = {"LogLevel": ("-1", "x", ""), "MaxIOReqPerLun": ("0", str(2**32 + 1))}
            for value in (str(most + 1), *values.get(name, ())):
                with self.subTest(name, value=value):
                    done = self.lab.client("set-opt", "--persistent", name, "--", value)
                    self.assert_refused(done, INVALID_PARAMETER, f"from {least} to {most}")
                    self.assertIn(f"'{name}'", done.stderr)
        self.assert_refused(self.lab.client("set-opt", "DbgPrintEnabled", "2"), INVALID_PARAMETER,
                            "DbgPrintEnabled takes true or false")
        self.assertEqual(self.stored_in_registry(), {})
        self.assertEqual(self.listed(), DEFAULTS)
        for name, (_least, most) in ranges.items():
            self.set(name, most)
        self.assertEqual(self.listed(), DEFAULTS | {name: most for name, (_, most) in ranges.items()})

    def test_a_timeout_of_zero_is_the_default(self):
        self.set("StaleConnTimeoutMs", "5")
        self.set("StaleConnTimeoutMs", "0")
        self.assertEqual(self.value("StaleConnTimeoutMs"), 60000)

    def test_unknown_options_are_told_from_options_that_are_not_stored(self):
        for command in (("get-opt", "Nope"), ("reset-opt", "Nope"), ("set-opt", "Nope", "1")):
            self.assert_refused(self.lab.client(*command), FILE_NOT_FOUND, "there is no such option")
        self.assert_refused(self.lab.client("get-opt", "loglevel", "--persistent"), FILE_NOT_FOUND,
                            "no value of LogLevel is stored")

    def test_a_stored_false_reads_back_false(self):
        for name in BOOLEANS:
            self.set(name, "true", "--persistent")
            self.set(name, "false", "--persistent")
        self.assertEqual(self.listed(), DEFAULTS | dict.fromkeys(BOOLEANS, False))
        self.assertEqual(self.stored_in_registry(), dict.fromkeys(BOOLEANS, 0))
        self.lab.client("reload-config").check()
        self.assertEqual(self.listed("--persistent"), dict.fromkeys(BOOLEANS, False))
        self.assertEqual(self.listed(), DEFAULTS | dict.fromkeys(BOOLEANS, False))

    def test_values_are_stored_under_the_options_own_name(self):
        self.set("LOGLEVEL", "3", "--persistent")
        self.assertEqual(self.stored_in_registry(), {"LogLevel": 3})
        self.assertEqual(self.lab.client("list-opt", "--persistent").check().stdout,
                         "LogLevel : 3 (Default: 1)\n")

    def test_a_runtime_value_masks_the_stored_one_until_reset(self):
        self.set("MaxIOReqPerLun", "100", "--persistent")
        self.set("MaxIOReqPerLun", "200")
        self.assertEqual(self.value("MaxIOReqPerLun"), 200)
        self.assertEqual(self.value("MaxIOReqPerLun", "--persistent"), 100)
        self.lab.client("reset-opt", "MaxIOReqPerLun").check()
        self.assertEqual(self.value("MaxIOReqPerLun"), 100)
        self.lab.client("reset-opt", "MaxIOReqPerLun", "--persistent").check()
        self.assertEqual(self.value("MaxIOReqPerLun"), 255)
        self.assertEqual(self.stored_in_registry(), {})
        self.set("MaxIOReqPerLun", "200")
        self.lab.client("reset-opt", "MaxIOReqPerLun", "--persistent").check()
        self.assertEqual(self.value("MaxIOReqPerLun"), 255, "nothing was stored, the rest is done")

    def test_reload_config_takes_what_is_stored_and_reverts_the_rest(self):
        self.set("StaleReqTimeoutMs", "1")
        self.store("LogLevel", "REG_QWORD", 4)
        self.store("DbgPrintEnabled", "REG_QWORD", 7)
        self.assertEqual(self.value("LogLevel"), 1)
        self.lab.client("reload-config").check()
        self.assertEqual(self.listed(), DEFAULTS | {"LogLevel": 4})

    def test_a_bad_stored_value_is_named_and_harms_no_other(self):
        self.store("MaxIOReqPerLun", "REG_QWORD", 1025)
        self.store("StaleConnTimeoutMs", "REG_QWORD", 5)
        self.assert_refused(self.lab.client("reload-config"), INVALID_PARAMETER, "a stored value")
        self.assertEqual(self.listed(), DEFAULTS | {"StaleConnTimeoutMs": 5})
        self.assertEqual(self.value("MaxIOReqPerLun", "--persistent"), 1025)
        self.store("MaxIOReqPerLun", "REG_DWORD", 5)
        self.assert_refused(self.lab.client("reload-config"), INVALID_HANDLE, "a stored value")
        self.assert_refused(self.lab.client("get-opt", "MaxIOReqPerLun", "--persistent"),
                            INVALID_HANDLE, "MaxIOReqPerLun")
        self.assertEqual(self.value("MaxIOReqPerLun"), 255)
        self.assertIn("stored value of MaxIOReqPerLun is ignored", self.lab.driver_log())

    def test_the_driver_answers_a_ping(self):
        done = self.lab.client("ping").check()
        self.assertEqual((done.stdout, done.stderr), ("The driver answers.\n", ""))

    def test_what_is_stored_survives_the_driver_and_nothing_else_does(self):
        self.set("NewMappingsAllowed", "false", "--persistent")
        self.set("MaxIOReqPerLun", "33", "--persistent")
        self.set("MaxIOReqPerLun", "44")
        self.set("StaleConnTimeoutMs", "777")
        self.lab.restart()
        stored = {"NewMappingsAllowed": False, "MaxIOReqPerLun": 33}
        self.assertEqual(self.listed(), DEFAULTS | stored)
        self.assertEqual(self.listed("--persistent"), stored)
        refused = self.lab.client("map", "early", "--memory", "8M")
        self.assert_refused_mapping(refused)
        self.set("NewMappingsAllowed", "true")
        child, _ = self.lab.map("early", "--memory", "8M")
        shown = self.lab.client("show", "early").check().stdout
        self.assertRegex(shown, r"(?m)^MaxIOReqPerLun\s+: 33$")
        self.lab.client("unmap", "early").check()
        child.wait(timeout=30)
        self.assertIs(self.value("NewMappingsAllowed", "--persistent"), False)

    def assert_refused_mapping(self, done):
        self.assertEqual(done.code, SHUTDOWN_IN_PROGRESS & 0xFF, done)
        self.assertTrue(re.search("NewMappingsAllowed", done.stderr), done.stderr)


if __name__ == "__main__":
    unittest.main()
