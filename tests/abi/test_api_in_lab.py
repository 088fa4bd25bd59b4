# SPDX-License-Identifier: LGPL-2.1-or-later
"""The public API against the real driver in the lab: a program serves disks and uses them."""

import unittest

from tests.lab.lab import Lab


class Api(unittest.TestCase):
    def test_the_api_keeps_its_word(self):
        program = Lab._built("api_with_adapter.exe")
        with Lab(files=[program]) as lab:
            lab.install()
            done = lab.run("api_with_adapter.exe", timeout=300)
            self.assertEqual(done.code, 0, f"{done.stdout}{done.stderr}")
            lab.client("uninstall-driver").check()


if __name__ == "__main__":
    unittest.main()
