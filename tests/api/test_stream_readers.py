"""Batches, and readers that go through them: what is shared, found and told again."""

from collections.abc import Iterable

import pytest

from streams.api import stream_batches
from streams.api.changes import decode_positions
from streams.api.stream_batches import Batch, Batches
from streams.api.stream_events import Event, Wanted
from streams.api.stream_readers import Reader, Readers, id_line
from streams.domain.change_log import LogPosition, Positions

FILLER = b"#"
AWAY = LogPosition("", 0, -1, 0.0)


def at(number: int, log: str = "log", when: float = 100.0) -> LogPosition:
    return LogPosition(log, number, 10 * number, when)


def window(campaign: str, size: int = 10) -> Event:
    return Event("window", campaign, "app", None, FILLER * size)


def batch(
    events: Iterable[Event],
    before: Positions,
    after: Positions,
    audience: frozenset[int] | None = None,
    caught_up: Positions | None = None,
) -> Batch:
    return Batch(list(events), before, after, id_line(after), audience, caught_up)


def wants(campaign: str | None = None, named: frozenset[str] | None = None) -> Wanted:
    return Wanted(None, campaign, named, None, None)


def reader(number: int, wanted: Wanted, since: Positions | None = None) -> Reader:
    return Reader(number, wanted, since or {}, [n for n in (0, 1) if n not in (since or {})], AWAY)


def told(piece: bytes) -> Positions:
    return decode_positions(piece.partition(b"id: ")[2].partition(b"\n")[0].decode())


def begun(one: Reader, of: Batch) -> list[bytes]:
    one.cursor = 0
    one.begin(of)
    assert one.pieces is not None
    return list(one.pieces)


def test_who_wants_the_same_gets_the_same_bytes() -> None:
    made = batch(map(window, "abc"), {0: at(1)}, {0: at(2)})
    readers = [reader(n, wants(named=frozenset("ab"))) for n in range(3)]
    for each in readers:
        each.joined([0, 1])
    pieces = [begun(each, made) for each in readers]
    assert pieces[0][0] is pieces[1][0] is pieces[2][0]
    assert pieces[0][0].count(FILLER) == 20
    assert told(pieces[0][0]) == {0: at(2)}


def test_what_is_much_comes_in_pieces_of_which_the_last_has_the_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_batches, "CHUNK_BYTES", 100)
    made = batch((window("a", 60) for _ in range(5)), {0: at(1)}, {0: at(2)})
    pieces = list(made.pieces(wants(), made.last_id))
    assert [each.count(FILLER) for each in pieces] == [120, 120, 60]
    assert [b"id: " in each for each in pieces] == [False, False, True]


def test_the_index_finds_whom_a_batch_is_for() -> None:
    readers = Readers()
    for each in (
        reader(1, wants("a")),
        reader(2, wants("b")),
        reader(3, wants()),
        reader(4, wants(named=frozenset("b"))),
    ):
        readers.add(each)
    about_a = batch([window("a")], {}, {})
    assert {each.number for each in readers.of(about_a)} == {1, 3, 4}
    for_all = batch([Event("missed", None, None, None, b"x")], {}, {})
    assert {each.number for each in readers.of(for_all)} == {1, 2, 3, 4}
    one = batch([window("a")], {}, {}, audience=frozenset({2, 9}))
    assert [each.number for each in readers.of(one)] == [2]
    for each in list(readers):
        readers.remove(each)
        readers.remove(each)
    assert readers.of(for_all) == []


def test_who_is_behind_has_its_own_position_in_the_id_until_it_has_caught_up() -> None:
    one = reader(1, wants(), {0: at(1), 1: at(5)})
    (piece,) = begun(one, batch([window("a")], {0: at(8), 1: at(8)}, {0: at(9), 1: at(8)}))
    assert told(piece) == {0: at(1), 1: at(5)}
    here = {0: at(9), 1: at(8)}
    for_another = batch([window("a")], here, here, frozenset({2}), {0: at(10)})
    assert begun(one, for_another) == []
    assert one.behind == {0, 1}
    for_it = batch([window("a")], here, here, frozenset({1}), {0: at(10)})
    (piece,) = begun(one, for_it)
    assert one.behind == {1}
    assert told(piece) == {0: at(9), 1: at(5)}


def test_who_falls_behind_in_the_middle_is_told_the_whole_batch_again() -> None:
    one = reader(1, wants(), {0: at(1), 1: at(5)})
    here = {0: at(9), 1: at(8)}
    for_it = batch([window("a"), window("b")], here, here, frozenset({1}), {0: at(10), 1: at(8)})
    one.cursor = 0
    one.begin(for_it)
    assert one.behind == set()
    one.fall_behind(for_it)
    assert (one.position(0), one.position(1)) == (at(1), at(5))
    assert one.behind == {0, 1}


def test_who_falls_behind_before_a_batch_goes_on_from_there() -> None:
    one = reader(1, wants())
    one.joined([0, 1])
    one.cursor = 0
    one.fall_behind(batch([window("a")], {0: at(8)}, {0: at(9)}))
    # Where the hub was not yet, all that is known is told again.
    assert (one.position(0), one.position(1)) == (at(8), AWAY)


def test_who_joins_is_told_of_what_changes_from_then_on() -> None:
    one = reader(1, wants())
    (piece,) = begun(one, batch([window("a")], {0: at(1)}, {0: at(2)}))
    assert told(piece) == {0: AWAY, 1: AWAY}
    one.joined([0])
    one.give_up_joining([1])
    assert one.behind == {1}
    (piece,) = begun(one, batch([window("a")], {0: at(2)}, {0: at(3)}))
    assert told(piece) == {0: at(3), 1: AWAY}


def test_readers_of_about_the_same_moment_are_told_together() -> None:
    one, two = reader(1, wants("a"), {0: at(1)}), reader(2, wants("b"), {0: at(2)})
    assert one.group([0]) == two.group([0])
    later = reader(3, wants(), {0: at(3, when=200.0)})
    another_log = reader(4, wants(), {0: at(3, log="other")})
    two.is_alone = True
    groups = {each.group([0]) for each in (one, two, later, another_log)}
    assert len(groups) == 4


def test_batches_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_batches, "MOST_BYTES", 100)
    batches = Batches()
    sizes = []
    for size in (40, 40, 40, 500, 10):
        batches.append(batch([window("a", size)], {}, {}))
        evicted = []
        while (oldest := batches.evict()) is not None:
            evicted.append(oldest.size)
        sizes.append(evicted)
    assert sizes == [[], [], [40], [40, 40], [500]]
    assert (batches.first, batches.end, batches[4].size) == (4, 5, 10)
    batches.clear()
    assert (batches.first, batches.end) == (5, 5)


def test_what_late_readers_are_told_is_not_kept() -> None:
    told_late = batch([window("a")], {0: at(1)}, {0: at(2)})
    wanted = wants("a")
    in_time = list(told_late.pieces(wanted, b"id: 1\n"))
    assert next(told_late.pieces(wanted, b"id: 1\n")) is in_time[0]
    told_late.forget_shared()
    late = [next(told_late.pieces(wanted, b"id: 1\n")) for _ in range(2)]
    assert late[0] == late[1] == in_time[0]
    assert late[0] is not late[1]
