# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the conformance suite says of a disk, as a test: every test passes, or is skipped for a reason that
is written down in skips.py."""

import unittest
from concurrent.futures import ThreadPoolExecutor

from tests.iscsi import conformance, skips
from tests.iscsi.conformance import Verdict
from tests.iscsi.target import Target

SIZE = "512M"


def failures(outcomes):
    """What failed, with the first lines of what it said."""
    return {
        name: outcome.says.splitlines()[:8]
        for name, outcome in outcomes.items()
        if outcome.verdict is Verdict.FAILED
    }


def skipped(outcomes):
    return {
        name: outcome.skipped_because
        for name, outcome in outcomes.items()
        if outcome.verdict is Verdict.SKIPPED
    }


class Judged(unittest.TestCase):
    maxDiff = None

    def target(self, *words, **more):
        return self.enterContext(Target(*words, **more))

    def judge(self, outcomes, expected_skips):
        """`expected_skips` is for all tests; those that did not run do not count."""
        self.assertEqual(failures(outcomes), {})
        expected = {name: says for name, says in expected_skips.items() if name in outcomes}
        self.assertEqual(skipped(outcomes), expected)
        passed = len(outcomes) - len(expected)
        print(f"{passed} passed, {len(expected)} skipped for their reasons", flush=True)

    def each_in_one_process(self, targets):
        """All tests on each of the named targets, with two paths to each disk. The targets are judged
        beside each other: the suite waits more than it works."""

        def run(target):
            return conformance.run("ALL", target.url(), target.url())

        with ThreadPoolExecutor(len(targets)) as pool:
            running = {name: pool.submit(run, target) for name, target in targets.items()}
        for name, outcomes in running.items():
            with self.subTest(name):
                self.assertEqual(list(outcomes.result()), conformance.names("ALL"))
                self.judge(outcomes.result(), skips.of(skips.COMMON, skips.WRITABLE, skips.SMALL_BLOCKS))

    def judge_read_only(self, target):
        outcomes = conformance.run("ALL.ReadOnly", target.url())
        self.judge(outcomes, {})
