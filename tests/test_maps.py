"""A package that opens with a map of its modules names all of them, and no others."""

import re
from pathlib import Path

import pytest

import streams

PACKAGE = Path(streams.__file__).parent
MAPPED = (
    "commands",
    *("api", "domain", "domain/detectors", "domain/formats", "domain/notification"),
    *("engine", "engine/cluster", "engine/consume"),
    *("engine/dead_letters", "engine/produce", "engine/tasks", "engine/transactions"),
    *("outputs", "receivers", "webhooks"),
)


@pytest.mark.parametrize("name", MAPPED)
def test_the_map_of_a_package_is_complete(name: str) -> None:
    package = PACKAGE / name
    named = set(re.findall(r"`(\w+)`", (package / "__init__.py").read_text()))
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    modules |= {path.parent.name for path in package.glob("*/__init__.py")}

    assert modules - named == set()
    assert named - modules <= {"__other__"}
