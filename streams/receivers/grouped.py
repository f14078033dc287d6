"""A receiver that can be told of several alerts in one notification."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer

from streams.domain.deliveries import Delivery
from streams.domain.group_transitions import is_of_group
from streams.domain.notification.grouping import GroupTimes
from streams.domain.notification.rate_limit import Rate, ReceiverLimit, TokenBucket
from streams.domain.silences.matchers import LONGEST_NAME
from streams.receivers.receiver import HttpReceiver
from streams.settings import PositiveDuration, format_duration, parse_duration

MOST_LABELS = 10
_RATE = re.compile(r"(?P<most>[1-9]\d{0,5})/(?P<within>[^/]+)", re.ASCII)
_LABEL = re.compile(r"[^\s{}!=~,\\\"'`]+")


def _parse_group_by(value: object) -> object:
    """Return `cause`, `none`, or the names of labels.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, str) and value in {"cause", "none"}:
        return value
    names = list(value) if isinstance(value, list | tuple) else []
    is_unique = len(set(map(str, names))) == len(names)
    if not (0 < len(names) <= MOST_LABELS and is_unique and all(map(_is_label, names))):
        raise ValueError(
            f"expected cause, none, or up to {MOST_LABELS} different labels such as [app_id, rule]"
        )
    return tuple(names)


def _is_label(name: object) -> bool:
    return isinstance(name, str) and len(name) <= LONGEST_NAME and bool(_LABEL.fullmatch(name))


def _parse_rate(value: object) -> Rate:
    """Return the rate of a text such as `30/1m`.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, Rate):
        return value
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    try:
        seconds = parse_duration(found["within"]) if found is not None else 0.0
    except ValueError:
        seconds = 0.0
    if found is None or seconds <= 0:
        raise ValueError("expected notifications in a time, such as 30/1m")
    return Rate(int(found["most"]), seconds)


def _format_rate(rate: Rate | None) -> str | None:
    return None if rate is None else f"{rate.most}/{format_duration(rate.seconds)}"


GroupBy = Annotated[Literal["cause", "none"] | tuple[str, ...], BeforeValidator(_parse_group_by)]
RateText = Annotated[
    Rate,
    BeforeValidator(_parse_rate),
    PlainSerializer(_format_rate, return_type=str, when_used="json"),
]
"""Notifications in a time, such as `30/1m`."""


class GroupedReceiver(HttpReceiver):
    """Somebody who may be told of groups, if `group_by` says so; durations in seconds.

    Attributes:
        group_by: `cause`: alerts with a common cause are one notification; names of labels: those
            with the same values are; `none`: each alert is.
        group_wait: for how long an alert waits that may have others with it, and a group before it
            is told of first.
        group_interval: between two notifications about a group, at least.
        rate_limit: how many notifications it gets from one worker in a time; what is beyond that is
            told in a summary. Null for no limit. Ends are always told.
    """

    group_by: GroupBy = "cause"
    group_wait: PositiveDuration = 5.0
    group_interval: PositiveDuration = 60.0
    rate_limit: RateText | None = None

    @property
    def group_times(self) -> GroupTimes | None:
        """When the receiver is told of groups; null if it is told of each alert."""
        return None if self.group_by == "none" else self._times

    @property
    def group_labels(self) -> tuple[str, ...] | None:
        """The names of the labels that it groups by; null if it does not."""
        return self.group_by if isinstance(self.group_by, tuple) else None

    @property
    def limit(self) -> ReceiverLimit | None:
        """Its rate limit, of which nothing is used up; null for none."""
        if self.rate_limit is None:
            return None
        return ReceiverLimit(TokenBucket(self.rate_limit), self._times)

    @property
    def _times(self) -> GroupTimes:
        return GroupTimes(group_wait=self.group_wait, group_interval=self.group_interval)


def is_about_group(delivery: Delivery) -> bool:
    """Tell whether a delivery is about a group, and not about one alert."""
    return is_of_group(delivery.transition)
