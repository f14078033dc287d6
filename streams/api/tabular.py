"""Lists as rows: CSV (RFC 4180) for spreadsheets, NDJSON for programs that read line by line.

A row of CSV has a column for each field of an item, `rates.failure` for one within another; what
has any number of parts, such as the counts of each status, is JSON in its cell. Null is a cell
without anything, an empty text one with two quotation marks.

Spreadsheets take a cell that begins with one of `= + - @`, a tab or a carriage return for a
formula, and names come from anybody. Such a text begins with an apostrophe here, and so does one
that begins with an apostrophe: without its first apostrophe each text is what it was. Numbers stay
as they are.
"""

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Union, get_args, get_origin

import msgspec
import orjson

CSV = "text/csv"
NDJSON = "application/x-ndjson"
LINE_END = "\r\n"

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")  # noqa: RUF001
_QUOTED = frozenset('",\r\n\t;')


def columns_of(item: type[msgspec.Struct], prefix: str = "") -> tuple[str, ...]:
    """Return the columns of items of a type: the paths of their fields, with dots."""
    columns: list[str] = []
    for field in msgspec.structs.fields(item):
        path = prefix + field.encode_name
        nested = _struct_in(field.type)
        columns += columns_of(nested, f"{path}.") if nested is not None else [path]
    return tuple(columns)


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """Return the one struct that a field is, or may be besides null; null for others."""
    is_union = get_origin(annotation) in {Union, types.UnionType}
    found = [
        each
        for each in (get_args(annotation) if is_union else (annotation,))
        if each not in {type(None), msgspec.UnsetType}
    ]
    if len(found) == 1 and isinstance(found[0], type) and issubclass(found[0], msgspec.Struct):
        return found[0]
    return None


def csv_lines(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the title and the rows as lines of CSV, each with its end.

    Args:
        columns: the paths of fields, with dots.
        rows: as JSON has them.
    """
    paths = [tuple(column.split(".")) for column in columns]
    yield ",".join(map(_cell, (".".join(path) for path in paths))) + LINE_END
    for row in rows:
        yield ",".join(_cell(_at(row, path)) for path in paths) + LINE_END


def _at(row: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(row, Mapping):
            return None
        row = row.get(name)
    return row


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if text.startswith(_FORMULA):
        text = f"'{text}"
    if text and _QUOTED.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def ndjson_lines(rows: Iterable[Any]) -> Iterator[bytes]:
    """Yield rows as JSON, each with the end of its line."""
    for row in rows:
        yield msgspec.json.encode(row) + b"\n"
