"""Deliveries made again from the terminal, against a real server."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from streams.commands import main
from streams.commands.times import newest
from streams.domain.deliveries import Delivery
from tests.api.conftest import RunningApi
from tests.commands.test_query import Background


@pytest.fixture
def api() -> Iterator[RunningApi]:
    with Background() as started:
        yield started


def replay(api: RunningApi, *arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["delivery", "replay", *arguments, "--url", api.url])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def deliveries(api: RunningApi) -> list[Delivery]:
    return [d for p in api.holder.here.values() for d in p.deliveries.deliveries()]


def test_one_is_made_again(api: RunningApi, capsys: pytest.CaptureFixture[str]) -> None:
    (delivery,) = deliveries(api)
    assert replay(api, delivery.delivery_id) == 0
    assert "is made again" in capsys.readouterr().out
    assert delivery.state == "pending"
    assert replay(api, delivery.delivery_id) == 1
    assert "still being tried" in capsys.readouterr().err


def test_all_that_match_are_counted_then_made_again(
    api: RunningApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(api, "--receiver", "ops", "--since", "2026-11-23T10:00:01Z") == 0
    assert "0 deliveries to ops are made again" in capsys.readouterr().out
    since = ("--receiver", "ops", "--since", "2026-11-23T10:00:00Z")
    assert replay(api, *since, "--dry-run") == 0
    assert "1 deliveries to ops match" in capsys.readouterr().out
    assert [each.state for each in deliveries(api)] == ["given-up"]
    assert replay(api, *since, "--json") == 0
    assert json.loads(capsys.readouterr().out)["replayed"] == 1
    assert [each.state for each in deliveries(api)] == ["pending"]


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        ([], 2, "give either the id of one delivery, or --receiver"),
        (["a.1.ops", "--receiver", "ops"], 2, "give either"),
        (["a.1.ops", "--dry-run"], 2, "no other options"),
        (["--receiver", "nobody"], 1, "there is no receiver nobody"),
        (["--receiver", "ops", "--state", "pending"], 2, "state=pending: expected one of"),
        (["--receiver", "ops", "--since", "25:00"], 2, "expected a time"),
    ],
)
def test_mistakes_are_one_line(
    api: RunningApi,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    named: str,
) -> None:
    assert replay(api, *arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


def test_what_cannot_be_asked_is_a_failure(
    api: RunningApi, capsys: pytest.CaptureFixture[str]
) -> None:
    del api.holder.here[0]
    assert replay(api, "--receiver", "ops", "--dry-run") == 1
    assert "partition 0 cannot be asked" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "day"), [("10:00", 23), ("10:01", 22), ("00:00", 23)])
def test_a_time_of_day_is_the_last_one(text: str, day: int) -> None:
    found = newest(text, datetime(2026, 11, 23, 10, 0, 30, tzinfo=UTC))
    assert f"{found:%d %H:%M}" == f"{day} {text}"
