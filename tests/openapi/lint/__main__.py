"""Lint the API's description with Redocly CLI.

`package-lock.json` pins it; `redocly.yaml` has its rules, with a reason for each that is off. It
asks nothing of any other machine. Exit status 0 if the description is clean.

    python -m tests.openapi.lint .venv-redocly/node_modules/.bin/redocly
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from streams.api.openapi import document
from streams.api.routes import ROUTES

RULES = Path(__file__).with_name("redocly.yaml")
# It would report that it was used, and ask whether there is a newer one.
OFFLINE = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


def lint(program: str, directory: Path, description: bytes) -> subprocess.CompletedProcess[str]:
    """Run the linter on a description, written into a directory of its own."""
    file = directory / "openapi.json"
    file.write_bytes(description)
    return subprocess.run(
        [Path(program).absolute(), "lint", file.name, f"--config={RULES}", "--max-problems=1000"],
        cwd=directory,
        env=os.environ | OFFLINE,
        text=True,
        capture_output=True,
        check=False,
    )


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.openapi.lint PROGRAM")
    with tempfile.TemporaryDirectory(prefix="campaign-streams-lint-") as directory:
        done = lint(sys.argv[1], Path(directory), document(ROUTES))
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
