# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Wine
from tests.interop.server_cases import ServerCases


class Windows(ServerCases):
    program = Wine()


del ServerCases

if __name__ == "__main__":
    unittest.main()
