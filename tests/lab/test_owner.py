# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk goes with its owner within two seconds, and what was out has failed, however the owner ends."""
import os
import signal
import time
import unittest

from tests.lab.lab import Lab

PROGRAM = "owner_death.exe"


class Owner(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab(files=[Lab._built(PROGRAM)]))
        cls.lab.install()

    def test_exit_crash_termination_and_a_closed_handle_take_the_disk_along(self):
        told = self.lab.run(PROGRAM, timeout=300).check().stdout
        self.assertEqual(told.count("its I/O has failed"), 5, told)
        print(told, end="", flush=True)

    def test_kill_9_takes_the_disk_along(self):
        owner = self.lab.start(PROGRAM, "serve", "victim", "wait")
        while (drive := self.lab.disk_number("victim")) is None or drive < 0:
            self.assertIsNone(owner.poll(), owner.output())
        reader = self.lab.start("disktool.exe", "read", drive,
                                self.lab.windows_path(self.lab.place / "back"), "--length", 512)
        while "held" not in owner.output():
            time.sleep(0.05)
        watcher = self.lab.start(PROGRAM, "watch", "victim")
        time.sleep(1)
        self.assertIsNone(watcher.poll(), watcher.output())
        os.kill(owner.pid, signal.SIGKILL)
        killed = time.monotonic()
        watcher.wait(timeout=10)
        self.assertLess(time.monotonic() - killed, 2)
        self.assertIn("gone", watcher.output())
        self.assertNotEqual(reader.wait(timeout=30), 0, reader.output())


if __name__ == "__main__":
    unittest.main()
