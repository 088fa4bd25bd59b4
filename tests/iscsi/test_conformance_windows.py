# SPDX-License-Identifier: LGPL-2.1-or-later
"""libiscsi's conformance suite against the Windows build of the target, under Wine."""

import os
import pathlib
import unittest

from tests.iscsi.judged import SIZE, Judged
from tests.process_host.windows_program import OUT, Wine

CLIENT = pathlib.Path(OUT).resolve() / "wnbd-client.exe"


class WindowsConformance(Judged):
    @classmethod
    def setUpClass(cls):
        cls.wine = cls.enterClassContext(Wine())

    def served(self, *words):
        return self.target(*words, command=("wine", CLIENT), environment=self.wine.environment)

    def test_all_tests_in_one_process(self):
        self.each_in_one_process(
            {
                "memory, blocks of 512": self.served("--memory", SIZE),
                "memory, blocks of 4096": self.served("--memory", SIZE, "--block-size", 4096),
            }
        )

    def test_a_read_only_disk(self):
        self.judge_read_only(self.served("--memory", SIZE, "--read-only"))


if __name__ == "__main__":
    unittest.main()
