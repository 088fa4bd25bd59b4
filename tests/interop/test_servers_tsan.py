# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Native
from tests.interop.server_cases import ServerCases


class Tsan(ServerCases):
    program = Native("tsan")
    stride = 5


del ServerCases

if __name__ == "__main__":
    unittest.main()
