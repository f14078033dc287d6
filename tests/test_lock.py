"""The lock files pin what the project asks for, with hashes, and name no package index."""

import json
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "requirements.lock": [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["demo"],
    ],
    "requirements-dev.lock": [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["demo"],
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    ],
    "requirements-build.lock": PROJECT["build-system"]["requires"],
    "requirements-schemathesis.lock": PROJECT["dependency-groups"]["schemathesis"],
}


def pinned(lock: str) -> dict[str, Requirement]:
    lines = (ROOT / lock).read_text().replace("\\\n", " ").splitlines()
    requirements = [Requirement(line.split("--hash")[0].strip()) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_a_pin_or_a_hash(lock: str) -> None:
    pin = re.compile(r"[a-z0-9-]+==[^ ]+( ; [^/]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    for line in (ROOT / lock).read_text().splitlines():
        assert pin.fullmatch(line) or digest.fullmatch(line), line


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_satisfies_the_project(lock: str) -> None:
    pins = pinned(lock)
    for text in LOCKS[lock]:
        wanted = Requirement(text)
        (specifier,) = pins[canonicalize_name(wanted.name)].specifier
        assert wanted.specifier.contains(specifier.version), f"make lock: {text}"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock"])
def test_locks_agree(lock: str) -> None:
    everything = pinned("requirements-dev.lock")
    for name, requirement in pinned(lock).items():
        assert everything[name] == requirement


def test_what_is_installed_is_what_is_pinned() -> None:
    for name, requirement in pinned("requirements-dev.lock").items():
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(version(name)), f"{name}: make again"


def test_the_linter_of_the_description_is_pinned() -> None:
    folder = ROOT / "tests" / "openapi" / "lint"
    wanted = json.loads((folder / "package.json").read_text())["devDependencies"]
    text = (folder / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    assert packages.pop("")["devDependencies"] == wanted
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())
    assert "://" not in text
