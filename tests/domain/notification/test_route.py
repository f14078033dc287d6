from typing import get_args

import pytest

from streams.domain.notification.route import route
from streams.domain.notification.stage import Notification, Suppressed, Withheld
from streams.domain.transitions import Transition, TransitionType
from tests.support.transitions import firing

TRANSITION = firing(rule="failing")


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
