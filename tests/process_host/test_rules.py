# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every rule that the lab's sources can report is broken on purpose by a test, and is reported then."""
import re
import unittest

from tests.process_host.windows_program import BUILD, ROOT, Wine

MISUSE_DRIVER = BUILD / "tests/process_host/misuse.sys"
# Each program breaks the rules of its folders, and prints `fired: <rule>` for those that were reported.
PROGRAMS = {
    "tests/process_host/verifier_test.exe": [MISUSE_DRIVER],
    "tests/process_host/miniport_test.exe": [],
    "tests/lab/port_test.exe": [],
    "tests/lab/wine_host_test.exe": [],
}

# The name of the rule is what stands before the first comma: one string, or two and a condition.
REPORT = re.compile(r"\b(?:fatal_violation|report_violation|violation)\s*\(([^,;]*),")
STRING = re.compile(r'"([^"]+)"')


def rules_in_sources():
    """Each rule with the files that report it, and the reports whose rule is no plain string."""
    rules, unnamed = {}, []
    for path in sorted((ROOT / "src/lab").rglob("*.cpp")):
        for report in REPORT.finditer(path.read_text(encoding="utf-8")):
            names = STRING.findall(report[1])
            if not names and "const char*" not in report[1]:
                unnamed.append(f"{path.relative_to(ROOT)}: {report[0]}")
            for name in names:
                rules.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return rules, unnamed


class Rules(unittest.TestCase):
    def test_each_rule_has_a_misuse_that_proves_that_it_fires(self):
        rules, unnamed = rules_in_sources()
        self.assertEqual(unnamed, [])
        self.assertGreater(len(rules), 80, "the search finds rules at all")
        fired = set()
        with Wine() as wine:
            for program, arguments in PROGRAMS.items():
                with self.subTest(program=program):
                    code, output = wine.run(program, *arguments)
                    self.assertEqual(code, 0, output)
                    print(output.splitlines()[-1], flush=True)
                    fired |= set(re.findall(r"(?m)^fired: (.*)$", output))
        unproved = {rule: files for rule, files in rules.items() if rule not in fired}
        self.assertEqual(unproved, {}, "rules that no misuse has shown to fire")
        self.assertEqual(fired - set(rules), set(), "rules that the sources do not name")
        print(f"{len(rules)} rules, each fired", flush=True)


if __name__ == "__main__":
    unittest.main()
