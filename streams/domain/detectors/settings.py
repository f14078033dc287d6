"""The settings of detectors: fields of a dataclass that say what they mean and what they allow."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, get_type_hints

Unit: TypeAlias = Literal["share", "number", "seconds"]


class Problem(NamedTuple):
    """What is wrong with the value of a setting."""

    setting: str
    message: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What a setting means, and which values it allows; a bound that is null does not bind.

    Args:
        text: what it means, for the documentation.
        unit: `share` (0 to 1), `number`, or `seconds`, which are written as durations.
        least: the least value.
        above: a value that has to be exceeded.
        most: the greatest value.
        below: a value that must not be reached.
        derived: works out the default from the settings before this one; then `default` says how.
        default: the default, in words; null for that of the field.
    """

    text: str
    unit: Unit = "number"
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    derived: Callable[[Mapping[str, Any]], Any] | None = None
    default: str | None = None


class Field(NamedTuple):
    """A setting with its name, the type of its values, and its default."""

    name: str
    type: Any
    default: Any
    setting: Setting


def setting(default: Any, about: Setting) -> Any:
    """Make a field of a dataclass; the default of one that is derived is not looked at."""
    return field(default=None if about.derived else default, metadata={"setting": about})


def fields(detector: type) -> Iterator[Field]:
    """Yield the settings of a detector's class, in order."""
    types = get_type_hints(detector)
    for each in dataclasses.fields(detector):
        yield Field(each.name, types[each.name], each.default, each.metadata["setting"])


def derive(detector: Any) -> None:
    """Work out the settings of a new detector that depend on others and were left out."""
    known: dict[str, Any] = {}
    for each in dataclasses.fields(detector):
        value = getattr(detector, each.name)
        derived = each.metadata["setting"].derived
        if value is None and derived is not None:
            value = derived(known)
            object.__setattr__(detector, each.name, value)
        known[each.name] = value


def values(detector: Any) -> dict[str, Any]:
    """Return the settings of a detector by name, in order."""
    return {each.name: getattr(detector, each.name) for each in dataclasses.fields(detector)}
