"""Many deliveries of a receiver made again, at all workers."""

from dataclasses import replace

import pytest

from streams.api import replays
from streams.domain.deliveries import Delivery, Retention
from streams.domain.receivers import answered
from streams.domain.transitions import rfc3339
from tests.api.conftest import NOW, StartApi
from tests.support.partitions import PARTITION_SETTINGS, MemoryHolder, counts, holder

T0 = int(NOW) - 60
CAMPAIGNS = ("a", "b", "e", "d")
"""In partitions 3, 1, 2 and 0."""
SETTINGS = replace(
    PARTITION_SETTINGS, receivers=("ops", "pager"), retention=Retention(delivered=60)
)
REPLAY = "/v1/receivers/ops/replay"


def ended(numbers: tuple[int, ...] = (0, 1, 2, 3)) -> MemoryHolder:
    """Deliveries to both receivers, decided a second apart; given up, but those of `d` made."""
    held = holder(settings=SETTINGS)
    for at, campaign_id in enumerate(CAMPAIGNS):
        held.add(campaign_id, T0, counts({"SUCCESS": 60, "FAILURE": 40}))
        for partition in held.here.values():
            partition.evaluate(NOW - 100 + at)
    for partition in held.here.values():
        partition.take_changes(0.0)
        partition.deliveries.mark_committed()
        for delivery in partition.deliveries.due(NOW):
            if delivery.campaign_id == "d":
                partition.deliveries.delivered(delivery)
            else:
                partition.deliveries.failed(delivery, "HTTP status 500", None)
    held.here = {number: held.here[number] for number in numbers}
    return held


def pending(*held: MemoryHolder) -> list[str]:
    def found() -> list[Delivery]:
        partitions = [partition for each in held for partition in each.here.values()]
        return [d for each in partitions for d in each.deliveries.deliveries()]

    return sorted(f"{d.campaign_id}.{d.receiver}" for d in found() if d.state == "pending")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b", "e"]),
        ("state=given-up", ["a", "b", "e"]),
        ("state=delivered", ["d"]),
        (f"from={rfc3339(NOW - 99)}", ["b", "e"]),
        (f"from={rfc3339(NOW - 99)}&to={rfc3339(NOW - 98)}", ["b"]),
        ("campaign_id=a", ["a"]),
        ("rule=failure-spike", ["a", "b", "e"]),
        ("rule=another", []),
        ("dry_run=false", ["a", "b", "e"]),
    ],
)
async def test_what_matches_is_made_again_and_a_dry_run_says_how_many(
    start: StartApi, query: str, expected: list[str]
) -> None:
    held = ended()
    api = await start(held, settings=SETTINGS)
    others = [part for part in query.split("&") if part and not part.startswith("dry_run")]
    dry = await api.ask(f"{REPLAY}?{'&'.join([*others, 'dry_run=true'])}", method="POST")
    assert dry.json["matched"] == len(expected)
    assert (dry.json["replayed"], dry.json["dry_run"], pending(held)) == (0, True, [])

    answer = await api.ask(f"{REPLAY}?{query}", method="POST")

    assert answer.json == {
        "as_of": rfc3339(NOW),
        "partial": False,
        "missing_partitions": [],
        "receiver": "ops",
        "dry_run": False,
        "matched": len(expected),
        "replayed": len(expected),
    }
    assert pending(held) == [f"{each}.ops" for each in expected]


async def test_every_worker_replays_its_own_and_what_is_missing_is_named(start: StartApi) -> None:
    here, there = ended((0, 1)), ended((2,))
    home = await start(here, settings=SETTINGS)
    away = await start(there, settings=SETTINGS)
    home.holder.others[2] = away.url
    expected = pending_after_all(here, there)

    dry = await home.ask(f"{REPLAY}?dry_run=true", method="POST")
    assert (dry.json["matched"], pending(here, there)) == (len(expected), [])
    answer = await home.ask(REPLAY, method="POST")

    assert pending(here, there) == expected == ["b.ops", "e.ops"]
    assert (answer.json["replayed"], answer.json["missing_partitions"]) == (len(expected), [3])
    again = await home.ask(REPLAY, method="POST")
    assert (again.json["matched"], pending(here, there)) == (0, expected)


def pending_after_all(*held: MemoryHolder) -> list[str]:
    partitions = [partition for each in held for partition in each.here.values()]
    return sorted(
        f"{d.campaign_id}.ops"
        for each in partitions
        for d in each.deliveries.deliveries()
        if d.receiver == "ops" and d.state == "given-up"
    )


async def test_too_many_are_refused_whole_also_across_workers(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MOST_REPLAYED", 2)
    here, there = ended((0, 1)), ended((2, 3))
    home = await start(here, settings=SETTINGS)
    home.holder.others.update(dict.fromkeys((2, 3), (await start(there, settings=SETTINGS)).url))

    detail = await home.refused(REPLAY, 409, method="POST")

    assert "3 deliveries match" in detail
    assert pending(here, there) == []
    assert (await home.ask(f"{REPLAY}?campaign_id=a", method="POST")).json["replayed"] == 1


async def test_nothing_is_replayed_to_a_receiver_disabled_at_any_worker(start: StartApi) -> None:
    here, there = ended((0, 1)), ended((2, 3))
    home = await start(here, settings=SETTINGS)
    home.holder.others.update(dict.fromkeys((2, 3), (await start(there, settings=SETTINGS)).url))
    record = answered(None, "disabled", "digest", NOW, reason="HTTP status 410")
    there.here[3].receivers.note("ops", record)

    detail = await home.refused(REPLAY, 409, method="POST")

    assert "receiver ops is disabled (HTTP status 410)" in detail
    assert pending(here, there) == []


async def test_an_unknown_receiver_and_wrong_parameters_are_refused(start: StartApi) -> None:
    api = await start(ended(), settings=SETTINGS)
    await api.refused("/v1/receivers/nobody/replay", 404, method="POST")
    await api.refused(f"{REPLAY}?state=pending", 400, method="POST")
    await api.refused(f"{REPLAY}?dry_run=maybe", 400, method="POST")
    await api.refused(f"{REPLAY}?from=10:00", 400, method="POST")
    await api.refused(REPLAY, 405)
