"""Tables on standard output or error.

On a terminal a table is as wide as that: a row is one line, whatever it holds. Cells are shortened,
ids in their middle and sentences at their end, and where that does not do, whole columns are left
out. Elsewhere, as in a pipe, a table has all columns and whole cells, no colours, and a hyphen in a
cell without anything.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TextIO

import click
from rich.cells import cell_len

from streams.commands.common import say, writable
from streams.terminal import printable

_GAP = "  "
_LEAST = 3
"""Cells of the terminal that each column has, however narrow that is: `a…b`."""
_DEFAULT_WIDTH = 80
_COLOURS = {
    "firing": "red",
    "given-up": "red",
    "failing": "red",
    "disabled": "red",
    "pending": "yellow",
    "paused": "yellow",
    "active": "yellow",
    "open": "cyan",
    "resolved": "green",
    "delivered": "green",
}
"""Of the words in columns of states."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Args:
        title: what stands above it.
        rank: where there is no room, columns with the highest are left out first; 0 is for those
            that are never left out.
        least: characters that a cell may be shortened to.
        is_state: whether its words have colours.
    """

    title: str
    rank: int = 2
    least: int = 8
    is_state: bool = False


class Layout(NamedTuple):
    """How wide (in cells of the terminal) each column is; 0 for one that is left out.

    `to_the_right` are the columns of numbers.
    """

    widths: tuple[int, ...]
    to_the_right: tuple[bool, ...]


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Return how many columns the terminal has that a stream writes to; null if it is none."""
    stream = stream or sys.stdout
    try:
        if not stream.isatty():
            return None
        asked = os.environ.get("COLUMNS", "")
        if asked.isascii() and asked.isdigit() and int(asked):
            return int(asked)
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    except (OSError, ValueError):
        return shutil.get_terminal_size((_DEFAULT_WIDTH, 24)).columns


def has_colours(stream: TextIO | None = None) -> bool:
    """Tell whether a stream is a terminal that shows colours to somebody who wants them.

    `NO_COLOR` that is not empty stands for no (no-color.org).
    """
    stream = stream or sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Printer:
    """Prints rows below each other, with the titles above the first of them.

    Args:
        columns: from left to right.
        err: whether on standard error.
    """

    def __init__(self, columns: Sequence[Column], *, err: bool = False) -> None:
        self._columns = columns
        self._err = err
        self._stream = sys.stderr if err else sys.stdout
        self._layout: Layout | None = None

    def print(self, rows: Iterable[Sequence[object]]) -> None:
        """Print rows; the titles stand above them once more if other widths are needed."""
        rows = list(rows)
        width = terminal_width(self._stream)
        shown = [[_text(value, is_plain=width is None) for value in row] for row in rows]
        numeric = tuple(
            any(isinstance(row[at], int | float) for row in rows)
            for at in range(len(self._columns))
        )
        layout = laid_out(self._columns, shown, numeric, width, self._layout)
        lines = []
        if layout != self._layout:
            lines.append(self._line([each.title for each in self._columns], layout, is_title=True))
        lines += [self._line(row, layout) for row in shown]
        click.echo("\n".join(writable(each, self._stream) for each in lines), err=self._err)
        if layout != self._layout:
            self._say_what_is_left_out(layout, shown)
        self._layout = layout

    def _line(self, cells: Sequence[str], layout: Layout, *, is_title: bool = False) -> str:
        """Return one line; nothing in it is wider than its column."""
        colours = has_colours(self._stream)
        parts = []
        for column, cell, width, right in zip(self._columns, cells, *layout, strict=True):
            if not width:
                continue
            text = shortened(cell, width)
            padding = " " * (width - cell_len(text))
            colour = _COLOURS.get(text) if column.is_state else None
            if colours and (is_title or colour):
                text = click.style(text, fg=None if is_title else colour, bold=is_title or None)
            parts.append(padding + text if right else text + padding)
        return _GAP.join(parts).rstrip()

    def _say_what_is_left_out(self, layout: Layout, rows: Sequence[Sequence[str]]) -> None:
        names = [
            column.title
            for at, column in enumerate(self._columns)
            if not layout.widths[at] and any(row[at] for row in rows)
        ]
        if names:
            say(f"left out, as the terminal is narrow: {', '.join(names)}", err=True)


def print_table(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], *, err: bool = False
) -> None:
    """Print a table on standard output, or on standard error."""
    Printer(columns, err=err).print(list(rows))


def laid_out(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    numeric: tuple[bool, ...],
    width: int | None,
    before: Layout | None = None,
) -> Layout:
    """Return how wide columns are.

    Args:
        columns: from left to right.
        rows: their cells.
        numeric: whether a column has numbers, which are not shortened as long as there is a way.
        width: that a row has at most; null for as much as it needs.
        before: of earlier rows, which stays as it is where that does for these rows, too.
    """
    natural = [
        max(cell_len(each.title), *(cell_len(row[at]) for row in rows), 1)
        if rows
        else cell_len(each.title) or 1
        for at, each in enumerate(columns)
    ]
    if before is not None:
        numeric = tuple(
            one or other for one, other in zip(numeric, before.to_the_right, strict=True)
        )
        natural = [max(pair) for pair in zip(natural, before.widths, strict=True)]
    if width is None:
        return Layout(tuple(natural), numeric)
    least = [
        wide if number else min(wide, each.least)
        for wide, number, each in zip(natural, numeric, columns, strict=True)
    ]
    kept = _kept(columns, rows, least, width)
    return Layout(tuple(_widths(natural, least, kept, width)), numeric)


def _kept(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], least: Sequence[int], width: int
) -> list[int]:
    """Return the columns (by number) that there is room for: without those of the highest rank.

    Columns that say nothing are the first to go.
    """
    empty = [bool(rows) and not any(row[at] for row in rows) for at in range(len(columns))]
    kept = list(range(len(columns)))
    while _total([least[at] for at in kept]) > width:
        optional = [at for at in kept if columns[at].rank]
        if not optional:
            break
        kept.remove(max(optional, key=lambda at: (empty[at], columns[at].rank, at)))
    return kept


def _widths(
    natural: Sequence[int], least: Sequence[int], kept: Sequence[int], width: int
) -> list[int]:
    """Return widths that fit: the widest columns are made narrower, down to their least."""
    widths = [natural[at] if at in kept else 0 for at in range(len(natural))]
    for floor in (least, [_LEAST] * len(natural)):
        while _total([widths[at] for at in kept]) > width:
            shrinkable = [at for at in kept if widths[at] > floor[at]]
            if not shrinkable:
                break
            widths[max(shrinkable, key=lambda at: widths[at])] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def shortened(text: str, width: int) -> str:
    """Return a printable text in at most `width` cells of the terminal.

    Of a text of several words the end is left out, of any other the middle.
    """
    if cell_len(text) <= width:
        return text
    if " " in text.strip():
        return _beginning(text, width - 1).rstrip() + "…"
    end = (width - 1) // 2
    return _beginning(text, width - 1 - end) + "…" + _beginning(text[::-1], end)[::-1]


def _beginning(text: str, width: int) -> str:
    used = 0
    for at, character in enumerate(text):
        used += cell_len(character)
        if used > width:
            return text[:at]
    return text


def _text(value: object, *, is_plain: bool) -> str:
    """Return a cell; for programs, one without anything in it is a hyphen."""
    if value is None or not str(value):
        return "-" if is_plain else ""
    if isinstance(value, int):
        return str(value) if is_plain else f"{value:,}"
    return printable(str(value))
