"""An independent count: what the API must answer and what must be dead-lettered.

Written after the description of the events, windows and dead letters, with plain JSON and
dictionaries, one record at a time, and nothing of the program's own code.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn

GROUPS = {
    "SUCCESS": "success",
    "THROTTLED": "throttled",
    **dict.fromkeys(
        (
            *("FAILURE", "FAILURE_PERMANENT", "TRANSIENT_FAILURE", "UNKNOWN", "HOOK_FAILURE"),
            *("CUSTOM_DELIVERY_FAILURE", "RECOMMENDATION_FAILURE", "UNSUPPORTED_CHANNEL"),
        ),
        "failure",
    ),
    **dict.fromkeys(
        ("DAILY_CAP", "CAMPAIGN_CAP", "QUIET_TIME", "HOLDOUT", "EXPIRED", "DUPLICATE_ADDRESS"),
        "suppressed",
    ),
}
ENGAGEMENT = ("opened_notification", "received_foreground", "received_background")
FAMILIES = ("_SMS", "_email", "_journey", "_campaign", "_session", "_monetization")
DIMENSIONS = ("treatment_id", "delivery_type", "channel_type")
YEAR_2010_MS = 1_262_304_000_000
DEEPEST = 500
LONGEST_NAMES = 4_096


class RefusedError(Exception):
    """A record cannot be counted; the argument is the reason."""


class SkippedError(Exception):
    """An event of another kind; the argument is its event type."""


class Counted(NamedTuple):
    """What one event counts as."""

    time: int
    campaign_id: str
    outcome: str
    is_send: bool
    dimensions: tuple[str | None, str | None, str | None]


@dataclass
class Oracle:
    """Counts records. Times and sizes are in seconds and bytes, as in the configuration.

    Records of one source partition have to come in the order of their offsets: what has expired
    depends on the events before.
    """

    size: int = 60
    grace: int = 30
    retention: int = 86_400
    max_record_bytes: int = 262_144
    max_future_skew: int = 300
    windows: dict[tuple[str, int], list[Counted]] = field(default_factory=dict)
    refused: dict[tuple[int, int], str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    event_times: dict[int, int] = field(default_factory=dict)
    _starts: dict[str, set[int]] = field(default_factory=dict)

    def take(self, partition: int, offset: int, value: bytes | None, now: int) -> None:
        """Count one record that the broker took in at `now` (ms)."""
        try:
            event = self.read(partition, value, now)
        except RefusedError as error:
            self.refused[partition, offset] = str(error)
        except SkippedError as error:
            prefix = str(error).split(".", maxsplit=1)[0]
            self.skipped[prefix if prefix in FAMILIES else "custom"] += 1
        else:
            start = event.time // 1000 // self.size * self.size
            self.windows.setdefault((event.campaign_id, start), []).append(event)
            self._starts.setdefault(event.campaign_id, set()).add(start)
            self.counted["send" if event.is_send else "engagement"] += 1

    def read(self, partition: int, value: bytes | None, now: int) -> Counted:
        """Return what a record counts as that the broker took in at `now` (ms).

        Raises:
            RefusedError: it cannot be counted.
            SkippedError: it is an event of another kind.
        """
        event = self._read(value)
        self._check_time(partition, event.time, now)
        _check_names(event)
        self._move_time(partition, event.time, now)
        return event

    def _read(self, value: bytes | None) -> Counted:
        if value is not None and len(value) > self.max_record_bytes:
            raise RefusedError("too-large")
        try:
            event = _parse((value or b"").decode())
        except ValueError:
            raise RefusedError("not-json") from None
        if not isinstance(event, dict):
            raise RefusedError("not-an-object")
        kind = _need(event, "event_type", str)
        engagement = kind.removeprefix("_campaign.") if kind.startswith("_campaign.") else None
        if kind != "_campaign.send" and engagement not in ENGAGEMENT:
            raise SkippedError(kind)
        attributes = _need(event, "attributes", dict)
        campaign_id = _need(attributes, "campaign_id", str)
        time = _whole(_need(event, "event_timestamp", int, float))
        outcome = engagement
        if kind == "_campaign.send":
            outcome = _need(attributes, "campaign_send_status", str)
        treatment, delivery = (_text(attributes.get(name)) for name in DIMENSIONS[:2])
        channel = delivery
        if delivery in {None, "CUSTOM"}:
            channel = _channel_of_endpoint(_in(event, "client_context", "custom", "endpoint"))
            channel = channel or _channel_of_endpoint(event.get("endpoint"))
        assert outcome is not None
        is_send = kind == "_campaign.send"
        return Counted(time, campaign_id, outcome, is_send, (treatment, delivery, channel))

    def _check_time(self, partition: int, time: int, now: int) -> None:
        if time < YEAR_2010_MS or time > now + self.max_future_skew * 1000:
            raise RefusedError("impossible-time")
        reached = self.event_times.get(partition, 0)
        end = (time // 1000 // self.size + 1) * self.size
        if reached >= (end + self.grace + self.retention) * 1000:
            raise RefusedError("expired")

    def _move_time(self, partition: int, time: int, now: int) -> None:
        reached = self.event_times.get(partition, 0)
        self.event_times[partition] = max(reached, min(time, max(now, reached)))

    # What follows from it

    @property
    def campaigns(self) -> set[str]:
        """The ids of all campaigns with counts."""
        return {campaign_id for campaign_id, _ in self.windows}

    @property
    def total(self) -> int:
        """How many events were counted."""
        return sum(map(len, self.windows.values()))

    def starts(self, campaign_id: str) -> list[int]:
        """The starts (s) of a campaign's windows."""
        starts = self._starts.get(campaign_id, set())
        return sorted(start for start in starts if (campaign_id, start) in self.windows)

    def answer(self, campaign_id: str) -> list[dict[str, Any]]:
        """What the API must answer for a campaign's windows, oldest first, without groups."""
        return [
            {
                "start": rfc3339(start),
                "end": rfc3339(start + self.size),
                **figures(self.windows[campaign_id, start]),
            }
            for start in self.starts(campaign_id)
        ]

    def groups(
        self, campaign_id: str, by: tuple[str, ...]
    ) -> list[dict[tuple[str | None, ...], Any]]:
        """The groups of each of a campaign's windows, oldest first, by values of dimensions."""
        at = [DIMENSIONS.index(name) for name in by]
        answer = []
        for start in self.starts(campaign_id):
            parts: dict[tuple[str | None, ...], list[Counted]] = {}
            for event in self.windows[campaign_id, start]:
                value = tuple(event.dimensions[n] for n in at)
                parts.setdefault(value, []).append(event)
            answer.append({value: figures(part) for value, part in parts.items()})
        return answer


def figures(events: Iterable[Counted]) -> dict[str, Any]:
    """Counts, attempts, rates and engagement of some events."""
    events = list(events)
    counts = Counter(event.outcome for event in events if event.is_send)
    groups: Counter[str] = Counter()
    for status, count in counts.items():
        groups[GROUPS.get(status, "unrecognised")] += count
    attempts = groups.total() - groups["suppressed"]
    return {
        "counts": dict(counts),
        "attempts": attempts,
        "rates": {
            name: groups[name] / attempts if attempts else None for name in ("failure", "throttled")
        },
        "engagement": dict(Counter(event.outcome for event in events if not event.is_send)),
    }


def rfc3339(seconds: int) -> str:
    """Write a time as the API does."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_names(event: Counted) -> None:
    names = {event.campaign_id, event.outcome, *event.dimensions}
    if sum(len(name or "") for name in names) > LONGEST_NAMES:
        raise RefusedError("too-large")


def _need(data: dict[str, Any], name: str, *kinds: type) -> Any:
    value = data.get(name)
    if value is None or value == "":
        raise RefusedError("missing-field")
    if type(value) not in kinds or (isinstance(value, str) and _text(value) is None):
        raise RefusedError("wrong-type")
    return value


def _whole(number: float) -> int:
    try:
        whole = int(number)
    except OverflowError:  # the number is infinite
        raise RefusedError("wrong-type") from None
    if whole != number:
        raise RefusedError("wrong-type")
    return whole


def _text(value: object) -> str | None:
    """A string that is not empty and can be written as UTF-8."""
    if not isinstance(value, str) or any("\ud800" <= sign <= "\udfff" for sign in value):
        return None
    return value or None


def _in(data: object, *path: str) -> object:
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _channel_of_endpoint(endpoint: object) -> str | None:
    if isinstance(endpoint, str):
        try:
            endpoint = _parse(endpoint)
        except ValueError:
            return None
    return _text(_in(endpoint, "ChannelType"))


def _parse(text: str) -> Any:
    """Parse JSON; what nests deeper than 500 levels is refused."""
    depth, in_string, escaped = 0, False, False
    for sign in text if text.count("[") + text.count("{") > DEEPEST else "":
        if in_string:
            in_string = escaped or sign != '"'
            escaped = not escaped and sign == "\\"
        else:
            in_string = sign == '"'
            depth += (sign in "[{") - (sign in "]}")
        if depth > DEEPEST:
            raise ValueError("too deep")
    return json.loads(text, parse_int=_integer, parse_constant=_refuse)


def _integer(digits: str) -> int:
    # Python reads no more than 4,300 digits.
    return int(digits[:1000])


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
