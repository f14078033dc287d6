"""Sections of one of several kinds."""

from typing import Any, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from streams.configuration.kinds import UNKNOWN_KIND, kind_of, one_of
from streams.settings import Settings


class Tea(Settings):
    kind: Literal["tea"] = "tea"
    minutes: int = 3


class Coffee(Settings):
    kind: Literal["coffee"] = "coffee"
    cups: int = 1


DRINK: TypeAdapter[Settings] = TypeAdapter(one_of((Tea, Coffee)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Tea()),
        ({"minutes": 5}, Tea(minutes=5)),
        ({"kind": "tea"}, Tea()),
        ({"kind": "coffee", "cups": 2}, Coffee(cups=2)),
        (Coffee(cups=3), Coffee(cups=3)),
    ],
)
def test_the_kind_says_which_keys_there_are(values: Any, expected: Settings) -> None:
    assert DRINK.validate_python(values) == expected


@pytest.mark.parametrize(
    ("values", "location", "kind"),
    [
        ({"kind": "coffee", "minutes": 5}, ("coffee", "minutes"), "extra_forbidden"),
        ({"cups": 5}, ("tea", "cups"), "extra_forbidden"),
        ({"kind": "cocoa"}, (), UNKNOWN_KIND),
        ({"kind": None}, (), UNKNOWN_KIND),
        ({"kind": ["tea"]}, (), UNKNOWN_KIND),
        ("tea", ("tea",), "model_type"),
    ],
)
def test_refused(values: Any, location: tuple[str, ...], kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DRINK.validate_python(values)
    (error,) = caught.value.errors()
    assert (error["loc"], error["type"]) == (location, kind)
    if kind == UNKNOWN_KIND:
        assert error["msg"] == "not known, known kinds: tea, coffee"


def test_the_kind_of_a_model() -> None:
    assert [kind_of(model) for model in (Tea, Coffee)] == ["tea", "coffee"]
