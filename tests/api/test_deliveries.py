"""What is owed to receivers, and trying again what was given up."""

from streams.domain.delivery_attempts import AttemptRecord
from streams.domain.transitions import rfc3339
from tests.api.conftest import NOW, StartApi
from tests.support.partitions import MemoryHolder, counts, holder

T0 = int(NOW) - 60


def owing(*campaigns: str, numbers: tuple[int, ...] = (0, 1, 2, 3)) -> MemoryHolder:
    """A delivery to `ops` for each campaign; that of the first was given up."""
    held = holder(numbers=numbers)
    for at, campaign_id in enumerate(campaigns):
        held.add(campaign_id, T0, counts({"SUCCESS": 60, "FAILURE": 40}))
        for partition in held.here.values():
            partition.evaluate(NOW - 100 + at)
            for delivery in partition.deliveries.deliveries():
                if delivery.campaign_id == campaigns[0] and delivery.state == "pending":
                    partition.deliveries.failed(delivery, "410 Gone", None)
    return held


async def test_newest_first(start: StartApi) -> None:
    api = await start(owing("a", "b"))
    newest, oldest = (await api.get("/v1/deliveries"))["deliveries"]
    assert newest == {
        "delivery_id": f"{newest['alert_id']}.1.ops",
        "webhook_id": f"{newest['alert_id']}.1",
        "receiver": "ops",
        "campaign_id": "b",
        "app_id": "app",
        "alert_id": newest["alert_id"],
        "rule": "failure-spike",
        "type": "campaign.alert.firing",
        "sequence": 1,
        "state": "pending",
        "attempts": 0,
        "attempted": 0,
        "created_at": rfc3339(NOW - 99),
        "ended_at": None,
        "next_attempt_at": rfc3339(NOW - 99),
        "last_error": None,
        "replayed_by": None,
        "last_attempt": None,
    }
    assert (oldest["state"], oldest["attempts"], oldest["last_error"]) == (
        "given-up",
        1,
        "410 Gone",
    )
    assert oldest["next_attempt_at"] is None


async def test_filters(start: StartApi) -> None:
    api = await start(owing("a", "b"))
    for query, expected in (
        ("state=given-up", ["a"]),
        ("state=pending", ["b"]),
        ("receiver=ops", ["b", "a"]),
        ("receiver=others", []),
        ("campaign_id=a", ["a"]),
        ("alert_id=none", []),
        ("rule=failure-spike", ["b", "a"]),
        ("rule=others", []),
        (f"from={rfc3339(NOW - 99)}", ["b"]),
        (f"to={rfc3339(NOW - 99)}", ["a"]),
        (f"from={rfc3339(NOW - 100)}&to={rfc3339(NOW - 98)}", ["b", "a"]),
        (f"from={rfc3339(NOW - 98.999)}", []),
    ):
        deliveries = (await api.get(f"/v1/deliveries?{query}"))["deliveries"]
        assert [delivery["campaign_id"] for delivery in deliveries] == expected, query


async def test_replay_makes_it_due_at_once_and_to_be_written_down(start: StartApi) -> None:
    held = owing("a")
    api = await start(held)
    (partition,) = [p for p in held.here.values() if p.deliveries.deliveries()]
    partition.take_changes(0.0)
    partition.deliveries.mark_committed()
    (given_up,) = (await api.get("/v1/deliveries"))["deliveries"]
    target = f"/v1/deliveries/{given_up['delivery_id']}/replay"
    answer = await api.ask(target, method="POST")
    assert answer.json["delivery"] == {
        **given_up,
        "state": "pending",
        "attempts": 0,
        "ended_at": None,
        "next_attempt_at": rfc3339(NOW),
        "replayed_by": "api",
        "history": [],
        "dropped_attempts": 0,
    }
    assert [d.delivery_id for d in partition.deliveries.due(NOW)] == [given_up["delivery_id"]]
    assert len(partition.take_changes(0.0)) == 1
    assert "still being tried" in await api.refused(target, 409, method="POST")
    await api.refused("/v1/deliveries/none/replay", 404, method="POST")


async def test_replay_at_another_worker(start: StartApi) -> None:
    name = "c"
    at_home = owing(name)
    (number,) = [n for n, p in at_home.here.items() if p.deliveries.deliveries()]
    home = await start(owing(name, numbers=(number,)))
    away = await start(holder(numbers=[n for n in range(4) if n != number]))
    away.holder.others[number] = home.url
    (given_up,) = (await away.get("/v1/deliveries"))["deliveries"]
    target = f"/v1/deliveries/{given_up['delivery_id']}/replay"
    answer = await away.ask(target, method="POST")
    assert (answer.status, answer.json["delivery"]["state"]) == (200, "pending")
    await away.refused(target, 409, method="POST")


# Attempts


async def test_a_delivery_shows_its_attempts_and_how_many_were_dropped(start: StartApi) -> None:
    held = owing("a", "b")
    (partition, delivery), *_ = [
        (p, d)
        for p in held.here.values()
        for d in p.deliveries.deliveries()
        if d.state == "pending"
    ]
    for number in range(1, 14):
        attempt = AttemptRecord(
            number, NOW + number, 7, "status", 503, "down", warnings=("the reply was refused",)
        )
        partition.deliveries.attempted(delivery, attempt)
    api = await start(held)
    (row,) = (await api.get("/v1/deliveries?state=pending"))["deliveries"]
    assert "history" not in row
    assert row["last_attempt"] == {
        "number": 13,
        "at": rfc3339(NOW + 13),
        "duration_ms": 7,
        "result": "status",
        "status": 503,
        "answer": "down",
        "error": None,
        "warnings": ["the reply was refused"],
    }
    whole = (await api.get(f"/v1/deliveries/{delivery.delivery_id}"))["delivery"]
    assert [each["number"] for each in whole["history"]] == [1, 2, *range(4, 14)]
    assert (whole["dropped_attempts"], whole["attempted"]) == (1, 13)
    assert whole["last_attempt"] == whole["history"][-1]
    await api.refused("/v1/deliveries/none", 404)


async def test_a_delivery_is_shown_by_any_worker(start: StartApi) -> None:
    at_home = owing("c")
    (number,) = [n for n, p in at_home.here.items() if p.deliveries.deliveries()]
    home = await start(owing("c", numbers=(number,)))
    away = await start(holder(numbers=[n for n in range(4) if n != number]))
    away.holder.others[number] = home.url
    (row,) = (await away.get("/v1/deliveries"))["deliveries"]
    whole = (await away.get(f"/v1/deliveries/{row['delivery_id']}"))["delivery"]
    assert {**row, "history": [], "dropped_attempts": 0} == whole
