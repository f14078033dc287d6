"""The messages in which receivers show alerts, where a message can be updated once it is sent.

A receiver of such a kind names the message that it made (`streams.receivers.outcomes.Delivered`).
It is kept beside the outbox, as long as the alert may have more to say, since the delivery that
made the message may be forgotten before that. So the alert's next delivery updates the same
message, whatever worker sends it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

KEPT_S = 30 * 86_400.0
"""How long (s) after its newest delivery a message is kept whose end nobody was told of."""
MOST_MESSAGES = 10_000
"""Of more messages in one partition the oldest are forgotten: their alerts get new ones."""


class SentMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of a receiver about an alert, or a group.

    Attributes:
        name: what the receiver's kind knows it by.
        sequence: of the transition that it shows.
        sent_at: when that was delivered; s since the epoch, UTC.
    """

    name: str
    sequence: int
    sent_at: float


class MessageKey(msgspec.Struct, frozen=True, array_like=True, tag="message"):
    """Key of a message on the changelog topic: of an alert, or a group, and a receiver."""

    alert_id: str
    receiver: str


class _Key(NamedTuple):
    alert_id: str
    receiver: str


class SentMessages:
    """The messages of one partition."""

    def __init__(self) -> None:
        self._messages: dict[_Key, SentMessage] = {}
        """Those that were sent or updated last come last."""
        self._changed: dict[_Key, None] = {}

    def shown_before(self, alert_id: str, receiver: str, sequence: int) -> str | None:
        """Return the name of the message that shows an earlier transition than `sequence`.

        Null for none: also where the message shows this or a later one, as when that is replayed.
        """
        found = self._messages.get(_Key(alert_id, receiver))
        return found.name if found is not None and found.sequence < sequence else None

    def keep(self, alert_id: str, receiver: str, message: SentMessage) -> None:
        """Keep a message, unless there is one that shows a later transition."""
        key = _Key(alert_id, receiver)
        known = self._messages.get(key)
        if known is not None and known.sequence > message.sequence:
            return
        # Written down in the same order, it is restored in it.
        for ordered in (self._messages, self._changed):
            ordered.pop(key, None)
        self._messages[key] = message
        self._changed[key] = None
        while len(self._messages) > MOST_MESSAGES:
            self._remove(next(iter(self._messages)))

    def forget(self, alert_id: str, receiver: str, sequence: int) -> None:
        """Forget a message that shows an earlier transition than `sequence`, if there is one."""
        key = _Key(alert_id, receiver)
        if key in self._messages and self._messages[key].sequence <= sequence:
            self._remove(key)

    def forget_old(self, now: float) -> None:
        """Forget what was sent more than `KEPT_S` before `now` (s)."""
        while self._messages:
            oldest = next(iter(self._messages))
            if self._messages[oldest].sent_at >= now - KEPT_S:
                break
            self._remove(oldest)

    def _remove(self, key: _Key) -> None:
        del self._messages[key]
        self._changed[key] = None

    def __len__(self) -> int:
        """Return how many messages are kept."""
        return len(self._messages)

    def take_changes(self) -> Iterator[tuple[MessageKey, SentMessage | None]]:
        """Hand out what changed since the last call; null for messages that are forgotten."""
        changed, self._changed = self._changed, {}
        for key in changed:
            yield MessageKey(*key), self._messages.get(key)

    def restore(self, key: MessageKey, message: SentMessage) -> None:
        """Take a message as it was written down."""
        self._messages[_Key(key.alert_id, key.receiver)] = message
