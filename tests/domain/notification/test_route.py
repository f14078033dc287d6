import pytest

from streams.domain.notification.route import route
from streams.domain.notification.stage import Notification, Suppressed
from tests.support.transitions import firing

TRANSITION = firing(rule="failing")


@pytest.mark.parametrize(
    ("named", "routed"),
    [
        (("*",), ("ops", "dev")),
        (("dev",), ("dev",)),
        (("dev", "ops"), ("ops", "dev")),
        (("dev", "gone"), ("dev",)),
        (("dev", "*"), ("ops", "dev")),
    ],
)
def test_to_configured_receivers_that_the_rule_names(
    named: tuple[str, ...], routed: tuple[str, ...]
) -> None:
    decision = route(("ops", "dev"))(Notification(TRANSITION, named), 0.0)
    assert decision == Notification(TRANSITION, routed)


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
