"""All silences that a worker knows, and which of them silence an alert."""

from collections.abc import Iterable, Iterator
from math import inf
from typing import NamedTuple

import msgspec

from streams.domain.silences import silence as records
from streams.domain.silences.silence import KEPT_S, CompiledSilence, Silence, SilenceError

MOST_SILENCES = 1_000
"""Silences that are not over."""
MOST_UNLISTED = 50
"""Of these, the ones without a label for which they list the values: with these each alert is
compared."""


class Silenced(NamedTuple):
    """By which silences an alert is silenced.

    Attributes:
        silence_ids: those that are active, in the order of their ids.
        until: when (s, UTC) the last of them stops being so; before that the alert stays silenced
            as long as the book stays as it is. Infinity for never.
    """

    silence_ids: tuple[str, ...]
    until: float


class _Entry:
    """A silence of the book, and whether it is active, worked out once for each change of that."""

    __slots__ = ("_active", "_from", "compiled", "index_keys", "until")

    def __init__(self, compiled: CompiledSilence) -> None:
        self.compiled = compiled
        self.index_keys: tuple[tuple[str, str], ...] = ()
        self._from = inf
        self.until = -inf
        self._active = False

    def is_active(self, at: float) -> bool:
        """Tell whether it is active at `at` (s, UTC), and goes on as it is up to `until`."""
        if not self._from <= at < self.until:
            change = self.compiled.next_change(at)
            self._active = self.compiled.is_active(at)
            self._from, self.until = at, inf if change is None else change
        return self._active

    def next_change(self, after: float) -> float | None:
        """Return when (s, UTC) it next becomes active or stops being so; null for never."""
        self.is_active(after)
        return self.until if self.until < inf else None


class SilenceBook:
    """The silences of the silences topic, as every worker keeps them.

    A silence is looked up by a label for which it lists the values, with `=` or with a pattern such
    as `a|b`; of several, the label whose values have the fewest silences so far. Those without one
    are compared with every alert.

    Attributes:
        version: another number after each change.
    """

    def __init__(self) -> None:
        self.version = 0
        self._entries: dict[str, _Entry] = {}
        self._by_label: dict[tuple[str, str], dict[str, _Entry]] = {}
        self._without_label: dict[str, _Entry] = {}

    # Written down and read back

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the topic; null removes what is there under the key.

        A record that cannot be read counts as null: alerts are told rather than not.

        Raises:
            ValueError: if the record cannot be read; names it.
        """
        silence_id = records.decode_key(key)
        self._remove(silence_id)
        if value is None:
            return
        try:
            self._put(records.decode(silence_id, value))
        except (ValueError, msgspec.MsgspecError) as error:
            shown = key[: records.LONGEST_ID]
            raise ValueError(f"silence {shown!r} is not heeded: {error}") from error

    def clear(self) -> None:
        """Remove all silences."""
        for silence_id in list(self._entries):
            self._remove(silence_id)

    def check_room(self, silence: Silence, now: float) -> None:
        """Refuse a silence that would be one too many at `now` (s, UTC).

        Raises:
            SilenceError: says how many there may be.
        """
        if silence.silence_id in self._entries:
            return
        live = [entry for entry in self._entries.values() if entry.compiled.silence.over_at > now]
        unlisted = sum(not entry.index_keys for entry in live)
        if len(live) >= MOST_SILENCES:
            raise SilenceError(f"there are {len(live)} silences, as many as there can be: end some")
        if unlisted >= MOST_UNLISTED and not _listed(CompiledSilence(silence)):
            raise SilenceError(
                f"there are {unlisted} silences that name no value of any label, as many as there "
                'can be: name one, such as rule="failure-spike", or end some'
            )

    def put(self, silence: Silence) -> None:
        """Take a silence that was checked, in place of one with its id."""
        self._remove(silence.silence_id)
        self._put(CompiledSilence(silence))

    def over(self, now: float) -> list[str]:
        """Return the silences to remove from the topic, by their ids.

        They were over `KEPT_S` ago. Any worker may write null for them, or several.
        """
        found = (each.compiled.silence for each in self._entries.values())
        return [each.silence_id for each in found if each.over_at + KEPT_S <= now]

    def _put(self, compiled: CompiledSilence) -> None:
        entry = _Entry(compiled)
        self._entries[compiled.silence.silence_id] = entry
        self.version += 1
        entry.index_keys = min(_listed(compiled), key=self._load, default=())
        for bucket in self._buckets(entry):
            bucket[compiled.silence.silence_id] = entry

    def _load(self, keys: Iterable[tuple[str, str]]) -> int:
        """Return how many silences an alert may be compared with that has one of these labels."""
        return max(len(self._by_label.get(key, ())) for key in keys)

    def _buckets(self, entry: _Entry) -> Iterator[dict[str, _Entry]]:
        if not entry.index_keys:
            yield self._without_label
        for key in entry.index_keys:
            yield self._by_label.setdefault(key, {})

    def _remove(self, silence_id: str) -> None:
        entry = self._entries.pop(silence_id, None)
        if entry is None:
            return
        self.version += 1
        for bucket in self._buckets(entry):
            bucket.pop(silence_id, None)
        for key in entry.index_keys:
            if not self._by_label[key]:
                del self._by_label[key]

    # Asked

    def silenced(self, labels: dict[str, str], now: float) -> Silenced | None:
        """Return by what an alert with these labels is silenced at `now` (s, UTC); null: nothing.

        Args:
            labels: all that the alert has (`labels_of` in `matchers`).
            now: wall-clock time.
        """
        active = [
            entry
            for entry in self._candidates(labels)
            if entry.is_active(now) and entry.compiled.matches(labels)
        ]
        if not active:
            return None
        ids = sorted(entry.compiled.silence.silence_id for entry in active)
        return Silenced(tuple(ids), max(entry.until for entry in active))

    def matching(self, labels: dict[str, str]) -> list[Silence]:
        """Return the silences that are about an alert with these labels, whenever they are."""
        found = [each.compiled for each in self._candidates(labels)]
        return [each.silence for each in found if each.matches(labels)]

    def _candidates(self, labels: dict[str, str]) -> Iterator[_Entry]:
        """Yield the silences that may be about an alert, each once."""
        for label in labels.items():
            bucket = self._by_label.get(label)
            if bucket:
                yield from bucket.values()
        yield from self._without_label.values()

    def next_change(self, now: float) -> float:
        """Return when (s, UTC) any silence next becomes active, or not; infinity for never."""
        changes = (each.next_change(now) for each in self._entries.values())
        return min((change for change in changes if change is not None), default=inf)

    def get(self, silence_id: str) -> CompiledSilence | None:
        """Return one silence."""
        entry = self._entries.get(silence_id)
        return None if entry is None else entry.compiled

    def silences(self) -> list[CompiledSilence]:
        """Return all silences, those that are over included."""
        return [entry.compiled for entry in self._entries.values()]

    def __len__(self) -> int:
        """Return how many silences there are."""
        return len(self._entries)


def _listed(compiled: CompiledSilence) -> list[tuple[tuple[str, str], ...]]:
    """Return the labels and values of each matcher that lists what it matches."""
    return [
        tuple((matcher.name, value) for value in matcher.literals)
        for matcher in compiled.matchers
        if matcher.literals and "" not in matcher.literals
    ]
