"""What is in the source topic, counted independently, a round at a time."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from tests.support.oracle import GROUPS, Oracle, RefusedError, SkippedError
from tests.support.poison import POISON
from tests.support.topics import Read

WHOLE_BYTES = 8 * 1024 * 1024
BEGINNING_BYTES = 100_000
"""Of records that are larger than `WHOLE_BYTES`: their dead letters may be cut off."""


class CellName(NamedTuple):
    """A campaign and the start (s) of a window."""

    campaign_id: str
    start: int


class What(NamedTuple):
    """What a count is a count of."""

    outcome: str
    is_send: bool
    treatment_id: str | None
    delivery_type: str | None
    channel_type: str | None


Counts: TypeAlias = Mapping[What, int]

FLOOD = "flood"
"""Begins the ids of campaigns with names, or in numbers, past the system's limits. Which of them it
keeps apart is its business; what they have together in a window has to be exact."""
OTHER = "__other__"


def together(campaign_id: str) -> str:
    """Return the campaign that counts are compared under: of floods, all that there are."""
    return FLOOD if campaign_id.startswith(FLOOD) or campaign_id == OTHER else campaign_id


def without_names(what: What) -> What:
    """Return what is exact however many names there are: the known status, or that it is none."""
    known = what.outcome in GROUPS or not what.is_send
    return What(what.outcome if known else OTHER, what.is_send, None, None, None)


class Refused(NamedTuple):
    """A record that has to become a dead letter: its reason, and what it was."""

    reason: str
    digest: bytes


class Truth:
    """The independent count, with each cell's counts by what they are counts of.

    `changed` are the cells that got counts since it was last cleared.
    """

    def __init__(self, size: int, grace: int, retention: int) -> None:
        self._oracle = Oracle(size=size, grace=grace, retention=retention)
        self.cells: dict[CellName, dict[What, int]] = {}
        self.changed: set[CellName] = set()
        self.refused: dict[tuple[int, int], Refused] = {}
        self.records = 0
        self.counted = 0

    @property
    def expired_before(self) -> int:
        """The start (s) of the oldest window that may be retained."""
        oracle = self._oracle
        reached = min(oracle.event_times.values(), default=0) // 1000
        return reached // oracle.size * oracle.size - oracle.grace - oracle.retention

    @property
    def size(self) -> int:
        """How long windows are (s)."""
        return self._oracle.size

    def lengthen(self, size: int) -> None:
        """Make longer windows (s) of those that there are; all cells are changed then."""
        self._oracle.size = size
        shorter, self.cells = self.cells, {}
        for (campaign_id, start), counts in shorter.items():
            cell = self.cells.setdefault(CellName(campaign_id, start // size * size), {})
            for what, count in counts.items():
                cell[what] = cell.get(what, 0) + count
        self.changed = set(self.cells)

    def take(self, record: Read) -> None:
        """Count a record; those of one partition come in the order of their offsets."""
        self.records += 1
        oracle = self._oracle
        if record.value is not None and POISON in record.value:
            at = record.partition, record.offset
            self.refused[at] = Refused("unprocessable", digest(record))
            return
        try:
            event = oracle.read(record.partition, record.value, record.timestamp)
        except SkippedError:
            return
        except RefusedError as error:
            at = record.partition, record.offset
            self.refused[at] = Refused(str(error), digest(record))
            return
        start = event.time // 1000 // oracle.size * oracle.size
        name = CellName(together(event.campaign_id), start)
        cell = self.cells.setdefault(name, {})
        what = What(event.outcome, event.is_send, *event.dimensions)
        if name.campaign_id == FLOOD:
            what = without_names(what)
        cell[what] = cell.get(what, 0) + 1
        self.changed.add(name)
        self.counted += 1


def digest(record: Read, size: int | None = None) -> bytes:
    """Stands for the key and value of a record; of a very large one, for how they begin.

    `size` is how many bytes these had, where the record was cut off since.
    """
    size = len(record.key or b"") + len(record.value or b"") if size is None else size
    hashed = blake2b(b"%d" % size, digest_size=16)
    for part in (record.key, record.value):
        some = part if part is None or size <= WHOLE_BYTES else part[:BEGINNING_BYTES]
        hashed.update(b"null" if some is None else b"%d:" % len(some) + some)
    return hashed.digest()
