# SPDX-License-Identifier: LGPL-2.1-or-later
"""The driver's log: each sink gets what its option, the level and the sessions let it have, and nothing else."""
import unittest

from tests.lab.events import PROVIDER, TRACE_GUID, EventLog
from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

WARNING, VERBOSE = 3, 5
SYSTEM_CHANNEL = 8


class Sinks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab(environment={"WNBD_LAB_TIMEOUT_MS": "1000"}))
        cls.lab.install()
        cls.log = EventLog(cls.lab)

    def setUp(self):
        self.events()

    def events(self):
        """What is new since the last look: the sessions' events, and "debugger" for DbgPrint's lines."""
        found = self.log.new()
        lines = self.lab.driver_log().splitlines()
        found["debugger"] = [line for line in lines[getattr(self, "lines_seen", 0):] if "log_" in line]
        self.lines_seen = len(lines)
        return found

    def option(self, name, value):
        self.lab.client("set-opt", name, value).check()
        self.addCleanup(lambda: self.lab.client("reset-opt", name).check())

    def session(self, name, provider, level):
        self.lab.run("labctl.exe", "trace", name, f"{{{provider}}}", level, "0xffffffff").check()
        self.addCleanup(lambda: self.lab.run("labctl.exe", "untrace", name).check())

    def provoke_warning(self):
        """A mapping that is refused: new ones are not allowed."""
        self.lab.client("set-opt", "NewMappingsAllowed", "false").check()
        refused = self.lab.client("map", "refused", "--memory", "8M")
        self.lab.client("set-opt", "NewMappingsAllowed", "true").check()
        self.assertNotEqual(refused.code, 0)

    def test_a_refused_disk_is_in_the_system_log(self):
        self.provoke_warning()
        events = self.events()
        (event,) = events["System"]
        self.assertEqual((event.provider, event.name, event.level, event.channel),
                         (PROVIDER.guid, "WarningEvent", WARNING, SYSTEM_CHANNEL))
        self.assertRegex(event.message, r"refused, 0xc00002fe, to process \d+: refused")
        self.assertEqual(len(events["debugger"]), 1)

    def test_a_stale_disk_is_in_the_system_log(self):
        self.option("StaleReqTimeoutMs", 1)
        self.option("StaleConnTimeoutMs", 1)
        with Nbdkit("memory", "16M", "delay-read=30", filters=["delay"]) as server:
            child, number = self.lab.map("stale", server.uri)
            back = self.lab.windows_path(self.lab.place / "back")
            self.assertNotEqual(self.lab.disktool("read", number, back, "--length", 4096).code, 0)
            child.wait(timeout=60)
        messages = [event.message for event in self.events()["System"]]
        self.assertTrue(any("is stale: removing its disk" in message for message in messages), messages)
        self.assertTrue(any("aborted" in message or "reset" in message for message in messages), messages)

    def test_nothing_is_written_where_an_option_is_off(self):
        self.option("EtwLoggingEnabled", "false")
        self.session("trace", TRACE_GUID, 255)
        self.provoke_warning()
        events = self.events()
        self.assertNotIn("System", events)
        self.assertNotIn("trace", events)  # WppLoggingEnabled is off from the beginning
        self.assertEqual(len(events["debugger"]), 1)
        self.option("DbgPrintEnabled", "false")
        self.provoke_warning()
        self.assertEqual(self.events(), {"debugger": []})

    def test_a_level_that_is_off_reaches_no_sink(self):
        self.session("trace", TRACE_GUID, 255)
        self.option("WppLoggingEnabled", "true")
        self.option("LogLevel", 0)
        self.provoke_warning()
        self.assertEqual(self.events(), {"debugger": []})

    def test_the_trace_describes_itself(self):
        self.session("trace", TRACE_GUID, 255)
        self.option("WppLoggingEnabled", "true")
        self.provoke_warning()
        events = self.events()
        (traced,), (logged,) = events["trace"], events["System"]
        self.assertEqual((traced.provider, traced.name, traced.level), (TRACE_GUID, "Message", WARNING))
        self.assertEqual(traced.fields, logged.fields)
        self.assertEqual(list(traced.fields), ["FunctionName", "LineNumber", "Message"])

    def test_debug_messages_reach_tracing_sessions_only(self):
        self.session("debug", PROVIDER.guid, VERBOSE)
        self.option("LogLevel", 4)
        child, _ = self.lab.map("debugged", "--memory", "8M")
        self.lab.client("unmap", "debugged").check()
        child.wait(timeout=60)
        events = self.events()
        self.assertGreater(len(events["debug"]), 3)
        self.assertEqual({event.name for event in events["debug"]}, {"DebugEvent"})
        self.assertEqual({event.name for event in events["System"]}, {"InformationalEvent"})

    def test_a_session_gets_no_more_than_its_level(self):
        self.session("quiet", TRACE_GUID, WARNING)
        self.session("loud", TRACE_GUID, VERBOSE)
        self.option("WppLoggingEnabled", "true")
        self.option("LogLevel", 4)
        self.provoke_warning()
        events = self.events()
        self.assertEqual({event.level for event in events["quiet"]}, {WARNING})
        self.assertEqual({event.level for event in events["loud"]}, {WARNING, VERBOSE})


if __name__ == "__main__":
    unittest.main()
