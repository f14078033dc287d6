"""The jars of Apache Kafka: fetched once by Maven, kept in `.kafka/<version>/libs`."""

import os
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

POM = Path(__file__).parent / "kafka" / "pom.xml"
CACHE = Path(__file__).parents[2] / ".kafka"
OLDEST_JAVA = 17
FETCH_TIMEOUT_S = 600


class KafkaUnavailableError(Exception):
    """Java or Maven is missing or too old; the message says which and what to install."""


def tested_version() -> str:
    """The release that the pom names, or `KAFKA_VERSION` from the environment."""
    chosen = os.environ.get("KAFKA_VERSION")
    if chosen:
        return chosen
    version = ET.parse(POM).findtext(".//{*}kafka.version")  # noqa: S314 - our own file
    assert version is not None
    return version


def why_unavailable() -> str | None:
    """What a real Kafka lacks on this machine, or None."""
    if shutil.which("java") is None:
        return f"no java on PATH: install a Java {OLDEST_JAVA} runtime"
    java = java_version()
    if java < OLDEST_JAVA:
        return f"java is version {java}: install Java {OLDEST_JAVA} or newer"
    if not (CACHE / tested_version() / "libs").is_dir() and shutil.which("mvn") is None:
        return "no mvn on PATH: install Maven, which fetches Kafka's jars"
    return None


def java_version() -> int:
    """The major version of the `java` on PATH; 0 when it does not say."""
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', told.stderr)
    return int(found[1]) if found else 0


def class_path(version: str | None = None) -> str:
    """The class path of Kafka `version`, with its jars in the cache.

    Raises:
        KafkaUnavailableError: Java or Maven is missing, or Maven could not fetch the jars.
    """
    missing = why_unavailable()
    if missing is not None:
        raise KafkaUnavailableError(missing)
    version = version or tested_version()
    libs = CACHE / version / "libs"
    if not libs.is_dir():
        _fetch(version, libs)
    return str(libs / "*")


def _fetch(version: str, libs: Path) -> None:
    libs.parent.mkdir(parents=True, exist_ok=True)
    # Into a directory of its own, renamed when complete: another session may do the same now.
    with tempfile.TemporaryDirectory(dir=libs.parent) as scratch:
        fetched = Path(scratch) / "libs"
        maven = subprocess.run(
            [
                *("mvn", "-q", "-B", "-f", str(POM), f"-Dkafka.version={version}"),
                *("dependency:copy-dependencies", "-DincludeScope=runtime"),
                f"-DoutputDirectory={fetched}",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=FETCH_TIMEOUT_S,
        )
        if maven.returncode != 0:
            told = (maven.stdout + maven.stderr).strip().splitlines()
            raise KafkaUnavailableError(
                f"Maven could not fetch Kafka {version}: {told[0] if told else 'it does not say'}"
            )
        try:
            fetched.rename(libs)
        except OSError:
            if not libs.is_dir():  # otherwise the other session was first
                raise
