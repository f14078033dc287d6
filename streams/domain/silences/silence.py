"""One silence: what it is about, its checks, when it is active, and its record on a topic.

The topic is compacted, has one partition, and every worker reads all of it. A key is a JSON array,
the kind of the record first, as on the changelog topic; null removes it.

    key              value     written when
    ["silence", id]  Silence   it is made, and once more when it is ended before its time;
                               null: it ended `KEPT_S` ago

A silence is never changed but ended; whoever wants another one makes that, then ends this. So two
workers that write the same id at the same time write the same but for who ended it. Of records with
one key the last counts, in the order of the topic: compaction leaves no other rule, as whoever
reads later has only that one. A field with a default may be added; a version that does not know it
ignores it, and the field is gone if it ends that silence.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf, isfinite
from typing import Literal, TypeAlias

import msgspec

from streams.domain.silences.matchers import CompiledMatcher, Matcher, MatcherError
from streams.domain.silences.recurrence import Hours, Recurrence, RecurrenceError
from streams.domain.transitions import rfc3339
from streams.errors import UsageError

SilenceState: TypeAlias = Literal["pending", "active", "expired"]
"""`pending` is also a recurrence between two times; `expired` is over for good."""

MOST_MATCHERS = 20
LONGEST_ID = 100
LONGEST_CREATOR = 200
LONGEST_COMMENT = 2_000
SILENCE_BYTES = 64 * 1024
"""Bounds of one silence; the last is that of its value, in bytes."""
KEPT_S = 5 * 86_400.0
"""How long (s) a silence is kept once it is over; Alertmanager's retention is the same."""
DEFAULT_LONGEST = 30 * 86_400.0
"""How long (s) a silence may last, unless the configuration says otherwise."""
_FIRST_TIME = datetime(2010, 1, 1, tzinfo=UTC).timestamp()
_LAST_TIME = datetime(2200, 1, 1, tzinfo=UTC).timestamp()


class SilenceError(UsageError):
    """A silence that is not possible: names each field, its value, and what to do."""


class Silence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Alerts of which nobody is notified for a while. Times are seconds since the epoch, UTC.

    Attributes:
        silence_id: unique.
        matchers: all of them match the alerts that it is about.
        starts_at: when it starts.
        ends_at: when it ends, exclusive; null for never, if it recurs.
        created_by: who made it.
        comment: why.
        created_at: when it was made.
        recurrence: the hours in which it is active, between these times; null for all of them.
        ended_at: when somebody ended it before its time; null otherwise.
        ended_by: who did.
        created_token: name of the token with which it was made; null for none.
        ended_token: the same of its end.
    """

    silence_id: str
    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float | None
    created_by: str
    comment: str
    created_at: float
    recurrence: Recurrence | None = None
    ended_at: float | None = None
    ended_by: str | None = None
    created_token: str | None = None
    ended_token: str | None = None

    @property
    def over_at(self) -> float:
        """When (s, UTC) it is over for good; infinity for never."""
        ends_at = inf if self.ends_at is None else self.ends_at
        return ends_at if self.ended_at is None else min(ends_at, self.ended_at)

    def ended(self, by: str, now: float, token: str | None = None) -> "Silence":
        """Return it as it is once somebody ends it at `now` (s, UTC); the same if it is over.

        Args:
            by: who does.
            now: wall-clock time.
            token: name of the token with which they ask; null for none.
        """
        if now >= self.over_at:
            return self
        return msgspec.structs.replace(
            self, ended_at=now, ended_by=by[:LONGEST_CREATOR], ended_token=token
        )


class SilenceKey(msgspec.Struct, frozen=True, array_like=True, tag="silence"):
    """Key of a silence's record."""

    silence_id: str


class CompiledSilence:
    """A silence, ready to be asked.

    Args:
        silence: what it does.

    Attributes:
        silence: as it was given.
        matchers: its matchers.

    Raises:
        MatcherError, RecurrenceError: if it is not possible.
    """

    def __init__(self, silence: Silence) -> None:
        self.silence = silence
        self.matchers = tuple(CompiledMatcher(matcher) for matcher in silence.matchers)
        self._hours = None if silence.recurrence is None else Hours(silence.recurrence)
        self._over_at = silence.over_at

    def matches(self, labels: dict[str, str]) -> bool:
        """Tell whether it is about an alert with these labels."""
        for each in self.matchers:  # noqa: SIM110 - each alert is compared with many
            if not each.matches(labels.get(each.name, "")):
                return False
        return True

    def is_active(self, at: float) -> bool:
        """Tell whether it is active at a time (s, UTC)."""
        if not self.silence.starts_at <= at < self._over_at:
            return False
        return self._hours is None or self._hours.contains(at)

    def state(self, at: float) -> SilenceState:
        """Return its state at a time (s, UTC)."""
        if at >= self._over_at:
            return "expired"
        return "active" if self.is_active(at) else "pending"

    def next_change(self, after: float) -> float | None:
        """Return when (s, UTC) it next becomes active, or stops being so; null for never."""
        at = after
        if at < self.silence.starts_at:
            at = self.silence.starts_at
            if self.is_active(at):
                return at
        change = self._hours.next_change(at) if self._hours is not None else None
        if change is not None and change < self._over_at:
            return change
        return self._over_at if self.is_active(at) and self._over_at < inf else None


def problems(silence: Silence, now: float, longest: float = DEFAULT_LONGEST) -> Iterator[str]:
    """Yield why a silence cannot be made: each with the field, the value, and what to do.

    Args:
        silence: to be made.
        now: wall-clock time (s, UTC).
        longest: how long (s) it may last, or a time of it that recurs.
    """
    yield from _of_texts(silence)
    yield from _of_matchers(silence)
    times = list(_of_times(silence, now))
    yield from times
    yield from _of_recurrence(silence, longest)
    if not times and silence.recurrence is None and silence.ends_at is not None:
        lasts = silence.ends_at - silence.starts_at
        if lasts > longest:
            last = rfc3339(silence.starts_at + longest)
            yield (
                f"ends_at {rfc3339(silence.ends_at)}: a silence lasts at most {longest:g} s; "
                f"expected {last} or before, or a recurrence"
            )


def _of_texts(silence: Silence) -> Iterator[str]:
    texts = (
        ("silence_id", silence.silence_id, LONGEST_ID),
        ("created_by", silence.created_by, LONGEST_CREATOR),
        ("comment", silence.comment, LONGEST_COMMENT),
    )
    for name, text, longest in texts:
        if not text.strip() or len(text) > longest:
            yield f"{name} {text[:50]!r}: expected 1 to {longest} characters, not {len(text)}"


def _of_matchers(silence: Silence) -> Iterator[str]:
    if not 1 <= len(silence.matchers) <= MOST_MATCHERS:
        yield f"matchers: expected 1 to {MOST_MATCHERS}, not {len(silence.matchers)}"
    compiled: list[CompiledMatcher] = []
    for number, matcher in enumerate(silence.matchers):
        try:
            compiled.append(CompiledMatcher(matcher))
        except MatcherError as error:
            yield f"matchers[{number}] {str(matcher)[:200]}: {error}"
    all_empty = all(
        each.matches("") and not matcher.is_negative
        for each, matcher in zip(compiled, silence.matchers, strict=False)
    )
    if silence.matchers and len(compiled) == len(silence.matchers) and all_empty:
        yield (
            f"matchers {', '.join(map(str, silence.matchers))[:200]}: they match every alert; "
            "expected one that does not match an empty value, such as "
            'rule="failure-spike"; to silence everything, campaign_id=~".+"'
        )


def _of_times(silence: Silence, now: float) -> Iterator[str]:
    times = {"starts_at": silence.starts_at, "ends_at": silence.ends_at}
    for name, at in times.items():
        if at is not None and not (isfinite(at) and _FIRST_TIME <= at < _LAST_TIME):
            yield f"{name} {at!r}: expected seconds since 1970 of a time from 2010 to 2199"
            return
    if silence.ends_at is None:
        if silence.recurrence is None:
            yield "ends_at null: expected a time, as only a silence with a recurrence has no end"
    elif silence.ends_at <= silence.starts_at:
        yield (
            f"ends_at {rfc3339(silence.ends_at)}: expected a time after starts_at, which is "
            f"{rfc3339(silence.starts_at)}"
        )
    elif silence.ends_at <= now:
        yield f"ends_at {rfc3339(silence.ends_at)}: expected a time after now, {rfc3339(now)}"


def _of_recurrence(silence: Silence, longest: float) -> Iterator[str]:
    if silence.recurrence is None:
        return
    try:
        hours = Hours(silence.recurrence)
    except RecurrenceError as error:
        yield str(error)
        return
    if hours.longest > longest:
        yield (
            f"recurrence.end {silence.recurrence.end}: it lasts {hours.longest:g} s each time; "
            f"expected at most {longest:g} s"
        )


_encode = msgspec.json.Encoder().encode
_decode_key = msgspec.json.Decoder(SilenceKey).decode
_decode = msgspec.json.Decoder(Silence).decode


def check(silence: Silence, now: float, longest: float = DEFAULT_LONGEST) -> None:
    """Refuse a silence that cannot be made at `now` (s, UTC), or whose record is too large.

    Raises:
        SilenceError: says all that is wrong with it, in one line.
    """
    found = list(problems(silence, now, longest))
    if not found and (size := len(_encode(silence))) > SILENCE_BYTES:
        found.append(f"matchers: {size} bytes are too many, at most {SILENCE_BYTES} are possible")
    if found:
        raise SilenceError("; ".join(found))


def encode(silence: Silence) -> tuple[bytes, bytes]:
    """Return the record of a silence, key and value."""
    return key_of(silence.silence_id), _encode(silence)


def key_of(silence_id: str) -> bytes:
    """Return the key of a silence's record."""
    return _encode(SilenceKey(silence_id))


def decode_key(key: bytes) -> str:
    """Return the id that a key has.

    Raises:
        ValueError: if it is no key of a silence.
    """
    try:
        return _decode_key(key).silence_id
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not a key of a silence: {key[:200]!r}: {error}") from error


def decode(silence_id: str, value: bytes) -> CompiledSilence:
    """Return a silence as it was written down.

    Raises:
        ValueError: if the value is none, another one than the key says, or asks for something that
            this version does not know.
    """
    silence = _decode(value)
    if silence.silence_id != silence_id:
        raise ValueError(f"its value is silence {silence.silence_id[:LONGEST_ID]!r}")
    return CompiledSilence(silence)
