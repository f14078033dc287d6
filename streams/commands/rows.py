"""Rows of what the API has answered, printed in the form that was asked for."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import click
import msgspec

from streams.api.tabular import columns_of, csv_lines
from streams.commands.common import print_json
from streams.commands.tables import Column, Printer
from streams.terminal import abbreviated, printable_lines

NAME_MOST = 64
"""Characters of a name in a table, where the vendor's have 32; other forms have all of it."""

Form: TypeAlias = Literal["table", "json", "csv", "ndjson"]
FORMS: tuple[Form, ...] = ("table", "json", "csv", "ndjson")

Item: TypeAlias = dict[str, Any]
Columns: TypeAlias = dict[Column, Callable[[Item], object]]


@dataclass(frozen=True, slots=True)
class Found:
    """What the API has answered.

    Args:
        answer: as it came.
        rows: of the table, and of CSV and NDJSON.
        columns: of the table.
        item: what a row is, for the columns of CSV.
        below: lines that a terminal shows below the table.
    """

    answer: Item
    rows: Sequence[Item]
    columns: Columns
    item: type[msgspec.Struct]
    below: Sequence[str] = ()


class RowPrinter:
    """Prints rows in one form, as often as there are some.

    Args:
        form: any but `json`.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._printer: Printer | None = None
        self._has_title = False

    def print(self, found: Found, rows: Iterable[Item]) -> None:
        """Print rows of what was found."""
        if self._form == "ndjson":
            for row in rows:
                print_json(row)
        elif self._form == "csv":
            lines = list(csv_lines(columns_of(found.item), rows))
            write_csv("".join(lines[1:] if self._has_title else lines))
            self._has_title = True
        else:
            if self._printer is None:
                self._printer = Printer(list(found.columns))
            shown = [[show(row) for show in found.columns.values()] for row in rows]
            self._printer.print(shown)


def write_csv(csv: str) -> None:
    """Write CSV as it is, but to a terminal, which names in it could steer."""
    stream = click.get_text_stream("stdout")
    if stream.isatty():
        click.echo(printable_lines(csv.replace("\r\n", "\n")), nl=False)
    else:
        click.echo(csv.encode(errors="replace"), nl=False)


def shown_name(name: str | None) -> str:
    """Return a name as a table has it: not all of it if it is very long."""
    return abbreviated(name or "", NAME_MOST)
