"""Build the wheel, install it into a clean environment, and run the product from there.

Packages come with their hashes from `requirements-build.lock` and `requirements.lock`. Everything
runs in a temporary directory outside the source tree, so what the wheel lacks is missed; and with
the Python of the image (`Dockerfile`), if this machine has it. Exit status 0 if all of it holds; an
error that names what does not, otherwise.

    python -m tests.wheel
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.versions import interpreters

ROOT = Path(__file__).parents[1]
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")
LOCKED = ("install", "--require-hashes", "--no-deps", "--requirement")
READY_WITHIN_S = 60.0
STOPS_WITHIN_S = 20.0
PAGES = ("/", "/docs", "/openapi.json", "/livez", "/readyz", "/metrics", "/v1/rules")
"""Answered by the worker: what is generated, and what is a file of the package."""


class WheelError(Exception):
    """The wheel does not hold what the project promises."""


def main() -> None:
    """Build, install, run."""
    say(f"with {python_of_the_image()}")
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:
        directory = Path(name)
        wheel = built(directory)
        check_files(wheel)
        program = installed(wheel, directory)
        check_version(program, directory)
        say(ran(program, directory, "config", "check"))
        check_worker(program, directory)
    say("the wheel holds")


def built(directory: Path) -> Path:
    """Return the wheel, built in an environment that holds the pinned build requirements alone."""
    python = environment(directory / "build")
    ran(python, directory, *PIP, *LOCKED, str(ROOT / "requirements-build.lock"))
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", str(directory / "wheels"))
    ran(python, directory, *PIP, "wheel", *options, str(ROOT))
    (wheel,) = (directory / "wheels").glob("*.whl")
    say(f"built {wheel.name}, {wheel.stat().st_size:,} bytes")
    return wheel


def check_files(wheel: Path) -> None:
    """Compare the files of the wheel with those of the source tree.

    Raises:
        WheelError: one is missing, or is none of the package's.
    """
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    tree = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "streams").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    if packed != tree:
        raise WheelError(f"missing: {sorted(tree - packed)}; not ours: {sorted(packed - tree)}")
    say(f"it has the {len(tree)} files of streams/ and no others")


def installed(wheel: Path, directory: Path) -> Path:
    """Install the wheel and what it needs, as pinned; return the program."""
    python = environment(directory / "clean")
    ran(python, directory, *PIP, *LOCKED, str(ROOT / "requirements.lock"))
    ran(python, directory, *PIP, "install", "--no-deps", "--no-index", str(wheel))
    ran(python, directory, *PIP, "check")
    return python.with_name("campaign-streams")


def check_version(program: Path, directory: Path) -> None:
    """Compare `--version` with what the project says.

    Raises:
        WheelError: it is another one.
    """
    said = ran(program, directory, "--version")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    if said != f"{project['name']} {project['version']}":
        raise WheelError(f"--version is {said!r}, pyproject.toml has {project['version']}")
    say(said)


def check_worker(program: Path, directory: Path) -> None:
    """Run `dev`, which is a worker on the embedded broker; ask for pages, and stop it.

    Raises:
        WheelError: it is not ready in time, a page is no 200, or it does not end with status 0.
    """
    with running(program, directory) as process:
        with closing(HTTPConnection(ready(process), timeout=10)) as api:
            for page in PAGES:
                api.request("GET", page)
                answer = api.getresponse()
                size = len(answer.read())
                say(f"GET {page}: {answer.status}, {size:,} bytes")
                if answer.status != 200:
                    raise WheelError(f"{page} is answered with {answer.status}")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=STOPS_WITHIN_S)
        if process.returncode != 0:
            raise WheelError(f"dev ended with {process.returncode} after SIGTERM")


@contextmanager
def running(program: Path, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Lend `campaign-streams dev` on free ports; it is ended in any case."""
    with subprocess.Popen(
        [program, "dev", "--port", "0", "--broker-port", "0"],
        cwd=directory,
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: "subprocess.Popen[str]") -> str:
    """Read on until the worker is ready; return `host:port` of its API.

    Raises:
        WheelError: it ended before, or took too long.
    """
    assert process.stdout is not None
    deadline = time.monotonic() + READY_WITHIN_S
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("open "):
            return line.split()[1].removeprefix("http://").rstrip("/")
        if time.monotonic() > deadline:
            break
    raise WheelError(f"dev was not ready: {''.join(lines)}")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def environment(directory: Path) -> Path:
    """Make a virtual environment; return its Python."""
    ran(Path(python_of_the_image()), directory.parent, "-m", "venv", str(directory))
    return directory / "bin" / "python"


def python_of_the_image() -> str:
    """Return a Python of the version that `Dockerfile` names, or this one where there is none."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    (version,) = set(re.findall(r"^FROM python:([\d.]+)-slim", dockerfile, re.MULTILINE))
    return next(interpreters(version), sys.executable)


def ran(program: Path, directory: Path, *arguments: str) -> str:
    """Run a program in a directory; return what it wrote on standard output.

    Raises:
        WheelError: it failed.
    """
    done = subprocess.run(
        [program, *arguments],
        cwd=directory,
        env=surroundings(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise WheelError(f"{program.name} {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def surroundings() -> dict[str, str]:
    """Return the environment without what would lead back to the source tree or set options."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "CAMPAIGN_STREAMS_", "VIRTUAL_ENV"))
    }


if __name__ == "__main__":
    main()
