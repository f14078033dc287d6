"""What a system of workers counted and dead-lettered, against the independent count."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from tests.support.oracle import DIMENSIONS, Oracle
from tests.support.topics import Read, read_topic
from tests.support.waiting import PATIENCE_S
from tests.support.workers import Settings, WorkerProcess

ALL = "active_within=8000h&limit=1000"
COORDINATES = ("source-partition", "source-offset")


async def count_topic(address: str, settings: Settings) -> Oracle:
    """Count independently what is in the source topic."""
    windows = settings.get("windows", {})
    sizes = {name: windows[name] for name in ("size", "grace", "retention") if name in windows}
    oracle = Oracle(**sizes)
    now = int(time.time() * 1000)
    for record in await read_topic(address, settings["topics"]["source"]):
        oracle.take(record.partition, record.offset, record.value, now)
    return oracle


async def total_of(worker: WorkerProcess) -> int | None:
    """All events that the system has counted; null while not all partitions can be asked."""
    try:
        answer = await worker.ask(f"/v1/campaigns?{ALL}")
    except (OSError, TimeoutError, IndexError):
        return None
    assert answer.status == 200, answer.body
    if answer.json["partial"]:
        return None
    assert answer.json["next_cursor"] is None
    rows = answer.json["campaigns"]
    return sum(sum([*row["counts"].values(), *row["engagement"].values()]) for row in rows)


async def counted(worker: WorkerProcess, total: int, within: float = PATIENCE_S) -> None:
    """Return when the system has counted so many events; fail as soon as it has more."""
    deadline = time.monotonic() + within
    while (seen := await total_of(worker)) != total:
        assert seen is None or seen < total, f"{seen} events counted, there are only {total}"
        if time.monotonic() > deadline:
            told = f"{await _progress_of(worker)}\n{worker.log[-3000:]}"
            raise AssertionError(f"{seen} of {total} counted:\n{told}")
        await asyncio.sleep(0.2)


async def _progress_of(worker: WorkerProcess) -> str:
    """Say how far a worker is, and what it waits for."""
    names = "consumer_lag", "tasks{", "commits_total", "fetches_total", "events_total"
    told = [
        f"{sample} {value}"
        for sample, value in (await worker.metrics()).items()
        if sample.removeprefix("campaign_streams_").startswith(names)
    ]
    return "\n".join([*told, str((await worker.ask("/readyz")).json)])


async def assert_counts(worker: WorkerProcess, oracle: Oracle) -> int:
    """Compare every count, group, rate and engagement; return the number of late events."""
    rows = (await worker.json(f"/v1/campaigns?{ALL}"))["campaigns"]
    assert {row["campaign_id"] for row in rows} == oracle.campaigns
    by = ",".join(DIMENSIONS)
    late = 0
    for campaign_id in sorted(oracle.campaigns):
        answer = await worker.json(f"/v1/campaigns/{quote(campaign_id, safe='')}/windows?by={by}")
        assert not answer["partial"]
        assert differing(answer, oracle, campaign_id) == []
        assert [_figures(window) for window in answer["windows"]] == oracle.answer(campaign_id)
        assert _groups(answer, DIMENSIONS) == oracle.groups(campaign_id, DIMENSIONS)
        late += sum(_late_events(window) for window in answer["windows"])
    return late


async def assert_each_dimension(worker: WorkerProcess, oracle: Oracle) -> None:
    """Compare the groups by each dimension alone, and one window asked for by itself."""
    for campaign_id in sorted(oracle.campaigns):
        quoted = quote(campaign_id, safe="")
        for dimension in DIMENSIONS:
            answer = await worker.json(f"/v1/campaigns/{quoted}/windows?by={dimension}")
            assert _groups(answer, (dimension,)) == oracle.groups(campaign_id, (dimension,))
        start = oracle.answer(campaign_id)[-1]["start"]
        answer = await worker.json(f"/v1/campaigns/{quoted}/windows/{start}")
        assert _figures(answer["window"]) == oracle.answer(campaign_id)[-1]


def differing(answer: Mapping[str, Any], oracle: Oracle, campaign_id: str) -> list[str]:
    """Name each window and group whose counts differ from the oracle's, and by how much."""
    starts = [window["start"] for window in answer["windows"]]
    expected = [window["start"] for window in oracle.answer(campaign_id)]
    if starts != expected:
        return [f"{campaign_id}: windows {starts}, not {expected}"]
    ours, theirs = _groups(answer, DIMENSIONS), oracle.groups(campaign_id, DIMENSIONS)
    return [
        f"{campaign_id}, {start}, {group}: {more}"
        for start, has, must in zip(starts, ours, theirs, strict=True)
        for group in {*has, *must}
        if (more := _more(has.get(group, {}), must.get(group, {})))
    ]


def _more(has: Mapping[str, Any], must: Mapping[str, Any]) -> dict[str, int]:
    """Return by how much each count of a group is too high, or too low."""
    difference: Counter[str] = Counter()
    for part in ("counts", "engagement"):
        difference.update(has.get(part, {}))
        difference.subtract(must.get(part, {}))
    return {name: count for name, count in difference.items() if count}


def _figures(window: Mapping[str, Any]) -> dict[str, Any]:
    names = ("start", "end", "counts", "attempts", "rates", "engagement")
    return {name: window[name] for name in names}


def _late_events(window: Mapping[str, Any]) -> int:
    events = sum(window["counts"].values()) + sum(window["engagement"].values())
    late: int = window["late_events"]
    assert 0 <= late <= events
    return late


def _groups(
    answer: Mapping[str, Any], by: tuple[str, ...]
) -> list[dict[tuple[str | None, ...], Any]]:
    found = []
    for window in answer["windows"]:
        groups = {tuple(group[name] for name in by): group for group in window["groups"]}
        assert len(groups) == len(window["groups"]), "a group is there twice"
        found.append({value: _bare(group) for value, group in groups.items()})
    return found


def _bare(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in ("counts", "attempts", "rates", "engagement")}


async def dead_letter(
    address: str, settings: Settings, total: int, within: float = PATIENCE_S
) -> list[Read]:
    """Return the dead letters when there are so many; fail as soon as there are more."""
    deadline = time.monotonic() + within
    guaranteed = settings["kafka"]["guarantee"] == "exactly-once"
    topic = settings["topics"]["dead_letter"]
    while len(found := await read_topic(address, topic, committed=guaranteed)) < total:
        assert time.monotonic() < deadline, f"{len(found)} of {total} dead letters"
        await asyncio.sleep(0.3)
    return found


async def assert_put_aside(address: str, settings: Settings, oracle: Oracle) -> None:
    """Compare the dead letters: each refused record once, as it came, with its coordinates."""
    found = await dead_letter(address, settings, len(oracle.refused))
    source = {(r.partition, r.offset): r for r in await _source(address, settings)}
    seen = Counter(_coordinates(record) for record in found)
    assert [at for at, times in seen.items() if times > 1] == [], "dead-lettered more than once"
    assert {_coordinates(r): _header(r, "reason") for r in found} == oracle.refused
    for record in found:
        came = source[_coordinates(record)]
        assert (record.key, record.value) == (came.key, came.value)
        names = [name for name, _ in record.headers]
        assert record.headers[: len(came.headers)] == came.headers
        ours = ["reason", "detail", "source-topic", *COORDINATES, "failed-at"]
        assert names[len(came.headers) :] == ours
        assert _header(record, "source-topic") == settings["topics"]["source"]
        assert _header(record, "detail")
        assert _header(record, "failed-at").endswith("Z")


async def _source(address: str, settings: Settings) -> Iterable[Read]:
    return await read_topic(address, settings["topics"]["source"])


def _header(record: Read, name: str) -> str:
    # The last one: the record may have brought a header of the same name.
    value: bytes = dict(record.headers)[name]
    return value.decode()


def _coordinates(record: Read) -> tuple[int, int]:
    return int(_header(record, "source-partition")), int(_header(record, "source-offset"))
