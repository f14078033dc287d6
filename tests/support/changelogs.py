"""Changelogs in files: what a partition wrote, to be restored by this version and those after it.

`python -m tests.support.changelogs FILE` writes the changelog of a short life of a partition, in
the format of this version. There is a file for each format; it stays as it is once the
format is released.
"""

import base64
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from streams.domain import changelog, partial_counts
from streams.domain.causes.book import Book
from streams.domain.causes.exchange import Member
from streams.domain.causes.handover import (
    NO_TRANSITION,
    GroupedAlert,
    GroupedAlertKey,
    LaneVersionKey,
    NamedGroupKey,
)
from streams.domain.causes.records import KnownMember, TellerKey, TellerRecord
from streams.domain.changelog import InputOffset, InputOffsetsKey, UnprocessableKey
from streams.domain.fleet.receiver_trouble import TroubleKey, TroubleRecord
from streams.domain.fleet.silence_notices import NoticeKey, NoticeRecord
from streams.domain.notification.grouping import Group, Groups
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.receivers import ReceiverRecord
from streams.domain.restorer import PartitionRestorer
from streams.domain.rollups import RollupKey
from streams.domain.rules import Rule
from streams.domain.sent_messages import SentMessage
from streams.domain.windows import DAY
from tests.support.detectors import Cusum, Doubled
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts

FOLDER = Path(__file__).parents[1] / "domain" / "changelogs"
REMEMBERING = Rule("doubled", frozenset({"FAILURE"}), Doubled(factor=1_000))
FOLDING = Rule("cusum", frozenset({"FAILURE"}), Cusum(limit=1_000.0))
SETTINGS = replace(PARTITION_SETTINGS, rules=(*PARTITION_SETTINGS.rules, REMEMBERING, FOLDING))
LIFE_ENDS_AT = 300.0
"""When the last record of the short life is written; s."""
INPUT_OFFSETS = [
    InputOffset("campaign-events", 0, 7, 250_000, UUID(int=1), 3),
    InputOffset("campaign-streams-repartition", 0, 5, 0, UUID(int=2), 3),
]

MEMBER = Member(
    alert_id="grouped",
    rule="failure-spike",
    lane=0,
    version=7,
    campaign_id="spring",
    app_id="app",
    severity="critical",
    receivers=("ops",),
    cause_id="cause",
    starts_at=100.0,
    attempts=120,
    hits=60,
)
GROUPED: list[tuple[changelog.Key, Any]] = [
    (
        GroupedAlertKey("spring", "grouped"),
        GroupedAlert("grouped", "spring", "failure-spike", ("ops",), 100.0, NO_TRANSITION, MEMBER),
    ),
    (
        NamedGroupKey("spring", "grouped", "limit:ops"),
        GroupedAlert(
            "grouped",
            "spring",
            "failure-spike",
            ("ops",),
            100.0,
            NO_TRANSITION,
            msgspec.structs.replace(MEMBER, cause_id="ops", joined=7),
            grouping="limit:ops",
        ),
    ),
    (LaneVersionKey(), 7),
    (
        TellerKey("failure-spike"),
        TellerRecord(
            "failure-spike",
            Book("failure-spike", made=1),
            {"grouped": KnownMember(MEMBER, "cause", ("ops",))},
            {"ops": Groups({"cause": Group("cause", "channel GCM", 100.0, ("grouped",), 1)})},
            {0: 7},
        ),
    ),
    (NoticeKey("silence.900000"), NoticeRecord(900.0, ("ops",))),
    (TroubleKey("ops"), TroubleRecord("failing", 111.0, 90.0, 111.0)),
]
"""Records of what is told of all partitions together."""
ROLLED_UP: list[tuple[changelog.Key, Any]] = [
    (
        RollupKey(DAY, "UTC", 0, 0),
        partial_counts.encode(window_counts(0, {"winter": counts({"SUCCESS": 12})})),
    )
]
"""A window of a roll-up that the settings do not have any more."""


def written(changes: Iterable[tuple[changelog.Key, Any]]) -> dict[bytes, bytes | None]:
    """Records as they are on the topic, by key."""
    return dict(changelog.encode(changes))


def restore_into(
    restore: Callable[[Any, Any], None], records: Mapping[bytes, bytes | None]
) -> None:
    """Give records to the store they are of, as far as they are there after compaction."""
    for key, value in records.items():
        if value is not None:
            restore(*changelog.decode(key, value))


def restored(
    settings: PartitionSettings,
    records: Mapping[bytes, bytes | None],
    repartition: Iterable[PartialCounts] = (),
    now: float = 0.0,
    inputs: Iterable[int] = (0,),
) -> CampaignPartition:
    """Return partition 0 as its next owner restores it; the repartition topic begins at 0."""
    restorer = PartitionRestorer(0, settings, inputs, now)
    for offset, (key, value) in enumerate(records.items()):
        restorer.add(key, value, offset)
    replay = restorer.restore()
    begin, log = replay.replay_from_offset, list(repartition)
    for offset in range(len(log) if begin is None else begin, len(log)):
        replay.add(log[offset], offset, now)
    return replay.finish(now, len(log))


@dataclass(frozen=True)
class StoredChangelog:
    """The records of one partition.

    Args:
        records: of the changelog topic, by their keys.
        repartition: the values of the repartition topic, from offset 0.
    """

    records: dict[bytes, bytes]
    repartition: list[bytes]

    @classmethod
    def load(cls, name: str) -> "StoredChangelog":
        """Read a file of the folder."""
        stored = json.loads((FOLDER / name).read_text())
        records = {key.encode(): base64.b64decode(value) for key, value in stored["changelog"]}
        return cls(records, [base64.b64decode(value) for value in stored["repartition"]])

    def save(self, file: Path) -> None:
        """Write a file: keys as text, values in base64."""
        records = [[k.decode(), base64.b64encode(v).decode()] for k, v in self.records.items()]
        values = [base64.b64encode(value).decode() for value in self.repartition]
        stored = {"changelog": records, "repartition": values}
        file.write_text(json.dumps(stored, indent=1) + "\n")


class ShortLife:
    """A partition that has every kind of record in its changelog when it ends."""

    def __init__(self) -> None:
        self.partition = CampaignPartition(0, SETTINGS, [0], 0.0)
        self.records: dict[bytes, bytes | None] = {}
        self.repartition: list[bytes] = []

    def add(self, start: int, now: float, **sends: dict[str, int]) -> None:
        """Count sends of campaigns in one window (s); event time is `now` (s)."""
        event_time = int(now * 1000)
        windows = [window_counts(start, {name: counts(of) for name, of in sends.items()})]
        added = PartialCounts(PARTIAL_COUNTS_VERSION, {0: event_time}, event_time, windows)
        self.partition.apply(added, len(self.repartition), now)
        self.repartition += partial_counts.encode_records(added)
        self.partition.advance(now, len(self.repartition))

    def commit(self, now: float) -> None:
        """Write down what changed."""
        self.partition.evaluate(now)
        self.records.update(self.partition.take_changes(now))
        self.partition.deliveries.mark_committed()

    def run(self) -> StoredChangelog:
        """Run to the end; the last two windows are still open then."""
        self.add(0, 30.0, spring={"SUCCESS": 100}, autumn={"SUCCESS": 40})
        self.commit(30.0)
        self.add(60, 110.0, spring={"SUCCESS": 60, "FAILURE": 60})
        self.commit(110.0)
        (delivery,) = self.partition.deliveries.due(110.0)
        self.partition.deliveries.failed(delivery, "503", 1_000.0)
        until = ReceiverRecord("paused", "digest", 111.0, 900.0, "503")
        self.partition.receivers.note("ops", until)
        self.partition.deliveries.messages.keep("grouped", "chat", SentMessage("ts", 1, 111.0))
        self.commit(120.0)
        self.add(0, 121.0, autumn={"SUCCESS": 5})
        self.commit(200.0)
        self.add(180, 200.0, autumn={"SUCCESS": 70})
        self.add(240, 250.0, spring={"SUCCESS": 20})
        self.commit(LIFE_ENDS_AT)
        # Of the task:
        self.records |= written([(InputOffsetsKey(), INPUT_OFFSETS), (UnprocessableKey(), [3])])
        self.records |= written([*GROUPED, *ROLLED_UP])
        kept = {key: value for key, value in self.records.items() if value is not None}
        return StoredChangelog(kept, self.repartition)


if __name__ == "__main__":
    ShortLife().run().save(Path(sys.argv[1]))
