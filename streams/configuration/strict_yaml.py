"""YAML read so that it means what it looks like.

YAML 1.1, which PyYAML follows, turns `no` into false, `010` into 8 and `1:30` into 90. Here only
true, false, null and decimal numbers are anything but text; what then has the wrong type is
refused where it is used. Keys may not appear twice.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError

from streams.configuration.files import read_small
from streams.configuration.tree import Keys, Tree
from streams.errors import ConfigurationError

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_DEEPEST = 32
_MOST_VALUES = 50_000
"""What an alias stands for counts each time: a few lines of aliases of aliases are billions."""
_LONGEST_NUMBER = 100
"""Characters. Nothing counted or measured here needs more, and int() is slow for thousands."""


class _TooDeepError(yaml.MarkedYAMLError):
    """Nested deeper than any configuration is, and deeper than Python can follow."""


class _Composer(yaml.SafeLoader):
    """Resolves no plain scalar by itself, `scalar` does; and stops where it gets too deep."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to say it

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and all in it."""
        if self._depth > _DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _TooDeepError(problem=f"nested more than {_DEEPEST} deep", problem_mark=mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def scalar(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def read_file(path: Path) -> Tree:
    """Read a file into a tree whose origins are `path:line`.

    Raises:
        ConfigurationError: it cannot be read, or is not YAML with keys at its top.
    """
    try:
        text = read_small(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 (byte {error.start})") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    tree = Tree()
    value = _Reader(str(path), tree).read(text)
    if value is not None and not isinstance(value, dict):
        raise ConfigurationError(f"{path}:1: expected keys with values, such as http: {{port: 80}}")
    tree.values = value or {}
    return tree


def read_text(text: str, origin: str) -> tuple[Any, list[str]]:
    """Read a value in one line, from a variable or an option; and what is wrong with it.

    Raises:
        ConfigurationError: it is not YAML.
    """
    tree = Tree()
    return _Reader(origin, tree, lines=False).read(text), tree.problems


class _Reader:
    def __init__(self, name: str, tree: Tree, *, lines: bool = True) -> None:
        self.name, self.tree, self.lines = name, tree, lines
        self._values = 0

    def read(self, text: str) -> Any:
        try:
            node = yaml.compose(text, Loader=_Composer)
        except _TooDeepError as error:
            place = self._place(error.problem_mark)
            raise ConfigurationError(f"{place}: is {error.problem}") from None
        except yaml.MarkedYAMLError as error:
            place = self._place(error.problem_mark or error.context_mark)
            raise ConfigurationError(f"{place}: is not YAML: {_explain(error)}") from None
        except yaml.YAMLError:
            raise ConfigurationError(f"{self.name}: is not YAML: a control character") from None
        return None if node is None else self._value(node, ())

    def _place(self, mark: Any) -> str:
        return f"{self.name}:{mark.line + 1}" if self.lines and mark else self.name

    def _value(self, node: yaml.Node, keys: Keys) -> Any:
        place = self._place(node.start_mark)
        self.tree.origins.setdefault(keys, place)
        self._values += 1
        if self._values > _MOST_VALUES:
            raise ConfigurationError(f"{place}: has more than {_MOST_VALUES:,} values up to here")
        if len(keys) > _DEEPEST:
            raise ConfigurationError(f"{place}: is nested more than {_DEEPEST} deep")
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self._value(item, (*keys, at)) for at, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
            text: str = node.value
            return scalar(text) if node.style is None else text
        # The tag itself stays unsaid: an unquoted password can look like one.
        raise ConfigurationError(
            f"{place}: tags are not known, put text that starts with ! in quotes"
        )

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node.start_mark)
            key = self._value(key_node, keys) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                self.tree.problems.append(f"{place}: a key has to be text, put it in quotes")
                continue
            if key in result:
                first = self.tree.origins[(*keys, key)]
                self.tree.problems.append(f"{place}: key {key} is there twice, first at {first}")
                continue
            self.tree.origins[(*keys, key)] = place
            result[key] = self._value(value_node, (*keys, key))
        return result


def _explain(error: yaml.MarkedYAMLError) -> str:
    if isinstance(error, ComposerError):
        if error.problem and error.problem.startswith("but found another document"):
            return "expected one document only"
        # An unquoted password may be taken for an alias: its name stays unsaid.
        return "an alias that leads nowhere, put text that starts with * or & in quotes"
    return error.problem or error.context or "cannot be parsed"
