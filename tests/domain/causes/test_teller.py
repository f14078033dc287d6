"""The teller of a rule: what receivers are sent, and what happens when something is wrong.

The golden files are the contract with receivers: change one with the documentation.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import orjson
import pytest
from msgspec import UNSET

from streams.domain import group_transitions
from streams.domain.causes import exchange, teller
from streams.domain.causes.exchange import (
    Announcement,
    AnnouncementKey,
    GroupReason,
    GroupView,
    LaneReport,
    Member,
    MemberKey,
    ReportKey,
    teller_of,
)
from streams.domain.causes.records import decode_record, encode_record
from streams.domain.causes.summary import CellSum, Frame, LaneSummary
from streams.domain.causes.teller import TellerParts, Tellers
from streams.domain.deliveries import Delivery, Outbox
from streams.domain.group_transitions import GroupCause, GroupCounts, GroupData, summary_of
from streams.domain.names import Names
from streams.domain.notification.grouping import GroupTimes
from streams.domain.transitions import rfc3339
from tests.support.partitions import FAILURE_SPIKE

GOLDEN = Path(__file__).parent / "golden"
RULE = replace(FAILURE_SPIKE, labels={"team": "sending"})
NOW = 1_795_428_042.0  # 2026-11-23T10:00:42Z
SINCE = 1_795_428_000
TIMES = GroupTimes(group_wait=5.0, group_interval=60.0)


def cell(evidence: int, hits: int) -> CellSum:
    statuses = {"FAILURE": (hits, 3_000)}
    return CellSum(12, 1_000, hits, 6_000, (evidence,) * 4, statuses)


def report(at: float, *, evidence: int = 18_000, lane: int = 0) -> bytes:
    """Sums in which the channel GCM of one app fails."""
    cells = (
        (("shop", "EMAIL", "EMAIL"), cell(-18_000, 6)),
        (("shop", "GCM", "GCM"), cell(evidence, 900)),
    )
    summary = LaneSummary(lane, RULE.name, int(at * 1000), (Frame(SINCE, cells),))
    return exchange.encode(LaneReport(summary, at, True, 0))


def member(number: int, version: int, **changes: object) -> Member:
    made = Member(
        alert_id=f"alert-{number}",
        rule=RULE.name,
        lane=0,
        version=version,
        campaign_id=f"campaign {number} 100%",
        app_id="shop",
        severity="critical",
        receivers=("ops",),
        cause_id="",
        starts_at=NOW - 2 + number,
        attempts=400,
        hits=100 * number,
    )
    return replace_member(made, **changes)


def replace_member(made: Member, **changes: object) -> Member:
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    return Member(**{**fields, **changes})


class Told:
    """A teller with a view of its own, of one lane."""

    def __init__(self, receivers: Sequence[str] = ("ops",)) -> None:
        self.view = GroupView()
        self.outbox = Outbox()
        self.receivers = tuple(receivers)
        self.names = Names()
        self.tellers = self.opened()

    def opened(self) -> Tellers:
        return Tellers(
            TellerParts(
                number=0,
                lanes=1,
                rules=(RULE,),
                receivers=self.receivers,
                times={"ops": TIMES},
                view=self.view,
                outbox=self.outbox,
                base_url="https://streams.example.com",
                names=self.names,
            )
        )

    def report(self, at: float, **changes: int) -> None:
        self.view.restore(exchange.encode(ReportKey(RULE.name, 0)), report(at, **changes))

    def put(self, *members: Member) -> None:
        for each in members:
            key = MemberKey(each.rule, each.lane, each.alert_id)
            self.view.restore(exchange.encode(key), exchange.encode(each))

    def cause_id(self) -> str:
        for key, value in self.tellers.take_records():
            self.view.restore(key, value)
        (cause,) = self.view.announced[RULE.name].causes
        return cause.cause_id

    def restart(self) -> None:
        """Go on from what is written."""
        written = dict(self.tellers.take_changes())
        self.tellers = self.opened()
        for key, record in written.items():
            self.tellers.restore(key, decode_record(encode_record(record)))

    def take(self) -> list[Delivery]:
        found = self.outbox.deliveries()
        list(self.outbox.take_changes())
        self.outbox.mark_committed()
        for each in self.outbox.due(NOW + 10_000):
            self.outbox.delivered(each)
        return found


def story() -> dict[str, bytes]:
    """A group of two that grows, and ends; by the name of the golden file."""
    told = Told()
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    told.put(member(1, 1, cause_id=cause_id), member(2, 2, cause_id=cause_id))
    told.tellers.step(NOW + 1)
    assert told.take() == [], "it waits"
    told.restart()
    told.tellers.step(NOW + 6)
    (firing,) = told.take()
    told.put(member(3, 3, cause_id=cause_id))
    told.tellers.step(NOW + 7)
    told.restart()
    told.tellers.step(NOW + 66)
    (updated,) = told.take()
    told.put(*(member(n, 3 + n, cause_id=cause_id, ended_at=NOW + 90) for n in (1, 2, 3)))
    told.tellers.step(NOW + 91)
    told.tellers.step(NOW + 126)
    (resolved,) = told.take()
    told.tellers.step(NOW + 1_000)
    assert told.take() == [], "it ends once"
    ids = [each.webhook_id for each in (firing, updated, resolved)]
    assert ids == [f"{cause_id}.{n}" for n in (1, 2, 3)]
    assert (firing.receiver, firing.alert_id, firing.campaign_id) == ("ops", cause_id, "")
    named = {"firing": firing, "updated": updated, "resolved": resolved}
    return {name: bytes(each.transition) for name, each in named.items()}


def reminded() -> bytes:
    """A group of which nothing is new for hours."""
    told = Told()
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    told.put(member(1, 1, cause_id=cause_id), member(2, 2, cause_id=cause_id))
    told.tellers.step(NOW + 1)
    told.tellers.step(NOW + 6)
    told.take()
    told.tellers.step(NOW + 4 * 3600)
    assert told.take() == []
    told.tellers.step(NOW + 4 * 3600 + 6)
    (reminder,) = told.take()
    return bytes(reminder.transition)


@pytest.mark.parametrize("name", ["firing", "updated", "reminder", "resolved"])
def test_golden(name: str) -> None:
    made = {**story(), "reminder": reminded()}
    sent = orjson.loads(made[name])
    jsonschema.validate(sent, group_transitions.json_schema())
    written = (GOLDEN / f"{name}.json").read_text()
    assert orjson.dumps(sent, option=orjson.OPT_INDENT_2).decode() + "\n" == written
    assert group_transitions.is_of_group(made[name])


def test_one_that_ended_before_the_group_was_told_of_is_told() -> None:
    told = Told()
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    told.put(member(1, 1, cause_id=cause_id, ended_at=NOW + 1))
    told.tellers.step(NOW + 1)
    told.tellers.step(NOW + 7)
    (firing,) = told.take()
    assert [a.alert_id for a in group_transitions.decode(firing.transition).data.alerts] == [
        "alert-1"
    ]
    told.tellers.step(NOW + 8)
    told.tellers.step(NOW + 70)
    (resolved,) = told.take()
    assert group_transitions.decode(resolved.transition).type == "campaign.group.resolved"


def test_a_view_that_lags_behind_brings_nothing_back() -> None:
    """Another worker has read less of the topic than the teller knows."""
    told = Told()
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    first = member(1, 1, cause_id=cause_id)
    told.put(first)
    told.tellers.step(NOW + 1)
    told.put(member(1, 2, cause_id=cause_id, ended_at=NOW + 2))
    told.tellers.step(NOW + 6)
    assert len(told.take()) == 1
    told.restart()
    told.put(first)
    told.tellers.step(NOW + 70)
    (resolved,) = told.take()
    assert group_transitions.decode(resolved.transition).type == "campaign.group.resolved"
    told.tellers.step(NOW + 80)
    told.tellers.step(NOW + 200)
    assert told.take() == []


def test_one_that_comes_back_is_another_member_of_the_group() -> None:
    told = Told()
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    told.put(member(1, 1, cause_id=cause_id), member(2, 2, cause_id=cause_id))
    told.tellers.step(NOW + 1)
    told.tellers.step(NOW + 6)
    assert len(told.take()) == 1
    told.put(member(1, 3, cause_id=cause_id, ended_at=NOW + 7))
    told.tellers.step(NOW + 8)
    told.put(member(1, 4, cause_id=cause_id, episode=2, starts_at=NOW + 9))
    told.tellers.step(NOW + 10)
    told.restart()
    told.tellers.step(NOW + 70)
    (updated,) = told.take()
    data = group_transitions.decode(updated.transition).data
    assert (data.counts.firing, data.counts.joined, data.counts.new) == (2, 3, 1)
    assert [each.alert_id for each in data.alerts] == ["alert-2", "alert-1"]
    assert data.alerts[1].starts_at == rfc3339(NOW + 9)


def test_one_that_comes_back_when_the_group_is_over_has_a_group_of_its_own() -> None:
    told = Told()
    for episode in (1, 2):
        at = NOW + 100 * episode
        first = member(1, 2 * episode, cause_id="long-ago", episode=episode, starts_at=at)
        told.put(first)
        told.tellers.step(at)
        told.tellers.step(at + 6)
        (firing,) = told.take()
        assert firing.webhook_id == f"long-ago-{first.member_id}.1"
        told.put(replace_member(first, version=2 * episode + 1, ended_at=at + 7))
        told.tellers.step(at + 8)
        told.tellers.step(at + 70)
        (resolved,) = told.take()
        assert resolved.webhook_id == f"long-ago-{first.member_id}.2"


def test_no_id_is_used_again_for_an_alert_that_comes_as_the_end_is_told() -> None:
    told = Told()
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    told.put(member(1, 1, cause_id=cause_id))
    told.tellers.step(NOW + 1)
    told.tellers.step(NOW + 6)
    assert len(told.take()) == 1
    # It comes and ends between two notifications, and is told of with the end of the others.
    told.put(member(2, 2, cause_id=cause_id))
    told.tellers.step(NOW + 7)
    told.put(member(1, 3, cause_id=cause_id, ended_at=NOW + 8))
    told.put(member(2, 4, cause_id=cause_id, ended_at=NOW + 8))
    told.tellers.step(NOW + 9)
    told.tellers.step(NOW + 70)
    (resolved,) = told.take()
    assert resolved.webhook_id == f"{cause_id}.2"
    told.put(member(3, 5, cause_id=cause_id, starts_at=NOW + 70))
    told.restart()
    told.tellers.step(NOW + 71)
    told.tellers.step(NOW + 77)
    (firing,) = told.take()
    assert firing.webhook_id == f"{cause_id}-alert-3.1"


def test_no_id_is_used_again_while_another_receiver_is_still_to_be_told() -> None:
    # The other one is told 10 s after a group began, and of its end a minute after that.
    told = Told(receivers=("ops", "later"))
    told.report(NOW)
    told.tellers.step(NOW)
    changes: dict[str, object] = {"cause_id": told.cause_id(), "receivers": ("ops", "later")}
    puts = {
        1: member(1, 1, **changes),
        7: member(1, 2, **changes, ended_at=NOW + 7),
        # Receivers that are told after the first one keep the cause alive.
        65: member(2, 3, **changes),
        66: member(2, 4, **changes, ended_at=NOW + 66),
        67: member(3, 5, **changes),
        68: member(3, 6, **changes, ended_at=NOW + 68),
        69: member(4, 7, **changes),
    }
    bodies: dict[str, set[bytes]] = {}
    for seconds in range(1, 400):
        if seconds in puts:
            told.put(puts[seconds])
        told.tellers.step(NOW + seconds)
        for each in told.take():
            bodies.setdefault(each.delivery_id, set()).add(bytes(each.transition))
    assert {name.rpartition(".")[2] for name in bodies} == {"ops", "later"}
    assert all(len(each) == 1 for each in bodies.values())


def test_an_alert_whose_cause_is_over_has_a_group_of_its_own() -> None:
    told = Told()
    told.put(member(1, 1, cause_id="long-ago"))
    told.tellers.step(NOW)
    told.tellers.step(NOW + 6)
    (firing,) = told.take()
    assert firing.webhook_id == "long-ago-alert-1.1"


def test_a_receiver_that_is_gone_keeps_nothing_waiting() -> None:
    told = Told(receivers=("others",))
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    told.put(member(1, 1, cause_id=cause_id))
    told.tellers.step(NOW + 6)
    told.put(member(1, 2, cause_id=cause_id, ended_at=NOW + 7))
    told.tellers.step(NOW + 8)
    told.tellers.step(NOW + 700)
    told.tellers.step(NOW + 1_400)
    assert told.take() == []
    ((_, record),) = told.tellers.take_changes()
    assert record.members == {}


def test_a_step_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    told.put(member(1, 1, cause_id=cause_id))
    with monkeypatch.context() as patch:
        patch.setattr(Tellers, "_forget", _raise)
        told.tellers.step(NOW + 6)
        told.tellers.step(NOW + 12)
    assert [str(each) for each in told.tellers.take_failures()] == ["broken"] * 2
    assert told.take() == []
    assert list(told.tellers.take_records()) == [], "nobody is told that it was seen"
    told.tellers.step(NOW + 13)
    told.tellers.step(NOW + 19)
    assert [each.webhook_id for each in told.take()] == [f"{cause_id}.1"]


def _raise(*_: object) -> None:
    raise RuntimeError("broken")


def test_lanes_are_told_what_was_seen_and_which_causes_there_are() -> None:
    told = Told()
    told.report(NOW)
    told.tellers.step(NOW)
    told.cause_id()
    told.put(member(1, 8, cause_id=told.view.announced[RULE.name].causes[0].cause_id))
    told.tellers.step(NOW + 1)
    ((key, value), (group_key, _)) = told.tellers.take_records()
    assert group_key.startswith(b'["group","')
    assert key == exchange.encode(AnnouncementKey(RULE.name))
    told.view.restore(key, value)
    announced = told.view.announced[RULE.name]
    assert announced.seen == {0: 8}
    assert announced.causes[0].values == {"app_id": "shop", "channel_type": "GCM"} or (
        announced.causes[0].values == {"channel_type": "GCM"}
    )


def test_others_tell_of_other_rules() -> None:
    lanes = 12
    tellers = {teller_of(f"rule-{n}", lanes) for n in range(200)}
    assert tellers == set(range(lanes))
    told = Told()
    told.view.restore(exchange.encode(ReportKey(RULE.name, 0)), report(NOW))
    parts = TellerParts(
        (teller_of(RULE.name, lanes) + 1) % lanes,
        lanes,
        (RULE,),
        ("ops",),
        {"ops": TIMES},
        told.view,
        told.outbox,
        None,
    )
    tellers_of_another = Tellers(parts)
    tellers_of_another.step(NOW)
    assert list(tellers_of_another.take_changes()) == []


# The view


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", b""),
        (b"\xff", b"{}"),
        (b'["stranger"]', b"{}"),
        (b'["lane","rule",0]', b"{}"),
        (b'["member","rule",0,"id"]', b"[]"),
        (b'["causes","rule"]', b"no JSON"),
    ],
)
def test_what_is_no_record_is_refused_and_changes_nothing(key: bytes, value: bytes) -> None:
    view = GroupView()
    version = view.version
    with pytest.raises(ValueError, match="key "):
        view.restore(key, value)
    assert view.version == version


def test_null_removes_and_old_reports_do_not_count() -> None:
    told = Told()
    told.report(NOW)
    told.put(member(1, 7, cause_id="cause"))
    assert told.view.highest_version(0) == 7
    assert list(told.view.fresh_reports(RULE.name, NOW + exchange.FRESH)) == [0]
    assert list(told.view.fresh_reports(RULE.name, NOW + exchange.FRESH + 0.1)) == []
    told.view.restore(exchange.encode(MemberKey(RULE.name, 0, "alert-1")), None)
    told.view.restore(exchange.encode(ReportKey(RULE.name, 0)), None)
    assert told.view.highest_version(0) == 0
    assert told.view.reports == {RULE.name: {}}


def test_the_group_of_a_cause_that_was_merged() -> None:
    view = GroupView()
    announced = Announcement(RULE.name, merged={"a": "b", "b": "c"})
    view.restore(exchange.encode(AnnouncementKey(RULE.name)), exchange.encode(announced))
    assert [view.group_of(RULE.name, each) for each in "abcd"] == ["c", "c", "c", "d"]
    assert view.group_of("another", "a") == "a"


# Words


def data_of(
    cause: GroupCause | None, counts: GroupCounts, reason: GroupReason = "cause", **labels: str
) -> GroupData:
    """A group of which only the summary is looked at."""
    return GroupData(
        "id", 1, "rule", "critical", "…", None, cause, counts, [], "", {}, None, reason, labels, 12
    )


def test_the_summary_names_the_cause() -> None:
    cause = GroupCause(
        {"app_id": "x" * 100, "channel_type": None}, "TIMEOUT", 0.97, 60.0, 9, 5, 1.0, "…"
    )
    some = data_of(cause, GroupCounts(499, 500, 1, 2))
    assert summary_of("campaign.group.firing", some) == (
        f"rule: no channel of app {'x' * 59}…, status TIMEOUT: 499 alerts firing, 1 ended, "
        "97% of the excess of all campaigns (5 of 9 attempts)"
    )
    everything = data_of(GroupCause({}, None, 1.0, 60.0, 9, 5, 1.0, "…"), GroupCounts(0, 1, 1, 0))
    assert (
        summary_of("campaign.group.resolved", everything)
        == "rule: everything: over, 1 alert in all"
    )


def test_the_summary_names_the_labels_or_the_limit() -> None:
    counts = GroupCounts(13, 15, 2, 13)
    some = data_of(None, counts, "labels", app_id="shop", rule="failure-spike", team="")
    assert summary_of("campaign.group.firing", some) == (
        "app_id=shop, rule=failure-spike, no team: 12 campaigns, 13 alerts firing, 2 ended"
    )
    assert summary_of("campaign.group.updated", data_of(None, counts, "rate-limit")) == (
        "rule: beyond the rate limit: 12 campaigns, 13 alerts firing, 2 ended"
    )


def test_members_have_the_names_of_their_campaigns() -> None:
    told = Told()
    told.names.campaigns.restore(b"campaign 1 100%", b'{"name": "Spring sale"}')
    told.names.apps.restore(b"shop", b'{"name": "The shop"}')
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    told.put(member(1, 1, cause_id=cause_id), member(2, 2, cause_id=cause_id))
    told.tellers.step(NOW + 1)
    told.tellers.step(NOW + 6)
    (firing,) = told.take()
    named = {
        each.campaign_id: (each.campaign_name, each.app_name)
        for each in group_transitions.decode(firing.transition).data.alerts
    }
    assert named == {
        "campaign 1 100%": ("Spring sale", "The shop"),
        "campaign 2 100%": (UNSET, "The shop"),
    }
    sent = orjson.loads(bytes(firing.transition))
    jsonschema.validate(sent, group_transitions.json_schema())


def test_a_group_lists_the_campaigns_of_all_its_alerts_or_none() -> None:
    told = Told()
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    told.put(member(1, 1, cause_id=cause_id), member(2, 2, cause_id=cause_id, app_id=None))
    told.tellers.step(NOW + 1)
    told.restart()
    told.put(member(1, 3, cause_id=cause_id, ended_at=NOW + 2))
    told.tellers.step(NOW + 3)
    assert campaigns_of(told, cause_id) == (("campaign 1 100%", "shop"), ("campaign 2 100%", None))
    told.put(*(member(n, n, cause_id=cause_id) for n in range(4, exchange.MOST_LISTED + 4)))
    told.tellers.step(NOW + 5)
    assert campaigns_of(told, cause_id) is None
    told.put(*(member(n, 200 + n, cause_id=cause_id, ended_at=NOW + 6) for n in range(2, 200)))
    told.tellers.step(NOW + 7)
    assert campaigns_of(told, cause_id) is None, "it was of others"


def campaigns_of(told: Told, group_id: str) -> tuple[tuple[str, str | None], ...] | None:
    for key, value in told.tellers.take_records():
        told.view.restore(key, value)
    state = told.view.group(group_id)
    assert state is not None
    return state.campaigns


def test_of_more_alerts_than_a_record_holds_the_number_is_told_and_they_come_in_as_others_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(teller, "MOST_MEMBERS", 3)
    told = Told()
    told.report(NOW)
    told.tellers.step(NOW)
    cause_id = told.cause_id()
    told.put(*(member(n, n, cause_id=cause_id) for n in range(1, 8)))
    told.tellers.step(NOW + 1)
    assert held_by(told) == {"alert-1", "alert-2", "alert-3"}
    told.tellers.step(NOW + 6)
    (firing,) = told.take()
    data = group_transitions.decode(firing.transition).data
    assert (data.counts.firing, data.counts.more) == (3, 4)
    assert "3 alerts firing and 4 more" in data.summary

    # Four end, of which three are in the record: the others take their places.
    told.put(*(member(n, 10 + n, cause_id=cause_id, ended_at=NOW + 20) for n in (1, 2, 3, 4)))
    told.tellers.step(NOW + 20)
    assert held_by(told) == {"alert-5", "alert-6", "alert-7"}
    told.tellers.step(NOW + 67)
    (updated,) = told.take()
    data = group_transitions.decode(updated.transition).data
    assert updated.alert_id == cause_id, "it is the same group"
    assert (data.counts.firing, data.counts.joined, data.counts.more) == (3, 6, 0)
    assert data.starts_at == rfc3339(NOW - 1)

    told.put(*(member(n, 20 + n, cause_id=cause_id, ended_at=NOW + 80) for n in (5, 6, 7)))
    told.tellers.step(NOW + 80)
    told.tellers.step(NOW + 200)
    (resolved,) = told.take()
    assert group_transitions.decode(resolved.transition).type == "campaign.group.resolved"


def held_by(told: Told) -> set[str]:
    """Return the members that the record of the one rule has, as it is written."""
    told.restart()
    (record,) = told.tellers._records.values()
    return set(record.members)
