"""Causes over time: one id each, from the first sight to one end."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.causes.book import (
    FORGOTTEN_AFTER,
    JOINED_WITHIN,
    REMEMBERED,
    RENAME_MARGIN,
    Book,
    decode,
    encode,
    observe,
    open_to_alerts,
    settle,
)
from streams.domain.causes.finding import Found, Values, find
from streams.domain.causes.summary import Cells, CellSum

RULE = "failure-spike"
GCM: Values = {"channel_type": "GCM"}
GCM_OF_A: Values = {"app_id": "a", "channel_type": "GCM"}
GCM_OF_B: Values = {"app_id": "b", "channel_type": "GCM"}


def cell(evidence: float) -> CellSum:
    return CellSum(9, 900, 90, 9_000, (0, 0, 0, round(1000 * evidence)))


def sums(a: float, b: float, healthy: float = -100.0) -> dict[int, Cells]:
    """Evidence of GCM in two apps, each with another channel that is healthy."""
    return {
        600: {
            ("a", "GCM", "d"): cell(a),
            ("a", "SMS", "d"): cell(healthy),
            ("b", "GCM", "d"): cell(b),
            ("b", "SMS", "d"): cell(healthy),
        }
    }


def look(book: Book, frames: dict[int, Cells], now: float) -> Book:
    return observe(book, find(frames), frames, now)


def named(book: Book) -> list[Values]:
    return [dict(cause.values) for cause in book.live]


def test_a_cause_grows_shrinks_and_ends_once() -> None:
    book = look(Book(RULE), sums(40, 40), 610)
    (cause,) = book.live
    assert (dict(cause.values), cause.since, cause.joined) == (GCM, 600, 0)
    book = settle(book, {"1"}, {"1": cause.cause_id}, 610)
    book = settle(book, {"1", "2"}, {"2": cause.cause_id}, 620)
    assert (book.live[0].firing, book.live[0].joined) == (("1", "2"), 2)
    book = settle(book, {"2"}, {}, 700)
    assert book.live[0].firing == ("2",)
    assert book.ended == ()
    book = settle(book, set(), {}, 800)
    assert book.live == ()
    (ended,) = book.ended
    assert (ended.cause_id, ended.joined, ended.ended_at) == (cause.cause_id, 2, 800)
    assert settle(book, set(), {}, 810) == book
    assert look(book, {}, 800 + REMEMBERED).ended == ()


def test_alerts_that_do_not_fire_or_have_a_cause_do_not_join() -> None:
    book = look(Book(RULE), sums(40, 40), 610)
    name = book.live[0].cause_id
    book = settle(book, {"1"}, {"1": name, "2": name, "3": "another"}, 610)
    assert book.live[0].firing == ("1",)
    assert settle(book, {"1"}, {"1": name}, 620).live[0].joined == 1


def test_it_goes_on_though_the_sums_do_not_show_it_any_more() -> None:
    book = look(Book(RULE), sums(40, 40), 610)
    name = book.live[0].cause_id
    book = settle(book, {"1"}, {"1": name}, 610)
    book = look(book, {}, 10_000)
    assert [cause.cause_id for cause in book.live] == [name]
    assert open_to_alerts(book, 609 + JOINED_WITHIN)
    assert open_to_alerts(book, 610 + JOINED_WITHIN) == []


def test_one_without_alerts_is_forgotten() -> None:
    book = look(Book(RULE), sums(40, 40), 610)
    assert look(book, {}, 609 + FORGOTTEN_AFTER).live == book.live
    assert look(book, {}, 610 + FORGOTTEN_AFTER) == Book(RULE, made=1)


def test_the_slice_may_grow_the_id_stays() -> None:
    book = look(Book(RULE), sums(40, -20), 610)
    name = book.live[0].cause_id
    assert named(book) == [GCM_OF_A]
    book = look(book, sums(40, 40), 640)
    assert named(book) == [GCM]
    assert [cause.cause_id for cause in book.live] == [name]


def test_a_name_is_changed_only_for_a_clearly_better_one() -> None:
    book = look(Book(RULE), sums(40, 0), 610)
    assert named(book) == [GCM]
    penalty = 1 + 0.6931
    barely, clearly = -(penalty + RENAME_MARGIN - 0.1), -(penalty + RENAME_MARGIN + 0.1)
    assert [dict(each.values) for each in find(sums(40, barely))] == [GCM_OF_A]
    assert named(look(book, sums(40, barely), 620)) == [GCM]
    assert named(look(book, sums(40, clearly), 620)) == [GCM_OF_A]


def test_two_that_turn_out_to_be_one_are_merged_into_the_older() -> None:
    apart = sums(40, 40)
    found = [
        found_as(GCM_OF_A, 35.0),
        found_as(GCM_OF_B, 35.0),
    ]
    book = observe(Book(RULE), found, apart, 610)
    one, two = (cause.cause_id for cause in book.live)
    book = settle(book, {"1", "2"}, {"1": one, "2": two}, 610)
    book = look(book, apart, 620)
    assert named(book) == [GCM]
    assert (book.live[0].cause_id, book.live[0].firing, book.live[0].joined) == (one, ("1", "2"), 2)
    (ended,) = book.ended
    assert (ended.cause_id, ended.merged_into, ended.ended_at) == (two, one, 620)
    assert ended.firing == ()


def test_parts_of_a_cause_are_no_causes_of_their_own() -> None:
    book = look(Book(RULE), sums(40, 40), 610)
    found = [found_as(GCM_OF_A, 20.0), found_as(GCM_OF_B, 20.0)]
    assert named(observe(book, found, sums(40, 40), 620)) == [GCM]


def test_the_same_cause_again_has_another_id() -> None:
    book = look(Book(RULE), sums(40, 40), 610)
    name = book.live[0].cause_id
    book = settle(settle(book, {"1"}, {"1": name}, 610), set(), {}, 620)
    again = look(book, sums(40, 40), 630)
    assert again.live[0].cause_id != name
    assert look(book, sums(40, 40), 640).live[0].cause_id == again.live[0].cause_id


def found_as(values: Values, evidence: float) -> Found:
    return Found(values, None, 600, evidence, 1.0, 1.0, 900, 90, 9.0, 9)


EVIDENCE = st.sampled_from([-50.0, -5.0, 0.0, 5.0, 12.0, 40.0])
LOOKS = st.lists(
    st.tuples(EVIDENCE, EVIDENCE, EVIDENCE, st.sets(st.sampled_from("123456"))), max_size=12
)


def run(book: Book, looks: Sequence[tuple[float, float, float, set[str]]], *, stops: bool) -> Book:
    gone: set[str] = set()
    ended: dict[str, float | None] = {}
    for number, (a, b, healthy, firing) in enumerate(looks):
        now = 600.0 + 30 * number
        if stops:
            book = decode(encode(book))
        book = look(book, sums(a, b, healthy), now)
        causes = open_to_alerts(book, now)
        owned = {name for cause in book.live for name in cause.firing}
        joining = {
            name: causes[int(name) % len(causes)].cause_id for name in firing - owned if causes
        }
        book = settle(book, firing - gone, joining, now)
        gone |= set("123456") - firing
        check(book, ended)
    return book


def check(book: Book, ended: dict[str, float | None]) -> None:
    """No id twice, no alert in two causes, and what has ended stays as it ended."""
    ids = [cause.cause_id for cause in (*book.live, *book.ended)]
    members = [name for cause in book.live for name in cause.firing]
    assert len(ids) == len(set(ids))
    assert len(members) == len(set(members))
    assert all(cause.ended_at is None for cause in book.live)
    assert not ended.keys() & {cause.cause_id for cause in book.live}
    for cause in book.ended:
        assert ended.setdefault(cause.cause_id, cause.ended_at) == cause.ended_at is not None


@settings(max_examples=60, deadline=None)
@given(LOOKS)
def test_it_goes_on_after_a_restart_as_if_there_was_none(
    looks: list[tuple[float, float, float, set[str]]],
) -> None:
    assert run(Book(RULE), looks, stops=True) == run(Book(RULE), looks, stops=False)


@pytest.mark.parametrize("garbage", [b"", b"[]", b'{"rule":1}', b'{"rule":"r","live":[{}]}'])
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(garbage)
