"""What partitions keep of receivers, and what of it holds."""

from msgspec.structs import replace

from streams.domain.receivers import (
    ReceiverBook,
    ReceiverRecord,
    answered,
    failing,
    lifted,
    recovered,
    standing,
)
from tests.support.changelogs import restore_into, written

GONE = ReceiverRecord("disabled", "t", 100.0, reason="gone")
PAUSED = ReceiverRecord("paused", "t", 200.0, 230.0, "busy")


def books(*records: ReceiverRecord) -> list[ReceiverBook]:
    made = []
    for record in records:
        made.append(ReceiverBook())
        made[-1].note("ops", record)
    return made


def test_what_nobody_knows_anything_of() -> None:
    assert standing("ops", []) is None
    assert standing("others", books(GONE)) is None


def test_gone_outlasts_a_pause_whenever_that_was() -> None:
    assert standing("ops", books(PAUSED, GONE)) == GONE
    assert standing("ops", books(replace(GONE, since=300.0), PAUSED)) == replace(GONE, since=300.0)


def test_of_pauses_the_one_that_ends_last_holds() -> None:
    longer = replace(PAUSED, since=150.0, until=240.0)
    assert standing("ops", books(PAUSED, longer)) == longer


def test_enabling_lifts_what_was_known_by_then_and_nothing_later() -> None:
    enabled = lifted(GONE, "t", 150.0)
    assert enabled == ReceiverRecord("enabled", "t", 150.0, lifted_at=150.0)
    assert standing("ops", books(GONE, enabled)) == enabled
    assert standing("ops", books(GONE, enabled, PAUSED)) == replace(PAUSED, lifted_at=150.0)
    later = replace(GONE, since=151.0)
    assert standing("ops", books(GONE, enabled, later)) == replace(later, lifted_at=150.0)


def test_what_was_lifted_stays_so_when_something_else_takes_its_place() -> None:
    """A partition that was nowhere when the receiver was enabled comes back with 410."""
    enabled = lifted(GONE, "t", 150.0)
    paused = answered(enabled, "paused", "t", 160.0, until=190.0, reason="busy")
    assert paused == ReceiverRecord("paused", "t", 160.0, 190.0, "busy", 150.0)
    assert standing("ops", books(paused, GONE)) == paused


def test_enabling_lifts_what_a_worker_with_a_faster_clock_noted() -> None:
    enabled = lifted(GONE, "t", 50.0)
    assert standing("ops", books(GONE, enabled)) == enabled


def test_an_answer_to_a_worker_with_a_slower_clock_is_later_than_the_enabling() -> None:
    enabled = lifted(None, "t", 150.0)
    gone = answered(enabled, "disabled", "t", 50.0, reason="gone")
    assert standing("ops", books(enabled, gone)) == gone
    assert answered(None, "disabled", "t", 50.0, reason="gone").since == 50.0


def test_nothing_of_it_holds_at_another_url() -> None:
    assert GONE.is_disabled("t")
    assert not GONE.is_disabled("other")
    assert PAUSED.paused_until("t") == 230.0
    assert PAUSED.paused_until("other") == 0.0
    assert GONE.paused_until("t") == 0.0
    assert not PAUSED.is_disabled("t")


def test_what_keeps_anything_from_being_sent() -> None:
    assert GONE.holds(1e9)
    assert PAUSED.holds(229.0)
    assert not PAUSED.holds(230.0)
    assert not replace(PAUSED, until=None).holds(0.5)
    assert not lifted(PAUSED, "t", 210.0).holds(0.0)


def test_what_is_written_down_is_read_back() -> None:
    (book,) = books(PAUSED)
    book.note("others", GONE)
    changes = written(book.take_changes())
    assert changes.keys() == {b'["receiver","ops"]', b'["receiver","others"]'}
    assert dict(book.take_changes()) == {}
    book.note("ops", PAUSED)
    assert dict(book.take_changes()) == {}
    again = ReceiverBook()
    restore_into(again.restore, changes)
    assert (again.get("ops"), again.get("others")) == (PAUSED, GONE)
    assert dict(again.take_changes()) == {}


# Receivers that fail

FAILING = failing(None, "t", 90.0, "HTTP status 500", 100.0)


def test_whether_it_fails_is_what_was_noted_last() -> None:
    assert standing("ops", books(FAILING)) == replace(FAILING, since=0.0)
    back = recovered(FAILING, 120.0)
    assert back == ReceiverRecord("enabled", "t", 120.0)
    for known in ((FAILING, back), (back, FAILING)):
        holds = standing("ops", books(*known))
        assert holds is not None
        assert (holds.failing_since, holds.reason) == (0.0, None)
    again = failing(back, "t", 125.0, "HTTP status 502", 130.0)
    holds = standing("ops", books(FAILING, again, back))
    assert holds is not None
    assert (holds.failing_since, holds.reason) == (125.0, "HTTP status 502")


def test_a_pause_goes_on_and_it_fails_all_the_same() -> None:
    paused = answered(FAILING, "paused", "t", 110.0, until=140.0, reason="busy")
    assert (paused.failing_since, paused.paused_until("t")) == (90.0, 140.0)
    assert failing(PAUSED, "t", 190.0, "no", 205.0) == replace(
        PAUSED, since=205.0, failing_since=190.0
    )
    assert recovered(paused, 120.0) == replace(paused, since=120.0, failing_since=0.0)


def test_of_another_url_nothing_is_taken_over() -> None:
    assert failing(PAUSED, "other", 190.0, "no", 205.0).status == "enabled"


def test_enabling_lifts_that_it_fails() -> None:
    enabled = lifted(FAILING, "t", 150.0)
    holds = standing("ops", books(FAILING, enabled))
    assert holds == enabled
    later = failing(enabled, "t", 160.0, "no", 50.0)
    assert (holds := standing("ops", books(enabled, later))) is not None
    assert holds.failing_since == 160.0


def test_a_record_of_before_there_were_circuits_is_read() -> None:
    old = b'{"status":"paused","target":"t","since":200.0,"until":230.0,"reason":"busy"}'
    again = ReceiverBook()
    restore_into(again.restore, {b'["receiver","ops"]': old})
    assert again.get("ops") == PAUSED
