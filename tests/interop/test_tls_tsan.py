# SPDX-License-Identifier: LGPL-2.1-or-later
import unittest

from tests.interop.exerciser import Native
from tests.interop.tls_cases import TlsCases

# Where threads meet. GnuTLS itself is not built with ThreadSanitizer.
CHOSEN = ("test_large_requests_and_many_connections_go_through", "test_the_server_is_killed_under_load")


class Tsan(TlsCases):
    program = Native("tsan")


def load_tests(_loader, _tests, _pattern):
    return unittest.TestSuite(Tsan(name) for name in CHOSEN)


if __name__ == "__main__":
    unittest.main()
