# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests with nbd_exercise share."""

import unittest

from tests.interop.exerciser import Exercise


class Exercising(unittest.TestCase):
    """`program` says which build is run; a module of tests derives a class for each."""

    maxDiff = None
    program = None

    @classmethod
    def setUpClass(cls):
        if cls.program is None:
            raise unittest.SkipTest("a base class")
        cls.enterClassContext(cls.program)

    def begin(self, mode, disk, *words):
        return self.enterContext(Exercise(self.program, mode, disk, *words))

    def run_to_end(self, mode, disk, *words, code=0, timeout=180):
        """All lines of a run that ends with `code`."""
        with Exercise(self.program, mode, disk, *words) as run:
            ended, lines = run.end(timeout)
            self.assertEqual(ended, code, str(run))
            return lines

    def mixed(self, disk, *words, ios=3000, **more):
        """A mixed load in which everything is right."""
        return self.run_to_end("mixed", disk, "--ios", ios, *words, **more)[-1]

    def operations(self, disk, *operations):
        """The disk's properties, and what came of each operation."""
        properties, *lines = self.run_to_end("ops", disk, *operations)
        return properties, [line for line in lines if "operation" in line]

    def errors(self, disk, *operations):
        _, outcomes = self.operations(disk, *operations)
        return [outcome["error"] for outcome in outcomes]

    def open_error(self, disk):
        """What is said of a disk that does not open."""
        (said,) = self.run_to_end("ops", disk, code=3)
        return said["open_error"]
