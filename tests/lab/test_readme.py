# SPDX-License-Identifier: LGPL-2.1-or-later
"""The README's session, `Each command`: run from its first line to its last, each output compared."""
import difflib
import re
import shlex
import subprocess
import time
import unittest

from tests.lab.lab import ROOT, Lab, clean
from tests.lab.servers import Nbdkit, free_port

README = ROOT / "README.md"
PROMPT = "> wnbd-client"

# What is another thing each time it is printed.
VARYING = (
    (r"1\.0\.0(-\w+)*", "<version>"),
    (r"\d\d:\d\d:\d\d\.\d{3} ", "<time> "),
    (r"(?m)^(Pid +: )\d+$", r"\1<pid>"),
    (r"(?m)^\d+ +(?=-?\d+ +(?:true|false) )", "<pid> "),
    (r"(?m)^(PortNumber +: )\d+$", r"\1<port>"),
    (r"(?m)^(Hostname +: ).*$", r"\1<host>"),
    (r"(?m)^(Total\w+|Time\w+Ms)( +: )\d+$", r"\1\2<number>"),
    (r"1&[0-9a-f]+&0&", "1&<adapter>&0&"),
    (r"\d+ MiB locked", "<size> locked"),
    (r"[ \t]+$", ""),
)


def section(text, heading):
    return re.search(rf"(?ms)^## {re.escape(heading)}$(.*?)(?=^## )", text).group(1)


def session(text):
    """The commands of a section's code blocks with what they print, in order."""
    commands = []
    for block in re.findall(r"(?m)(?:^    .*\n|^\n(?=    ))+", text):
        for line in block.splitlines():
            line = line[4:]
            if line.startswith(PROMPT):
                commands.append((line.removeprefix(PROMPT).strip(), []))
            elif commands:
                commands[-1][1].append(line)
    return [(command, "\n".join(lines).strip("\n")) for command, lines in commands]


def normal(text):
    for pattern, stands_for in VARYING:
        text = re.sub(pattern, stands_for, text, flags=re.M)
    return text.strip("\n").splitlines()


def difference(shown, printed):
    """Nothing where `printed` is what is shown, in which a line `...` stands for any lines."""
    shown, printed = normal(shown), normal(printed)
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\n" for line in shown)
    if re.fullmatch(pattern, "".join(line + "\n" for line in printed)):
        return ""
    return "\n".join(difflib.unified_diff(shown, printed, "README", "printed", lineterm=""))


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.server = cls.enterClassContext(Nbdkit("--exportname=foo", "memory", "256M"))

    def in_shell(self, shown):
        """A shell's session: what is shown behind its prompts is typed."""
        typed = re.findall(r"(?m)^wnbd> (.*)$", shown)
        done = subprocess.run(
            ["wine", str(self.lab.programs / "wnbd-client.exe"), "shell"], check=True, timeout=120,
            env=self.lab.environment() | {"WINEDEBUG": "-all"}, stdout=subprocess.PIPE,
            input="".join(line + "\n" for line in typed).encode(), stderr=subprocess.STDOUT)
        return re.sub(r"(?m)^wnbd> .*\n?", "", shown), clean(done.stdout.decode())

    def map_disk(self, words):
        if "192.0.2.10" in words:
            words[words.index("192.0.2.10")] = "127.0.0.1"
            words += ["--port", self.server.port]
        self.lab.map(*words)

    def serve(self, words):
        """A target on a port that is free; what it prints, in which the port is the usual one."""
        port = free_port()
        target = self.lab.start("wnbd-client.exe", *words, "--listen", f"127.0.0.1:{port}")
        end = time.monotonic() + 60
        while "Lun " not in target.output():
            self.assertIsNone(target.poll(), target.output())
            self.assertLess(time.monotonic(), end, target.output())
            time.sleep(0.1)
        target.kill()
        target.wait(timeout=30)
        return target.output().replace(f":{port}\n", ":3260\n")

    def use(self, name):
        """Reads from a disk, so that its counters have counted."""
        self.lab.disktool("read", self.lab.disk_number(name),
                          self.lab.windows_path(self.lab.place / "read"), "--length", 1 << 20).check()

    def run_one(self, command, shown):
        words = shlex.split(command.split("  (")[0])
        if words[0] == "map":
            return shown, self.map_disk(words[1:]) or ""
        if words[0] == "nbd-info":
            done = self.lab.client(*(word.replace("192.0.2.10", f"127.0.0.1:{self.server.port}") for word in words))
            return shown, done.check().stdout.replace(f"127.0.0.1:{self.server.port}", "192.0.2.10:10809")
        if words[0] == "serve":
            return shown, self.serve(words)
        if words[0] == "shell":
            return self.in_shell(shown)
        if words[0] == "stats":
            self.use(words[1])
        if "--no-hard-disconnect-fallback" in words:
            holder = self.lab.start("disktool.exe", "hold", self.lab.disk_number("foo"))
            while "open" not in holder.output():
                self.assertIsNone(holder.poll(), holder.output())
            done = self.lab.client(*words)
            holder.kill()
            holder.wait(timeout=30)
            # How often it is asked in the time differs: each veto once.
            once = re.compile(r"(?m)^(\S+) (libwnbd\.dll!ask_to_remove .*\n)(?:\S+ \2)+")
            return once.sub(r"\1 \2", shown + "\n"), once.sub(r"\1 \2", done.stdout + done.stderr)
        done = self.lab.client(*words)
        failure = re.search(r"\(error (\d+)\)", shown)
        self.assertEqual(done.code, int(failure[1]) % 256 if failure else 0, done)
        return shown, done.stdout + done.stderr

    def test_what_it_shows_is_what_is_printed(self):
        steps = session(section(README.read_text(encoding="utf-8"), "Each command"))
        for command, shown in steps:
            with self.subTest(command=command):
                self.assertEqual(difference(*self.run_one(command, shown)), "")

    def test_every_command_is_shown(self):
        listed = self.lab.client("help").check().stdout.splitlines()[2:]
        shown = {command.split()[0] for command, _ in
                 session(section(README.read_text(encoding="utf-8"), "Each command"))}
        self.assertEqual({line.split()[0] for line in listed if line} - shown, set())


class Comparison(unittest.TestCase):
    """The comparison itself sees what differs."""

    def test_other_lines_are_seen(self):
        self.assertEqual(difference("a\n...\nd", "a\nb\nc\nd\n"), "")
        self.assertEqual(difference("Pid   : 7", "Pid   : 12\n"), "")
        for shown, printed in (("a\nb", "a\n"), ("a", "a\nb\n"), ("a\n...\nd", "a\nb\n"), ("", "x\n"),
                               ("BlockCount : 1", "BlockCount : 2")):
            self.assertNotEqual(difference(shown, printed), "")


if __name__ == "__main__":
    unittest.main()
