"""Bring what files, the environment and the command line say to one form, in one tree."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streams.configuration import schema
from streams.configuration.files import read_small
from streams.configuration.models import Configuration
from streams.configuration.problems import show
from streams.configuration.strict_yaml import read_text, scalar
from streams.configuration.tree import Keys, Tree
from streams.errors import ConfigurationError

PREFIX = "CAMPAIGN_STREAMS_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
URL_VARIABLE = f"{PREFIX}URL"
CA_VARIABLE = f"{PREFIX}CA_FILE"
TOKEN_VARIABLE = f"{PREFIX}TOKEN"
# Of the programs, not of the configuration: which file, and whom `query` asks with what token.
_NO_KEYS = frozenset({CONFIG_VARIABLE, URL_VARIABLE, TOKEN_VARIABLE, CA_VARIABLE})
_INDEX = re.compile(r"\d{1,9}", re.ASCII)
_LONGEST_NAME = 200
_DEEPEST_HINT = 10
# Stands for a secret that cannot be read, and would be a right one: the file is what is wrong, and
# nobody should read of a missing secret as well. It is never used, as a problem ends the loading.
_UNREAD = "whsec_" + "A" * 32
# Kubernetes sets these in every pod beside a service that is called campaign-streams.
_SERVICE = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def variables(environ: Mapping[str, str]) -> dict[str, Keys]:
    """The variables that set a key, with the key. An empty one counts as not set."""
    return {
        name: split_keys(name.removeprefix(PREFIX).lower().replace("__", "."))
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX)
        and name not in _NO_KEYS
        and value
        and not _SERVICE.fullmatch(name.removeprefix(PREFIX))
        and not (name.endswith("_PORT") and _SERVICE_ADDRESS.match(value))
    }


def split_keys(text: str) -> Keys:
    """Keys from `rules.0.name` or `rules[0].name`."""
    parts = re.sub(r"\[(\d+)\]", r".\1", text).split(".")
    return tuple(int(part) if _INDEX.fullmatch(part) else part for part in parts)


def assign(tree: Tree, keys: Keys, value: object, source: str, name: str) -> None:
    """Put a value from a variable or an option into the tree; text is read by the type of its key.

    What is wrong goes to the tree's problems.
    """
    origin = f"{source} {name[:_LONGEST_NAME]}"
    secret = schema.secret_from_file(keys)
    target = secret or keys
    annotation = schema.annotation_at(target)
    if annotation is None:
        tree.problems.append(f"{origin} is not known{_hint(keys, source)}")
        return
    if schema.is_section(annotation) and not isinstance(keys[-1], int):
        near = ", ".join(schema.keys_of(annotation))
        tree.problems.append(f"{origin} is a section: set one of its keys ({near})")
        return
    try:
        if secret:
            if tree.origins.get(secret, "").startswith(f"{source} "):
                tree.problems.append(f"{origin}: {schema.dotted(secret)} is also set directly")
            value = _read_secret(tree, origin, Path(str(value)), annotation)
        elif isinstance(value, str):
            value = _from_text(value, annotation, tree, origin)
        tree.put(target, _prepared(tree, value, annotation, target, Path()), origin)
    except (ValueError, ConfigurationError) as error:
        tree.problems.append(str(error) if str(error).startswith(origin) else f"{origin}: {error}")


def prepare(tree: Tree, base: Path) -> None:
    """Read the files of secrets; make paths that a file names relative to that file."""
    tree.values = _prepared(tree, tree.values, Configuration, (), base)


def _prepared(tree: Tree, value: Any, annotation: Any, keys: Keys, base: Path) -> Any:
    if schema.is_section(annotation) and (value is None or isinstance(value, dict)):
        # A section with all its keys commented out is null in YAML, and means the defaults.
        return _prepared_section(tree, value or {}, annotation, keys, base)
    item = schema.item_of(annotation)
    if item is not None and isinstance(value, list):
        return [_prepared(tree, each, item, (*keys, at), base) for at, each in enumerate(value)]
    if schema.is_path(annotation) and isinstance(value, str):
        return base / value
    return value


def _prepared_section(
    tree: Tree, values: dict[str, Any], annotation: Any, keys: Keys, base: Path
) -> dict[str, Any]:
    known = schema.keys_of(annotation)
    result: dict[str, Any] = {}
    for key, value in values.items():
        at = (*keys, key)
        secret = schema.secret_from_file(at)
        if secret is None:
            result[key] = _prepared(tree, value, known.get(key), at, base)
            continue
        name = str(secret[-1])
        origin = f"{tree.origin(at)}: {schema.dotted(at)}"
        if name in values:
            tree.problems.append(f"{origin}: {name} is also set directly")
        else:
            result[name] = _read_secret(tree, origin, base / str(value), known[name])
        tree.origins[secret] = tree.origin(at)
    return result


def _read_secret(tree: Tree, origin: str, path: Path, annotation: Any) -> str | list[str]:
    """One secret is the file; of several there is one on each line."""
    try:
        text = _read(path)
    except ValueError as error:
        tree.problems.append(f"{origin}: {error}")
        text = _UNREAD
    several = schema.item_of(annotation) is not None
    return [line.strip() for line in text.splitlines() if line.strip()] if several else text


def _read(path: Path) -> str:
    try:
        text = read_small(path).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"{show(str(path))} is not UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{show(str(path))} {error}") from None
    if not text.strip():
        raise ValueError(f"{show(str(path))} is empty")
    return text


def _from_text(text: str, annotation: Any, tree: Tree, origin: str) -> Any:
    if schema.is_text(annotation):
        return text or None
    item = schema.item_of(annotation)
    listed = item is not None and not schema.is_section(item)
    if listed and not text.startswith("["):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return [_from_text(part, item, tree, origin) for part in parts]
    if item is not None or schema.is_section(annotation) or schema.is_mapping(annotation):
        value, problems = read_text(text, origin)
        tree.problems += problems
        return value
    return scalar(text)


def _hint(keys: Keys, source: str) -> str:
    if len(keys) > _DEEPEST_HINT:
        return ""
    near = schema.nearest(keys)
    if near and source == "environment":
        near = PREFIX + "__".join(map(str, split_keys(near))).upper()
    return f", did you mean {near}?" if near else ""
