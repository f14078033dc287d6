"""Reading JSON (RFC 8259) that may be anything: its bounds, its odd values, its fields by name.

Whatever JSON allows in a field that nobody needs (half a surrogate pair, numbers beyond a double,
a name that is there twice; the last one counts) must not change what becomes of a record.
"""

import json
import math
import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NoReturn

from streams.domain.events import Reason, RejectedError

DEEPEST = 500
"""Levels of arrays and objects in a record, or in JSON that a record has in a string. Decoders
stop where the interpreter's stack does, which differs from one Python to the next; all of them,
from 3.11 on, reach this far."""

SURELY_FLAT = 2 * DEEPEST
"""Bytes of JSON that cannot nest deeper: each level has a bracket at its beginning and its end.
Bytes that leave brackets open are no JSON, and a decoder may find the interpreter's bound before it
finds that."""

LONGEST_INTEGER = 20
"""Characters of an integer that is read to its last digit: of 64 bits, with its sign."""


def check(value: bytes) -> None:
    """See that bytes are UTF-8 and nest no deeper than `DEEPEST`.

    A decoder that skips strings does not look into them, so bytes that are not ASCII are decoded
    here.

    Raises:
        RejectedError: if they nest deeper.
        UnicodeDecodeError: if they are not UTF-8.
    """
    if nests_too_deeply(value):
        raise RejectedError(Reason.NOT_JSON, f"nests deeper than {DEEPEST} levels")
    if not value.isascii():
        value.decode()


def nests_too_deeply(value: bytes) -> bool:
    """Tell whether arrays and objects nest deeper than `DEEPEST`, in JSON text."""
    if value.count(b"[") + value.count(b"{") <= DEEPEST:
        return False
    brackets = _STRING.sub(b"", value).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_LEVEL.__getitem__, brackets)), default=0) > DEEPEST


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_LEVEL = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _LEVEL.keys())


def parse(value: bytes) -> Any:
    """Parse all of a record; of names that are there twice, the last one counts.

    Raises:
        ValueError: if it is not JSON in UTF-8.
    """
    return _decode_whole(value.decode())


def parse_object(value: bytes) -> dict[str, Any]:
    """Parse a record that has to be a JSON object.

    Raises:
        RejectedError: if it is none.
    """
    try:
        data = parse(value)
    except ValueError as error:
        raise RejectedError(Reason.NOT_JSON, str(error)) from error
    if not isinstance(data, dict):
        raise RejectedError(Reason.NOT_AN_OBJECT, f"a JSON {_type_name(data)}")
    return data


def parse_if_json(value: bytes | str) -> Any:
    """Parse JSON that is no reason to reject its event; return null if it cannot be read."""
    try:
        return _decode_whole(value if isinstance(value, str) else value.decode())
    except ValueError:
        return None


def _integer(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        # A time with more digits is before 2010, or too far ahead, whatever the digits are.
        return -(2**64) if text.startswith("-") else 2**64
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode_whole = json.JSONDecoder(parse_int=_integer, parse_constant=_refuse_constant).decode


def member(data: object, *path: str) -> object:
    """Return the value at a path of names; null where there is nothing."""
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def needed(data: dict[str, Any], name: str, kind: type | tuple[type, ...], where: str = "") -> Any:
    """Return the value of a field that every event needs.

    Args:
        data: the object that has the field.
        name: of the field.
        kind: the types that its value may have; a boolean is none of them.
        where: begins the name of the field in details, such as `attributes.`.

    Raises:
        RejectedError: if it is missing, null or empty, or of another type.
    """
    value = data.get(name)
    if value is None or value == "":
        raise RejectedError(Reason.MISSING_FIELD, where + name)
    if not isinstance(value, kind) or isinstance(value, bool):
        detail = f"{where}{name} is a JSON {_type_name(value)}"
        raise RejectedError(Reason.WRONG_TYPE, detail)
    return value


def needed_text(data: dict[str, Any], name: str, where: str = "") -> str:
    """Return the text of a field that every event needs; arguments and errors as `needed`."""
    text: str = needed(data, name, str, where)
    if not _is_unicode(text):
        raise RejectedError(Reason.WRONG_TYPE, f"{where}{name} has half of a surrogate pair")
    return text


def needed_whole(data: dict[str, Any], name: str) -> int:
    """Return the whole number of a field that every event needs; errors as `needed`.

    Some writers of JSON make 1795711750000.0 of a whole number.
    """
    number: float = needed(data, name, (int, float))
    if isinstance(number, int):
        return number
    if not (math.isfinite(number) and number.is_integer()):
        raise RejectedError(Reason.WRONG_TYPE, f"{name} is not a whole number: {number}")
    return int(number)


def text(value: object) -> str | None:
    """Return a value if it is text that can be written as UTF-8 and is not empty, or else null."""
    return value if isinstance(value, str) and value and _is_unicode(value) else None


def _is_unicode(value: str) -> bool:
    """Tell whether text can be written as UTF-8: JSON can escape half a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _type_name(value: object) -> str:
    names = {str: "string", bool: "boolean", dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), "number")
