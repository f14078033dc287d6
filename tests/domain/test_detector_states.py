"""What detectors remember of scopes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import msgspec
import pytest

from streams.domain.detector_states import DetectorStateKey, DetectorStateRecord, DetectorStates
from streams.domain.rules import Rule, Scope
from streams.errors import FormatError
from tests.support.detectors import Doubled, Most

RULE = Rule("doubled", frozenset({"FAILURE"}), Doubled())
OTHER = replace(RULE, name="other")
SCOPE, PART = Scope("c"), Scope("c", "1", None)


def written(states: DetectorStates) -> dict[DetectorStateKey, DetectorStateRecord | None]:
    return dict(states.take_changes())


def read_back(
    records: Mapping[DetectorStateKey, DetectorStateRecord | None], *rules: Rule
) -> DetectorStates:
    states = DetectorStates(rules)
    for key, record in records.items():
        if record is not None:
            states.restore(key, record)
    return states


def test_each_rule_and_scope_has_a_state_of_its_own() -> None:
    states = DetectorStates((RULE, OTHER))
    for rule, scope, hits in ((RULE, SCOPE, 1), (RULE, PART, 2), (OTHER, SCOPE, 3)):
        states.put(rule, scope, Most(hits), 0.0)
    again = read_back(written(states), RULE, OTHER)
    for known in (states, again):
        assert [known.get(*at) for at in ((RULE, SCOPE), (RULE, PART), (OTHER, SCOPE))] == [
            Most(1),
            Most(2),
            Most(3),
        ]
        assert known.get(OTHER, PART) is None


def test_only_what_changed_is_written() -> None:
    states = DetectorStates((RULE,))
    states.put(RULE, SCOPE, Most(1), 0.0)
    states.put(RULE, PART, None, 0.0)
    assert list(written(states)) == [DetectorStateKey("c", "doubled", None, None)]
    states.put(RULE, SCOPE, Most(1), 1.0)
    assert written(states) == {}
    states.put(RULE, SCOPE, None, 2.0)
    assert written(states) == {DetectorStateKey("c", "doubled", None, None): None}
    assert len(states) == 0


def test_what_is_not_evaluated_any_more_is_forgotten() -> None:
    states = DetectorStates((RULE,))
    states.put(RULE, SCOPE, Most(1), 0.0)
    states.put(RULE, PART, Most(1), 50.0)
    states.put(RULE, SCOPE, Most(1), 60.0)
    written(states)
    states.forget(150.0)
    assert (len(states), written(states)) == (2, {})
    states.forget(151.0)
    assert states.get(RULE, PART) is None
    assert written(states) == {DetectorStateKey("c", "doubled", "1", None): None}


def test_a_pause_of_the_worker_is_not_counted() -> None:
    states = DetectorStates((RULE,))
    states.put(RULE, SCOPE, Most(1), 0.0)
    again = read_back(written(states), RULE)
    again.resume(10_000.0)
    again.forget(10_100.0)
    assert again.get(RULE, SCOPE) == Most(1)


@dataclass(frozen=True)
class Renamed(Doubled):
    kind: ClassVar[str] = "renamed"


@pytest.mark.parametrize("rule", [OTHER, replace(RULE, detector=Renamed())])
def test_a_state_of_no_rule_or_of_another_kind_is_removed(rule: Rule) -> None:
    states = DetectorStates((RULE,))
    states.put(RULE, SCOPE, Most(1), 0.0)
    again = read_back(written(states), rule)
    assert len(again) == 0
    assert written(again) == {DetectorStateKey("c", "doubled", None, None): None}


def test_a_state_that_cannot_be_read_says_whose_it_is() -> None:
    broken: Any = DetectorStateRecord("doubled", msgspec.Raw(b'["many"]'))
    with pytest.raises(FormatError, match=r"rule doubled, campaign c .*start the version that"):
        read_back({DetectorStateKey("c", "doubled", None, None): broken}, RULE)
