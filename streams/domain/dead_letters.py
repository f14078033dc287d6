"""What is shown of dead letters: where they came from, why, and how they begin, without their data.

A record that could not be counted may hold anything of a person, in any field and in no form that
is known. So its bytes are masked, not searched for addresses: letters become `x` and digits `9`,
except in the names of fields that every event has, and in the values of those of them that are
about the campaign.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from streams.domain.events import Reason
from streams.domain.redaction import redacted

SHOWN = 200
"""Characters of a record that are shown,"""
READ = 600
"""of so many bytes."""
LONGEST_DETAIL = 200
UNKNOWN_REASON = "unknown"

_OPEN = frozenset(
    {
        *("event_type", "event_timestamp", "event_version", "arrival_timestamp", "app_id"),
        *("campaign_id", "treatment_id", "campaign_send_status", "delivery_type", "channel_type"),
        *("campaign_type", "ChannelType"),
    }
)
"""Fields whose values are shown, if they look like an id, a word or a time."""
_NAMES = _OPEN | {
    *("application", "attributes", "metrics", "client", "client_id", "client_context", "custom"),
    *("device", "session", "endpoint", "Endpoint", "Address", "Attributes", "awsAccountId"),
}
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"?')
_NEXT = re.compile(r"\s*:\s*")
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_PERSONAL = re.compile(r"\d{7}")
_TIME = re.compile(r"1\d{12}|2[01]\d{11}", re.ASCII)
"""Milliseconds, from 2001 to 2039; other numbers may be those of telephones."""
_REASONS = frozenset(Reason)


@dataclass(frozen=True, slots=True)
class DeadLetterSample:
    """A dead letter, as far as it is shown.

    Args:
        partition: of the dead-letter topic.
        offset: in that partition.
        failed_at: when it became one (s, UTC).
        reason: why, a fixed word.
        detail: names the field or the position.
        source_topic: where the record came from; null if it does not say.
        source_partition: the same.
        source_offset: the same.
        size: bytes of its key and value, as they came.
        truncated: whether it was cut off, so that it cannot be replayed.
        replayed: whether it was sent again.
        beginning: how the value begins, masked; null for a record without one.
    """

    partition: int
    offset: int
    failed_at: float
    reason: str
    detail: str
    source_topic: str | None
    source_partition: int | None
    source_offset: int | None
    size: int
    truncated: bool
    replayed: bool
    beginning: str | None


@dataclass(frozen=True, slots=True)
class NewestDeadLetters:
    """The newest dead letters, newest first.

    Args:
        letters: those that were found.
        complete: whether all was read that was to be.
    """

    letters: Sequence[DeadLetterSample] = ()
    complete: bool = True


def known_reason(reason: str) -> str:
    """Return a reason if it is one: others may have written to the topic."""
    return reason if reason in _REASONS else UNKNOWN_REASON


def shown_detail(detail: str) -> str:
    """Return a detail without what looks like a person's address."""
    return redacted(detail[:LONGEST_DETAIL])


def masked(value: bytes) -> str:
    """Return how a record begins: its form, and the fields that say which campaign it is about.

    What cannot be printed is escaped.
    """
    # A value that is cut off here is not the whole of it, so it is masked.
    text = value[:READ].decode("utf-8", "backslashreplace")
    parts: list[str] = []
    at = 0
    name = ""
    for found in _STRING.finditer(text):
        between = text[at : found.start()]
        parts.append(_mask_between(between, name))
        is_whole = found[0].endswith('"') and len(found[0]) > 1
        following = _NEXT.match(text, found.end())
        if following is not None:
            name = found[1]
            parts.append(f'"{name if is_whole and name in _NAMES else _mask(name)}"')
        else:
            shown = found[1] if is_whole and _is_open(found[1], name, between) else _mask(found[1])
            parts.append(f'"{shown}"' if is_whole else f'"{shown}')
            name = ""
        at = found.end()
    parts.append(_mask_between(text[at:], name, is_last=True))
    return _printable("".join(parts))[:SHOWN]


def _is_open(value: str, name: str, between: str) -> bool:
    """Tell whether a text may be shown that stands right after the name of a field."""
    return (
        name in _OPEN
        and _NEXT.fullmatch(between) is not None
        and _ID.fullmatch(value) is not None
        and _PERSONAL.search(value) is None
    )


def _mask_between(text: str, name: str, *, is_last: bool = False) -> str:
    """Return what stands between texts: punctuation, numbers, words of JSON."""
    if name not in {"event_timestamp", "arrival_timestamp"}:
        return _mask(text)
    value, comma, rest = text.partition(",")
    number = _NEXT.sub("", value, count=1).strip(" }\n")
    if _TIME.fullmatch(number) and (comma or not is_last or "}" in value):
        return value + comma + _mask(rest)
    return _mask(text)


def _mask(text: str) -> str:
    return "".join(map(_mask_one, text))


def _mask_one(character: str) -> str:
    if character.isdigit():
        return "9"
    return "x" if character.isalpha() or not character.isascii() else character


def _printable(text: str) -> str:
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
