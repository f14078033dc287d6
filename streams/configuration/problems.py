"""One line per mistake: where it was written, the key, the value, and what is expected."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streams.configuration.schema import dotted, holds_secret, nearest
from streams.configuration.tree import Keys, Tree
from streams.configuration.values import ProblemsError

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
    keys: Keys = details["loc"]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, ProblemsError):
        for below, message in cause.problems:
            at = (*keys, *below)
            yield _line(tree, at, tree.get(at), message)
    elif details["type"] == "extra_forbidden":
        yield f"{tree.origin(keys)}: {_key(keys)} is not known{_hint(keys)}"
    elif details["type"] == "missing":
        yield f"{tree.origin(keys)}: {_key(keys)} is missing"
    else:
        message = str(cause or _EXPECTED.get(details["type"], details["msg"]))
        message = message.replace("Input should be", "expected")
        yield _line(tree, keys, details["input"], message)


def _line(tree: Tree, keys: Keys, value: Any, message: str) -> str:
    scalar = isinstance(value, str | int | float | Path)
    shown = f" is {show(value)}" if scalar and not holds_secret(keys) else ""
    return f"{tree.origin(keys)}: {_key(keys)}{shown}: {message}"


def _hint(keys: Sequence[str | int]) -> str:
    near = nearest(keys)
    return f", did you mean {near}?" if near else ""


def _key(keys: Sequence[str | int]) -> str:
    text = dotted(keys)
    return text if text.isprintable() else show(text)
