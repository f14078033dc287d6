"""A partition restored from the records of the changelog topic."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from streams.domain import changelog, partial_counts
from streams.domain.changelog import (
    CHECKPOINT_KEY,
    FORMAT,
    OLDEST_FORMAT,
    InputOffset,
    InputOffsetsKey,
)
from streams.domain.checkpoint import Checkpoint, CheckpointKey, DirtyWindow
from streams.domain.partition import CampaignPartition
from streams.domain.receivers import ReceiverKey, ReceiverRecord
from streams.domain.restorer import PartitionRestorer, Replay
from streams.domain.rules import Scope
from streams.domain.windows import WindowPolicy
from streams.errors import FormatError
from tests.support.changelogs import (
    INPUT_OFFSETS,
    LIFE_ENDS_AT,
    REMEMBERING,
    SETTINGS,
    ShortLife,
    StoredChangelog,
    written,
)
from tests.support.detectors import Most
from tests.support.partitions import PARTITION_SETTINGS, all_cells

FIRST_WITH_ROLLUPS = 9
"""The first format that has them."""

Change = Callable[[dict[bytes, bytes]], object]


def restorer_of(records: Mapping[bytes, bytes | None]) -> PartitionRestorer:
    restorer = PartitionRestorer(3, SETTINGS, [0], LIFE_ENDS_AT, topic="state")
    for offset, (key, value) in enumerate(records.items()):
        restorer.add(key, value, offset)
    return restorer


def replayed(replay: Replay, stored: StoredChangelog) -> CampaignPartition:
    begin = replay.replay_from_offset
    assert begin is not None
    for offset, value in enumerate(stored.repartition[begin:], begin):
        replay.add(partial_counts.decode(value), offset, LIFE_ENDS_AT)
    return replay.finish(LIFE_ENDS_AT, len(stored.repartition))


def sends(partition: CampaignPartition) -> dict[int, dict[str, tuple[int, int]]]:
    """By window (s) and campaign, how many sends there are, and how many came late."""
    table = partition.table
    return {
        start: {
            name: (sum(cell.sends.values()), cell.late_events)
            for name, cell in all_cells(table, start)
        }
        for start in table.starts()
    }


@pytest.mark.parametrize("number", range(OLDEST_FORMAT, FORMAT + 1))
def test_a_partition_is_restored_from_a_file_of_each_format(number: int) -> None:
    """Whoever makes such a file unreadable raises `OLDEST_FORMAT`."""
    stored = StoredChangelog.load(f"format-{number}.json")
    replay = restorer_of(stored.records).restore()
    assert (replay.replay_from_offset, replay.unprocessable) == (3, [3])
    assert replay.input_offsets == INPUT_OFFSETS

    partition = replayed(replay, stored)

    assert sends(partition) == {
        0: {"spring": (100, 0), "autumn": (45, 5)},
        60: {"spring": (120, 0)},
        180: {"autumn": (70, 0)},
        240: {"spring": (20, 0)},
    }
    rolled_up = partition.table.rollups.knows("winter")
    assert rolled_up == (number >= FIRST_WITH_ROLLUPS)
    assert partition.table.rollups.complete_from == 0
    assert partition.table.open_starts() == [180, 240]
    assert partition.table.event_time == 250_000
    (alert,) = partition.alerts.alerts()
    assert (alert.scope.campaign_id, alert.state, alert.totals) == ("spring", "firing", (140, 60))
    (delivery,) = partition.deliveries.deliveries()
    assert (delivery.receiver, delivery.attempts, delivery.last_error) == ("ops", 1, "503")
    assert partition.receivers.get("ops") == ReceiverRecord("paused", "digest", 111.0, 900.0, "503")
    assert partition.alerts.states.get(REMEMBERING, Scope("spring")) == Most(60)
    assert partition.evaluate(LIFE_ENDS_AT) == [], "nothing is decided twice"


def test_a_partition_is_restored_from_what_this_version_writes() -> None:
    stored, file = ShortLife().run(), StoredChangelog.load(f"format-{FORMAT}.json")
    assert stored.records.keys() == {
        key.replace(b"alert-1", _alert_of(stored)) for key in file.records
    }
    lived = replayed(restorer_of(file.records).restore(), file)
    assert sends(replayed(restorer_of(stored.records).restore(), stored)) == sends(lived)


def _alert_of(stored: StoredChangelog) -> bytes:
    (key,) = (key for key in stored.records if key.startswith(b'["alert"'))
    return key.rsplit(b'"', 2)[1]


def test_the_format_before_is_refused_with_one_line_that_says_what_to_do() -> None:
    stored = StoredChangelog.load("format-4.json")
    with pytest.raises(FormatError) as raised:
        restorer_of(stored.records).restore()
    message = str(raised.value)
    assert message.startswith("state-3, offset 0, key b'[\"clock\"]': ")
    read = f"formats {OLDEST_FORMAT} to {FORMAT}"
    assert f"has format 4, and this version of the program reads {read}" in message
    assert "start the version that wrote it, or count anew, as docs/operations.md says" in message
    assert "\n" not in message


def test_the_checkpoint_is_read_before_all_others() -> None:
    """Records of another format need not look like any of this one."""
    stored = StoredChangelog.load("format-4.json")
    checkpoint_last = dict(reversed(stored.records.items()))
    with pytest.raises(FormatError, match="has format 4"):
        restorer_of(checkpoint_last).restore()


def test_without_records_a_partition_is_new() -> None:
    replay = restorer_of({}).restore()
    assert (replay.replay_from_offset, replay.input_offsets, replay.unprocessable) == (None, (), ())
    partition = replay.finish(0.0, 0)
    assert (partition.number, partition.table.starts()) == (3, [])
    assert partition.take_changes(0.0) == []


def test_records_without_a_checkpoint_are_not_guessed_at() -> None:
    records = written([(InputOffsetsKey(), [InputOffset("events", 0, 7, 0, None, -1)])])
    with pytest.raises(
        FormatError, match=r"state-3 has records, but no checkpoint.*operations\.md"
    ):
        restorer_of(records).restore()


def test_only_the_last_value_of_a_key_counts() -> None:
    ops, mail = ReceiverKey("ops"), ReceiverKey("mail")
    paused = ReceiverRecord("paused", "digest", 1.0, 2.0)
    restorer = restorer_of({changelog.key_of(ops): b"broken", changelog.key_of(mail): b"broken"})
    later = [(CheckpointKey(), Checkpoint(60, 0, {}, {})), (ops, paused), (mail, None)]
    for offset, (key, value) in enumerate(changelog.encode(later), 2):
        restorer.add(key, value, offset)
    partition = restorer.restore().finish(0.0, 0)
    assert partition.receivers.get("ops") == paused
    assert list(partition.receivers.names()) == ["ops"]


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records.update({b'["delivery","another","d"]': _of(records, b"delivery")}),
        lambda records: records.update({b'["alert","another","a"]': _of(records, b"alert")}),
        lambda records: records.update({b'["stranger"]': b""}),
        lambda records: records.update({CHECKPOINT_KEY: b"{}"}),
    ],
)
def test_a_record_that_cannot_be_read_is_named(change: Change) -> None:
    records = ShortLife().run().records
    before = dict(records)
    change(records)
    (key,) = (key for key in records if records[key] != before.get(key))
    with pytest.raises(FormatError) as raised:
        restorer_of(records).restore()
    offset = list(records).index(key)
    assert str(raised.value).startswith(f"state-3, offset {offset}, key {key!r}: a broken record")
    assert "docs/operations.md" in str(raised.value)


def _of(records: Mapping[bytes, bytes], kind: bytes) -> bytes:
    return next(value for key, value in records.items() if key.startswith(b'["' + kind))


def test_windows_of_another_size_are_refused() -> None:
    records = written([(CheckpointKey(), Checkpoint(45, 0, {}, {0: DirtyWindow(0, None)}))])
    with pytest.raises(FormatError, match=r"state-3: windows\.size: 60 s.*windows of 45 s"):
        restorer_of(records).restore()


def test_others_have_a_turn_while_records_are_restored() -> None:
    records = ShortLife().run().records
    turns = list(restorer_of(records).restore_in_steps(3))
    assert len(turns) == len(records) // 3


def test_longer_windows_are_made_of_those_that_were_restored() -> None:
    stored = StoredChangelog.load(f"format-{FORMAT}.json")
    longer = replace(PARTITION_SETTINGS, windows=WindowPolicy(300, 30, 86_400))
    restorer = PartitionRestorer(0, longer, [0], LIFE_ENDS_AT)
    for key, value in stored.records.items():
        restorer.add(key, value, 0)
    partition = replayed(restorer.restore(), stored)
    assert sends(partition) == {0: {"spring": (240, 0), "autumn": (115, 5)}}
