"""Treatments compared: any worker, for one reference, and for whoever may see them."""

from dataclasses import replace
from hashlib import sha256

from streams.configuration.http import HttpSettings
from streams.domain.transitions import rfc3339
from streams.domain.windows import Rollup, RollupStep, WindowPolicy
from tests.api.conftest import NOW, StartApi
from tests.support.partitions import PARTITION_SETTINGS, MemoryHolder, counts, holder

T0 = int(NOW) - 30 * 60
PATH = "/v1/campaigns/a%2Fb/compare"


def held(numbers: tuple[int, ...] = (0,), count: int = 1) -> MemoryHolder:
    made = holder(numbers=numbers, count=count)
    for at in range(30):
        made.add(
            "a/b",
            T0 + 60 * at,
            counts({"SUCCESS": 190, "FAILURE": 10, "QUIET_TIME": 5}, "0"),
            partition=numbers[0],
        )
        made.add(
            "a/b",
            T0 + 60 * at,
            counts({"SUCCESS": 60, "FAILURE": 20, "THROTTLED": 1}, "1", channel_type="SMS"),
            partition=numbers[-1],
        )
    made.add("a/b", T0, counts({"SUCCESS": 3}), partition=numbers[0])
    made.add("a/b", T0, counts({"HOLDOUT": 9}, "control"), partition=numbers[0])
    return made


async def test_the_worse_treatment_is_told(start: StartApi) -> None:
    api = await start(held())
    answer = await api.get(PATH)
    assert (answer["campaign_id"], answer["by"], answer["status"]) == (
        "a/b",
        "treatment_id",
        "failure",
    )
    assert (answer["step_seconds"], answer["confidence"], answer["left_out"]) == (60, 0.95, 0)
    usual, worse, none = answer["groups"]
    assert (usual["value"], usual["is_reference"], usual["difference"]) == ("0", True, None)
    assert (usual["attempts"], usual["hits"], usual["rate"]) == (6000, 300, 0.05)
    assert usual["rate_low"] < 0.05 < usual["rate_high"]
    found = worse["difference"]
    assert (worse["value"], found["verdict"], found["windows"]) == ("1", "worse", 30)
    assert 0.1 < found["low"] < found["difference"] < found["high"] < 0.3
    assert (none["value"], none["difference"]["verdict"]) == (None, "not_certain")


async def test_by_channel_and_against_a_named_one(start: StartApi) -> None:
    api = await start(held())
    answer = await api.get(PATH + "?by=channel_type&reference=SMS")
    better, reference = answer["groups"]
    assert (reference["value"], reference["is_reference"]) == ("SMS", True)
    assert better["difference"]["verdict"] == "better"
    answer = await api.get(PATH + "?status=throttled&reference=")
    (none,) = (each for each in answer["groups"] if each["is_reference"])
    assert none["value"] is None
    detail = await api.refused(PATH + "?reference=2", 400)
    assert "'0', '1', ''" in detail
    assert "expected one of" in await api.refused(PATH + "?by=app_id", 400)
    await api.refused(PATH + "?from=9&to=9", 400)
    await api.refused("/v1/campaigns/none/compare", 404)
    nothing = await api.get(PATH + f"?from={(T0 - 7200) * 1000}&to={(T0 - 3600) * 1000}")
    assert nothing["groups"] == []


async def test_a_long_time_has_longer_steps_and_the_smallest_groups_are_left_out(
    start: StartApi,
) -> None:
    made = holder(numbers=(0,), count=1)
    for at in range(12 * 60):
        made.add("c", int(NOW) - 60 * (at + 1), counts({"SUCCESS": 2}, "0"))
    for number in range(12):
        made.add("c", int(NOW) - 60, counts({"SUCCESS": 20 + number}, f"t{number}"))
    api = await start(made)
    answer = await api.get(
        f"/v1/campaigns/c/compare?reference=t0&from={(int(NOW) - 12 * 3600) * 1000}"
    )
    assert answer["step_seconds"] == 240
    assert [each["value"] for each in answer["groups"]][-2:] == ["t4", "t0"]
    assert (len(answer["groups"]), answer["left_out"]) == (10, 3)
    assert answer["groups"][0]["windows"] == 180
    near = await api.get("/v1/campaigns/c/compare")
    assert near["step_seconds"] == 60


async def test_any_worker_compares_all_there_is(start: StartApi) -> None:
    whole = held((0, 1), 2)
    away, here = holder(numbers=(0,), count=2), holder(numbers=(1,), count=2)
    away.here[0], here.here[1] = whole.here[0], whole.here[1]
    other = await start(away, located=False)
    here.others = {0: other.url}
    api = await start(here, located=False)
    answer = await api.get(PATH)
    assert [each["attempts"] for each in answer["groups"]] == [6000, 2430, 3]
    assert answer["partial"] is False
    here.others = {}
    answer = await api.get(PATH)
    assert answer["missing_partitions"] == [0]


async def test_tokens_with_patterns_see_their_own(start: StartApi) -> None:
    tokens = [
        {"name": name, "sha256": sha256(name.encode()).hexdigest(), "campaigns": [pattern]}
        for name, pattern in (("theirs", "a/*"), ("others", "x"))
    ]
    settings = HttpSettings.model_validate({"port": 0, "anonymous": "never", "tokens": tokens})
    api = await start(held(), settings)
    for name, status in (("theirs", 200), ("others", 404)):
        answer = await api.ask(PATH, headers={"Authorization": f"Bearer {name}"})
        assert answer.status == status


async def test_what_was_rolled_up_is_compared_too(start: StartApi) -> None:
    days = Rollup(RollupStep(86_400), 400 * 86_400)
    rollups = (Rollup(RollupStep(3_600), 30 * 86_400), days)
    settings = replace(PARTITION_SETTINGS, windows=WindowPolicy(900, 30, 86_400, rollups))
    made, now = holder(count=1, settings=settings), int(NOW) // 900 * 900
    for hour in range(24 * 40):
        begin = now - 3_600 * (24 * 40 - hour)
        made.add("c", begin, counts({"SUCCESS": 9, "FAILURE": 1}, "0"))
        made.advance(begin + 899)
    api = await start(made, settings=settings)
    asked = "/v1/campaigns/c/compare?from={}&to={}"
    for back, until, step in ((5, 1, 3_600), (20, 3, 7_200), (39, 2, 86_400)):
        begin, end = ((now - 86_400 * days) // 86_400 * 86_400 for days in (back, until))
        answer = await api.get(asked.format(begin * 1000, end * 1000))
        assert answer["step_seconds"] == step
        assert answer.get("complete_from", "") <= rfc3339(begin)
        (group,) = answer["groups"]
        assert group["attempts"] == 240 * (back - until)
        assert group["windows"] <= 256
    assert (await api.get("/v1/campaigns/c/compare?to=0"))["groups"] == []
