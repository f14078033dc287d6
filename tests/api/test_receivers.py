"""Receivers that asked for peace or answered 410, and enabling them again."""

from dataclasses import replace

from msgspec.structs import replace as but

from streams.domain.receivers import ReceiverRecord, answered, failing
from streams.domain.transitions import rfc3339
from tests.api.conftest import NOW, StartApi
from tests.api.test_deliveries import owing
from tests.support.partitions import PARTITION_SETTINGS, holder

GONE = ReceiverRecord("disabled", "t", NOW - 60, reason="HTTP status 410")
PAUSED = ReceiverRecord("paused", "t", NOW - 60, NOW + 30, "HTTP status 503")
WITH_BOTH = replace(PARTITION_SETTINGS, receivers=("ops", "others"))
ENABLED = {
    "state": "enabled",
    "since": None,
    "until": None,
    "reason": None,
    "failing_since": None,
}


async def test_what_holds_of_all_that_the_partitions_know(start: StartApi) -> None:
    held = holder()
    api = await start(held, settings=WITH_BOTH)
    assert (await api.get("/v1/receivers"))["receivers"] == [
        {"name": "ops", **ENABLED},
        {"name": "others", **ENABLED},
    ]
    held.here[1].receivers.note("ops", PAUSED)
    held.here[2].receivers.note("ops", but(PAUSED, until=NOW + 20))
    (ops, others) = (await api.get("/v1/receivers"))["receivers"]
    assert ops == {
        "name": "ops",
        "state": "paused",
        "since": rfc3339(NOW - 60),
        "until": rfc3339(NOW + 30),
        "reason": "HTTP status 503",
        "failing_since": None,
    }
    assert others == {"name": "others", **ENABLED}
    held.here[3].receivers.note("ops", but(GONE, since=NOW - 90))
    (ops, _) = (await api.get("/v1/receivers"))["receivers"]
    assert ops == {
        "name": "ops",
        "state": "disabled",
        "since": rfc3339(NOW - 90),
        "until": None,
        "reason": "HTTP status 410",
        "failing_since": None,
    }


async def test_a_pause_ends(start: StartApi) -> None:
    held = holder()
    held.here[1].receivers.note("ops", but(PAUSED, until=NOW - 10))
    api = await start(held)
    assert (await api.get("/v1/receivers"))["receivers"] == [
        {"name": "ops", **ENABLED, "since": rfc3339(NOW - 10)},
    ]


async def test_a_receiver_that_fails_is_shown_with_when_it_began_paused_or_not(
    start: StartApi,
) -> None:
    held = holder()
    record = failing(None, "t", NOW - 60, "HTTP status 500", NOW - 50)
    held.here[1].receivers.note("ops", record)
    api = await start(held)
    fails = {
        "name": "ops",
        "state": "failing",
        "since": rfc3339(NOW - 60),
        "until": None,
        "reason": "HTTP status 500",
        "failing_since": rfc3339(NOW - 60),
    }
    assert (await api.get("/v1/receivers"))["receivers"] == [fails]
    paused = answered(record, "paused", "t", NOW - 5, until=NOW + 5, reason="busy")
    held.here[1].receivers.note("ops", paused)
    (ops,) = (await api.get("/v1/receivers"))["receivers"]
    assert (ops["state"], ops["failing_since"]) == ("paused", rfc3339(NOW - 60))
    await api.ask("/v1/receivers/ops/enable", method="POST")
    (ops,) = (await api.get("/v1/receivers"))["receivers"]
    assert (ops["state"], ops["failing_since"]) == ("enabled", None)


async def test_enabling_reaches_every_worker_and_is_written_down(start: StartApi) -> None:
    one = await start(holder(numbers=(0, 2)))
    other = await start(holder(numbers=(1, 3)))
    one.holder.others.update(dict.fromkeys((1, 3), other.url))
    other.holder.others.update(dict.fromkeys((0, 2), one.url))
    for held in (one.holder, other.holder):
        for partition in held.here.values():
            partition.receivers.note("ops", GONE)
            partition.take_changes(0.0)
    for worker in (one, other):
        (ops,) = (await worker.get("/v1/receivers"))["receivers"]
        assert ops["state"] == "disabled"

    answer = await one.ask("/v1/receivers/ops/enable", method="POST")

    assert answer.status == 200
    assert answer.json["receiver"] == {"name": "ops", **ENABLED, "since": rfc3339(NOW)}
    assert (answer.json["partial"], answer.json["missing_partitions"]) == (False, [])
    for worker in (one, other):
        (ops,) = (await worker.get("/v1/receivers"))["receivers"]
        assert ops["state"] == "enabled"
        for partition in worker.holder.here.values():
            ((key, value),) = partition.take_changes(0.0)
            assert key == b'["receiver","ops"]'
            assert b"enabled" in (value or b"")


async def test_partitions_that_nobody_has_are_named(start: StartApi) -> None:
    api = await start(holder(numbers=(0,)))
    answer = await api.ask("/v1/receivers/ops/enable", method="POST")
    assert (answer.status, answer.json["missing_partitions"]) == (200, [1, 2, 3])
    assert (await api.get("/v1/receivers"))["missing_partitions"] == [1, 2, 3]


async def test_who_is_not_there_cannot_be_enabled(start: StartApi) -> None:
    api = await start(holder())
    assert "no receiver nobody" in await api.refused(
        "/v1/receivers/nobody/enable", 404, method="POST"
    )
    await api.refused("/v1/receivers/ops/enable", 405)


async def test_nothing_is_replayed_to_who_wants_nothing(start: StartApi) -> None:
    held = owing("a")
    (partition,) = [p for p in held.here.values() if p.deliveries.deliveries()]
    partition.receivers.note("ops", GONE)
    api = await start(held)
    (given_up,) = (await api.get("/v1/deliveries"))["deliveries"]
    target = f"/v1/deliveries/{given_up['delivery_id']}/replay"
    assert "enable it first" in await api.refused(target, 409, method="POST")
    await api.ask("/v1/receivers/ops/enable", method="POST")
    assert (await api.ask(target, method="POST")).status == 200


async def test_a_delivery_says_that_it_waits_for_the_end_of_a_pause(start: StartApi) -> None:
    held = owing("a", "b")
    for partition in held.here.values():
        partition.receivers.note("ops", PAUSED)
    api = await start(held)
    (newest, given_up) = (await api.get("/v1/deliveries"))["deliveries"]
    assert newest["next_attempt_at"] == rfc3339(NOW + 30)
    assert given_up["next_attempt_at"] is None
