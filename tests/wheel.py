"""Build the wheel, install it into a clean environment, and run the product from there.

Packages come with their hashes from `requirements-build.lock` and `requirements.lock`. Everything
runs in a temporary directory outside the source tree, so what the wheel lacks is missed; and with
the Python of the image (`Dockerfile`), if this machine has it. Once it is installed there is no
network but loopback, if the machine allows that. Exit status 0 if all of it holds; an error that
names what does not, otherwise.

    python -m tests.wheel
"""

import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import struct
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
STATIC = "streams/api/static/"
"""Where the files of the wheel are that are no Python; each is served below `/static/`."""
SHELLS = ("bash", "zsh", "fish")
ENDLESS = "/v1/stream"
PAGES = {"/", "/docs", "/openapi.json", "/livez", "/readyz", "/metrics", "/v1/rules"}
"""Some of what the description names, in case that it names too little."""
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # clone(2)
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1  # netdevice(7)


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
        say("no network from here on" if leave_network() else "the network cannot be left here")
        check_version(program, directory)
        check_completion(program, directory)
        say(ran(program, directory, "config", "check"))
        check_worker(program, directory, data_files(wheel))
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


def leave_network() -> bool:
    """Put this process and those it starts where there is nothing but loopback (Linux).

    Returns:
        Whether the machine allows it.
    """
    if not sys.platform.startswith("linux"):
        return False
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_USER | _NEW_NETWORK):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _GET_FLAGS, asked))
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))
    return True


def data_files(wheel: Path) -> dict[str, bytes]:
    """Return the files of the wheel that are no Python, by name.

    Raises:
        WheelError: one is where nothing is served from.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        found = {name: archive.read(name) for name in names if not name.endswith(".py")}
    elsewhere = [name for name in found if not name.startswith(STATIC)]
    if elsewhere or not found:
        raise WheelError(f"files that are not served: {elsewhere}")
    return {name.removeprefix(STATIC): content for name, content in found.items()}


def check_completion(program: Path, directory: Path) -> None:
    """Have each shell's script written, and a word completed as it would ask for it.

    Raises:
        WheelError: a script does not name the program, or the word is not completed.
    """
    for shell in SHELLS:
        if program.name not in ran(program, directory, "completion", shell):
            raise WheelError(f"completion {shell} says nothing")
        variables = {
            "_CAMPAIGN_STREAMS_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": f"{program.name} que",
            "COMP_CWORD": "que" if shell == "fish" else "1",
        }
        completed = ran(program, directory, **variables)
        if "query" not in completed:
            raise WheelError(f"{shell} completes que as {completed!r}")
    say(f"completion for {', '.join(SHELLS)}")


def check_worker(program: Path, directory: Path, files: dict[str, bytes]) -> None:
    """Run `dev`, which is a worker on the embedded broker; ask for everything, and stop it.

    Args:
        program: as installed.
        directory: to run in.
        files: what is served below `/static/`, by name.

    Raises:
        WheelError: it is not ready in time, something is not served as it should be, or it does
            not end with status 0.
    """
    with running(program, directory) as process:
        with closing(HTTPConnection(ready(process), timeout=10)) as api:
            described = json.loads(asked(api, "/openapi.json"))
            pages = {path for path, methods in described["paths"].items() if "get" in methods}
            pages = {path for path in pages if "{" not in path} - {ENDLESS}
            if not pages >= PAGES:
                raise WheelError(f"the description lacks {sorted(PAGES - pages)}")
            for page in sorted(pages):
                say(f"GET {page}: {len(asked(api, page)):,} bytes")
            for name, content in files.items():
                if asked(api, f"/static/{name}") != content:
                    raise WheelError(f"/static/{name} is not what the wheel has")
            say(f"all {len(files)} data files are served as they are")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=STOPS_WITHIN_S)
        if process.returncode != 0:
            raise WheelError(f"dev ended with {process.returncode} after SIGTERM")


def asked(api: HTTPConnection, target: str) -> bytes:
    """Return the body of what is at a target.

    Raises:
        WheelError: it is no 200.
    """
    api.request("GET", target)
    answer = api.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise WheelError(f"{target} is answered with {answer.status}")
    return body


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


def ran(program: Path, directory: Path, *arguments: str, **variables: str) -> str:
    """Run a program in a directory; return what it wrote on standard output.

    `variables` are added to its environment.

    Raises:
        WheelError: it failed.
    """
    done = subprocess.run(
        [program, *arguments],
        cwd=directory,
        env=surroundings() | variables,
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
