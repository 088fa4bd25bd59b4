# SPDX-License-Identifier: LGPL-2.1-or-later
"""A fresh lab with the driver installed, and a shell (or one command) in the folder of its programs."""
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/lab"))
from lab import Lab  # noqa: E402


def main():
    command = sys.argv[1:] or [os.environ.get("SHELL", "/bin/bash")]
    with Lab() as lab:
        lab.install()
        environment = lab.environment() | {"WINEDEBUG": "-all"}
        print(f"The driver is installed. Try: wine wnbd-client.exe map foo --memory 64M &\n"
              f"Its log: {lab.driver_log_path}\nLeaving the shell ends the lab.", flush=True)
        code = subprocess.run(command, cwd=lab.programs, env=environment, check=False).returncode
    print(f"lab: closed, the verifier found nothing, exit code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())
