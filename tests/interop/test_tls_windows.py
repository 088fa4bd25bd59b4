# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Wine
from tests.interop.tls_cases import TlsCases


class Windows(TlsCases):
    program = Wine()


del TlsCases

if __name__ == "__main__":
    unittest.main()
