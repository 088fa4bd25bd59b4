# SPDX-License-Identifier: LGPL-2.1-or-later
"""clang-tidy over the files of some builds: tidy.py BUILD[:FOLDER,...]... (folders: only files below these).

A file that was clean is not analysed again until it, a file of ours that it includes, its compiler's
options or the configuration change. What was clean is remembered beside the compiler's cache, so
that one clone's work serves every other."""
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIDY = "clang-tidy-19"
INCLUDE = re.compile(rb'^\s*#\s*include\s+"([^"]+)"', re.M)

# clang takes the C++ library of the other threads' model, which lacks std::mutex, unless it is told.
MINGW_LIBRARY = Path("/usr/lib/gcc/x86_64-w64-mingw32/12-posix/include/c++")
MINGW_ARGUMENTS = [f"--extra-arg={argument}" for argument in (
    "-nostdinc++", f"-isystem{MINGW_LIBRARY}", f"-isystem{MINGW_LIBRARY}/x86_64-w64-mingw32",
    # Attributes of gcc that clang has under other names, or not.
    "-Wno-ignored-attributes", "-Wno-unknown-attributes")]


def stamps():
    asked = subprocess.run(["ccache", "--get-config", "cache_dir"], check=True, capture_output=True,
                           text=True)
    folder = Path(asked.stdout.strip()) / "wnbd-tidy"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Sources:
    """Our files, each with the digest of itself and of all of ours that it includes."""

    def __init__(self):
        self.included = {}

    def includes(self, path):
        if path not in self.included:
            found = set()
            for name in INCLUDE.findall(path.read_bytes()):
                for folder in (path.parent, ROOT / "src", ROOT / "include", ROOT):
                    if (folder / name.decode()).is_file():
                        found.add((folder / name.decode()).resolve())
                        break
            self.included[path] = found
        return self.included[path]

    def digest(self, path):
        seen, ahead = set(), [path]
        while ahead:
            each = ahead.pop()
            if each not in seen:
                seen.add(each)
                ahead += self.includes(each)
        digest = hashlib.sha256()
        for each in sorted(seen):
            digest.update(str(each.relative_to(ROOT)).encode() + b"\0" + each.read_bytes() + b"\0")
        return digest


def files_of(build, folders):
    """(file, its command) of a build, tests and generated files excepted."""
    for entry in json.loads((ROOT / "build" / build / "compile_commands.json").read_text()):
        path = (Path(entry["directory"]) / entry["file"]).resolve()
        name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""
        if path.suffix not in (".c", ".cpp") or name.startswith("build/") or name.endswith("_test.cpp"):
            continue
        if name and (not folders or any(name.startswith(folder + "/") for folder in folders)):
            yield path, entry["command"].replace(str(ROOT), "")


def analyse(build, path, command):
    """What clang-tidy has to say about a file: nothing when it is clean."""
    arguments = MINGW_ARGUMENTS if "mingw32" in command else []
    done = subprocess.run([TIDY, "--quiet", "-p", str(ROOT / "build" / build), *arguments, str(path)],
                          capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return done.stdout or done.stderr or f"{path}: {TIDY} ended with {done.returncode}\n"


def main():
    place, sources = stamps(), Sources()
    tool = subprocess.run([TIDY, "--version"], check=True, capture_output=True).stdout
    configuration = tool + (ROOT / ".clang-tidy").read_bytes() + Path(__file__).read_bytes()
    jobs, taken = [], set()
    for argument in sys.argv[1:]:
        build, _, folders = argument.partition(":")
        for path, command in files_of(build, [f for f in folders.split(",") if f]):
            if path in taken:
                continue
            taken.add(path)
            digest = sources.digest(path)
            digest.update(configuration + command.encode())
            stamp = place / digest.hexdigest()
            if stamp.exists():
                os.utime(stamp)
            else:
                jobs.append((build, path, command, stamp))
    print(f"{len(taken)} files, {len(jobs)} to analyse", flush=True)
    clean = True
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for job, said in zip(jobs, pool.map(lambda job: analyse(*job[:3]), jobs)):
            print(said, end="", flush=True)
            clean = clean and not said
            if not said:
                job[3].touch()
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
