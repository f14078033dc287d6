"""Why rules fire or do not, and what they compare windows with, asked of real servers."""

from dataclasses import replace
from typing import Any

import pytest

from streams.domain.counts import OTHER
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold
from streams.domain.partial_counts import partition_of
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rules import Rule
from streams.domain.transitions import rfc3339
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.api.test_cluster import HERE, THERE, name_in
from tests.api.test_visibility import http
from tests.support.partitions import (
    STATUS_GROUPS,
    MemoryHolder,
    counts,
    holder,
    partition_settings,
)
from tests.support.silences import silence_of

FAILURE = STATUS_GROUPS.statuses_of("failure")
SPIKE = Rule("spike", FAILURE, Spike())
LEVEL = Rule("level", FAILURE, Threshold(0.1))
SETTINGS = partition_settings(rules=(SPIKE, LEVEL))
MINUTES = 30
FIRST = int(NOW) - 60 * MINUTES


def fill(held: MemoryHolder, name: str, *, bad: int = 0) -> None:
    """Count half an hour of a campaign, of which the last minutes may be bad; evaluate."""
    for minute in range(MINUTES):
        failed = 300 if minute >= MINUTES - bad else 5 + minute % 3
        start = FIRST + 60 * minute
        held.add(name, start, counts({"SUCCESS": 500 - failed, "FAILURE": failed}))
        for partition in held.here.values():
            partition.advance(start + 59, 10**9 + minute)


async def started(start: StartApi, *, bad: int = 0, **options: Any) -> RunningApi:
    held = holder(settings=SETTINGS)
    fill(held, "c", bad=bad)
    return await start(held, settings=SETTINGS, **options)


async def test_a_calm_campaign_says_why_nothing_fires(start: StartApi) -> None:
    api = await started(start)
    answer = await api.get("/v1/campaigns/c/explain")
    assert answer["at"] == rfc3339(NOW - 1)
    assert answer["basis"] == {"kind": "state", "windows": None, "grain_seconds": None}
    assert answer["episodes"] == []
    spike, level = answer["standings"]
    assert (spike["rule"], spike["detector"], spike["standing"]) == (
        "spike",
        "spike",
        "not-breaching",
    )
    assert spike["usual_rate"] == pytest.approx(0.012, abs=0.002)
    assert spike["figures"]["usual_attempts"] > 1_000
    assert spike["figures"]["dispersion"] > 0
    assert spike["requirements"][0]["name"] == "evidence"
    assert (level["attempts"], level["hits"], level["rate"]) == (500, 7, 0.014)
    assert level["hits_missing"] > 20
    assert level["alert_id"] is None
    assert "silenced_until" not in level
    assert [each["is_met"] for each in level["requirements"]] == [True, False]


async def test_a_rule_that_fires_names_its_alert_and_silence(start: StartApi) -> None:
    api = await started(start, bad=3)
    (alert,) = (await api.get("/v1/alerts?rule=level"))["alerts"]
    (level,) = (await api.get("/v1/campaigns/c/explain?rule=level"))["standings"]
    assert (level["standing"], level["alert_id"]) == ("firing", alert["alert_id"])
    assert level["hits_missing"] == 0
    assert all(each["is_met"] for each in level["requirements"])
    SETTINGS.silences.put(silence_of("one", "rule=level", now=NOW))
    try:
        (level,) = (await api.get("/v1/campaigns/c/explain?rule=level"))["standings"]
    finally:
        SETTINGS.silences.clear()
    assert level["silenced_until"] == rfc3339(NOW + 3600)
    assert level["why"].endswith("nobody is notified, as it is silenced")


async def test_a_moment_of_the_past_is_told_again(start: StartApi) -> None:
    api = await started(start, bad=10)
    before = FIRST + 60 * (MINUTES - 11)
    answer = await api.get(f"/v1/campaigns/c/explain?at={rfc3339(before)}")
    assert answer["at"] == rfc3339(before)
    assert answer["basis"] == {"kind": "windows", "windows": 20, "grain_seconds": 2.0}
    assert [each["standing"] for each in answer["standings"]] == ["not-breaching"] * 2
    assert answer["episodes"] == []
    during = FIRST + 60 * (MINUTES - 9) + 59
    answer = await api.get(f"/v1/campaigns/c/explain?at={during * 1000}")
    assert [each["standing"] for each in answer["standings"]] == ["firing"] * 2
    kept = {each["rule"]: each for each in answer["episodes"]}
    for standing in answer["standings"]:
        alert = (await api.get(f"/v1/alerts/{standing['alert_id']}"))["alert"]
        assert alert["rule"] == standing["rule"]
        assert kept[alert["rule"]]["starts_at"] == alert["starts_at"]


async def test_what_cannot_be_told_is_refused(start: StartApi) -> None:
    api = await started(start)
    path = "/v1/campaigns/c/explain"
    told = await api.refused(f"{path}?at={rfc3339(FIRST - 61)}", 400)
    assert told.endswith(f"retained windows begin at {rfc3339(FIRST)}")
    assert "did you mean spike?" in await api.refused(f"{path}?rule=spik", 400)
    assert "known here: spike, level" in await api.refused(f"{path}?rule=x", 400)
    await api.refused("/v1/campaigns/nobody/explain", 404)
    await api.refused("/v1/campaigns/nobody/baseline", 404)


async def test_rows_for_spreadsheets(start: StartApi) -> None:
    api = await started(start)
    for path, title in (("explain", "rule,detector,"), ("baseline", "start,usual_rate,")):
        answer = await api.ask(f"/v1/campaigns/c/{path}", headers={"Accept": "text/csv"})
        assert answer.body.decode().startswith(title)


async def test_campaigns_counted_together_have_no_rules(start: StartApi) -> None:
    api = await started(start)
    api.holder.add(OTHER, int(NOW) - 60, counts({"FAILURE": 10}), partition=0)
    answer = await api.get(f"/v1/campaigns/{OTHER}/explain")
    assert {each["standing"] for each in answer["standings"]} == {"not-about"}


# Any worker answers


async def test_any_worker_answers_for_all(start: StartApi) -> None:
    here, there = holder(numbers=HERE, settings=SETTINGS), holder(numbers=THERE, settings=SETTINGS)
    one, other = [await start(held, settings=SETTINGS) for held in (here, there)]
    here.others.update(dict.fromkeys(THERE, other.url))
    there.others.update(dict.fromkeys(HERE, one.url))
    for held, name in ((here, name_in(HERE)), (there, name_in(THERE))):
        fill(held, name)
        for path in ("explain", "baseline", f"explain?at={rfc3339(NOW - 300)}"):
            answers = [await api.get(f"/v1/campaigns/{name}/{path}") for api in (one, other)]
            for answer in answers:
                del answer["as_of"]
            assert answers[0] == answers[1]
    del there.here[partition_of(name_in(THERE), 4)]
    await one.refused(f"/v1/campaigns/{name_in(THERE)}/explain", 503)


async def test_who_may_not_see_a_campaign_is_told_nothing_of_it(start: StartApi) -> None:
    settings: PartitionSettings = replace(
        SETTINGS, rules=(SPIKE, replace(LEVEL, campaigns=("autumn-*",)))
    )
    held = holder(settings=settings)
    for name in ("spring-1", "autumn-1"):
        fill(held, name)
    api = await start(held, http(), settings=settings)
    headers = {"Authorization": "Bearer spring"}
    for path in ("explain", "baseline"):
        seen = await api.ask(f"/v1/campaigns/spring-1/{path}", headers=headers)
        assert seen.status == 200
        hidden = await api.ask(f"/v1/campaigns/autumn-1/{path}", headers=headers)
        assert hidden.status == 404
    answer = await api.ask("/v1/campaigns/spring-1/explain", headers=headers)
    assert [each["rule"] for each in answer.json["standings"]] == ["spike"]
    everything = await api.ask(
        "/v1/campaigns/spring-1/explain", headers={"Authorization": "Bearer all"}
    )
    assert [each["standing"] for each in everything.json["standings"]] == [
        "not-breaching",
        "not-about",
    ]


# The baseline


async def test_each_window_has_the_levels_that_were_learned_before_it(start: StartApi) -> None:
    api = await started(start, bad=3)
    answer = await api.get("/v1/campaigns/c/baseline")
    assert (answer["rule"], answer["window_seconds"]) == ("spike", 60)
    points = answer["points"]
    assert [each["start"] for each in points] == [
        rfc3339(FIRST + 60 * minute) for minute in range(MINUTES)
    ]
    assert (points[0]["usual_attempts"], points[0]["limit_rate"]) == (0.0, 0.3)
    settled = points[10:]
    assert all(0.01 < each["usual_rate"] < 0.02 for each in settled)
    assert {each["limit_rate"] for each in settled} == {0.04}
    assert all(0.04 < each["firing_rate"] < 0.5 for each in settled)
    bad = [each["usual_rate"] for each in points[-2:]]
    assert bad == [points[-3]["usual_rate"]] * 2, "an incident is not learned"
    (spike,) = (await api.get("/v1/campaigns/c/explain?rule=spike"))["standings"]
    assert points[-1]["usual_rate"] == pytest.approx(spike["usual_rate"], rel=0.1)


async def test_a_range_and_steps_of_the_baseline(start: StartApi) -> None:
    api = await started(start)
    every = (await api.get("/v1/campaigns/c/baseline"))["points"]
    begin, end = FIRST + 600, FIRST + 1_200
    asked = f"from={rfc3339(begin)}&to={rfc3339(end)}"
    some = (await api.get(f"/v1/campaigns/c/baseline?{asked}"))["points"]
    assert some == every[10:20]
    merged = (await api.get(f"/v1/campaigns/c/baseline?{asked}&step=300"))["points"]
    in_steps = {at - at % 300 for at in range(begin, end, 60)}
    assert [each["start"] for each in merged] == [rfc3339(at) for at in sorted(in_steps)]
    assert min(each["firing_rate"] for each in merged) == min(s["firing_rate"] for s in some)
    level = (await api.get("/v1/campaigns/c/baseline?rule=level"))["points"]
    assert {each["limit_rate"] for each in level} == {0.1}
    assert {each["usual_rate"] for each in level} == {None}
    path = "/v1/campaigns/c/baseline"
    assert "multiple of the window size" in await api.refused(f"{path}?step=61", 400)
    assert "from: " in await api.refused(f"{path}?from=10&to=10", 400)
    assert "not about channels" in await api.refused(f"{path}?channel_type=SMS", 400)


async def test_parts_of_a_campaign_have_baselines_of_their_own(start: StartApi) -> None:
    settings = partition_settings(rules=(replace(SPIKE, scope="channel"),))
    held = holder(settings=settings)
    for minute in range(MINUTES):
        for channel, failed in (("SMS", 50), ("PUSH", 1)):
            sends = counts({"SUCCESS": 500 - failed, "FAILURE": failed}, channel_type=channel)
            held.add("c", FIRST + 60 * minute, sends)
    api = await start(held, settings=settings)
    assert "give the name of one" in await api.refused("/v1/campaigns/c/baseline", 400)
    rates = []
    for channel in ("SMS", "PUSH"):
        answer = await api.get(f"/v1/campaigns/c/baseline?rule=spike&channel_type={channel}")
        assert answer["channel_type"] == channel
        rates.append(answer["points"][-1]["usual_rate"])
    assert rates == [pytest.approx(0.1, abs=0.01), pytest.approx(0.002, abs=0.002)]


# The list


async def test_campaigns_by_how_much_they_certainly_rose(start: StartApi) -> None:
    held = holder(settings=SETTINGS)
    for minute in range(MINUTES):
        start_at, is_lately = FIRST + 60 * minute, minute >= MINUTES - 3
        for name, usual, now in (
            ("always bad", 150, 150),
            ("risen", 5, 60),
            ("risen a little", 5, 12),
            ("fallen", 60, 5),
        ):
            failed = now if is_lately else usual
            held.add(name, start_at, counts({"SUCCESS": 500 - failed, "FAILURE": failed}))
        for partition in held.here.values():
            partition.advance(start_at + 59, 10**9 + minute)
    api = await start(held, settings=SETTINGS)
    held.add("new", int(NOW) - 60, counts({"FAILURE": 1}))
    rows = (await api.get("/v1/campaigns?active_within=3m&sort=-failure_change"))["campaigns"]
    assert [row["campaign_id"] for row in rows] == [
        "risen",
        "risen a little",
        "always bad",
        "fallen",
        "new",
    ]
    for row in rows[:4]:
        change = row["lower_bounds"]["failure"] - row["usual_rates"]["failure"]
        assert row["changes"]["failure"] == change
        assert row["changes"]["throttled"] is None
    assert rows[0]["changes"]["failure"] > 0.05
    assert rows[2]["usual_rates"]["failure"] == pytest.approx(0.3, abs=0.02)
    top = await api.get("/v1/campaigns?active_within=3m&sort=-failure_change&limit=2")
    assert top["campaigns"] == rows[:2]
    cursor = top["next_cursor"]
    rest = await api.get(
        f"/v1/campaigns?active_within=3m&sort=-failure_change&limit=9&cursor={cursor}"
    )
    assert rest["campaigns"] == rows[2:]
    csv = await api.ask(
        "/v1/campaigns?sort=-failure_change&limit=1", headers={"Accept": "text/csv"}
    )
    assert b"usual_rates.failure" in csv.body
    assert b"changes.failure" in csv.body


async def test_the_order_is_the_same_at_every_worker(start: StartApi) -> None:
    here, there = holder(numbers=HERE, settings=SETTINGS), holder(numbers=THERE, settings=SETTINGS)
    for minute in range(10):
        for number in range(12):
            name = f"c{number}"
            held = here if partition_of(name, 4) in HERE else there
            failed = 5 + 10 * number * (minute == 9)
            sends = counts({"SUCCESS": 500 - failed, "FAILURE": failed})
            held.add(name, int(NOW) - 600 + 60 * minute, sends)
        for each in (here, there):
            each.advance(int(NOW) - 600 + 60 * minute + 59)
    one, other = [await start(held, settings=SETTINGS) for held in (here, there)]
    here.others.update(dict.fromkeys(THERE, other.url))
    there.others.update(dict.fromkeys(HERE, one.url))
    for api in (one, other):
        found: list[str] = []
        cursor = ""
        while len(found) < 12:
            target = f"/v1/campaigns?active_within=1m&sort=-failure_change&limit=5{cursor}"
            answer = await api.get(target)
            found += [row["campaign_id"] for row in answer["campaigns"]]
            cursor = f"&cursor={answer['next_cursor']}"
        assert found == [f"c{number}" for number in range(11, -1, -1)]


async def test_names_of_rules_about_others_are_not_told(start: StartApi) -> None:
    hidden = Rule("acquisition-of-acme", FAILURE, Threshold(0.1), campaigns=("autumn-*",))
    settings = partition_settings(rules=(SPIKE, hidden))
    held = holder(settings=settings)
    fill(held, "spring-1")
    api = await start(held, http(), settings=settings)
    headers = {"Authorization": "Bearer spring"}
    for campaign in ("spring-1", "autumn-1"):
        for name in ("zzz", "acquisition-of-acme", "acquisition-of-acm"):
            path = f"/v1/campaigns/{campaign}/explain?rule={name}"
            answer = await api.ask(path, headers=headers)
            assert answer.status == 400
            assert "acme" not in answer.body.decode().replace(f"rule={name}", "")
