# SPDX-License-Identifier: LGPL-2.1-or-later
"""The documents hold together: links lead somewhere, tests they name exist, drawings are in step."""
import ast
import hashlib
import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *patterns],
                            cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).exists()]


def without_code(text):
    """A page without its code, in which brackets are no links."""
    text = re.sub(r"^(```.*?^```|    .*?)$", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.M):
        kept = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
        found.add(kept.replace(" ", "-"))
    return found


def broken_links(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        if not page.exists():
            yield f"{path.name}: {target} does not exist"
        elif anchor and anchor not in anchors(page):
            yield f"{path.name}: {target} has no such heading"


def python_tests():
    """Every test method of the Python tests, as unittest names them."""
    names = set()
    for path in tracked("tests/**/test_*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                names |= {f"{module}.{node.name}.{method.name}" for method in node.body
                          if isinstance(method, ast.FunctionDef) and method.name.startswith("test")}
    return names


def native_tests():
    """Every GoogleTest test, as Suite.Name."""
    found = set()
    for path in tracked("src/**/*_test.cpp", "tests/**/*_test.cpp"):
        found |= {f"{suite}.{name}" for suite, name in
                  re.findall(r"^TEST(?:_[FP])?\((\w+),\s*(\w+)\)", path.read_text(), re.M)}
    return found


def unknown_tests(text, python, native):
    """Tests that a text names and nobody has. A Python name may stop at its class or module."""
    for name in re.findall(r"`(tests(?:\.\w+)+)`", text):
        if not any(test == name or test.startswith(name + ".") for test in python):
            yield name
    for name in re.findall(r"`([A-Z]\w+\.[A-Z]\w+)`", text):
        if name not in native:
            yield name


class Docs(unittest.TestCase):
    def test_links_lead_somewhere(self):
        pages = tracked("*.md", "docs/*.md")
        self.assertGreater(len(pages), 10)
        self.assertEqual([fault for page in pages for fault in broken_links(page)], [])

    def test_every_page_is_reached_from_the_readme(self):
        reached, ahead = set(), [ROOT / "README.md"]
        while ahead:
            page = ahead.pop()
            if page in reached or page.suffix != ".md":
                continue
            reached.add(page)
            for target in re.findall(r"\]\(([^)\s#]+)", page.read_text()):
                if not re.match(r"[a-z]+:", target):
                    ahead.append((page.parent / target).resolve())
        self.assertEqual(set(tracked("docs/*.md")) - reached, set())

    def test_the_tests_that_pages_name_exist(self):
        python, native = python_tests(), native_tests()
        parity = (ROOT / "docs/parity.md").read_text()
        self.assertGreater(len(re.findall(r"`tests\.", parity)), 30)
        for page in tracked("docs/*.md"):
            self.assertEqual(list(unknown_tests(page.read_text(), python, native)), [], page.name)

    def test_a_name_nobody_has_is_noticed(self):
        text = "`tests.docs.test_docs.Docs.test_gone` `Gone.Away` `tests.docs.test_docs.Docs`"
        self.assertEqual(list(unknown_tests(text, python_tests(), native_tests())),
                         ["tests.docs.test_docs.Docs.test_gone", "Gone.Away"])

    def test_drawings_are_in_step_with_their_sources(self):
        sources = tracked("docs/*.dot")
        self.assertGreater(len(sources), 0)
        for source in sources:
            checksum = hashlib.sha256(source.read_bytes()).hexdigest()
            drawing = source.with_suffix(".svg")
            self.assertIn(f"made from {source.name} sha256:{checksum}", drawing.read_text(),
                          f"{drawing.name} is not drawn from {source.name}: run scripts/draw.sh")

    def test_readme_names_no_command_that_run_does_not_have(self):
        usage = subprocess.run([ROOT / "run", "help"], check=True, capture_output=True,
                               text=True).stdout
        for page in tracked("*.md", "docs/*.md"):
            for command in re.findall(r"\./run ([a-z]+)", page.read_text()):
                self.assertRegex(usage, rf"(?m)^  {command}\b", f"{page.name}: ./run {command}")


if __name__ == "__main__":
    unittest.main()
