# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Native
from tests.interop.server_cases import ServerCases


class Asan(ServerCases):
    program = Native("asan")


del ServerCases

if __name__ == "__main__":
    unittest.main()
