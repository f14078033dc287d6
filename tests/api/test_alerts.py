"""Alerts and rules."""

from dataclasses import replace

import pytest

from streams.domain.alert_records import Alert
from streams.domain.alerts import AlertBook
from streams.domain.causes.exchange import Member
from streams.domain.causes.handover import NO_TRANSITION, GroupedAlert, GroupedAlertKey
from streams.domain.operators import Acknowledgement
from streams.domain.rules import ScopeKind
from streams.domain.transitions import AlertData, rfc3339
from tests.api.conftest import NOW, StartApi
from tests.support.partitions import FAILURE_SPIKE, MemoryHolder, counts, holder, partition_settings

T0 = int(NOW) - 60
SCOPES: tuple[ScopeKind, ...] = ("campaign", "treatment", "channel")


def with_alerts(count: int = 3) -> MemoryHolder:
    """Alerts a second apart, in campaigns c0, c1, …; the first is resolved."""
    held = holder()
    for at in range(count):
        held.add(f"c{at}", T0, counts({"SUCCESS": 60, "FAILURE": 40}))
        for partition in held.here.values():
            partition.evaluate(NOW + at)
    for later in (count, count + 180):
        held.add("c0", T0, counts({"SUCCESS": 10_000}))
        for partition in held.here.values():
            partition.evaluate(NOW + later)
    return held


async def test_newest_first_with_all_that_webhooks_tell(start: StartApi) -> None:
    api = await start(with_alerts())
    alerts = (await api.get("/v1/alerts"))["alerts"]
    assert [(alert["campaign_id"], alert["state"]) for alert in alerts] == [
        ("c2", "firing"),
        ("c1", "firing"),
        ("c0", "resolved"),
    ]
    newest, oldest = alerts[0], alerts[-1]
    assert newest["pending_since"] == newest["starts_at"] == rfc3339(NOW + 2)
    assert newest["window"] == {"start": rfc3339(T0), "end": rfc3339(T0 + 60)}
    assert newest["evidence"]["hits"] == 40
    assert newest["ends_at"] is None
    assert oldest["transitions"] == [
        {
            "type": "campaign.alert.firing",
            "timestamp": rfc3339(NOW),
            "sequence": 1,
            "suppressed": None,
            "withheld": [],
            "cause": {"actor": "rule", "reason": "breach", "name": None, "detail": ""},
        },
        {
            "type": "campaign.alert.resolved",
            "timestamp": rfc3339(NOW + 183),
            "sequence": 2,
            "suppressed": None,
            "withheld": [],
            "cause": {"actor": "rule", "reason": "recovered", "name": None, "detail": ""},
        },
    ]
    assert (oldest["peak"]["hits"], oldest["peak"]["attempts"]) == (40, 100)
    assert (oldest["totals"]["hits"], oldest["totals"]["attempts"]) == (40, 20_100)
    assert oldest["ends_at"] == rfc3339(NOW + 183)
    assert await api.get(f"/v1/alerts/{newest['alert_id']}") == {
        "as_of": rfc3339(NOW),
        "partial": False,
        "missing_partitions": [],
        "alert": newest,
    }


async def test_filters(start: StartApi) -> None:
    api = await start(with_alerts())
    for query, expected in (
        ("state=firing", ["c2", "c1"]),
        ("state=resolved", ["c0"]),
        ("state=pending", []),
        ("campaign_id=c1", ["c1"]),
        ("rule=failure-spike&severity=critical&state=resolved", ["c0"]),
        ("rule=throttled-spike", []),
        ("severity=info", []),
    ):
        alerts = (await api.get(f"/v1/alerts?{query}"))["alerts"]
        assert [alert["campaign_id"] for alert in alerts] == expected, query
    assert "expected one of" in await api.refused("/v1/alerts?state=on", 400)


async def test_filters_by_scope(start: StartApi) -> None:
    rules = tuple(replace(FAILURE_SPIKE, name=scope, scope=scope) for scope in SCOPES)
    held = holder(settings=partition_settings(rules=rules))
    held.add("c", T0, counts({"FAILURE": 60}, "1", None, "SMS"))
    for partition in held.here.values():
        partition.evaluate(NOW)
    api = await start(held)
    for query, expected in (
        ("treatment_id=1", ["treatment"]),
        ("treatment_id=0", []),
        ("channel_type=SMS", ["channel"]),
        ("channel_type=EMAIL", []),
    ):
        alerts = (await api.get(f"/v1/alerts?{query}"))["alerts"]
        assert [alert["rule"] for alert in alerts] == expected, query
    (by_channel,) = (await api.get("/v1/alerts?channel_type=SMS"))["alerts"]
    assert (by_channel["channel_type"], by_channel["delivery_type"]) == ("SMS", None)
    assert ", channel SMS: 60 of 60" in by_channel["summary"]


async def test_pages(start: StartApi) -> None:
    api = await start(with_alerts())
    first = await api.get("/v1/alerts?limit=2")
    second = await api.get(f"/v1/alerts?limit=2&cursor={first['next_cursor']}")
    assert [alert["campaign_id"] for alert in first["alerts"] + second["alerts"]] == [
        "c2",
        "c1",
        "c0",
    ]
    assert second["next_cursor"] is None


async def test_only_a_page_s_alerts_are_made_ready(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await start(with_alerts(20))
    described: list[str] = []
    describe = AlertBook.describe

    def noted(self: AlertBook, alert: Alert) -> AlertData:
        described.append(alert.scope.campaign_id)
        return describe(self, alert)

    monkeypatch.setattr(AlertBook, "describe", noted)
    answer = await api.get("/v1/alerts?limit=2&state=firing")
    assert [alert["campaign_id"] for alert in answer["alerts"]] == described == ["c19", "c18"]


async def test_an_unknown_alert(start: StartApi) -> None:
    api = await start(with_alerts())
    assert "no alert some" in await api.refused("/v1/alerts/some", 404)


async def test_rules(start: StartApi) -> None:
    api = await start(holder())
    (rule,) = (await api.get("/v1/rules"))["rules"]
    assert rule == {
        "name": "failure-spike",
        "statuses": ["FAILURE"],
        "unrecognised": False,
        "scope": "campaign",
        "match": {"campaigns": ["*"], "apps": ["*"]},
        "detector": {
            "kind": "threshold",
            "level": 0.1,
            "confidence": 0.99,
            "recovery_level": 0.05,
            "min_attempts": 10,
            "lookback_windows": 30,
        },
        "for": 0.0,
        "keep_firing_for": 180.0,
        "no_data_after": 900.0,
        "repeat_interval": 14400.0,
        "reopen_within": 0.0,
        "severity": "critical",
        "labels": {},
        "receivers": ["*"],
    }


async def test_an_alert_that_came_back_is_shown_once_with_its_past(start: StartApi) -> None:
    rule = replace(FAILURE_SPIKE, keep_firing_for=0.0, reopen_within=1000.0)
    settings = replace(partition_settings(rules=(rule,)), receivers=("ops", "pager"))
    settings = replace(settings, take_acknowledgements=frozenset({"pager"}))
    held = holder(settings=settings)

    def send(window: int, outcomes: dict[str, int], now: float) -> None:
        held.add("c", T0 + window, counts(outcomes))
        for partition in held.here.values():
            partition.evaluate(now)

    send(0, {"FAILURE": 40, "SUCCESS": 60}, NOW)
    (partition,) = [each for each in held.here.values() if each.alerts.live()]
    (alert,) = partition.alerts.live()
    partition.operators.add(Acknowledgement(alert.alert_id, "ana", "on it", lambda: None))
    partition.evaluate(NOW + 1)
    send(60, {"SUCCESS": 10_000}, NOW + 60)
    send(120, {"FAILURE": 90}, NOW + 120)
    api = await start(held, settings=settings)
    (shown,) = (await api.get("/v1/alerts"))["alerts"]
    assert shown == (await api.get(f"/v1/alerts/{alert.alert_id}"))["alert"]
    assert (shown["alert_id"], shown["state"], shown["sequence"]) == (alert.alert_id, "firing", 4)
    assert (shown["episode"], shown["first_starts_at"]) == (2, rfc3339(NOW))
    assert shown["starts_at"] == rfc3339(NOW + 120)
    (past,) = shown["past_episodes"]
    assert (past["episode"], past["attempts"], past["hits"]) == (1, 10_100, 40)
    assert (past["starts_at"], past["ends_at"]) == (rfc3339(NOW), rfc3339(NOW + 60))
    assert past["peak"]["rate"] == 0.4
    assert [each["sequence"] for each in shown["transitions"]] == [1, 2, 3, 4]
    acknowledged = shown["transitions"][1]
    assert acknowledged["cause"] == {
        "actor": "operator",
        "reason": "acknowledged",
        "name": "ana",
        "detail": "on it",
    }
    assert acknowledged["withheld"] == [
        {
            "reason": "not-supported",
            "detail": "it has no notion of acknowledgements",
            "receiver": "ops",
        }
    ]
    for state, count in (("firing", 1), ("resolved", 0)):
        assert len((await api.get(f"/v1/alerts?state={state}"))["alerts"]) == count
    described = await api.get("/v1/campaigns/c")
    assert [each["alert_id"] for each in described["alerts"]] == [alert.alert_id]


async def test_the_alerts_of_a_group(start: StartApi) -> None:
    held = with_alerts()
    for partition in held.here.values():
        for alert in partition.alerts.alerts():
            cause = "cause" if alert.scope.campaign_id != "c1" else "another"
            member = Member(
                alert_id=alert.alert_id,
                rule=alert.rule,
                lane=partition.number,
                version=1,
                campaign_id=alert.scope.campaign_id,
                app_id=alert.app_id,
                severity=alert.severity,
                receivers=("ops",),
                cause_id=cause,
                starts_at=NOW,
                attempts=100,
                hits=40,
            )
            partition.groups.restore(
                GroupedAlertKey(alert.scope.campaign_id, alert.alert_id),
                GroupedAlert(
                    alert.alert_id,
                    alert.scope.campaign_id,
                    alert.rule,
                    ("ops",),
                    NOW,
                    NO_TRANSITION,
                    member,
                ),
            )
    api = await start(held)
    found = (await api.get("/v1/alerts?group_id=cause"))["alerts"]
    assert [(each["campaign_id"], each["group_id"]) for each in found] == [
        ("c2", "cause"),
        ("c0", "cause"),
    ]
    # An alert whose cause was over when its teller heard of it has a group of its own.
    alone = f"another-{(await api.get('/v1/alerts?group_id=another'))['alerts'][0]['alert_id']}"
    assert len((await api.get(f"/v1/alerts?group_id={alone}"))["alerts"]) == 1
    assert (await api.get("/v1/alerts?group_id=nobody"))["alerts"] == []
    (one,) = (await api.get("/v1/campaigns/c1"))["alerts"]
    assert one["group_id"] == "another"
