# SPDX-License-Identifier: LGPL-2.1-or-later
"""wnbd.sys in the one-process host. $WNBD_STRESS_IOS sets the length of the stress (default a million),
$WNBD_STRESS_SEED its seed (default: another each time; it is printed)."""
import os
import random
import unittest

from tests.process_host.windows_program import BUILD, DRIVER, Wine

FOLDER = "tests/process_host"


class ProcessHost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.wine = Wine()
        cls.wine.__enter__()
        cls.addClassCleanup(cls.wine.__exit__)

    def run_program(self, name, *arguments):
        code, output = self.wine.run(f"{FOLDER}/{name}.exe", *arguments)
        print(output, end="", flush=True)
        self.assertEqual(code, 0, output)
        return output


    def test_the_driver_functions(self):
        self.run_program("functional_test", DRIVER)

    def test_storport_and_pnp_hear_the_right_thing(self):
        self.run_program("storport_test", DRIVER)

    def test_the_sinks_get_what_their_options_let_them(self):
        self.run_program("logging_test", DRIVER)

    def test_counters_add_up_at_any_moment(self):
        self.run_program("counters_test", DRIVER)

    def test_options_hold_across_loads_and_between_threads(self):
        self.run_program("driver_options_test", DRIVER)

    def test_the_ioctl_surface_holds(self):
        self.run_program("ioctl_sweep", DRIVER, "--seed", random.randrange(1, 1 << 31))

    def test_no_request_is_lost_under_stress(self):
        seed = os.environ.get("WNBD_STRESS_SEED", random.randrange(1, 1 << 31))
        ios = os.environ.get("WNBD_STRESS_IOS", "1000000")
        self.run_program("stress", DRIVER, "--ios", ios, "--seed", seed)

    def test_no_request_is_lost_when_resources_are_short(self):
        seed = os.environ.get("WNBD_STRESS_SEED", random.randrange(1, 1 << 31))
        self.run_program("stress", DRIVER, "--ios", 100000, "--seed", seed, "--faults", 0.002,
                         "--block-size", 4096)


if __name__ == "__main__":
    unittest.main()
