# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Wine
from tests.interop.kill_cases import KillCases


class Windows(KillCases):
    program = Wine()
    stride = 5


del KillCases

if __name__ == "__main__":
    unittest.main()
