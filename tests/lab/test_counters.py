# SPDX-License-Identifier: LGPL-2.1-or-later
"""The driver's counters add up whenever one looks, and "never" is said of what never happened."""
import json
import unittest

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

TIMES = ("TimeSinceLastReceivedReqMs", "TimeSinceLastSubmittedReqMs", "TimeSinceLastReplyMs")


class Counters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()

    def stats(self, name):
        """One snapshot, after its sums have been checked."""
        text = self.lab.client("stats", name, "--format", "json").check().stdout
        values = json.loads(text)
        self.assertEqual(values["TotalReceivedIORequests"],
                         values["TotalSubmittedIORequests"] + values["UnsubmittedIORequests"]
                         + values["AbortedUnsubmittedIORequests"], values)
        self.assertEqual(values["TotalSubmittedIORequests"],
                         values["TotalReceivedIOReplies"] + values["PendingSubmittedIORequests"]
                         + values["AbortedSubmittedIORequests"], values)
        self.assertEqual(values["OutstandingIOCount"],
                         values["UnsubmittedIORequests"] + values["PendingSubmittedIORequests"], values)
        self.assertLessEqual(values["CompletedAbortedIORequests"], values["AbortedSubmittedIORequests"])
        for label in values.keys() - set(TIMES):
            self.assertGreaterEqual(values[label], 0, label)
        return values

    def unmap(self, name, child):
        self.lab.client("unmap", name, "--hard-disconnect").check()
        child.wait(timeout=60)

    def test_never_is_said_of_what_never_happened(self):
        # What answers nothing for a while: requests come in and go out, no reply comes back.
        with Nbdkit("memory", "16M", "delay-read=20", filters=["delay"]) as server:
            child, number = self.lab.map("silent", server.uri)
            before = self.lab.client("stats", "silent").check().stdout
            reading = self.lab.start("disktool.exe", "read", number,
                                     self.lab.windows_path(self.lab.place / "back"), "--length", 512)
            while self.stats("silent")["PendingSubmittedIORequests"] == 0:
                self.assertIsNone(reading.poll(), reading.output())
            waiting = self.stats("silent")
            table = self.lab.client("stats", "silent").check().stdout
            self.unmap("silent", child)
            reading.wait(timeout=60)
        for label in TIMES:
            self.assertRegex(before, rf"(?m)^{label} +: never$")
        self.assertRegex(table, r"(?m)^TimeSinceLastReplyMs +: never$")
        self.assertRegex(table, r"(?m)^TimeSinceLastSubmittedReqMs +: \d+$")
        self.assertIsNone(waiting["TimeSinceLastReplyMs"])
        self.assertLess(waiting["TimeSinceLastReceivedReqMs"], 60_000)

    def test_they_add_up_at_any_moment_under_load_and_resets(self):
        child, number = self.lab.map("loaded", "--memory", "16M")
        load = self.lab.start("disktool.exe", "load", number, "--ios", 3000, "--depth", 16)
        samples = []
        while load.poll() is None:
            samples.append(self.stats("loaded"))
            self.lab.run("labctl.exe", "reset", "unit", 0, 0, 0).check()
        self.assertEqual(load.returncode, 0, load.output())
        self.assertGreater(len(samples), 2)
        received = [sample["TotalReceivedIORequests"] for sample in samples]
        self.assertEqual(received, sorted(received))
        last = self.stats("loaded")
        self.assertEqual(last["OutstandingIOCount"], 0)
        self.assertGreater(last["AbortedSubmittedIORequests"] + last["AbortedUnsubmittedIORequests"], 0)
        self.unmap("loaded", child)


if __name__ == "__main__":
    unittest.main()
