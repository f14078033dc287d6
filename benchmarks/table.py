"""Figures over rounds: medians with their spread, as text, Markdown and JSON."""

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import orjson

from benchmarks.measuring import machine

RESULTS = Path(__file__).parent / "results"


def spread(values: Iterable[float], digits: int = 0) -> str:
    """Write the median, with the smallest and largest in brackets if there are several."""
    values = list(values)
    if not values:
        return "-"
    middle = f"{median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]


def text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table for the terminal: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table for a page."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, rule, *rows))


def publish(name: str, results: "Results", **parameters: Any) -> None:
    """Print a table, and keep it with its figures."""
    sys.stdout.write(f"\n{results.title}\n\n{text(results.head, results.rows)}\n")
    page = f"### {results.title}\n\n{markdown(results.head, results.rows)}"
    figures = [dict(zip(results.head, row, strict=True)) for row in results.rows]
    path = keep(name, parameters, page, figures)
    sys.stdout.write(f"{path} (and .md)\n")


class Results(NamedTuple):
    """A table under its title."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def keep(name: str, parameters: dict[str, Any], page: str, figures: Any) -> Path:
    """Write what was measured to a JSON file and the tables to a Markdown file beside it.

    Returns the path of the JSON file.
    """
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = RESULTS / f"{name}-{stamp}.json"
    result = {"machine": machine(), "parameters": parameters, "figures": figures}
    path.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    path.with_suffix(".md").write_text(page)
    return path
