# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Native
from tests.interop.tls_cases import TlsCases


class Asan(TlsCases):
    program = Native("asan")


del TlsCases

if __name__ == "__main__":
    unittest.main()
