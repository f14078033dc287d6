"""Run the tests of the domain on the versions of Python that `make test` does not run on.

A record has to have the same fate on all of them. Each version gets an environment of its own,
`.venv-3.12` beside `.venv`, with the same pinned packages. Exit status 0 if all passed. A version
that is not on this machine is named and passed over.

    python -m tests.versions tests/domain tests/configuration
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
TESTS = ("tests/domain",)


def main() -> None:
    """Run the tests given on the command line, or `TESTS`, with each interpreter."""
    tests = sys.argv[1:] or TESTS
    failed = []
    for version in VERSIONS:
        if version == OWN:
            continue
        python = next(interpreters(version), None)
        if python is None:
            say(f"Python {version}: not here")
            continue
        say(f"Python {version}: {python}")
        environment = [f"PYTHON={python}", f"VENV=.venv-{version}"]
        done = subprocess.run(
            ["make", "--no-print-directory", *environment, "test", f"ARGS=-q {' '.join(tests)}"],
            cwd=ROOT,
            check=False,
        )
        if done.returncode != 0:
            failed.append(version)
    if failed:
        sys.exit(f"failed on Python {', '.join(failed)}")


def interpreters(version: str) -> Iterator[str]:
    """Find programs that are CPython of this version (`3.12`): on the path, then pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for program in (f"python{version}", *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))):
        if is_version(program, version):
            yield program


def is_version(program: str, version: str) -> bool:
    """Tell whether a program runs and says that it is this version, and can make environments."""
    code = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.stdout.strip() == version


def say(line: str) -> None:
    """Print a line at once, before what a test run prints."""
    sys.stdout.write(f"=== {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
