"""The walks through the code in the architecture page: every step is there, and leads down."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
WALKS = re.split(
    r"^#+ ", (ROOT / "docs" / "architecture.md").read_text("utf-8"), flags=re.MULTILINE
)
STEP = re.compile(r"^\d+\. `(streams/[\w/]+\.py):([\w.]+)`", re.MULTILINE)


class Step(NamedTuple):
    file: str
    name: str


def walk(heading: str) -> list[Step]:
    (section,) = (each for each in WALKS if each.startswith(heading))
    return [Step(*found) for found in STEP.findall(section)]


BATCH, WEBHOOK = walk("One batch, call by call"), walk("One webhook, call by call")


def line_of(step: Step) -> int:
    """Return where a class's method, or a function, is defined.

    Raises:
        KeyError: it is not there.
    """
    tree = ast.parse((ROOT / step.file).read_text("utf-8"))
    return dict(_defined(tree))[step.name]


def _defined(tree: ast.Module) -> Iterator[tuple[str, int]]:
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    for node in tree.body:
        if isinstance(node, functions):
            yield node.name, node.lineno
        elif isinstance(node, ast.ClassDef):
            for each in node.body:
                if isinstance(each, functions):
                    yield f"{node.name}.{each.name}", each.lineno


@pytest.mark.parametrize("step", BATCH + WEBHOOK, ids=lambda step: step.name)
def test_every_step_is_in_the_code(step: Step) -> None:
    assert line_of(step) > 0


@pytest.mark.parametrize("steps", [BATCH, WEBHOOK], ids=["batch", "webhook"])
def test_a_walk_goes_down_through_each_file(steps: list[Step]) -> None:
    """Whoever reads a file has the steps in the order of its lines."""
    assert len(steps) >= 10
    for file in {step.file for step in steps}:
        lines = [line_of(step) for step in steps if step.file == file]
        assert lines == sorted(set(lines)), file
