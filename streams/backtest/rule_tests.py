"""Tests of rules as files: what arrives, and what the rules have to say of it.

docs/backtest.md describes the format.
"""

import difflib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import ErrorDetails

from streams.backtest.series import parse_series
from streams.configuration import strict_yaml
from streams.configuration.problems import expectation, show
from streams.configuration.schema import dotted
from streams.configuration.tree import Keys, Tree
from streams.errors import ConfigurationError
from streams.settings import Duration, PositiveDuration, Settings, Text

START = "2026-01-01T00:00:00Z"
MOST_PROBLEMS = 50


def _read_time(value: object) -> float:
    """Return the seconds since the epoch of RFC 3339; UTC if it does not say.

    Raises:
        ValueError: it is no such time, or before 2010.
    """
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("expected a time such as 2026-01-31T12:00:00Z") from None
    if not datetime(2010, 1, 1).date() <= moment.date() <= datetime(2999, 12, 31).date():  # noqa: DTZ001 - dates alone
        raise ValueError("expected a time from 2010 on and before the year 3000")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _read_series(value: object) -> list[int | None]:
    return parse_series(str(value))


Time: TypeAlias = Annotated[float, BeforeValidator(_read_time)]
Series: TypeAlias = Annotated[list[int | None], PlainValidator(_read_series)]


class InputSettings(Settings):
    """What arrives: counts of one campaign, step by step, or the events of a file.

    Durations in seconds from the start of the test; `late_by` is how long before its arrival the
    event time of each step is.
    """

    events: Path | None = None
    campaign: Text | None = None
    app: Text | None = None
    treatment: Text | None = None
    delivery_type: Text | None = None
    channel: Text | None = None
    from_: Duration = Field(default=0.0, validation_alias="from", serialization_alias="from")
    every: PositiveDuration = 1.0
    late_by: Duration = 0.0
    counts: dict[Text, Series] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.events is not None:
            if self.model_fields_set != {"events"}:
                raise ValueError("expected events alone: a file says all else")
        elif self.campaign is None or not self.counts:
            raise ValueError("expected campaign and counts, or events")
        return self

    @property
    def steps(self) -> int:
        """How many steps the counts have."""
        return max(map(len, self.counts.values()), default=0)


class ExpectedSettings(Settings):
    """A transition that the rules have to make, `within` seconds of a time."""

    at: Duration
    type: Literal["firing", "reminder", "resolved", "expired"]
    rule: Text
    campaign: Text | None = None
    treatment: Text | None = None
    channel: Text | None = None
    within: Duration = 1.0


class CaseSettings(Settings):
    """One test: all transitions that the rules make of the input are expected, and no others."""

    name: Text
    start: Time | None = None
    input: Annotated[tuple[InputSettings, ...], Field(min_length=1)]
    expect: tuple[ExpectedSettings, ...]
    until: Duration = 0.0

    @model_validator(mode="after")
    def _counts_or_events(self) -> Self:
        if len({each.events is not None for each in self.input}) > 1:
            raise ValueError("expected counts or events as the input, not both")
        return self


class RuleTests(Settings):
    """A file of tests."""

    tests: Annotated[tuple[CaseSettings, ...], Field(min_length=1)]


class Case:
    """One test of a file.

    Attributes:
        settings: what it says.
        place: the file, and the line where it begins.
        folder: the folder of the file; paths of events are relative to it.
    """

    def __init__(self, settings: CaseSettings, place: str, folder: Path) -> None:
        self.settings = settings
        self.place = place
        self.folder = folder


def read_rule_tests(file: Path) -> list[Case]:
    """Read a file of tests.

    Raises:
        ConfigurationError: all that is wrong, one a line.
    """
    tree = strict_yaml.read_file(file)
    problems = list(tree.problems)
    tests: tuple[CaseSettings, ...] = ()
    try:
        tests = RuleTests.model_validate(tree.values).tests
    except ValidationError as error:
        problems += [
            _problem(tree, details)
            for details in error.errors()
            # A list with a wrong item is short of a right one.
            if not (details["type"] == "too_short" and tree.get(details["loc"]))
        ]
    if problems:
        raise ConfigurationError("\n".join(problems[:MOST_PROBLEMS]))
    return [Case(case, tree.origin(("tests", at)), file.parent) for at, case in enumerate(tests)]


_SECTIONS: dict[str, type[Settings]] = {
    "tests": CaseSettings,
    "input": InputSettings,
    "expect": ExpectedSettings,
}


def _problem(tree: Tree, details: ErrorDetails) -> str:
    keys: Keys = details["loc"]
    origin = tree.origin(keys)
    if details["type"] == "extra_forbidden":
        return f"{origin}: {dotted(keys)} is not known{_hint(keys)}"
    if details["type"] == "missing":
        return f"{origin}: {dotted(keys)} is missing"
    value = details["input"]
    shown = f" is {show(value)}" if isinstance(value, str | int | float) else ""
    return f"{origin}: {dotted(keys)}{shown}: {expectation(details)}"


def _hint(keys: Keys) -> str:
    *above, last = keys
    section = next((key for key in reversed(above) if isinstance(key, str)), "")
    model = _SECTIONS.get(section, RuleTests)
    names = [field.validation_alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(last), map(str, names), n=1)
    return f", did you mean {near[0]}?" if near else ""
