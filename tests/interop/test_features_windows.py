# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Wine
from tests.interop.feature_cases import FeatureCases


class Windows(FeatureCases):
    program = Wine()


del FeatureCases

if __name__ == "__main__":
    unittest.main()
