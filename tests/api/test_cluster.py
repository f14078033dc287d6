"""Any worker answers any query: two or three real servers, each with some of the partitions."""

import asyncio
from typing import Any

import pytest

from streams.configuration.http import HttpSettings
from streams.domain.blocks import partition_of
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.support.partitions import MemoryHolder, counts, holder
from tests.support.ports import free_port

T0 = int(NOW) - 60
NAMES = ["a/b", "..", "ünïcode", "100%", *(f"c{n}" for n in range(12))]
HERE, THERE = (0, 2), (1, 3)


def name_in(partitions: tuple[int, ...]) -> str:
    return next(n for n in (f"c{n}" for n in range(100)) if partition_of(n, 4) in partitions)


async def two_workers(start: StartApi, **options: Any) -> tuple[RunningApi, RunningApi]:
    one = await start(holder(numbers=HERE), **options)
    other = await start(holder(numbers=THERE), **options)
    one.holder.others.update(dict.fromkeys(THERE, other.url))
    other.holder.others.update(dict.fromkeys(HERE, one.url + "/"))
    return one, other


def fill(*holders: MemoryHolder) -> None:
    for name in NAMES:
        number = partition_of(name, 4)
        home = next(held for held in holders if number in held.here)
        home.add(name, T0, counts({"SUCCESS": 60, "FAILURE": 40}))
        for partition in home.here.values():
            partition.evaluate(NOW)


async def test_both_answer_the_same(start: StartApi) -> None:
    one, other = await two_workers(start)
    fill(one.holder, other.holder)
    ids = [alert["alert_id"] for alert in (await one.get("/v1/alerts"))["alerts"]]
    assert len(ids) == len(NAMES)
    for target in (
        "/v1/campaigns?sort=-attempts&recent=3",
        "/v1/campaigns/a%2Fb/windows?by=treatment_id&step=120",
        "/v1/campaigns/../windows",
        "/v1/campaigns/100%25",
        "/v1/campaigns/%C3%BCn%C3%AFcode",
        "/v1/alerts?state=firing",
        *(f"/v1/alerts/{alert_id}" for alert_id in ids[:3]),
        "/v1/deliveries?limit=5",
    ):
        answer = await one.get(target)
        assert answer == await other.get(target)
        assert (answer["partial"], answer["missing_partitions"]) == (False, [])
    names = [row["campaign_id"] for row in (await one.get("/v1/campaigns"))["campaigns"]]
    assert names == sorted(NAMES)


async def test_workers_on_an_ipv6_address_ask_each_other(start: StartApi) -> None:
    one, other = await two_workers(start, settings=HttpSettings(host="::1", port=0))
    fill(one.holder, other.holder)
    assert one.url.startswith("http://[::1]:")
    for worker in (one, other):
        answer = await worker.get("/v1/campaigns")
        assert (answer["partial"], len(answer["campaigns"])) == (False, len(NAMES))


@pytest.mark.parametrize("target", ["/v1/campaigns", "/v1/alerts", "/v1/deliveries"])
async def test_lists_of_all_workers_in_pages(start: StartApi, target: str) -> None:
    one, other = await two_workers(start)
    fill(one.holder, other.holder)
    kind = target.rpartition("/")[2]
    whole = (await one.get(target))[kind]
    found: list[dict[str, object]] = []
    cursor = ""
    for worker in (one, other) * 20:
        answer = await worker.get(f"{target}?limit=3{cursor}")
        found += answer[kind]
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    assert found == whole
    assert len(found) == len(NAMES)


async def test_wrong_parameters_and_unknown_campaigns_of_others(start: StartApi) -> None:
    one, other = await two_workers(start)
    fill(one.holder, other.holder)
    away = name_in(THERE)
    assert "multiple" in await one.refused(f"/v1/campaigns/{away}/windows?step=90", 400)
    gone = next(n for n in (f"x{n}" for n in range(99)) if partition_of(n, 4) in THERE)
    await one.refused(f"/v1/campaigns/{gone}", 404)
    await one.refused("/v1/alerts/none", 404)


async def test_what_is_nowhere_is_named(start: StartApi) -> None:
    api = await start(holder(numbers=HERE))
    fill_here = name_in(HERE)
    api.holder.add(fill_here, T0, counts({"SUCCESS": 1}))
    api.holder.others[3] = f"http://127.0.0.1:{free_port()}"
    for target in ("/v1/campaigns", "/v1/alerts", "/v1/deliveries"):
        answer = await api.get(target)
        assert (answer["partial"], answer["missing_partitions"]) == (True, [1, 3])
    assert (await api.get(f"/v1/campaigns/{fill_here}"))["partial"] is False
    away = name_in(THERE)
    answer = await api.ask(f"/v1/campaigns/{away}/windows")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert f"partition {partition_of(away, 4)} is not available" in answer.json["detail"]
    # It may be in one of those that cannot be asked.
    await api.refused("/v1/alerts/some", 503)


async def test_a_worker_that_does_not_hold_what_is_asked_does_not_ask_on(start: StartApi) -> None:
    one, other = await two_workers(start)
    other.holder.here.clear()
    other.holder.others.update(dict.fromkeys(range(4), one.url))
    fill_in = name_in(HERE)
    one.holder.add(fill_in, T0, counts({"SUCCESS": 1}))
    answer = await one.get("/v1/campaigns")
    assert answer["missing_partitions"] == list(THERE)
    assert [row["attempts"] for row in answer["campaigns"]] == [1]


async def test_a_worker_that_hangs_is_left_out(start: StartApi) -> None:
    taken = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        api = await start(holder(numbers=HERE))
        api.holder.others[1] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        answer = await api.get("/v1/campaigns")
        assert answer["missing_partitions"] == [1, 3]
        assert b"Campaign-Streams-Partitions: 1\r\n" in taken[0]
        await api.refused("/v1/campaigns", 400, headers={"Campaign-Streams-Partitions": "a"})


async def test_with_a_keyed_source_a_campaign_may_be_in_any_partition(start: StartApi) -> None:
    one, other = await two_workers(start, located=False)
    one.holder.add("c", T0, counts({"SUCCESS": 3}, "0"), partition=0)
    one.holder.add("c", T0 + 60, counts({"SUCCESS": 1}, "0"), partition=2)
    other.holder.add("c", T0, counts({"FAILURE": 1}, "0"), partition=1)
    other.holder.add("c", T0, counts({"FAILURE": 4}, "1"), partition=3)
    for api in (one, other):
        answer = await api.get("/v1/campaigns/c/windows?by=treatment_id")
        first, second = answer["windows"]
        assert first["counts"] == {"FAILURE": 5, "SUCCESS": 3}
        assert first["rates"]["failure"] == 0.625
        assert {group["treatment_id"]: group["counts"] for group in first["groups"]} == {
            "0": {"FAILURE": 1, "SUCCESS": 3},
            "1": {"FAILURE": 4},
        }
        assert second["counts"] == {"SUCCESS": 1}
        campaign = await api.get("/v1/campaigns/c")
        assert campaign["totals"]["attempts"] == 9
        assert campaign["last_window"] == second["start"]
        (row,) = (await api.get("/v1/campaigns"))["campaigns"]
        assert (row["attempts"], row["last_window"]) == (9, second["start"])
    one.holder.others.clear()
    assert (await one.get("/v1/campaigns/c"))["missing_partitions"] == [1, 3]
    await one.refused("/v1/campaigns/unknown", 503)


async def test_a_token_is_passed_on(start: StartApi) -> None:
    token, digest = "secret", "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    settings = HttpSettings.model_validate(
        {"port": 0, "anonymous": "never", "tokens": [{"name": "reader", "sha256": digest}]}
    )
    one, other = await two_workers(start, settings=settings)
    fill(one.holder, other.holder)
    headers = {"Authorization": f"Bearer {token}"}
    answer = await one.ask("/v1/campaigns", headers=headers)
    assert (answer.status, answer.json["partial"]) == (200, False)


async def test_before_it_knows_its_partitions(start: StartApi) -> None:
    api = await start(holder(count=0))
    assert "starting" in await api.refused("/v1/campaigns/c", 503)
