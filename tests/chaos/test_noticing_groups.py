"""What is wrong with what a receiver that groups by cause is told, is noticed."""

import re
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka.structs import ConsumerRecord

from tests.chaos.groups import GroupedWebhooks, GroupLedger
from tests.chaos.webhooks import History, Step
from tests.support.oracle import rfc3339

T0 = 1_600_000_000
TEAM = "team"


def told(kind: str, alert_id: str, sequence: int, starts_at: int = T0) -> Any:
    """A transition of an alert, as it is on the topic and in a webhook."""
    data = {"alert_id": alert_id, "sequence": sequence, "rule": "r", "campaign_id": f"c{alert_id}"}
    data |= {"starts_at": rfc3339(starts_at), "episode": 1 if starts_at == T0 else 2}
    timestamp = rfc3339(starts_at + sequence)
    return {"type": f"campaign.alert.{kind}", "timestamp": timestamp, "data": data}


def group(kind: str, sequence: int, firing: int, joined: int, *alerts: str) -> Any:
    """A notification about group g."""
    data: dict[str, Any] = {"group_id": "g", "sequence": sequence, "rule": "r"}
    data["counts"] = {"firing": firing, "joined": joined, "ended": joined - firing}
    data["alerts"] = [{"alert_id": each, "starts_at": rfc3339(T0)} for each in alerts]
    return {"type": f"campaign.group.{kind}", "timestamp": rfc3339(T0 + sequence), "data": data}


class Got:
    """What a receiver was sent, and took, each under its id."""

    def __init__(self, *accepted: Any, refused: tuple[Any, ...] = ()) -> None:
        self.accepted = list(accepted)
        self.sent = [*accepted, *refused]
        self.bodies: dict[str, set[bytes]] = {}
        for value in self.sent:
            data = value["data"]
            of = data["group_id"] if "group_id" in data else data["alert_id"]
            self.bodies.setdefault(f"{of}.{data['sequence']}", set()).add(orjson.dumps(value))


class World(NamedTuple):
    """What there was to tell, and what became of it."""

    transitions: dict[Step, Any]
    suppressed: dict[Step, str]
    members: list[tuple[str, str]]
    """Alerts that were handed over, and their causes."""
    merged: dict[str, str]

    def wrong(self, got: Got, group_id: str | None = "g") -> list[str]:
        """Compare; the API says that all alerts that were handed over are in that group."""
        history, ledger = History(), GroupLedger()
        history.take([self._alert(each, group_id) for each in sorted(self._ids())])
        for alert_id, cause_id in self.members:
            key = ["member", "r", 0, alert_id]
            value: dict[str, Any] = {"alert_id": alert_id, "starts_at": float(T0), "episode": 1}
            value["cause_id"] = cause_id
            value["state"] = "handed-over"
            ledger.take(_record(key, value))
            ledger.take(_record(key, None))
        ledger.take(_record(["causes", "r"], {"merged": self.merged}))
        ledger.take(_record(["lane", "r", 0], {}))
        return list(GroupedWebhooks(TEAM, got, ledger).wrong(history, self.transitions))

    def _ids(self) -> set[str]:
        return {alert_id for alert_id, _ in self.transitions}

    def _alert(self, alert_id: str, group_id: str | None) -> Any:
        steps = [step for step in self.transitions if step[0] == alert_id]
        newest = self.transitions[max(steps)]
        member = any(alert_id == each for each, _ in self.members)
        return {
            "alert_id": alert_id,
            "starts_at": newest["data"]["starts_at"],
            "episode": newest["data"]["episode"],
            "group_id": group_id if member else None,
            "transitions": [
                {
                    "sequence": step[1],
                    "suppressed": {"reason": self.suppressed[step]}
                    if step in self.suppressed
                    else None,
                    "withheld": [],
                }
                for step in steps
            ],
        }


def _record(key: object, value: object) -> ConsumerRecord[bytes | None, bytes | None]:
    encoded = None if value is None else orjson.dumps(value)
    return ConsumerRecord("t", 0, 0, 0, 0, orjson.dumps(key), encoded, None, 0, 0, ())


def of(*transitions: Any, members: tuple[tuple[str, str], ...] = (), **suppressed: str) -> World:
    """A world with these transitions; suppressed by alert: `a1="silenced"` is all of alert 1."""
    steps = {(each["data"]["alert_id"], each["data"]["sequence"]): each for each in transitions}
    reasons = {step: suppressed[f"a{step[0]}"] for step in steps if f"a{step[0]}" in suppressed}
    return World(steps, reasons, list(members), {})


FIRES, ENDS = told("firing", "1", 1), told("resolved", "1", 2)
OTHER, OTHER_ENDS = told("firing", "2", 1), told("resolved", "2", 2)
BOTH = ("1", "g"), ("2", "g")
GOES_ON = of(FIRES, OTHER, members=BOTH)
OVER = of(FIRES, OTHER, ENDS, OTHER_ENDS, members=BOTH)
ALONE = of(FIRES, ENDS)
BEGINS, GROWS = group("firing", 1, 1, 1, "1"), group("updated", 2, 2, 2, "1", "2")
IS_OVER = group("resolved", 3, 0, 2, "1", "2")


@pytest.mark.parametrize(
    ("world", "got"),
    [
        (ALONE, Got(FIRES, ENDS)),
        (ALONE, Got(FIRES, FIRES, ENDS, refused=(ENDS,))),
        (GOES_ON, Got(BEGINS, GROWS)),
        (GOES_ON, Got(BEGINS, BEGINS, GROWS)),
        (OVER, Got(BEGINS, GROWS, IS_OVER, IS_OVER)),
        # One of so many that it is not listed is in the group that its cause has.
        (GOES_ON, Got(group("firing", 1, 2, 2, "1"))),
        (GOES_ON._replace(members=[("1", "g"), ("2", "h")], merged={"h": "g"}), Got(BEGINS, GROWS)),
        # It came back, and was told by itself then.
        (
            of(*OVER.transitions.values(), told("firing", "1", 3, T0 + 60), members=BOTH),
            Got(BEGINS, GROWS, IS_OVER, told("firing", "1", 3, T0 + 60)),
        ),
        (of(FIRES, OTHER, members=(("1", "g"),), a2="silenced"), Got(BEGINS)),
    ],
)
def test_nothing_is_wrong(world: World, got: Got) -> None:
    assert world.wrong(got) == []


@pytest.mark.parametrize(
    ("world", "got", "wrong"),
    [
        (ALONE, Got(), "1.*was never told, by itself or in a group"),
        (ALONE, Got(FIRES), "resolved 2 .* was never told to team"),
        (ALONE, Got(ENDS, FIRES), "told before its firing"),
        (GOES_ON, Got(BEGINS, FIRES, GROWS), "1.* was told by itself, and in a group"),
        (GOES_ON, Got(BEGINS, GROWS, refused=(OTHER,)), "2.* was told by itself, and in a group"),
        (GOES_ON, Got(), "2.* was never told, by itself or in a group"),
        (of(FIRES, OTHER, members=(("1", "g"),)), Got(BEGINS), "firing 1 of 2 .* was never told"),
        (of(FIRES, a1="silenced"), Got(FIRES), "was sent, though it is"),
        (of(FIRES, members=(("1", "g"),), a1="silenced"), Got(BEGINS), "though it is silenced"),
        (of(FIRES, a1="silenced"), Got(BEGINS), "though it is silenced"),
        (GOES_ON, Got(GROWS), "was told after 0"),
        (GOES_ON, Got(BEGINS, group("updated", 3, 2, 2, "1", "2")), "was told after 1"),
        (GOES_ON, Got(group("updated", 1, 2, 2, "1", "2")), "is no beginning"),
        (GOES_ON, Got(BEGINS, group("firing", 2, 2, 2, "1", "2")), "one too many"),
        (GOES_ON, Got(BEGINS, group("firing", 1, 2, 2, "1", "2")), "g.1 has 2 bodies"),
        (GOES_ON, Got(BEGINS, GROWS, IS_OVER), "has ended, and .* fires"),
        (OVER, Got(BEGINS, GROWS), "has not ended"),
        (
            OVER,
            Got(BEGINS, GROWS, IS_OVER, group("resolved", 4, 0, 2, "1")),
            "told after its end",
        ),
        (OVER, Got(BEGINS, GROWS, group("resolved", 3, 0, 1)), "has had 2 alerts"),
        (GOES_ON, Got(BEGINS, group("updated", 2, 1, 2, "1", "7")), "is not on the alerts topic"),
    ],
)
def test_what_is_wrong(world: World, got: Got, wrong: str) -> None:
    assert re.search(wrong, "\n".join(world.wrong(got))), world.wrong(got)


def test_counts_that_do_not_fit() -> None:
    value = group("updated", 2, 2, 2, "1", "2")
    value["data"]["counts"]["ended"] = 1
    (problem,) = GOES_ON.wrong(Got(BEGINS, value))
    assert "do not fit" in problem


@pytest.mark.parametrize("group_id", [None, "h"])
def test_an_alert_that_is_not_found_by_its_group(group_id: str | None) -> None:
    problems = GOES_ON.wrong(Got(BEGINS, GROWS), group_id)
    assert problems == [f"alert {n} is in group {group_id}, says the API" for n in (1, 2)]


@pytest.mark.parametrize("name", ["g.2", "1.1"])
def test_an_id_of_something_else(name: str) -> None:
    got = Got(BEGINS, GROWS)
    got.bodies[name] = got.bodies.pop("g.1")
    assert any("is 1 of g" in each for each in GOES_ON.wrong(got))
