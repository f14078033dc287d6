"""Causes over time: each has one id from its first sight to its end.

A book is a record, and each step a function of it and of what is known now, so it goes on exactly
where it was after a restart. All workers that take the same steps have the same book, ids included.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

import msgspec

from streams.domain.causes.finding import Dimension, Found, evidence_in, is_within
from streams.domain.causes.summary import Cells

RENAME_MARGIN = 3.0
"""Evidence (nats) that another slice must have beyond that of the present name."""
JOINED_WITHIN = 120.0
"""Seconds after which a cause that the sums do not show any more takes no further alerts."""
FORGOTTEN_AFTER = 15.0
"""Seconds after which a cause without alerts is forgotten that the sums do not show any more."""
REMEMBERED = 600.0
"""Seconds for which a cause that has ended is remembered."""


class Cause(msgspec.Struct, frozen=True):
    """Why several alerts of one rule fire. Times are seconds since the epoch, UTC.

    Attributes:
        cause_id: names it, whatever its slice is.
        rule: names the rule.
        values: of the slice; none for everything.
        status: that the hits in excess have in common; null if it says nothing.
        since: start of the first window that shows it.
        supported_at: when the sums last showed it.
        evidence: of the slice, after penalties, when it was largest; nats.
        sureness: how likely this slice was then among all slices and none, 0 to 1.
        share: of the excess hits of all campaigns then, 0 to 1.
        attempts: in the slice then.
        hits: of these.
        expected: hits that would have been usual.
        firing: ids of its alerts that fire, sorted.
        joined: how many alerts it has had.
        ended_at: when the last one of its alerts ended; null while any fires.
        merged_into: id of the cause that has its alerts now, if it did not end by itself.
    """

    cause_id: str
    rule: str
    values: dict[Dimension, str | None]
    status: str | None
    since: int
    supported_at: float
    evidence: float
    sureness: float
    share: float
    attempts: int
    hits: int
    expected: float
    firing: tuple[str, ...] = ()
    joined: int = 0
    ended_at: float | None = None
    merged_into: str | None = None


class Book(msgspec.Struct, frozen=True):
    """The causes of one rule: those that go on, oldest first, and those that ended not long ago.

    `made` is how many there have ever been. It is in the id of each, so no id comes twice.
    """

    rule: str
    live: tuple[Cause, ...] = ()
    ended: tuple[Cause, ...] = ()
    made: int = 0


encode = msgspec.json.Encoder(order="deterministic").encode
decode = msgspec.json.Decoder(Book).decode


def observe(book: Book, found: Sequence[Found], frames: Mapping[int, Cells], now: float) -> Book:
    """Return the book after a look at the sums of all lanes.

    A slice that is within that of a live cause, or has it within itself, is the same cause. It is
    named anew only if that is clearly better, so a name does not change back and forth. If one
    slice has several causes within itself, the oldest goes on and the others are merged into it.

    Args:
        book: as it was.
        found: the causes that the sums show.
        frames: these sums.
        now: time (s).
    """
    ended = tuple(c for c in book.ended if c.ended_at is None or now - c.ended_at < REMEMBERED)
    book = msgspec.structs.replace(book, ended=ended)
    seen: set[str] = set()
    for each in found:
        book = _take(book, each, frames, now, seen)
    # Nobody has been told of a cause without an alert.
    kept = [c for c in book.live if c.joined or now - c.supported_at < FORGOTTEN_AFTER]
    return msgspec.structs.replace(book, live=tuple(kept))


def open_to_alerts(book: Book, now: float) -> list[Cause]:
    """Return the causes that alerts may belong to that did not before."""
    return [cause for cause in book.live if now - cause.supported_at < JOINED_WITHIN]


def settle(book: Book, firing: Iterable[str], joining: Mapping[str, str], now: float) -> Book:
    """Return the book after alerts have come and gone: a cause without alerts has ended.

    Args:
        book: as it was.
        firing: ids of all alerts of the rule that fire.
        joining: by alert id, the cause that it belongs to. One that has a cause already keeps it.
        now: time (s).
    """
    firing = frozenset(firing)
    owned = {alert_id for cause in book.live for alert_id in cause.firing}
    live, ended = list[Cause](), list(book.ended)
    for cause in book.live:
        new = {
            alert_id
            for alert_id, cause_id in joining.items()
            if cause_id == cause.cause_id and alert_id in firing and alert_id not in owned
        }
        members = tuple(sorted(firing.intersection(cause.firing) | new))
        changed = msgspec.structs.replace(cause, firing=members, joined=cause.joined + len(new))
        if members or not changed.joined:
            live.append(changed)
        else:
            ended.append(msgspec.structs.replace(changed, ended_at=now))
    return msgspec.structs.replace(book, live=tuple(live), ended=tuple(ended))


def _take(
    book: Book, found: Found, frames: Mapping[int, Cells], now: float, seen: set[str]
) -> Book:
    """Return the book with one cause that was found; `seen` are ids of those found before it."""
    alike = [cause for cause in book.live if _is_same(cause, found)]
    if not alike:
        cause = _new(book, found, now)
        seen.add(cause.cause_id)
        return msgspec.structs.replace(book, live=(*book.live, cause), made=book.made + 1)
    oldest = alike[0]
    if oldest.cause_id in seen:
        # A part of a cause whose name stands.
        return book
    seen.add(oldest.cause_id)
    stays = dict(found.values) == oldest.values or (
        evidence_in(frames, found.values) < evidence_in(frames, oldest.values) + RENAME_MARGIN
    )
    if stays:
        return _replaced(book, _refreshed(oldest, found, now, renamed=False))
    renamed = _refreshed(oldest, found, now, renamed=True)
    merged = [cause for cause in alike[1:] if is_within(cause.values, found.values)]
    for cause in merged:
        renamed = msgspec.structs.replace(
            renamed,
            firing=tuple(sorted({*renamed.firing, *cause.firing})),
            joined=renamed.joined + cause.joined,
        )
    gone = {cause.cause_id for cause in merged}
    into = renamed.cause_id
    ended = [
        msgspec.structs.replace(cause, firing=(), ended_at=now, merged_into=into)
        for cause in merged
    ]
    live = tuple(cause for cause in book.live if cause.cause_id not in gone)
    book = msgspec.structs.replace(book, live=live, ended=(*book.ended, *ended))
    return _replaced(book, renamed)


def _is_same(cause: Cause, found: Found) -> bool:
    return is_within(found.values, cause.values) or is_within(cause.values, found.values)


def _replaced(book: Book, changed: Cause) -> Book:
    live = [changed if cause.cause_id == changed.cause_id else cause for cause in book.live]
    return msgspec.structs.replace(book, live=tuple(live))


def _refreshed(cause: Cause, found: Found, now: float, *, renamed: bool) -> Cause:
    """Return a cause as it is now known; with the figures of when it showed most."""
    if not renamed and found.evidence <= cause.evidence:
        return msgspec.structs.replace(cause, supported_at=now)
    return msgspec.structs.replace(
        cause,
        values=dict(found.values) if renamed else cause.values,
        status=found.status,
        since=min(cause.since, found.since),
        supported_at=now,
        evidence=found.evidence,
        sureness=found.sureness,
        share=found.share,
        attempts=found.attempts,
        hits=found.hits,
        expected=found.expected,
    )


def _new(book: Book, found: Found, now: float) -> Cause:
    return Cause(
        cause_id=_id(book.rule, found, book.made),
        rule=book.rule,
        values=dict(found.values),
        status=found.status,
        since=found.since,
        supported_at=now,
        evidence=found.evidence,
        sureness=found.sureness,
        share=found.share,
        attempts=found.attempts,
        hits=found.hits,
        expected=found.expected,
    )


def _id(rule: str, found: Found, number: int) -> str:
    """Make an id that follows from what was found, so that every worker makes the same one."""
    name = msgspec.json.encode([rule, found.since, number, sorted(found.values.items())])
    return sha256(name).hexdigest()[:24]
