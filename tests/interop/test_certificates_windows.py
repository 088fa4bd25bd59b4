# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Wine
from tests.interop.certificate_cases import CertificateCases


class Windows(CertificateCases):
    program = Wine()


del CertificateCases

if __name__ == "__main__":
    unittest.main()
