"""Silences in memory, as the API is given them; and a silence to begin a test with."""

import time
from collections.abc import Callable

from streams.domain.silences import silence as records
from streams.domain.silences.book import SilenceBook
from streams.domain.silences.matchers import parse
from streams.domain.silences.silence import DEFAULT_LONGEST, Silence
from streams.errors import UserError


class MemorySilences:
    """Silences that are written nowhere. Set `fails` to have every write fail with it.

    Attributes:
        is_read: whether the book has all that there are.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.book = SilenceBook()
        self.fails: UserError | None = None
        self.is_read = True
        self._now = now

    async def make(self, silence: Silence) -> None:
        records.check(silence, self._now(), DEFAULT_LONGEST)
        self.book.check_room(silence, self._now())
        self._write(silence)

    async def end(self, silence_id: str, by: str, token: str | None = None) -> Silence | None:
        found = self.book.get(silence_id)
        if found is None:
            return None
        ended = found.silence.ended(by, self._now(), token)
        self._write(ended)
        return ended

    def _write(self, silence: Silence) -> None:
        if self.fails is not None:
            raise self.fails
        self.book.put(silence)


def silence_of(silence_id: str, *matchers: str, now: float, lasts: float = 3600.0) -> Silence:
    """Return a silence from `now` (s) on, for alerts that match all matchers."""
    return Silence(
        silence_id=silence_id,
        matchers=tuple(map(parse, matchers)),
        starts_at=now,
        ends_at=now + lasts,
        created_by="anna",
        comment="new certificate",
        created_at=now,
    )
