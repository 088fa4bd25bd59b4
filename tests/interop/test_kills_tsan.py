# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Native
from tests.interop.kill_cases import KillCases


class Tsan(KillCases):
    program = Native("tsan")
    stride = 3


del KillCases

if __name__ == "__main__":
    unittest.main()
