from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.alert_labels import of_data
from streams.domain.notification.route import Routes, route
from streams.domain.notification.stage import Notification, Suppressed, Withheld
from streams.domain.silences.matchers import CompiledMatcher, Matcher, parse
from streams.domain.transitions import Transition, TransitionType
from tests.support.transitions import explained, firing

TRANSITION = firing(rule="failing")
PAGER = {"pager": (parse("severity=critical"), parse('team=~"crm|shop"'))}


def labelled(
    type_: TransitionType = "campaign.alert.firing", *, severity: str = "critical", **labels: str
) -> Transition:
    made = explained(type_)
    data = msgspec.structs.replace(made.data, severity=severity, labels=labels)
    return msgspec.structs.replace(made, data=data)


@pytest.mark.parametrize(
    ("named", "routed"),
    [
        (("*",), ("ops", "dev")),
        (("dev",), ("dev",)),
        (("dev", "ops"), ("ops", "dev")),
        (("dev", "*"), ("ops", "dev")),
    ],
)
def test_to_configured_receivers_that_the_rule_names(
    named: tuple[str, ...], routed: tuple[str, ...]
) -> None:
    decision = route(("ops", "dev"))(Notification(TRANSITION, named), 0.0)
    assert decision == Notification(TRANSITION, routed)


def test_one_that_is_not_configured_any_more_is_named() -> None:
    decision = route(("ops", "dev"))(Notification(TRANSITION, ("dev", "gone", "gone")), 0.0)
    why = Withheld("gone", "no-receiver", "it is not configured any more")
    assert decision == Notification(TRANSITION, ("dev",), withheld=(why,))


@pytest.mark.parametrize("type_", get_args(TransitionType))
def test_what_comes_of_an_alert_goes_to_those_who_know_of_it_too(type_: TransitionType) -> None:
    follow_up = Transition(type_, TRANSITION.timestamp, TRANSITION.data)
    decision = route(("ops", "dev", "new"))(Notification(follow_up, ("new",), ("dev",)), 0.0)
    assert isinstance(decision, Notification)
    goes_on = type_.endswith(("firing", "reminder"))
    assert decision.receivers == (("new",) if goes_on else ("dev", "new"))


@pytest.mark.parametrize(
    ("configured", "named", "detail"),
    [
        ((), ("*",), "no receiver is configured"),
        (("ops",), (), "rule failing names no receiver"),
        (("ops",), ("gone", "dev"), "not configured any more: gone, dev"),
    ],
)
def test_to_nobody(configured: tuple[str, ...], named: tuple[str, ...], detail: str) -> None:
    decision = route(configured)(Notification(TRANSITION, named), 0.0)
    assert decision == Suppressed("no-receiver", detail)


@pytest.mark.parametrize(
    ("transition", "why"),
    [
        (labelled(team="crm"), None),
        (labelled(team="shop"), None),
        (
            labelled(team="shops"),
            'team=~"crm|shop" does not match: team is "shops"',
        ),
        (labelled(), 'team=~"crm|shop" does not match: there is no team'),
        (
            labelled(severity="warning", team="crm"),
            'severity="critical" does not match: severity is "warning"',
        ),
    ],
)
def test_all_matchers_of_a_receiver_have_to_match(transition: Transition, why: str | None) -> None:
    decision = route(("ops", "pager"), PAGER)(Notification(transition, ("*",)), 0.0)
    withheld = () if why is None else (Withheld("pager", "not-matched", why),)
    routed = ("ops",) if why else ("ops", "pager")
    assert decision == Notification(transition, routed, withheld=withheld)


def test_who_is_not_named_is_not_told_of_by_its_matchers() -> None:
    notification = Notification(labelled(), ("ops",))
    assert route(("ops", "pager"), PAGER)(notification, 0.0) == notification


def test_nobody_if_the_matchers_of_all_exclude_it() -> None:
    names = [f"r{number}" for number in range(7)]
    matchers = dict.fromkeys(names, (parse("severity=info"),))
    decision = route(names, matchers)(Notification(labelled(), ("*",)), 0.0)
    why = 'severity="info" does not match: severity is "critical"'
    named = "; ".join(f"{name}: {why}" for name in names[:5])
    assert decision == Suppressed("not-matched", f"{named}; and 2 more")


@pytest.mark.parametrize("type_", ["campaign.alert.resolved", "campaign.alert.expired"])
def test_an_end_goes_to_those_who_know_whatever_rule_and_matchers_are(
    type_: TransitionType,
) -> None:
    end = labelled(type_, severity="warning")
    stage = route(("ops", "pager", "dev"), PAGER)
    know = Notification(end, ("dev",), notified=("ops", "pager", "gone"))
    # Of these the stage `notified` keeps who knows.
    assert stage(know, 0.0) == know._replace(
        receivers=("ops", "pager", "dev"),
        withheld=(Withheld("gone", "no-receiver", "it is not configured any more"),),
    )
    # In records of versions that did not keep who knows, rule and matchers decide.
    unknown = Notification(end, ("pager", "dev"))
    assert stage(unknown, 0.0) == unknown._replace(
        receivers=("dev",),
        withheld=(
            Withheld(
                "pager",
                "not-matched",
                'severity="critical" does not match: severity is "warning"',
            ),
        ),
    )


def test_a_reminder_does_not_go_to_those_who_know_and_are_withheld() -> None:
    reminder = labelled("campaign.alert.reminder", severity="warning")
    notification = Notification(reminder, ("*",), notified=("ops", "pager"))
    decision = route(("ops", "pager"), PAGER)(notification, 0.0)
    assert isinstance(decision, Notification)
    assert decision.receivers == ("ops",)


operators = st.sampled_from(["=", "!="])
names = st.sampled_from(["rule", "severity", "campaign_id", "app_id", "team", "nobody's"])


@given(
    st.lists(st.builds(Matcher, names, operators, st.text("ab", max_size=2)), max_size=4),
    st.text('ab\x00\n"\\{}é\U0001f600', max_size=200),
)
def test_routes_agree_with_each_matcher_by_itself(matchers: list[Matcher], name: str) -> None:
    transition = explained(name=name)
    labels = of_data(transition.data)
    matched = all(CompiledMatcher(each).matches(labels.get(each.name, "")) for each in matchers)
    why = Routes(("ops",), {"ops": matchers}).why_not("ops", ("*",), labels)
    assert (why is None) == matched
    assert why is None or len(why.detail) < 300
