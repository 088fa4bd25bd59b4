# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Native
from tests.interop.certificate_cases import CertificateCases


class Asan(CertificateCases):
    program = Native("asan")


del CertificateCases

if __name__ == "__main__":
    unittest.main()
