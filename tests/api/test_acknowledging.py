"""Acknowledgements by the API: answered once they are committed, by any worker, once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from hashlib import sha256
from urllib.parse import quote

import pytest

from streams.api import acknowledging
from streams.configuration.http import HttpSettings
from streams.domain.operators import MOST_WAITING, Acknowledgement
from streams.domain.partial_counts import partition_of
from streams.domain.partition import CampaignPartition
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.support.partitions import MemoryHolder, commit_all, counts, holder
from tests.support.waiting import until

T0 = int(NOW) - 60
HERE, THERE = (0, 2), (1, 3)
AWAY = next(f"c{n}" for n in range(100) if partition_of(f"c{n}", 4) in THERE)


def failing(campaign_id: str = "a", numbers: tuple[int, ...] = (0, 1, 2, 3)) -> MemoryHolder:
    held = holder(numbers=numbers)
    held.add(campaign_id, T0, counts({"SUCCESS": 60, "FAILURE": 40}))
    for partition in held.here.values():
        partition.evaluate(NOW)
    return held


@contextlib.asynccontextmanager
async def committing(*held: MemoryHolder) -> AsyncIterator[None]:
    running = [asyncio.create_task(commit_all(each, NOW)) for each in held]
    try:
        yield
    finally:
        for each in running:
            each.cancel()


async def only_alert(api: RunningApi) -> str:
    ((alert_id,),) = [[each["alert_id"] for each in (await api.get("/v1/alerts"))["alerts"]]]
    return str(alert_id)


def partition_of_alert(held: MemoryHolder) -> CampaignPartition:
    (partition,) = [each for each in held.here.values() if each.alerts.alerts()]
    return partition


async def acknowledge(api: RunningApi, alert_id: str, by: str, comment: str = "") -> object:
    target = f"/v1/alerts/{alert_id}/acknowledge?by={quote(by)}&comment={quote(comment)}"
    answer = await api.ask(target, method="POST")
    assert answer.status == 200, answer.body
    return answer.json["alert"]["acknowledged"]


async def test_it_is_acknowledged_by_whoever_is_first(start: StartApi) -> None:
    api = await start(failing())
    alert_id = await only_alert(api)
    async with committing(api.holder):
        first = await acknowledge(api, alert_id, "Ana & <b>", "on it\n\u2603")
        assert first == {
            "by": "Ana & <b>",
            "comment": "on it\n\u2603",
            "at": "2026-11-23T10:00:00Z",
        }
        assert await acknowledge(api, alert_id, "ben") == first
    alert = (await api.get(f"/v1/alerts/{alert_id}"))["alert"]
    assert [each["type"].split(".")[-1] for each in alert["transitions"]] == [
        "firing",
        "acknowledged",
    ]
    newest = alert["transitions"][-1]
    assert newest["cause"]["name"] == "Ana & <b>"
    assert newest["suppressed"]["reason"] == "not-supported"


async def test_many_at_once_are_one(start: StartApi) -> None:
    api = await start(failing())
    alert_id = await only_alert(api)
    async with committing(api.holder):
        found = await asyncio.gather(*(acknowledge(api, alert_id, f"p{n}") for n in range(20)))
    assert all(each == found[0] for each in found)
    (alert,) = partition_of_alert(api.holder).alerts.alerts()
    assert alert.sequence == 2


async def test_the_answer_comes_after_the_commit(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledging, "COMMITTED_WITHIN", 0.2)
    api = await start(failing())
    alert_id = await only_alert(api)
    target = f"/v1/alerts/{alert_id}/acknowledge?by=ana"
    assert "not known" in await api.refused(target, 503, method="POST")
    monkeypatch.setattr(acknowledging, "COMMITTED_WITHIN", 60.0)
    partition = partition_of_alert(api.holder)
    asking = asyncio.create_task(api.ask(target, method="POST"))
    await asyncio.sleep(0.05)
    partition.evaluate(NOW)
    partition.take_changes(NOW)
    await asyncio.sleep(0.05)
    assert not asking.done(), "it is decided, and not committed"
    partition.mark_committed()
    assert (await asking).status == 200
    assert (await api.ask(target, method="POST")).status == 200, "that needs no other commit"


async def test_another_worker_is_asked_for_what_it_holds(start: StartApi) -> None:
    one, other = await start(holder(numbers=HERE)), await start(failing(AWAY, THERE))
    one.holder.others.update(dict.fromkeys(THERE, other.url))
    alert_id = await only_alert(one)
    async with committing(other.holder):
        assert await acknowledge(one, alert_id, "ana/ö ?&", "x & y=1") == {
            "by": "ana/ö ?&",
            "comment": "x & y=1",
            "at": "2026-11-23T10:00:00Z",
        }
    one.holder.others.clear()
    target = f"/v1/alerts/{alert_id}/acknowledge?by=ana"
    assert "partition" in await one.refused(target, 503, method="POST")


async def test_what_does_not_fire_cannot_be_acknowledged(start: StartApi) -> None:
    api = await start(failing())
    alert_id = await only_alert(api)
    partition = partition_of_alert(api.holder)
    partition.alerts.live()[0].state = "pending"
    target = f"/v1/alerts/{alert_id}/acknowledge?by=ana"
    assert "is pending" in await api.refused(target, 409, method="POST")
    partition.alerts.live()[0].state = "firing"
    partition.evaluate(NOW + 10_000)
    assert "has ended" in await api.refused(target, 409, method="POST")
    unknown = "/v1/alerts/none/acknowledge?by=ana"
    assert "no alert none" in await api.refused(unknown, 404, method="POST")


async def test_what_ends_before_it_is_acknowledged(start: StartApi) -> None:
    api = await start(failing())
    alert_id = await only_alert(api)
    partition = partition_of_alert(api.holder)
    target = f"/v1/alerts/{alert_id}/acknowledge?by=ana"
    asking = asyncio.create_task(api.refused(target, 409, method="POST"))
    await until(lambda: _is_asked(partition))
    list(partition.alerts.tick(NOW + 10_000))
    async with committing(api.holder):
        assert "ended just now" in await asking


async def _is_asked(partition: CampaignPartition) -> bool:
    return bool(partition.operators)


async def test_wrong_parameters(start: StartApi) -> None:
    api = await start(failing())
    target = f"/v1/alerts/{await only_alert(api)}/acknowledge"
    for query, named in (
        ("", "by is missing"),
        ("?by=", "by="),
        ("?by=%20%20", "no blanks"),
        (f"?by={'x' * 101}", "1 to 100"),
        (f"?by=a&comment={'x' * 501}", "0 to 500"),
        ("?by=a&by=b", "twice"),
        ("?by=a&who=b", "unknown parameter who"),
    ):
        assert named in await api.refused(target + query, 400, method="POST"), query
    await api.refused(f"{target}?by=a", 405)


async def test_it_needs_the_scope_write(start: StartApi) -> None:
    digest = sha256(b"secret").hexdigest()
    tokens = [{"name": "reader", "sha256": digest, "scopes": ["read"]}]
    http = HttpSettings.model_validate({"port": 0, "anonymous": "never", "tokens": tokens})
    api = await start(failing(), http)
    target = "/v1/alerts/any/acknowledge?by=ana"
    await api.refused(target, 401, method="POST")
    headers = {"Authorization": "Bearer secret"}
    await api.refused(target, 403, method="POST", headers=headers)


async def test_too_many_at_once_are_refused(start: StartApi) -> None:
    api = await start(failing())
    alert_id = await only_alert(api)
    asked = Acknowledgement(alert_id, "ana", "", lambda: None)
    operators = partition_of_alert(api.holder).operators
    assert all(operators.add(asked) for _ in range(MOST_WAITING))
    target = f"/v1/alerts/{alert_id}/acknowledge?by=ana"
    assert "too many" in await api.refused(target, 503, method="POST")
