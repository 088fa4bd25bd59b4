# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs libiscsi's conformance suite and reads what it says.

The suite counts a skipped test as passed, so its text is read, and checked against its own summary.
"""

import dataclasses
import enum
import re
import subprocess

SUITE = "iscsi-test-cu"
INITIATORS = ("iqn.2026-11.org.example:first", "iqn.2026-11.org.example:second")


class Verdict(enum.Enum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclasses.dataclass
class Outcome:
    verdict: Verdict
    says: str  # what the test printed

    @property
    def skipped_because(self):
        """The first reason it gave, without what every reason says."""
        found = re.search(r"\[SKIPP(?:ED|ING)\] *(.+)", self.says)
        return re.sub(r"\.? *Skipping (?:test|assert)\.?$|\.$", "", found[1]) if found else None


class Broken(Exception):
    """The suite did not run to its end, or says something that cannot be read."""


def parse(text):
    """`Suite.Test` to its Outcome, in the order they ran."""
    outcomes = {}
    for suite in re.split(r"(?m)^Suite: ", text)[1:]:
        name, _, body = suite.partition("\n")
        body = body.partition("\nRun Summary:")[0]
        for test in re.split(r"(?m)^  Test: ", body)[1:]:
            test_name, dots, says = test.partition(" ...")
            # What a suite's clean-up says comes on the same line, after the last verdict.
            verdict = re.findall(r"(?m)(?:^|(?<= \.\.\.)|\s)(passed|FAILED)(?:$|(?= {4}\[))", dots + says)
            if not verdict:
                raise Broken(f"{name}.{test_name} has no verdict: {says}")
            outcome = Outcome(Verdict.FAILED if "FAILED" in verdict else Verdict.PASSED, says.strip())
            if outcome.verdict is Verdict.PASSED and outcome.skipped_because:
                outcome.verdict = Verdict.SKIPPED
            outcomes[f"{name}.{test_name}"] = outcome
    summary = re.search(r"(?m)^ +tests +(\d+) +(\d+) +(\d+) +(\d+)", text)
    if not summary:
        raise Broken(f"the suite did not come to its end:\n{text[-4000:]}")
    _, ran, _, failed = (int(number) for number in summary.groups())
    counted = sum(outcome.verdict is Verdict.FAILED for outcome in outcomes.values())
    if (ran, failed) != (len(outcomes), counted):
        raise Broken(f"the suite counts {ran} tests and {failed} failed, {len(outcomes)} and {counted} are read")
    return outcomes


def run(tests, *urls, sanitize=False, timeout=450):
    """`tests` is FAMILY[.SUITE[.TEST]]; a second URL is the second path to the same disk."""
    command = [SUITE, "--dataloss", "--test", tests]
    command += ["--initiator-name", INITIATORS[0], "--initiator-name-2", INITIATORS[1]]
    command += ["--allow-sanitize"] if sanitize else []
    finished = subprocess.run(
        [*command, *urls],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    text = finished.stdout.decode("utf-8", "replace")
    if finished.returncode < 0:  # a signal; failed tests make it 1 at times
        raise Broken(f"{tests}: the suite ended with {finished.returncode}:\n{text[-4000:]}")
    return parse(text)


def names(family):
    """All tests of a family, as `Suite.Test`; of a suite, as `Test`."""
    listed = subprocess.run([SUITE, "--list"], capture_output=True, text=True, check=True).stdout
    tests = (line for line in listed.split() if line.count(".") == 2)
    return [test.removeprefix(f"{family}.") for test in tests if test.startswith(f"{family}.")]
