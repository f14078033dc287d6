"""One silence: checks, times and its record."""

from datetime import UTC, datetime
from math import inf, nan
from typing import Any

import msgspec
import pytest

from streams.domain.silences import silence as records
from streams.domain.silences.matchers import Matcher, parse
from streams.domain.silences.recurrence import Recurrence
from streams.domain.silences.silence import (
    KEPT_S,
    SILENCE_BYTES,
    CompiledSilence,
    Silence,
    SilenceError,
    check,
    problems,
)

NOW = datetime(2026, 11, 27, 10, tzinfo=UTC).timestamp()
HOUR = 3_600.0
MADE = Silence("s", (parse("rule=failing"),), NOW, NOW + HOUR, "ana", "works on it", NOW)
NIGHTLY = Recurrence("01:00", "03:00", "UTC")


def changed(**changes: Any) -> Silence:
    return msgspec.structs.replace(MADE, **changes)


def test_what_can_be_made() -> None:
    check(MADE, NOW)
    check(changed(recurrence=NIGHTLY, ends_at=None, created_token="crm"), NOW)
    check(changed(matchers=(parse("x!=a"),)), NOW)
    check(changed(matchers=(parse("x="), parse("rule=~.+"))), NOW)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"silence_id": ""}, "silence_id '': expected 1 to 100 characters, not 0"),
        ({"created_by": " "}, "created_by ' ': expected 1 to 200"),
        ({"comment": "x" * 2_001}, "comment 'x+': expected 1 to 2000 characters, not 2001"),
        ({"matchers": ()}, "matchers: expected 1 to 20, not 0"),
        ({"matchers": (parse("a=b"),) * 21}, "matchers: expected 1 to 20, not 21"),
        ({"matchers": (parse("a=b"), parse("c=~("))}, r'matchers\[1\] c=~"\(": the pattern'),
        ({"matchers": (parse("a="), parse("c=~.*"))}, "they match every alert"),
        ({"starts_at": nan}, "starts_at nan: expected seconds"),
        ({"ends_at": inf}, "ends_at inf: expected seconds"),
        ({"starts_at": NOW * 1_000, "ends_at": NOW * 1_000 + 1}, "starts_at 1.*: expected seconds"),
        ({"ends_at": None}, "ends_at null: expected a time"),
        ({"ends_at": NOW}, "ends_at 2026-11-27T10:00:00Z: expected a time after starts_at"),
        (
            {"starts_at": NOW - 2, "ends_at": NOW - 1},
            "ends_at 2026-11-27T09:59:59Z: expected a time after now, 2026-11-27T10:00:00Z",
        ),
        (
            {"ends_at": NOW + 25 * HOUR},
            "ends_at 2026-11-28T11:00:00Z: .* at most 86400 s; expected 2026-11-28T10:00:00Z",
        ),
        ({"recurrence": Recurrence("1", "2", "UTC")}, "recurrence.start '1'"),
        ({"matchers": (Matcher("a", "=", "\0" * 4_000),) * 3}, f"at most {SILENCE_BYTES}"),
    ],
)
def test_what_cannot_be_made_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SilenceError, match=named):
        check(changed(**changes), NOW, longest=24 * HOUR)


def test_the_longest_duration_is_that_of_each_time() -> None:
    long = changed(recurrence=Recurrence("20:00", "08:00", "UTC"), ends_at=NOW + 400 * 24 * HOUR)
    assert list(problems(long, NOW, longest=12 * HOUR)) == []
    assert "it lasts 43200 s each time; expected at most 36000 s" in " ".join(
        problems(long, NOW, longest=10 * HOUR)
    )


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = changed(comment="", matchers=(), ends_at=NOW - 1)
    assert len(list(problems(wrong, NOW))) == 3


def test_its_states() -> None:
    compiled = CompiledSilence(MADE)
    times = (NOW - 1, NOW, NOW + HOUR - 1, NOW + HOUR)
    assert [compiled.state(at) for at in times] == ["pending", "active", "active", "expired"]
    assert [compiled.next_change(at) for at in times] == [NOW, NOW + HOUR, NOW + HOUR, None]


def test_its_states_once_it_is_ended() -> None:
    ended = MADE.ended("ben", NOW + 60)
    assert (ended.ended_at, ended.ended_by, ended.over_at) == (NOW + 60, "ben", NOW + 60)
    compiled = CompiledSilence(ended)
    assert [compiled.is_active(at) for at in (NOW + 59, NOW + 60)] == [True, False]
    assert compiled.next_change(NOW) == NOW + 60
    assert ended.ended("eve", NOW + 90) is ended, "it is over already"
    assert MADE.ended("eve", NOW + HOUR) is MADE
    before = CompiledSilence(MADE.ended("ben", NOW - 60))
    assert (before.state(NOW - 60), before.next_change(NOW - 90)) == ("expired", None)


def test_a_recurrence_between_its_start_and_its_end() -> None:
    midnight = NOW - 10 * HOUR
    two_am = midnight + 26 * HOUR
    compiled = CompiledSilence(
        changed(recurrence=NIGHTLY, starts_at=two_am, ends_at=two_am + 24 * HOUR)
    )
    found, at = [], NOW
    while (change := compiled.next_change(at)) is not None:
        found.append((change - midnight) / HOUR)
        at = change
    assert found == [26, 27, 49, 50]
    assert compiled.state(two_am + 2 * HOUR) == "pending"
    assert compiled.state(two_am + 24 * HOUR) == "expired"
    forever = CompiledSilence(changed(recurrence=Recurrence("00:00", "24:00", "UTC"), ends_at=None))
    assert (forever.is_active(NOW), forever.next_change(NOW)) == (True, None)


def test_its_record() -> None:
    made = changed(recurrence=NIGHTLY, created_token="crm", silence_id="ü/1")
    key, value = records.encode(made)
    assert key == '["silence","ü/1"]'.encode()
    assert records.decode(records.decode_key(key), value).silence == made
    _, value = records.encode(MADE)
    assert value == (
        b'{"silence_id":"s","matchers":[["rule","=","failing"]],"starts_at":1795773600.0,'
        b'"ends_at":1795777200.0,"created_by":"ana","comment":"works on it",'
        b'"created_at":1795773600.0}'
    )
    later = value[:-1] + b',"of_later":[1]}'
    assert records.decode("s", later).silence == MADE, "fields of later versions are ignored"


@pytest.mark.parametrize(
    "key", [b"", b"{}", b"\xff", b'["silence"]', b'["silence",1]', b'["alert","a","b"]']
)
def test_a_key_of_nobody_is_named(key: bytes) -> None:
    with pytest.raises(ValueError, match="not a key of a silence"):
        records.decode_key(key)


def test_it_is_kept_as_long_as_in_alertmanager() -> None:
    assert KEPT_S == 120 * HOUR
