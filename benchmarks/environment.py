"""What contenders need beside our own dependencies: made once, kept in `.cache/`.

The Python packages of some contenders are at odds with ours, so they get a virtual environment of
their own, from requirements.lock; those that run on the JVM are built by Maven.
"""

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from benchmarks.contenders.contender import ContenderError
from tests.support import kafka_jars

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
LOCK = HERE / "requirements.lock"
JVM = HERE / "jvm"
BUILD_TIMEOUT_S = 900


def python() -> Path:
    """Return the interpreter of the contenders' environment; make that first if need be.

    Raises:
        ContenderError: its packages cannot be installed.
    """
    directory = CACHE / f"venv-{_digest(LOCK)}"
    interpreter = directory / "bin" / "python"
    if not (directory / ".installed").exists():
        shutil.rmtree(directory, ignore_errors=True)
        _build("contenders' environment", [sys.executable, "-m", "venv", str(directory)])
        pip = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        locked = ["--require-hashes", "--no-deps", "--requirement", str(LOCK)]
        _build("contenders' packages", [*pip, *locked])
        (directory / ".installed").touch()
    return interpreter


def java(main_class: str) -> list[str]:
    """Return the command line that runs a contender on the JVM.

    A fixed heap, and the collector that needs the least CPU time on few cores.

    Raises:
        ContenderError: see `class_path`.
    """
    heap = ["-Xms1g", "-Xmx1g", "-XX:+UseSerialGC"]
    # Flink reads private fields of these when it copies what it does not know.
    opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "util")]
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", *heap, *opened, quiet, "-cp", class_path(), main_class]


def class_path() -> str:
    """Return the class path of the contenders on the JVM; build them first if need be.

    Raises:
        ContenderError: there is no Java or Maven, or Maven cannot build them.
    """
    missing = kafka_jars.why_unavailable()
    if missing is not None:
        raise ContenderError(missing)
    sources = sorted(JVM.rglob("*.java"))
    target = CACHE / f"jvm-{_digest(JVM / 'pom.xml', *sources)}"
    if not (target / ".built").exists():
        shutil.rmtree(target, ignore_errors=True)
        maven = ["mvn", "-q", "-B", "-f", str(JVM / "pom.xml"), f"-Dtarget={target}", "compile"]
        jars = ["dependency:copy-dependencies", f"-DoutputDirectory={target / 'libs'}"]
        _build("contenders on the JVM", [*maven, *jars, "-DincludeScope=runtime"])
        (target / ".built").touch()
    return f"{target / 'classes'}:{target / 'libs'}/*"


def _digest(*files: Path) -> str:
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _build(what: str, command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - pip and Maven
        command, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S
    )
    if done.returncode != 0:
        raise ContenderError(
            f"the {what} could not be made:\n{(done.stdout + done.stderr)[-2000:]}"
        )
