"""Who is notified: the receivers that the alert's rule names and whose matchers its labels match.

Labels and matchers are those of silences (`streams.domain.silences.matchers`), and all matchers of
a receiver have to match, as in a route of Alertmanager
(https://prometheus.io/docs/alerting/latest/configuration/#route).

What comes of an alert goes to all who were notified that it fires, whatever rule and matchers are
by then: whoever was told of an incident is told that it is over.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from streams.domain.alert_labels import of_data
from streams.domain.notification.stage import Notification, Stage, Suppressed, Withheld
from streams.domain.silences.matchers import CompiledMatcher, Matcher
from streams.domain.transitions import FOLLOW_UPS

EVERY_RECEIVER = "*"
NO_RECEIVER = "no-receiver"
NOT_NAMED = "not-named"
NOT_MATCHED = "not-matched"

MOST_NAMED = 5
_LONGEST_SHOWN = 80
"""Characters of a matcher, or of the value of a label, in a detail: both may be thousands."""


class Routes:
    """Which receivers an alert is for.

    Args:
        receivers: the names of all that are configured.
        matchers: of each receiver that has any, by its name.
    """

    def __init__(
        self, receivers: Sequence[str], matchers: Mapping[str, Iterable[Matcher]] | None = None
    ) -> None:
        self.receivers = tuple(receivers)
        self._matchers = {
            name: tuple((each, CompiledMatcher(each)) for each in of_receiver)
            for name, of_receiver in (matchers or {}).items()
        }

    def why_not(
        self, receiver: str, named: Collection[str], labels: Mapping[str, str]
    ) -> Withheld | None:
        """Say why a receiver does not get an alert; null if it does.

        Args:
            receiver: the name of one that is configured.
            named: the receivers that the alert's rule names.
            labels: of the alert.
        """
        if EVERY_RECEIVER not in named and receiver not in named:
            return Withheld(receiver, NOT_NAMED, "its rule does not name it")
        for matcher, compiled in self._matchers.get(receiver, ()):
            value = labels.get(matcher.name, "")
            if not compiled.matches(value):
                return Withheld(receiver, NOT_MATCHED, _mismatch(matcher, value))
        return None


def route(
    receivers: Sequence[str], matchers: Mapping[str, Iterable[Matcher]] | None = None
) -> Stage:
    """Return the stage that picks from the configured receivers, in their order.

    Args:
        receivers: the names of all that are configured.
        matchers: of each receiver that has any, by its name.
    """
    routes = Routes(receivers, matchers)

    def stage(notification: Notification, now: float) -> Notification | Suppressed:
        del now
        labels = of_data(notification.transition.data)
        know = _who_know(notification)
        routed: list[str] = []
        withheld: list[Withheld] = []
        for name in routes.receivers:
            why = routes.why_not(name, notification.receivers, labels)
            if why is None or name in know:
                routed.append(name)
            elif why.reason == NOT_MATCHED:
                withheld.append(why)
        if not routed:
            return _nobody(notification, routes.receivers, withheld)
        routed_to = notification._replace(receivers=tuple(routed), withheld=tuple(withheld))
        named = dict.fromkeys((*notification.receivers, *know))
        gone = [each for each in named if each not in {EVERY_RECEIVER, *routes.receivers}]
        return routed_to.without(gone, NO_RECEIVER, "it is not configured any more")

    return stage


def _who_know(notification: Notification) -> tuple[str, ...]:
    """Return who is told of an end as they know of the alert; nobody for other transitions."""
    if notification.transition.type not in FOLLOW_UPS:
        return ()
    return notification.notified or ()


def _nobody(
    notification: Notification, receivers: Sequence[str], withheld: Sequence[Withheld]
) -> Suppressed:
    if withheld:
        named = "; ".join(f"{each.receiver}: {each.detail}" for each in withheld[:MOST_NAMED])
        others = len(withheld) - MOST_NAMED
        return Suppressed(NOT_MATCHED, named + (f"; and {others} more" if others > 0 else ""))
    return Suppressed(NO_RECEIVER, _why(notification, receivers))


def _why(notification: Notification, receivers: Sequence[str]) -> str:
    if not receivers:
        return "no receiver is configured"
    if not notification.receivers:
        return f"rule {notification.transition.data.rule} names no receiver"
    return f"not configured any more: {', '.join(notification.receivers)}"


def _mismatch(matcher: Matcher, value: str) -> str:
    """Say that a matcher does not match a value, which may come from anybody."""
    shown = f'{matcher.name} is "{_cut(value)}"' if value else f"there is no {_cut(matcher.name)}"
    return f"{_cut(str(matcher))} does not match: {shown}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
