"""Scopes are in few records on the changelog topic, and no record is too great for a broker."""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import pytest

from streams.domain.detectors.spike import Spike
from streams.domain.events import LONGEST_NAMES
from streams.domain.folded_scopes import (
    GROUPS_PER_RECORD,
    SCOPES_PER_GROUP,
    SCOPES_PER_RECORD,
    SHORT,
    FoldedScopes,
    FoldGroup,
    FoldGroupKey,
    encode,
)
from streams.domain.partial_counts import RECORD_BYTES
from streams.domain.rules import Rule, ScopeKind
from streams.domain.scope_sums import ScopeKey

START = 600
FACE = "\N{GRINNING FACE}"
"""Four bytes."""


class Topic:
    """The records of the scopes of one rule, and the scopes as they are restored from these."""

    def __init__(self, scope: ScopeKind = "campaign") -> None:
        self.detector = Spike()
        self.rule = Rule("spike", frozenset({"FAILURE"}), self.detector, scope=scope)
        self.scopes = self.new()
        self.records: dict[int, FoldGroup] = {}

    def new(self) -> FoldedScopes:
        return FoldedScopes(self.rule, self.detector)

    def add(self, keys: Sequence[ScopeKey]) -> None:
        places = self.scopes.add(keys, ["app"] * len(keys), START)
        self.scopes.learn(places, START + 60, np.arange(len(keys)))

    def write(self) -> list[int]:
        """Write what changed; return how many scopes each record has now, by its number."""
        for key, group in self.scopes.take_changes():
            if not isinstance(key, FoldGroupKey):
                continue
            self.records.pop(key.group, None)
            if group is not None:
                assert len(encode(group)) < RECORD_BYTES
                self.records[key.group] = group
        assert known(self.restored()) == known(self.scopes)
        return [len(self.records[number].keys) for number in sorted(self.records)]

    def restored(self) -> FoldedScopes:
        scopes = self.new()
        for number, group in self.records.items():
            scopes.restore(FoldGroupKey(self.rule.name, number), group)
        scopes.finish_restore()
        return scopes

    def restart(self) -> None:
        self.scopes = self.restored()


def known(scopes: FoldedScopes) -> dict[ScopeKey, object]:
    """All that is known of each scope."""
    found: dict[ScopeKey, object] = {}
    for key in scopes.oldest_first():
        place = scopes.place_of(key)
        assert place is not None
        found[key] = scopes.learned(place), scopes.unsettled(place, 0), scopes.states.write([place])
    return found


def names(numbers: Iterable[int]) -> list[ScopeKey]:
    return [f"{number:032x}" for number in numbers]


def test_groups_that_follow_one_another_are_one_record() -> None:
    topic = Topic()
    topic.add(names(range(SCOPES_PER_RECORD + 30)))
    assert topic.write() == [SCOPES_PER_RECORD, 30]
    place = topic.scopes.place_of(f"{3:032x}")
    assert place is not None
    topic.scopes.touch([place])
    assert [key.group for key, _ in topic.scopes.take_changes()] == [0]  # type: ignore[union-attr]


@pytest.mark.parametrize("scope", ["campaign", "treatment"])
def test_groups_with_long_names_are_records_of_their_own(scope: ScopeKind) -> None:
    def named(number: int, characters: int) -> ScopeKey:
        name = f"{number:02}".ljust(characters - 20 * (scope != "campaign"), FACE)
        return name if scope == "campaign" else (name, FACE * 20)

    topic = Topic(scope)
    topic.add([named(number, SHORT) for number in range(SCOPES_PER_RECORD)])
    assert topic.write() == [SCOPES_PER_RECORD]
    topic.add([named(number, LONGEST_NAMES) for number in range(SCOPES_PER_RECORD)])
    assert topic.write() == [SCOPES_PER_RECORD, *[SCOPES_PER_GROUP] * 4]


def test_a_long_name_that_comes_and_goes() -> None:
    topic = Topic()
    topic.add(names(range(60)))
    assert topic.write() == [60]
    topic.add(["a" * (SHORT + 1)])
    assert topic.write() == [24, 24, 13]
    topic.restart()
    topic.add(names(range(60, 70)))
    assert topic.write() == [24, 24, 23]
    topic.scopes.remove("a" * (SHORT + 1))
    assert topic.write() == [24, 24, 23]
    topic.restart()
    assert topic.write() == [24, 24, 23]
    topic.add(names([99]))
    assert topic.write() == [71]


def test_records_as_they_were_with_a_group_each_are_read_and_become_one() -> None:
    topic = Topic()
    topic.add(names(range(100)))
    topic.write()
    whole, topic.records = topic.records, {}
    for number in range(5):
        first = number * SCOPES_PER_GROUP
        states = topic.scopes.states.write(range(first, min(100, first + SCOPES_PER_GROUP)))
        record = whole[number // GROUPS_PER_RECORD * GROUPS_PER_RECORD]
        in_record = first % SCOPES_PER_RECORD
        at = slice(in_record, in_record + SCOPES_PER_GROUP)
        topic.records[number] = msgspec.structs.replace(
            record,
            keys=record.keys[at],
            apps=record.apps[at],
            learned=record.learned[at],
            states=states,
            balances=record.balances[at],
        )
    before = known(topic.scopes)
    topic.restart()
    assert known(topic.scopes) == before
    topic.scopes.touch(range(100))
    assert topic.write() == [96, 4]
    assert known(topic.scopes) == before


def test_a_group_has_no_more_scopes_than_fit() -> None:
    topic = Topic()
    for number, most in ((1, 24), (4, 96)):
        keys = [*names(range(most)), None]
        numbers = [0] * len(keys)
        group = FoldGroup("spike", "campaign", keys, numbers, numbers, {}, b"")
        with pytest.raises(ValueError, match=f"no group of up to {most} scopes"):
            topic.scopes.restore(FoldGroupKey("spike", number), group)
