"""Many silences: which of them silence an alert, against asking each of them."""

from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.silences import silence as records
from streams.domain.silences.book import SilenceBook, Silenced
from streams.domain.silences.matchers import Matcher, Operator, parse
from streams.domain.silences.recurrence import Recurrence
from streams.domain.silences.silence import KEPT_S, CompiledSilence, Silence

NOW = 1_795_773_600.0
VALUES = st.sampled_from(["", "a", "b", "c"])
OPERATORS: st.SearchStrategy[Operator] = st.sampled_from(["=", "!=", "=~", "!~"])
MATCHERS = st.builds(
    Matcher,
    st.sampled_from(["rule", "app_id", "own"]),
    OPERATORS,
    VALUES | st.sampled_from(["a|b", ".*", "[ab]|c", "a?"]),
)
LABELS = st.dictionaries(st.sampled_from(["rule", "app_id", "own", "other"]), VALUES)


def silence(silence_id: str, *matchers: str, starts_at: float = 0, ends_at: float = 100) -> Silence:
    parsed = tuple(map(parse, matchers))
    return Silence(silence_id, parsed, NOW + starts_at, NOW + ends_at, "ana", "why", NOW)


SILENCES = st.builds(
    Silence,
    silence_id=st.sampled_from(["s1", "s2", "s3", "s4", "s5"]),
    matchers=st.lists(MATCHERS, min_size=1, max_size=3).map(tuple),
    starts_at=st.integers(0, 5).map(float),
    ends_at=st.integers(3, 9).map(float),
    created_by=st.just("ana"),
    comment=st.just("why"),
    created_at=st.just(0.0),
    ended_at=st.none() | st.integers(0, 9).map(float),
)


@given(
    st.lists(st.tuples(SILENCES, st.booleans()), max_size=12),
    st.lists(st.tuples(LABELS, st.floats(0, 10)), min_size=1, max_size=8),
)
def test_as_each_silence_by_itself(
    written: list[tuple[Silence, bool]], asked: list[tuple[dict[str, str], float]]
) -> None:
    """Silences replace each other and are removed; times are asked for in any order."""
    book, plain = SilenceBook(), dict[str, CompiledSilence]()
    for each, is_removed in written:
        key, value = records.encode(each)
        book.restore(key, None if is_removed else value)
        plain.pop(each.silence_id, None)
        if not is_removed:
            plain[each.silence_id] = CompiledSilence(each)
    assert len(book) == len(plain)
    for labels, at in asked:
        about = {name for name, each in plain.items() if each.matches(labels)}
        assert {each.silence_id for each in book.matching(labels)} == about
        active = sorted(name for name in about if plain[name].is_active(at))
        until = max((plain[name].next_change(at) or inf for name in active), default=inf)
        assert book.silenced(labels, at) == (Silenced(tuple(active), until) if active else None)
        changes = [change for each in plain.values() if (change := each.next_change(at))]
        assert book.next_change(at) == min(changes, default=inf)


def test_the_last_record_counts() -> None:
    book = SilenceBook()
    made = silence("s", "rule=a")
    for each in (made, made.ended("ben", NOW + 5), made):
        book.restore(*records.encode(each))
    found = book.get("s")
    assert found is not None
    assert found.silence.ended_at is None
    assert [each.silence for each in book.silences()] == [made]


def test_each_change_has_a_version() -> None:
    book = SilenceBook()
    seen = [book.version]
    for value in (records.encode(silence("s", "rule=a"))[1], None):
        book.restore(records.key_of("s"), value)
        seen.append(book.version)
    assert len(set(seen)) == 3
    book.restore(records.key_of("stranger"), None)
    assert book.version == seen[-1], "nothing changed"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"{}",
        b"[1]",
        records.encode(silence("another", "rule=a"))[1],
        records.encode(silence("s", "rule=~("))[1],
        records.encode(silence("s", "rule=a"))[1].replace(b'"="', b'"<"'),
        msgspec.json.encode(
            msgspec.structs.replace(
                silence("s", "rule=a"), recurrence=Recurrence("01:00", "02:00", "Mars/Olympus")
            )
        ),
    ],
)
def test_a_record_that_cannot_be_read_is_named_and_silences_nothing(value: bytes) -> None:
    book = SilenceBook()
    book.restore(*records.encode(silence("s", "rule=a")))
    with pytest.raises(ValueError, match=r'"s".*is not heeded'):
        book.restore(records.key_of("s"), value)
    assert book.silenced({"rule": "a"}, NOW) is None
    assert len(book) == 0


def test_what_is_over_for_long_is_to_be_removed() -> None:
    book = SilenceBook()
    book.put(silence("short", "rule=a", ends_at=10))
    book.put(silence("ended", "rule=a", ends_at=1_000).ended("ben", NOW + 20))
    book.put(msgspec.structs.replace(silence("nightly", "rule=a"), ends_at=None))
    assert book.over(NOW + 10 + KEPT_S - 1) == []
    assert book.over(NOW + 10 + KEPT_S) == ["short"]
    assert sorted(book.over(NOW + 20 + KEPT_S)) == ["ended", "short"]


def test_it_is_compared_with_few_silences_only() -> None:
    """Whatever label all of them ask for, and whether a pattern lists the values."""
    book = SilenceBook()
    for number in range(500):
        book.put(silence(f"one-{number}", "severity=critical", f"campaign_id=c-{number}"))
        book.put(silence(f"two-{number}", f"campaign_id=~c-{number}|d-{number}", "rule!=b"))
    labels = {"severity": "critical", "campaign_id": "c-7", "rule": "a"}
    assert len(list(book._candidates(labels))) <= 3
    found = book.silenced(labels, NOW)
    assert found is not None
    assert found.silence_ids == ("one-7", "two-7")


def test_nothing_is_left_of_what_was_removed() -> None:
    book = SilenceBook()
    for made in (silence("s1", "rule=a"), silence("s2", "rule=~a|b"), silence("s3", "rule!=c")):
        book.put(made)
    for name in ("s1", "s2", "s3"):
        book.restore(records.key_of(name), None)
    assert (book._entries, book._by_label, book._without_label) == ({}, {}, {})
