"""Values on their way to validation, each with the place where a person wrote it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Keys = tuple[str | int, ...]


@dataclass
class Tree:
    """Nested values as YAML has them, and for keys the file and line, variable or option."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Keys, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def origin(self, keys: Sequence[str | int]) -> str:
        """Where the value was written, or failing that what is around it."""
        for length in range(len(keys), 0, -1):
            found = self.origins.get(tuple(keys[:length]))
            if found:
                return found
        return "default"

    def get(self, keys: Sequence[str | int]) -> Any:
        """The value at the keys, None if there is none."""
        value: Any = self.values
        for key in keys:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def put(self, keys: Keys, value: Any, origin: str) -> None:
        """Set the value at the keys, and make the sections that lead to it.

        Raises:
            ValueError: the keys lead through an item that its list does not have.
        """
        target: Any = self.values
        for at, key in enumerate(keys[:-1]):
            inside: Any = [] if isinstance(keys[at + 1], int) else {}
            target = _enter(target, key, inside)
        _enter(target, keys[-1], value, replace=True)
        for known in [each for each in self.origins if each[: len(keys)] == keys]:
            del self.origins[known]
        self.origins[keys] = origin


def _enter(target: Any, key: str | int, value: Any, *, replace: bool = False) -> Any:
    if isinstance(key, int):
        if not isinstance(target, list) or key > len(target):
            raise ValueError(f"there is no item {key}, the first is 0 and the next to add is last")
        if key == len(target):
            target.append(value)
        elif replace:
            target[key] = value
    elif replace or not isinstance(target.get(key), dict | list):
        target[key] = value
    return target[key]
