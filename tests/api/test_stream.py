"""The live stream over real sockets: what comes, from where on, and who has missed something."""

import asyncio
from contextlib import AsyncExitStack
from hashlib import sha256

import pytest

from streams.api import stream, stream_batches
from streams.configuration.http import HttpSettings
from streams.domain.partial_counts import partition_of
from tests.api.conftest import NOW, StartApi, running
from tests.support.event_stream import reading
from tests.support.partitions import counts, holder

T0 = int(NOW) - 60
HOSTILE = 'x"\r\n\nevent: alert\ndata: {}\n\n</script>\u2028\x00'


async def test_a_window_is_told_of_once_it_is_committed(start: StartApi) -> None:
    held = holder()
    api = await start(held)
    async with reading(api.url) as events:
        assert await events.until("health") == {
            "ready": True,
            "reasons": [],
            "partitions": 4,
            "missing_partitions": [],
        }
        held.add("c", T0, counts({"SUCCESS": 9, "FAILURE": 1}))
        assert await events.nothing() == []
        api.commit()
        window = await events.until("window")
        assert window["campaign_id"] == "c"
        (listed,) = (await api.get("/v1/campaigns/c/windows"))["windows"]
        assert window == {**listed, "campaign_id": "c", "app_id": "app"}
        assert await events.nothing() == [], "it is told once"


async def test_an_alert_and_its_delivery_are_told_of_as_the_lists_have_them(
    start: StartApi,
) -> None:
    held = holder()
    api = await start(held)
    async with reading(api.url, {"type": "alert,delivery"}) as events:
        held.add("c", T0, counts({"SUCCESS": 60, "FAILURE": 40}))
        api.commit()
        alert = await events.until("alert")
        delivery = await events.until("delivery")
        assert [alert] == (await api.get("/v1/alerts"))["alerts"]
        assert [delivery] == (await api.get("/v1/deliveries"))["deliveries"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"campaign_id": "a"}, {("window", "a"), ("alert", "a"), ("delivery", "a")}),
        ({"type": "window", "campaign_id": "b"}, {("window", "b")}),
        ({"campaign_ids": '["b"]'}, {("window", "b"), ("alert", "a"), ("delivery", "a")}),
        ({"type": "window", "app_id": "other"}, {("window", "b")}),
        ({"type": "window,alert", "app_id": "app"}, {("window", "a"), ("alert", "a")}),
        ({"type": "alert", "rule": "failure-spike"}, {("alert", "a")}),
        ({"type": "alert,delivery", "rule": "none"}, set()),
    ],
)
async def test_filters(
    start: StartApi, query: dict[str, str], expected: set[tuple[str, str]]
) -> None:
    held = holder()
    api = await start(held)
    async with reading(api.url, query) as events, reading(api.url) as all_of_them:
        held.add("a", T0, counts({"SUCCESS": 60, "FAILURE": 40}))
        held.add("b", T0, counts({"SUCCESS": 60}), app_id="other")
        api.commit()
        await all_of_them.until("delivery")
        came = await events.nothing()
    assert {(e.kind, e.data["campaign_id"]) for e in came if e.kind != "health"} == expected


async def test_who_comes_back_is_told_of_what_changed_meanwhile(start: StartApi) -> None:
    held = holder()
    api = await start(held)
    async with reading(api.url) as events:
        held.add("before", T0, counts({"SUCCESS": 1}))
        api.commit()
        await events.until("window", campaign_id="before")
        last = events.last_event_id
    assert last
    held.add("meanwhile", T0, counts({"SUCCESS": 60, "FAILURE": 40}))
    api.commit()
    async with reading(api.url, last_event_id=last) as events:
        came = [await events.next() for _ in range(4)]
    assert {(e.kind, e.data.get("campaign_id")) for e in came} == {
        ("health", None),
        ("window", "meanwhile"),
        ("alert", "meanwhile"),
        ("delivery", "meanwhile"),
    }


async def test_another_worker_goes_on_and_tells_what_it_may_not_know(start: StartApi) -> None:
    held = holder(count=1)
    first = await start(held)
    async with reading(first.url) as events:
        held.add("before", T0, counts({"SUCCESS": 1}))
        first.commit()
        await events.until("window", campaign_id="before")
        last = events.last_event_id
    held.add("meanwhile", T0, counts({"SUCCESS": 1}))
    changed = held.here[0].changed
    through = changed.since(0, 10**9)[-1].offset + 1
    changed.restored(0, through, T0)
    second = await start(held)
    async with reading(second.url, last_event_id=last) as events:
        await events.until("window", campaign_id="meanwhile")
    # It replays nothing of what was there: so it does not know what has changed.
    changed.restored(through, through, T0)
    third = await start(held)
    async with reading(third.url, last_event_id=last) as events:
        assert await events.until("missed") == {"partitions": [0]}


async def test_any_worker_streams_for_all(start: StartApi) -> None:
    held = holder(numbers=(0, 1))
    away = await start(held)
    peer = holder(numbers=(2, 3))
    peer.others = dict.fromkeys((0, 1), away.url)
    api = await start(peer)
    names = [f"c{n}" for n in range(12)]
    async with reading(api.url) as events:
        await events.until("health", missing_partitions=[])
        for name in names:
            home = partition_of(name, 4)
            (held if home < 2 else peer).add(name, T0, counts({"SUCCESS": 1}))
        away.commit()
        api.commit()
        told = {(await events.until("window"))["campaign_id"] for _ in names}
        assert told == set(names)
        peer.others.clear()
        assert (await events.until("health"))["missing_partitions"] == [0, 1]
        (missed,) = [name for name in names if partition_of(name, 4) == 0][:1]
        held.add(missed, T0, counts({"SUCCESS": 1}))
        away.commit()
        await asyncio.sleep(0.3)
        peer.others = dict.fromkeys((0, 1), away.url)
        window = await events.until("window", campaign_id=missed)
        assert window["attempts"] == 2


async def test_a_slow_reader_is_told_once_of_all_that_has_changed(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_batches, "MOST_BATCHES", 3)
    monkeypatch.setattr(stream_batches, "CHUNK_BYTES", 1_000)
    held = holder()
    api = await start(held)
    # So much that neither the sockets' buffers nor the hub hold it.
    names = [f"{n}-{'x' * 8_000}" for n in range(200)]
    async with reading(api.url) as slow, reading(api.url, {"type": "health"}) as quick:
        await quick.until("health")
        for turn in range(12):
            for name in names[:: 1 + turn % 2]:
                held.add(name, T0, counts({"SUCCESS": 1}))
            api.commit()
            await asyncio.sleep(0.3)
        newest: dict[str, int] = {}
        seen = 0
        while [newest.get(name) for name in names] != [12, 6] * 100:
            window = await slow.until("window")
            newest[window["campaign_id"]] = window["attempts"]
            seen += 1
        assert seen < 6 * 200 + 6 * 100


async def test_hostile_names_end_no_event(start: StartApi) -> None:
    held = holder()
    api = await start(held)
    async with reading(api.url, {"type": "window"}) as events:
        held.add(HOSTILE, T0, counts({"SUCCESS": 1}))
        api.commit()
        event = await events.next()
        assert (event.kind, event.data["campaign_id"]) == ("window", HOSTILE)
    async with reading(api.url, {"campaign_id": HOSTILE}) as events:
        held.add(HOSTILE, T0, counts({"SUCCESS": 1}))
        api.commit()
        assert (await events.until("window"))["attempts"] == 2


async def test_health_is_told_when_it_changes(start: StartApi) -> None:
    api = await start(holder())
    async with reading(api.url) as events:
        await events.until("health", ready=True)
        api.health.reasons = ("no task runs",)
        assert (await events.until("health", ready=False))["reasons"] == ["no task runs"]


async def test_a_defect_does_not_end_the_stream(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "AFTER_AN_ERROR", 0.0)
    held = holder()
    api = await start(held)
    ready, defects = api.health.ready, iter(range(3))

    def fails_at_first() -> tuple[bool, list[str]]:
        if next(defects, None) is not None:
            raise KeyError("a defect")
        return ready()

    monkeypatch.setattr(api.health, "ready", fails_at_first)
    async with reading(api.url) as events:
        held.add("c", T0, counts({"SUCCESS": 1}))
        api.commit()
        assert (await events.until("window"))["campaign_id"] == "c"
        await events.until("health", ready=True)
    assert next(defects, None) is None


async def test_what_is_out_of_sight_is_not_told_of(start: StartApi) -> None:
    token = {
        "name": "spring",
        "sha256": sha256(b"secret").hexdigest(),
        "scopes": ["read"],
        "campaigns": ["spring-*"],
    }
    held = holder()
    api = await start(held, HttpSettings.model_validate({"port": 0, "tokens": [token]}))
    async with reading(api.url, token="secret") as events, reading(api.url) as all_of_them:
        first = await api.get("/v1/changes")
        held.add("spring-1", T0, counts({"SUCCESS": 60, "FAILURE": 40}))
        held.add("autumn-1", T0, counts({"SUCCESS": 60, "FAILURE": 40}))
        api.commit()
        for _ in range(2):
            await all_of_them.until("delivery")
        came = await events.nothing()
    told = {(e.kind, e.data["campaign_id"]) for e in came if e.kind != "health"}
    assert told == {(kind, "spring-1") for kind in ("window", "alert", "delivery")}
    answer = await api.ask(
        f"/v1/changes?since={first['next']}", headers={"Authorization": "Bearer secret"}
    )
    assert [each["campaign_id"] for each in answer.json["windows"]] == ["spring-1"]
    assert [each["campaign_id"] for each in answer.json["alerts"]] == ["spring-1"]
    assert [each["campaign_id"] for each in answer.json["deliveries"]] == ["spring-1"]


async def test_what_is_refused(start: StartApi, monkeypatch: pytest.MonkeyPatch) -> None:
    api = await start(holder())
    assert "since" in await api.refused("/v1/stream?since=abc", 400)
    header = {"Last-Event-ID": "e30x"}
    assert "since" in await api.refused("/v1/stream", 400, headers=header)
    assert "type" in await api.refused("/v1/stream?type=windows", 400)
    monkeypatch.setattr(stream, "MOST_READERS", 1)
    async with reading(api.url) as events:
        await events.until("health")
        assert "1 readers" in await api.refused("/v1/stream", 503)
    closed = await start(holder(), HttpSettings(port=0, anonymous="never"))
    await closed.refused("/v1/stream", 401)


async def test_changes_are_answered_in_turns(start: StartApi) -> None:
    held = holder()
    api = await start(held)
    first = await api.get("/v1/changes")
    assert (first["windows"], first["partial"]) == ([], False)
    held.add("a", T0, counts({"SUCCESS": 60, "FAILURE": 40}))
    held.add("b", T0, counts({"SUCCESS": 1}))
    api.commit()
    second = await api.get(f"/v1/changes?since={first['next']}")
    assert [each["campaign_id"] for each in second["windows"]] in (["a", "b"], ["b", "a"])
    assert [each["campaign_id"] for each in second["alerts"]] == ["a"]
    assert [each["campaign_id"] for each in second["deliveries"]] == ["a"]
    of_b = await api.get(f"/v1/changes?since={first['next']}&campaign_ids=%5B%22b%22%5D")
    assert [each["campaign_id"] for each in of_b["windows"]] == ["b"]
    third = await api.get(f"/v1/changes?since={second['next']}")
    assert third["windows"] == third["alerts"] == third["deliveries"] == []


async def test_a_server_that_stops_lets_its_readers_go() -> None:
    async with AsyncExitStack() as stack:
        async with running(holder()) as api:
            events = await stack.enter_async_context(reading(api.url))
            await events.until("health")
        with pytest.raises(EOFError):
            await events.until("health", ready=None)
