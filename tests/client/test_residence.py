# SPDX-License-Identifier: LGPL-2.1-or-later
"""`serve` of a disk from an NBD server is in memory, and says so if it can't be."""
import re
import unittest
from pathlib import Path

from tests.iscsi.burst import connect
from tests.iscsi.target import NATIVE, Target
from tests.lab.servers import Nbdkit

NOTE = "could not be locked in memory"


def regions(pid):
    """(path or kind, kilobytes, locked kilobytes, resident kilobytes, flags) of each."""
    found = []
    for part in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{pid}/smaps").read_text("ascii")):
        head, _, rest = part.partition("\n")
        if not head:
            continue
        words = head.split(maxsplit=5)
        value = dict(re.findall(r"(?m)^(\w+): +(\d+) kB", rest))
        flags = re.search(r"(?m)^VmFlags: (.*)$", rest).group(1).split()
        found.append((words[5] if len(words) > 5 else "", words[1], int(value["Size"]), int(value["Rss"]), flags))
    return found


class Residence(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(Nbdkit("memory", "64M"))

    def test_all_of_its_memory_is_locked_and_its_code_is_there(self):
        with Target(self.server.uri) as target:
            pid = target.process.pid
            with connect(target) as disk:
                for lba in range(0, 1024, 8):
                    disk.write(lba, bytes(4096))
                for name, access, size, resident, flags in regions(pid):
                    if not access.startswith("r") or name.startswith("[v"):
                        continue
                    self.assertIn("lo", flags, f"{name or 'anonymous'} {access}, {size} kB")
                    if name.startswith("/") and not access.startswith("rw"):
                        self.assertEqual(resident, size, f"{name} {access} is not all there")
                disk.logout()
            self.assertNotIn(NOTE, target.log())

    def test_a_limit_on_locked_memory_is_said_once_and_harms_nothing(self):
        # Root may lock whatever the limit is: the capability goes, too.
        command = ("prlimit", "--memlock=0:0", "setpriv", "--bounding-set=-ipc_lock",
                   "--inh-caps=-ipc_lock", NATIVE)
        with Target(self.server.uri, command=command) as target:
            with connect(target) as disk:
                disk.write(0, bytes(4096))
                disk.logout()
            self.assertEqual(target.log().count(NOTE), 1, target.log())

    def test_a_disk_of_memory_is_not_locked(self):
        with Target("--memory", "16M") as target:
            status = Path(f"/proc/{target.process.pid}/status").read_text("ascii")
            self.assertEqual(re.search(r"VmLck:\s+(\d+)", status).group(1), "0")


if __name__ == "__main__":
    unittest.main()
