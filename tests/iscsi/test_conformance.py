# SPDX-License-Identifier: LGPL-2.1-or-later
"""libiscsi's conformance suite against the native target."""

import unittest
from concurrent.futures import ThreadPoolExecutor

from tests.iscsi import conformance, skips
from tests.iscsi.judged import SIZE, Judged
from tests.lab.servers import Nbdkit

# Beside each other: the suite waits more than it works.
WORKERS = 4

# A test that fails in a process of its own, whatever the target does: it looks at what a callback of the
# test before it has left behind.
TOGETHER = {"iSCSITMF.LUNResetSimpleAsync": "iSCSITMF"}


class Conformance(Judged):
    def test_all_tests_in_one_process(self):
        servers = [self.enterContext(Nbdkit("memory", SIZE)) for _ in range(2)]
        memory = ("--memory", SIZE)
        self.each_in_one_process(
            {
                "memory, blocks of 512": self.target(*memory),
                "memory, blocks of 4096": self.target(*memory, "--block-size", 4096),
                "NBD, blocks of 512": self.target(servers[0].uri),
                "NBD, blocks of 4096": self.target(servers[1].uri, "--block-size", 4096),
            }
        )

    def test_large_physical_blocks(self):
        """The suites that ask for them. (GetLBAStatus.UnmapSingle does not get along with them: it asks for
        one block and expects the answer to begin at another.)"""
        target = self.target("--memory", SIZE, "--physical-block-size", 4096)
        for suite in ("CompareAndWrite", "WriteSame10", "WriteSame16", "Unmap", "Inquiry", "ReadCapacity16"):
            outcomes = conformance.run(f"ALL.{suite}", target.url())
            self.judge(outcomes, skips.of(skips.COMMON))

    def one_process_a_test(self, *words):
        """Every test with a process, a session and a power-on of its own; one path."""
        targets = [self.target(*words) for _ in range(WORKERS)]
        free = list(targets)

        def run(name):
            target = free.pop()
            try:
                return conformance.run(f"ALL.{TOGETHER.get(name, name)}", target.url())
            finally:
                free.append(target)

        outcomes = {}
        names = conformance.names("ALL")
        with ThreadPoolExecutor(WORKERS) as pool:
            for name, outcome in zip(names, pool.map(run, names)):
                outcomes[name] = outcome[name]
        self.judge(outcomes, skips.of(skips.COMMON, skips.WRITABLE, skips.ONE_PATH, skips.SMALL_BLOCKS))

    def test_one_process_a_test_with_blocks_of_512_bytes(self):
        self.one_process_a_test("--memory", SIZE)

    def test_one_process_a_test_with_blocks_of_4096_bytes(self):
        self.one_process_a_test("--memory", SIZE, "--block-size", 4096)

    def test_a_read_only_disk(self):
        self.judge_read_only(self.target("--memory", SIZE, "--read-only"))

    def test_sanitize_is_not_offered(self):
        """Even to those who ask for it. (Readonly wants to set SWP first, whatever the disk offers.)"""
        target = self.target("--memory", SIZE)
        tests = [name for name in conformance.names("ALL.Sanitize") if name != "Readonly"]
        self.assertEqual(len(tests), 10)
        for name in tests:
            (outcome,) = conformance.run(f"ALL.Sanitize.{name}", target.url(), sanitize=True).values()
            self.assertRegex(outcome.skipped_because or "", "SANITIZE.* is not implemented")

    def test_both_families_with_mutual_chap_and_header_digests(self):
        secrets = {"WNBD_CHAP_SECRET": "of-initiators", "WNBD_MUTUAL_SECRET": "of-the-target"}
        chap = ("--chap-user", "me", "--mutual-user", "you")
        target = self.target("--memory", SIZE, *chap, environment=secrets)
        url = target.url("me", secrets["WNBD_CHAP_SECRET"])
        url += f"?target_user=you&target_password={secrets['WNBD_MUTUAL_SECRET']}&header_digest=crc32c"
        for family in ("SCSI", "iSCSI"):
            outcomes = conformance.run(family, url)
            self.assertEqual(list(outcomes), conformance.names(family))
            self.judge(outcomes, skips.of(skips.COMMON, skips.WRITABLE, skips.ONE_PATH, skips.SMALL_BLOCKS))


if __name__ == "__main__":
    unittest.main()
