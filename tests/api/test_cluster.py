"""Any worker answers any query: two or three real servers, each with some of the partitions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
from structlog.testing import capture_logs

from streams.configuration.http import HttpSettings
from streams.domain.counts import OTHER
from streams.domain.partial_counts import partition_of
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


async def test_other_campaigns_are_one_wherever_they_were_counted(start: StartApi) -> None:
    one, other = await two_workers(start)
    fill(one.holder, other.holder)
    for number in range(4):
        for _ in range(200):
            held = one.holder if number in HERE else other.holder
            held.add(OTHER, T0, counts({"SUCCESS": 1}), partition=number)
    for api in (one, other):
        described = await api.get(f"/v1/campaigns/{OTHER}")
        assert described["totals"]["counts"] == {"SUCCESS": 800}
        assert described["app_id"] is None
        answer = await api.get(f"/v1/campaigns/{OTHER}/windows")
        assert [each["counts"] for each in answer["windows"]] == [{"SUCCESS": 800}]


async def test_what_is_certain_is_in_the_same_order_at_every_worker(start: StartApi) -> None:
    one, other = await two_workers(start)
    for at in range(40):
        number = partition_of(f"c{at}", 4)
        home = one.holder if number in HERE else other.holder
        home.add(f"c{at}", T0, counts({"FAILURE": at, "SUCCESS": at * at % 17}))
    orders = [await names_in_order(api, "-failure_lower_bound") for api in (one, other)]
    assert orders[0] == orders[1]
    assert len(set(orders[0])) == 40


async def names_in_order(api: RunningApi, sort: str) -> list[str]:
    """Return the campaigns of all pages of some, in an order by what is certain."""
    rows: list[dict[str, Any]] = []
    more: str | None = ""
    while more is not None:
        answer = await api.get(f"/v1/campaigns?sort={sort}&limit=7{more}")
        rows += answer["campaigns"]
        cursor = answer["next_cursor"]
        more = None if cursor is None else f"&cursor={cursor}"
    bounds = [row["lower_bounds"]["failure"] for row in rows if row["attempts"]]
    assert bounds == sorted(bounds, reverse=True)
    return [row["campaign_id"] for row in rows]


@pytest.mark.parametrize("sort", ["campaign_id", "-campaign_id", "attempts", "-attempts"])
@pytest.mark.parametrize("limit", [1, 4, 100])
async def test_other_campaigns_stand_where_their_sum_belongs(
    start: StartApi, sort: str, limit: int
) -> None:
    one, other = await two_workers(start)
    fill(one.holder, other.holder)
    big, small = name_in(HERE), name_in(THERE)
    one.holder.add(big, T0, counts({"SUCCESS": 1000}))
    other.holder.add(small, T0, counts({"SUCCESS": 300}))
    for number in range(4):
        held = one.holder if number in HERE else other.holder
        held.add(OTHER, T0, counts({"SUCCESS": 150}), partition=number)
    for api in (one, other):
        rows, cursor = [], ""
        while True:
            answer = await api.get(f"/v1/campaigns?sort={sort}&limit={limit}{cursor}")
            rows += answer["campaigns"]
            if answer["next_cursor"] is None:
                break
            cursor = f"&cursor={answer['next_cursor']}"
        found = {row["campaign_id"]: row["attempts"] for row in rows}
        assert len(found) == len(rows) == len(NAMES) + 1
        assert found[OTHER] == 600
        key = sort.lstrip("-")
        assert [row[key] for row in rows] == sorted(
            (row[key] for row in rows), reverse=sort.startswith("-")
        )


@pytest.mark.parametrize("cluster_secrets", [(), ("0" * 32,)])
async def test_both_answer_the_same(start: StartApi, cluster_secrets: tuple[str, ...]) -> None:
    http = HttpSettings.model_validate({"port": 0, "cluster_secrets": cluster_secrets})
    one, other = await two_workers(start, http=http)
    fill(one.holder, other.holder)
    ids = [alert["alert_id"] for alert in (await one.get("/v1/alerts"))["alerts"]]
    assert len(ids) == len(NAMES)
    for target in (
        "/v1/campaigns?sort=-attempts&recent=3",
        "/v1/campaigns/a%2Fb/windows?by=treatment_id&step=120",
        "/v1/campaigns/../windows",
        "/v1/campaigns/100%25",
        "/v1/campaigns/%C3%BCn%C3%AFcode",
        "/v1/campaigns/%63%30?",
        "/v1/campaigns/c0/windows?by=treatment_id,channel_type&from=2026-11-23T10:00:00%2b01:00",
        "/v1/alerts?campaign_id=a/b&rule='\"|",
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
    one, other = await two_workers(start, http=HttpSettings(host="::1", port=0))
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


async def test_what_another_worker_asks_is_asked_of_nobody_else(start: StartApi) -> None:
    """Two that take each other for the holder would ask each other for ever."""
    asked = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        one, other = await two_workers(start)
        other.holder.here.clear()
        third = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        other.holder.others.update(dict.fromkeys(range(4), third))
        answer = await one.get("/v1/campaigns")
        assert answer["missing_partitions"] == list(THERE)
        assert asked == []
        await other.get("/v1/campaigns")
        assert asked


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


SECRETS = ("0" * 32, "1" * 32, "2" * 32)
TOKEN = "secret"
TOKENS = [{"name": "reader", "sha256": sha256(TOKEN.encode()).hexdigest(), "scopes": ["read"]}]
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def closed(*cluster_secrets: str, **options: Any) -> HttpSettings:
    """Nobody may ask without a token, but workers with one of these secrets."""
    values = {"port": 0, "anonymous": "never", "tokens": TOKENS, **options}
    return HttpSettings.model_validate({**values, "cluster_secrets": cluster_secrets})


async def two_with(start: StartApi, *settings: HttpSettings) -> tuple[RunningApi, RunningApi]:
    """Two workers, each with settings of its own."""
    one = await start(holder(numbers=HERE), settings[0])
    other = await start(holder(numbers=THERE), settings[-1])
    one.holder.others.update(dict.fromkeys(THERE, other.url))
    other.holder.others.update(dict.fromkeys(HERE, one.url))
    fill(one.holder, other.holder)
    return one, other


@pytest.mark.parametrize(
    "settings",
    [
        [closed(SECRETS[0])],
        [closed(SECRETS[0], host="::1")],
        # One after the other gets a new secret, and loses the old one when all have it.
        [closed(SECRETS[0]), closed(SECRETS[0], SECRETS[1])],
        [closed(SECRETS[1], SECRETS[0]), closed(SECRETS[0], SECRETS[1])],
        [closed(SECRETS[1]), closed(SECRETS[1], SECRETS[0])],
    ],
)
async def test_workers_with_a_secret_need_no_token(
    start: StartApi, settings: list[HttpSettings]
) -> None:
    for worker in await two_with(start, *settings):
        answer = await worker.ask("/v1/campaigns?sort=-attempts", headers=BEARER)
        assert (answer.status, answer.json["partial"]) == (200, False)
        assert len(answer.json["campaigns"]) == len(NAMES)
        # Not for clients: what they may is what it was.
        await worker.refused("/v1/campaigns", 401)


async def test_what_is_asked_of_another_worker_may_be_a_write(start: StartApi) -> None:
    writer = [{**TOKENS[0], "scopes": ["read", "write"]}]
    one, other = await two_with(start, closed(SECRETS[0], tokens=writer))
    delivery = next(
        d for partition in other.holder.here.values() for d in partition.deliveries.deliveries()
    )
    target = f"/v1/deliveries/{delivery.delivery_id}/replay"
    # It is there, and not given up.
    detail = await one.refused(target, 409, method="POST", headers=BEARER)
    assert "still being tried" in detail


@pytest.mark.parametrize(
    "settings",
    [
        [closed(), closed(SECRETS[0])],
        [closed(SECRETS[0]), closed()],
        [closed(SECRETS[0]), closed(SECRETS[1])],
        [closed(), closed()],
    ],
)
async def test_without_a_common_secret_what_is_missing_is_named(
    start: StartApi, settings: list[HttpSettings]
) -> None:
    one, _ = await two_with(start, *settings)
    answer = await one.ask("/v1/campaigns", headers=BEARER)
    assert (answer.status, answer.json["missing_partitions"]) == (200, list(THERE))


async def test_an_answer_that_no_worker_signed_is_not_believed(start: StartApi) -> None:
    """Here others let anybody ask, so the answer is a right one, but could be anybody's."""
    signing = HttpSettings.model_validate({"port": 0, "cluster_secrets": [SECRETS[0]]})
    one, _ = await two_with(start, signing, HttpSettings(port=0))
    assert (await one.get("/v1/campaigns"))["missing_partitions"] == list(THERE)


@asynccontextmanager
async def recording(host: str = "127.0.0.1") -> AsyncIterator[tuple[str, list[bytes]]]:
    """Announced by a member of the group: takes what it is sent, and says nothing of use."""
    taken: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(take, host, 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", taken


@pytest.mark.parametrize("settings", [closed(SECRETS[0]), closed(), closed(anonymous="loopback")])
async def test_a_token_never_leaves_the_worker_that_got_it(
    start: StartApi, settings: HttpSettings
) -> None:
    cookie = {**BEARER, "Cookie": "a=b", "X-Api-Key": TOKEN}
    async with recording() as (url, taken):
        api = await start(holder(numbers=HERE), settings)
        api.holder.others[1] = url
        answer = await api.ask("/v1/campaigns?sort=attempts", headers=cookie)
    assert answer.json["missing_partitions"] == [1, 3]
    (request,) = taken
    assert b"GET /v1/campaigns?sort=attempts HTTP/1.1\r\n" in request
    for word in (TOKEN, "Authorization", "Cookie", "Api-Key"):
        assert word.lower().encode() not in request.lower()


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:8080",  # beyond loopback, and no secret
        "http://0.0.0.0:{port}",
        "http://u:p@127.0.0.1:{port}",
        "http://127.0.0.1:{port}?a=",
        "http://127.0.0.1:{port}#",
        "ftp://127.0.0.1:{port}",
        "file:///etc/passwd",
        "127.0.0.1:{port}",
        "http://a b",
        "",
    ],
)
async def test_an_address_that_no_worker_announces_is_not_asked(start: StartApi, url: str) -> None:
    async with recording() as (real, taken):
        api = await start(holder(numbers=HERE), closed())
        api.holder.others[1] = url.format(port=real.rpartition(":")[2])
        with capture_logs() as logs:
            for _ in range(2):
                answer = await api.ask("/v1/campaigns", headers=BEARER)
                assert answer.json["missing_partitions"] == [1, 3]
    assert not taken
    (said,) = [line for line in logs if line["event"] == "worker is not asked"]
    assert said["partitions"] == [1]


async def test_a_worker_that_was_asked_by_another_asks_nobody(start: StartApi) -> None:
    async with recording() as (url, taken):
        api = await start(holder(numbers=HERE), HttpSettings(port=0))
        api.holder.others.update(dict.fromkeys(THERE, url))
        headers = {"Campaign-Streams-Partitions": "1,2,3"}
        answer = await api.ask("/v1/campaigns", headers=headers)
        assert answer.json["missing_partitions"] == [1, 3]
        assert not taken
        await api.get("/v1/campaigns")
        assert len(taken) == 1


@pytest.mark.parametrize("numbers", ["", "a", "1,", "-1", "1_0", "\u0661", "1 2", "9" * 5000])
async def test_partitions_that_are_none_are_refused(start: StartApi, numbers: str) -> None:
    api = await start(holder(numbers=HERE))
    headers = {"Campaign-Streams-Partitions": numbers}
    assert "partition numbers" in await api.refused("/v1/campaigns", 400, headers=headers)


async def test_before_it_knows_its_partitions(start: StartApi) -> None:
    api = await start(holder(count=0))
    assert "starting" in await api.refused("/v1/campaigns/c", 503)
