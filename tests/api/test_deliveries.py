"""What is owed to receivers, and trying again what was given up."""

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
        "alert_id": newest["alert_id"],
        "sequence": 1,
        "state": "pending",
        "attempts": 0,
        "created_at": rfc3339(NOW - 99),
        "next_attempt_at": rfc3339(NOW - 99),
        "last_error": None,
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
        "next_attempt_at": rfc3339(NOW),
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
