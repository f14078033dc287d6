"""The section `detector` of a rule: a kind and its settings, from files and the environment."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import pytest
from pydantic import ValidationError

from streams.configuration.detectors import MODELS, model_of
from streams.configuration.load import load
from streams.configuration.models import Configuration, RuleSettings
from streams.configuration.translation import partition_settings_of
from streams.domain.detectors.count import Count
from streams.domain.detectors.registry import DETECTORS
from streams.domain.detectors.settings import Setting, fields, setting
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold
from streams.errors import ConfigurationError

ENVIRONMENT = "CAMPAIGN_STREAMS_RULES__0__DETECTOR__"
KINDS = ", ".join(detector.kind for detector in DETECTORS)


def kinds_with(name: str) -> str:
    found = [each.kind for each in DETECTORS if name in {field.name for field in fields(each)}]
    return ", ".join(found)


def rule(**detector: Any) -> RuleSettings:
    return RuleSettings.model_validate({"name": "a", "group": "failure", "detector": detector})


def loaded(detector: str, tmp_path: Path, environ: dict[str, str] | None = None) -> Configuration:
    path = tmp_path / "my.yaml"
    path.write_text(
        f"rules:\n- {{name: a, group: failure}}\n- name: b\n  group: failure\n{detector}"
    )
    return load(path, environ or {}, {})


def problem(detector: str, tmp_path: Path, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loaded(detector, tmp_path, environ)
    (line,) = str(caught.value).splitlines()
    return line.removeprefix(f"{tmp_path}/")


def test_every_kind_can_be_configured_with_its_defaults() -> None:
    for detector, model in zip(DETECTORS, MODELS, strict=True):
        made = rule(kind=detector.kind).detector
        assert type(made) is model
        assert made.detector() == detector()
        assert made.model_dump() == {
            "kind": detector.kind,
            **{each.name: getattr(detector(), each.name) for each in fields(detector)},
        }


def test_a_rule_has_its_detector(tmp_path: Path) -> None:
    configuration = loaded("  detector: {kind: count, more_than: 7}", tmp_path)
    first, second = partition_settings_of(configuration, None).rules
    assert (first.detector, second.detector) == (Spike(), Count(more_than=7))


def test_the_environment_sets_kinds_and_their_settings(tmp_path: Path) -> None:
    environ = {f"{ENVIRONMENT}KIND": "count", f"{ENVIRONMENT}MORE_THAN": "12"}
    configuration = loaded("  detector: {kind: threshold, level: 0.3}", tmp_path, environ)
    first, second = (each.detector.detector() for each in configuration.rules)
    assert (first, second) == (Count(more_than=12), Threshold(level=0.3))


@pytest.mark.parametrize(
    ("detector", "expected"),
    [
        (
            "  detector: {kind: cuont}",
            (
                'my.yaml:5: rules[1].detector.kind is "cuont": not known, known kinds: '
                f"{KINDS}, did you mean count?"
            ),
        ),
        (
            "  detector: {kind: count, more_then: 3}",
            (
                "my.yaml:5: rules[1].detector.more_then is not known, did you mean "
                "rules[1].detector.more_than?"
            ),
        ),
        (
            "  detector: {kind: count, level: 0.3}",
            (
                "my.yaml:5: rules[1].detector.level is not known for kind count, only for "
                f"{kinds_with('level')}"
            ),
        ),
        (
            "  detector: {more_than: 3}",
            (
                "my.yaml:5: rules[1].detector.more_than is not known for kind spike, only for "
                f"{kinds_with('more_than')}"
            ),
        ),
        (
            "  detector: {kind: count, more_than: -1}",
            "my.yaml:5: rules[1].detector.more_than is -1: expected greater than or equal to 0",
        ),
        (
            "  detector:\n    kind: threshold\n    recovery_level: 0.2",
            (
                "my.yaml:7: rules[1].detector.recovery_level is 0.2: expected at most "
                "detector.level, which is 0.1"
            ),
        ),
        ("  detector: count", 'my.yaml:5: rules[1].detector is "count": expected keys with values'),
        (
            "  min_attempts: 30",
            (
                "my.yaml:5: rules[1].min_attempts is not known, did you mean "
                "rules[1].detector.min_attempts?"
            ),
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(detector: str, expected: str, tmp_path: Path) -> None:
    assert problem(detector, tmp_path) == expected


def test_what_is_wrong_in_the_environment(tmp_path: Path) -> None:
    assert problem("", tmp_path, {f"{ENVIRONMENT}LEVLE": "0.2"}) == (
        f"environment {ENVIRONMENT}LEVLE is not known, did you mean {ENVIRONMENT}LEVEL?"
    )


def test_a_setting_has_one_type_in_all_kinds() -> None:
    """Text from the environment is read by the type of its key, before the kind is known."""
    types: dict[str, Any] = {}
    for detector in DETECTORS:
        hints = get_type_hints(detector)
        for each in fields(detector):
            known = hints[each.name], each.setting.unit
            assert types.setdefault(each.name, known) == known
    assert len(types) > 1


@dataclass(frozen=True)
class Unbounded(Count):
    kind: ClassVar[str] = "unbounded"
    factor: float = setting(2.0, Setting("any number"))
    wait: float = setting(90.0, Setting("how long", "seconds", least=1))


@pytest.mark.parametrize(
    "values", [{"factor": math.inf}, {"factor": math.nan}, {"factor": "3"}, {"wait": "0s"}]
)
def test_a_number_is_finite_and_a_duration_within_its_bounds(values: dict[str, Any]) -> None:
    model = model_of(Unbounded)
    assert model.model_validate({"wait": "2m"}).model_dump(mode="json")["wait"] == "2m"
    with pytest.raises(ValidationError):
        model.model_validate(values)
