"""One line per mistake: where it was written, the key, the value, and what is expected."""

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streams.configuration import schema
from streams.configuration.kinds import UNKNOWN_KIND, kind_of
from streams.configuration.schema import dotted, holds_secret
from streams.configuration.tree import Keys, Tree
from streams.settings import ProblemsError

_EXPECTED = {
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "string_type": "expected text, put it in quotes",
    "string_too_short": "expected some text",
    "string_pattern_mismatch": "expected up to 64 letters, digits, dots, _ or -",
    "path_type": "expected the path of a file",
    "tuple_type": "expected a list",
    "too_short": "expected at least one",
    "dict_type": "expected keys with values",
    "model_type": "expected keys with values",
}
_LONGEST_SHOWN = 80


def describe(error: ValidationError, tree: Tree) -> Iterator[str]:
    """Say what is wrong, in the order of the models."""
    for details in error.errors():
        # A default that depends on another value, which is reported itself.
        if details["type"] != "default_factory_not_called":
            yield from _lines(details, tree)


def mask_url(text: str) -> str:
    """Hide what may be a secret in a URL: user and password, and the query."""
    if "://" not in text:
        return text
    return re.sub(r"\?.*", "?…", re.sub(r"://[^/?#]*@", "://…@", text), flags=re.DOTALL)


def show(value: Any) -> str:
    """Write a value in one line as YAML would have it, shortened."""
    if isinstance(value, str | Path):
        value = mask_url(str(value))
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _lines(details: ErrorDetails, tree: Tree) -> Iterator[str]:
    keys: Keys = schema.without_kinds(details["loc"])
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, ProblemsError):
        for below, message in cause.problems:
            at = (*keys, *below)
            yield _line(tree, at, tree.get(at), message)
    elif details["type"] == "extra_forbidden":
        yield f"{tree.origin(keys)}: {_key(keys)} is not known{_hint(keys, details['loc'])}"
    elif details["type"] == UNKNOWN_KIND:
        at = (*keys, "kind")
        yield _line(tree, at, tree.get(at), _unknown_kind(keys, tree.get(at), details["msg"]))
    elif details["type"] == "missing":
        yield f"{tree.origin(keys)}: {_key(keys)} is missing"
    else:
        yield _line(tree, keys, details["input"], expectation(details))


def expectation(details: ErrorDetails) -> str:
    """Say what is expected of a value that a check of its own refused."""
    cause = details.get("ctx", {}).get("error")
    message = str(cause or _EXPECTED.get(details["type"], details["msg"]))
    return message.replace("Input should be", "expected")


def _line(tree: Tree, keys: Keys, value: Any, message: str) -> str:
    scalar = isinstance(value, str | int | float | Path)
    shown = f" is {show(value)}" if scalar and not holds_secret(keys) else ""
    return f"{tree.origin(keys)}: {_key(keys)}{shown}: {message}"


def _hint(keys: Keys, location: Keys) -> str:
    """Say which key may have been meant; `location` has the kind of the section in it, if any."""
    kind = str(location[-2]) if len(location) > len(keys) else None
    others = schema.kinds_with(keys)
    if others:
        return f" for kind {kind}, only for {', '.join(others)}"
    near = schema.nearest(keys, kind)
    return f", did you mean {near}?" if near else ""


def _unknown_kind(section: Keys, kind: object, message: str) -> str:
    known = map(kind_of, schema.sections(schema.annotation_at(section)))
    near = difflib.get_close_matches(str(kind), known, n=1)
    return f"{message}, did you mean {near[0]}?" if near else message


def _key(keys: Sequence[str | int]) -> str:
    text = dotted(keys)
    return text if text.isprintable() else show(text)
