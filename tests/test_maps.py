"""A package that opens with a map of its modules names all of them, and no others.

Modules that a registry lists are on the map by that list, so that a further one is one line there.
"""

import re
from pathlib import Path

import pytest

import streams

PACKAGE = Path(streams.__file__).parent
MAPPED = (
    *("backtest", "commands"),
    *("api", "domain", "domain/causes", "domain/detectors", "domain/formats"),
    *("domain/fleet", "domain/notification", "domain/silences"),
    *("engine", "engine/cluster", "engine/consume", "engine/global_state"),
    *("engine/dead_letters", "engine/produce", "engine/tasks", "engine/transactions"),
    *("outputs", "receivers", "webhooks"),
)


REGISTRIES = {"registry", "pipeline"}


def imported(package: Path, module: str) -> set[str]:
    """The modules of a package that one of them imports."""
    dotted = ".".join(package.relative_to(PACKAGE.parent).parts)
    text = (package / f"{module}.py").read_text()
    return set(re.findall(rf"^from {re.escape(dotted)}\.(\w+) import", text, re.MULTILINE))


@pytest.mark.parametrize("name", MAPPED)
def test_the_map_of_a_package_is_complete(name: str) -> None:
    package = PACKAGE / name
    named = set(re.findall(r"`(\w+)`", (package / "__init__.py").read_text()))
    listed = set().union(*(imported(package, registry) for registry in REGISTRIES & named))
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    modules |= {path.parent.name for path in package.glob("*/__init__.py")}

    assert modules - named - listed == set()
    assert named - modules <= {"__other__"}
