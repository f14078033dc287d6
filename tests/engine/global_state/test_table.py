"""Tables that follow a topic: what cannot be read is left out, and being out of date is said."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from streams.domain.causes.exchange import GroupView
from streams.domain.silences import silence as records
from streams.domain.silences.book import SilenceBook
from streams.engine.global_state import topic as module
from streams.engine.global_state.groups import Groups
from streams.engine.global_state.silences import Silences
from streams.engine.global_state.table import GlobalTable
from tests.support.silences import silence_of

NOWHERE: dict[str, Any] = {}
MADE = silence_of("s", "rule=a", now=0.0)


def groups() -> Groups:
    return Groups(NOWHERE, "the-groups", 1, GroupView())


def silences(book: SilenceBook | None = None) -> Silences:
    kept = SilenceBook() if book is None else book
    return Silences(NOWHERE, "the-silences", 1, kept, 3600.0, lambda: 0.0)


@pytest.mark.parametrize(("make", "named"), [(groups, "groups"), (silences, "silences")])
def test_it_says_that_it_is_out_of_date(
    make: Callable[[], GlobalTable], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make()
    first = table.out_of_date
    assert first is None
    monkeypatch.setattr(module, "OUT_OF_DATE_AFTER", -1.0)
    why = table.out_of_date
    assert why is not None
    assert why.startswith(f"{named} may be out of date: topic the-{named} could not be read for")


@pytest.mark.parametrize(("make", "named"), [(groups, "groups"), (silences, "silences")])
def test_garbage_is_left_out(make: Callable[[], GlobalTable], named: str) -> None:
    table = make()
    with capture_logs() as logs:
        table.replace({b"": None, b"\xff\xfe": b"x", b'["member"]': b"{}", b"[[[[": b""})
    ignored = [each for each in logs if each["log_level"] == "warning"]
    assert [each["event"] for each in ignored] == [f"record of the {named} topic ignored"] * 4


def test_a_topic_that_is_read_anew_takes_the_place_of_what_there_was() -> None:
    book = SilenceBook()
    table = silences(book)
    table.apply(*records.encode(MADE))
    assert len(book) == 1
    table.replace({})
    assert len(book) == 0
    following = groups()
    generation = following._view.generation
    following.replace({})
    assert following._view.generation == generation + 1
