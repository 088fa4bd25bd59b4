# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Native
from tests.interop.feature_cases import FeatureCases


class Asan(FeatureCases):
    program = Native("asan")


del FeatureCases

if __name__ == "__main__":
    unittest.main()
