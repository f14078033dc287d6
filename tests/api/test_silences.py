"""Silences are made, listed in pages, shown and ended; what is impossible is named."""

from typing import Any

import orjson
import pytest

from streams.domain.silences.book import MOST_SILENCES, MOST_UNLISTED
from streams.domain.transitions import rfc3339
from streams.errors import UnavailableError
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.support.http import HttpAnswer
from tests.support.partitions import holder
from tests.support.silences import silence_of

JSON = {"Content-Type": "application/json; charset=utf-8"}


def wish(**changes: Any) -> dict[str, Any]:
    return {
        "matchers": ['campaign_id="a/b ☃"', "severity=~critical|error"],
        "created_by": "anna",
        "comment": "new certificate",
        "ends_at": rfc3339(NOW + 3600),
        **changes,
    }


async def post(api: RunningApi, body: object, headers: dict[str, str] | None = None) -> HttpAnswer:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return await api.ask("/v1/silences", method="POST", headers=headers or JSON, body=content)


async def test_made_shown_listed_and_ended(start: StartApi) -> None:
    api = await start(holder())
    answer = await post(api, wish())
    assert answer.status == 201
    made = answer.json["silence"]
    assert made == {
        "silence_id": made["silence_id"],
        "state": "active",
        "matchers": ['campaign_id="a/b ☃"', 'severity=~"critical|error"'],
        "starts_at": rfc3339(NOW),
        "ends_at": rfc3339(NOW + 3600),
        "recurrence": None,
        "created_by": "anna",
        "comment": "new certificate",
        "created_at": rfc3339(NOW),
        "ended_at": None,
        "ended_by": None,
        "created_token": None,
        "ended_token": None,
    }
    target = f"/v1/silences/{made['silence_id']}"
    assert (await api.get(target))["silence"] == made
    assert (await api.get("/v1/silences?state=active"))["silences"] == [made]
    assert (await api.get("/v1/silences?state=expired"))["silences"] == []
    for _ in range(2):
        ended = (await api.ask(f"{target}?ended_by=bob", method="DELETE")).json["silence"]
        assert ended == {
            **made,
            "state": "expired",
            "ended_at": rfc3339(NOW),
            "ended_by": "bob",
        }
    assert (await api.get("/v1/silences?state=expired"))["silences"] == [ended]


async def test_one_that_recurs_and_one_of_later(start: StartApi) -> None:
    api = await start(holder())
    hours = {"start": "22:00", "end": "06:00", "time_zone": "Europe/Berlin", "days": ["sat"]}
    night = await post(api, wish(recurrence=hours, ends_at=None))
    assert (night.status, night.json["silence"]["state"]) == (201, "pending")
    assert night.json["silence"]["recurrence"] == hours
    later = await post(api, wish(starts_at=rfc3339(NOW + 60)))
    assert (later.status, later.json["silence"]["state"]) == (201, "pending")


async def test_pages_newest_first(start: StartApi) -> None:
    api = await start(holder())
    for n in range(5):
        api.silences.book.put(silence_of(f"s{n}", "rule=x", now=NOW + n))
    seen, cursor = [], ""
    while True:
        page = await api.get(f"/v1/silences?limit=2{cursor}")
        seen += [each["silence_id"] for each in page["silences"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["s4", "s3", "s2", "s1", "s0"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"matchers": ["campaign_id"]}, "'campaign_id' is no matcher"),
        ({"matchers": ["rule=~(a"]}, "matchers[0]"),
        ({"matchers": ["rule=~.*"]}, "match every alert"),
        ({"ends_at": rfc3339(NOW - 1)}, "expected a time after"),
        ({"ends_at": "tomorrow"}, "ends_at 'tomorrow'"),
        ({"ends_at": None}, "only a silence with a recurrence has no end"),
        ({"ends_at": rfc3339(NOW + 366 * 86_400)}, "lasts at most"),
        ({"comment": " "}, "comment ' '"),
        (
            {"recurrence": {"start": "25:00", "end": "06:00", "time_zone": "UTC"}},
            "recurrence.start '25:00'",
        ),
        (
            {"recurrence": {"start": "22:00", "end": "06:00", "time_zone": "Mars/Olympus"}},
            "recurrence.time_zone 'Mars/Olympus'",
        ),
    ],
)
async def test_what_is_impossible_is_named(
    start: StartApi, changes: dict[str, Any], named: str
) -> None:
    api = await start(holder())
    answer = await post(api, wish(**changes))
    assert answer.status == 422, answer.body
    assert named in answer.json["detail"]
    assert not api.silences.book.silences()


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (b"", 400, "the body"),
        (b"{", 400, "the body"),
        (b"\xff\xfe", 400, "the body"),
        (b"[]", 400, "the body"),
        (b"{}", 400, "matchers"),
        (orjson.dumps(wish(matchers=[])), 400, "matchers"),
        (orjson.dumps(wish(matchers=[1])), 400, "matchers"),
        (orjson.dumps(wish(match=["rule=x"])), 400, "match"),
        (orjson.dumps(wish(comment="x" * 3000)), 400, "comment"),
        (b'{"comment": "' + b"x" * 70_000, 413, "larger than"),
    ],
)
async def test_a_body_that_is_none(start: StartApi, body: bytes, status: int, named: str) -> None:
    api = await start(holder())
    answer = await post(api, body)
    assert answer.status == status, answer.body
    assert named in answer.json["detail"]


async def test_a_body_that_says_to_be_no_json(start: StartApi) -> None:
    api = await start(holder())
    answer = await post(api, wish(), {"Content-Type": "text/plain"})
    assert answer.status == 415
    assert (await post(api, wish(), {"Accept": "*/*"})).status == 201, "nobody has to say so"


async def test_nobody_makes_too_many(start: StartApi) -> None:
    api = await start(holder())
    for n in range(MOST_UNLISTED):
        api.silences.book.put(silence_of(f"pattern-{n}", "campaign_id=~x.+", now=NOW))
    answer = await post(api, wish(matchers=["campaign_id=~y.+"]))
    assert (answer.status, "name one" in answer.json["detail"]) == (422, True)
    assert (await post(api, wish(matchers=["campaign_id=~y.+", "rule=a"]))).status == 201
    for n in range(MOST_SILENCES):
        api.silences.book.put(silence_of(f"s-{n}", f"campaign_id=c{n}", now=NOW))
    answer = await post(api, wish())
    assert (answer.status, "end some" in answer.json["detail"]) == (422, True)


async def test_brokers_that_do_not_take_it(start: StartApi) -> None:
    api = await start(holder())
    api.silences.book.put(silence_of("known", "rule=a", now=NOW))
    api.silences.fails = UnavailableError("topic silences could not be written to")
    answer = await post(api, wish())
    assert (answer.status, answer.json["detail"]) == (503, str(api.silences.fails))
    await api.refused("/v1/silences/known", 503, method="DELETE")


async def test_one_that_is_nowhere(start: StartApi) -> None:
    api = await start(holder())
    for method in ("GET", "DELETE"):
        assert "a/b" in await api.refused("/v1/silences/a%2Fb", 404, method=method)


async def test_of_a_worker_that_has_not_read_them_yet(start: StartApi) -> None:
    api = await start(holder())
    api.silences.is_read = False
    for method, target in (("GET", ""), ("GET", "/known"), ("DELETE", "/known")):
        refused = await api.refused(f"/v1/silences{target}", 503, method=method)
        assert "are being read" in refused
    assert (await post(api, wish())).status == 503
    api.silences.is_read = True
    assert (await api.get("/v1/silences"))["silences"] == []
