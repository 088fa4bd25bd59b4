# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Native
from tests.interop.kill_cases import KillCases


class Asan(KillCases):
    program = Native("asan")


del KillCases

if __name__ == "__main__":
    unittest.main()
