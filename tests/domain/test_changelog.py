"""Every kind of record of the changelog topic, as it is written and read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import orjson
import pytest

from streams.domain import changelog
from streams.domain.alert_records import AlertKey
from streams.domain.buckets import BucketKey
from streams.domain.causes.handover import GroupedAlertKey, LaneVersionKey, NamedGroupKey
from streams.domain.causes.records import TellerKey
from streams.domain.changelog import (
    FORMAT,
    KINDS,
    OLDEST_FORMAT,
    InputOffset,
    InputOffsetsKey,
    Kind,
    UnprocessableKey,
)
from streams.domain.checkpoint import Checkpoint, CheckpointKey, DirtyWindow
from streams.domain.deliveries import DeliveryKey
from streams.domain.detector_states import DetectorStateKey, DetectorStateRecord
from streams.domain.fleet.receiver_trouble import TroubleKey, TroubleRecord
from streams.domain.fleet.silence_notices import NoticeKey, NoticeRecord
from streams.domain.folded_scopes import FoldGroup, FoldGroupKey
from streams.domain.folds import FoldsKey, FoldsRecord
from streams.domain.partition import CampaignPartition
from streams.domain.pools import AppPool, PoolsKey, PoolsRecord
from streams.domain.receivers import ReceiverKey, ReceiverRecord
from streams.domain.restorer import PartitionRestorer
from streams.domain.rollups import RollupKey
from streams.domain.sent_messages import MessageKey, SentMessage
from streams.errors import FormatError
from tests.support.changelogs import FOLDER, ShortLife
from tests.support.partitions import PARTITION_SETTINGS

KEYS = {
    CheckpointKey(): b'["checkpoint"]',
    BucketKey(60, 1): b'["bucket",60,1,0]',
    RollupKey(3_600, "UTC", 7_200, 1): b'["rollup",3600,"UTC",7200,1,0]',
    AlertKey("a/b", "id"): b'["alert","a/b","id"]',
    DeliveryKey("ü", "id.1.ops"): '["delivery","ü","id.1.ops"]'.encode(),
    MessageKey("id", "chat"): b'["message","id","chat"]',
    DetectorStateKey("c", "rule", None, "GCM"): b'["detector","c","rule",null,"GCM"]',
    FoldsKey(): b'["folds"]',
    FoldGroupKey("rule", 3): b'["fold","rule",3]',
    PoolsKey("rule"): b'["pools","rule"]',
    ReceiverKey("ops"): b'["receiver","ops"]',
    GroupedAlertKey("c", "id"): b'["grouped","c","id"]',
    NamedGroupKey("c", "id", "limit:ops"): b'["grouped-by","c","id","limit:ops"]',
    LaneVersionKey(): b'["group-lane"]',
    TellerKey("rule"): b'["teller","rule"]',
    NoticeKey("s.60000"): b'["notice","s.60000"]',
    TroubleKey("ops"): b'["trouble","ops"]',
    InputOffsetsKey(): b'["offsets"]',
    UnprocessableKey(): b'["unprocessable"]',
}


def test_keys_are_arrays_with_the_kind_first() -> None:
    assert {key: changelog.key_of(key) for key in KEYS} == KEYS
    assert {type(key) for key in KEYS} == {kind.key for kind in KINDS}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (CheckpointKey(), Checkpoint(60, 5, {0: 5, 3: 4}, {60: DirtyWindow(7, None)})),
        (
            DetectorStateKey("c", "rule", "1", None),
            DetectorStateRecord("doubled", msgspec.Raw(b"[7]")),
        ),
        (FoldsKey(), FoldsRecord(7, True, 120, 150_000, {0: 150_000}, {0: 9.5, 1: 3.0}, 9.5)),
        (
            PoolsKey("rule"),
            PoolsRecord("cusum", [AppPool(None, [0, 0], [3, 1]), AppPool("app", [7, 0], [0, 0])]),
        ),
        (
            FoldGroupKey("rule", 3),
            FoldGroup(
                "cusum",
                "treatment",
                [("c", None), None, ("c", "1")],
                [0, 0, 1],
                [60, 0, 0],
                {2: 7},
                b"\x92\x90\x90",
            ),
        ),
        (FoldGroupKey("rule", 4), FoldGroup("cusum", "campaign", ["d"], [0], [60], {}, b"\x90")),
        (MessageKey("id", "chat"), SentMessage('{"ts":"1.2"}', 2, 1.5)),
        (ReceiverKey("ops"), ReceiverRecord("paused", "digest", 1.0, 2.0, "503")),
        (NoticeKey("s.60000"), NoticeRecord(60.0, ("ops", "dev"))),
        (TroubleKey("ops"), TroubleRecord("failing", 7.5, 5.0, 7.5)),
        (InputOffsetsKey(), [InputOffset("events", 1, 7, 5, UUID(int=1), 3)]),
        (InputOffsetsKey(), [InputOffset("events", 1, 7, 0, None, -1)]),
        (UnprocessableKey(), [3, 5]),
    ],
)
def test_a_record_is_read_as_it_was_written(key: changelog.Key, value: Any) -> None:
    ((written_key, written_value),) = changelog.encode([(key, value)])
    assert written_value is not None
    assert changelog.decode(written_key, written_value) == (key, value)


def test_null_removes_a_key() -> None:
    assert list(changelog.encode([(ReceiverKey("ops"), None)])) == [(b'["receiver","ops"]', None)]


def test_the_checkpoint_says_the_format() -> None:
    ((_, value),) = changelog.encode([(CheckpointKey(), Checkpoint(60, 0, {}, {}))])
    assert orjson.loads(value or b"")["format"] == FORMAT


def test_a_short_life_has_every_kind_of_record() -> None:
    """So that the files of changelogs, which it makes, have them."""
    kinds = {type(changelog.decode(*record)[0]) for record in ShortLife().run().records.items()}
    assert kinds == {kind.key for kind in KINDS}


@pytest.mark.parametrize("number", range(OLDEST_FORMAT, FORMAT + 1))
def test_there_is_a_file_for_every_format_that_is_read(number: int) -> None:
    assert Path(FOLDER, f"format-{number}.json").exists(), (
        f"python -m tests.support.changelogs {FOLDER}/format-{number}.json"
    )


def test_the_formats_that_are_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelog, "FORMAT", 11)
    value = b'{"format":%d,"window_size":60,"event_time":0,"inputs":{},"dirty":{}}'
    for number in (OLDEST_FORMAT, 9, 11):
        assert changelog.decode(b'["checkpoint"]', value % number)
    for number in (OLDEST_FORMAT - 1, 12):
        with pytest.raises(
            FormatError, match=rf"format {number}, .*formats {OLDEST_FORMAT} to 11:"
        ):
            changelog.decode(b'["checkpoint"]', value % number)


@pytest.mark.parametrize("key", [b'["stranger"]', b'["page",0,0]', b"[]", b"", b"{}", b"\xff"])
def test_a_key_of_nobody_is_named(key: bytes) -> None:
    with pytest.raises(ValueError, match="not a key of the changelog topic"):
        changelog.decode(key, b"")


@pytest.mark.parametrize("key", ['["checkpoint"]', '["clock"]'])
def test_another_format_is_named_with_what_to_do(key: str) -> None:
    """Also where the checkpoint had another key: up to format 4."""
    with pytest.raises(
        FormatError,
        match=rf"format 3.*reads formats {OLDEST_FORMAT} to {FORMAT}.*docs/operations\.md",
    ):
        changelog.decode(key.encode(), b'{"format":3,"anything":[]}')


class NoteKey(msgspec.Struct, frozen=True, array_like=True, tag="note"):
    """Key of a kind of record that a test adds."""

    campaign_id: str


class Notes:
    """A store of such records."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}

    def take_changes(self) -> Iterator[tuple[NoteKey, str]]:
        return ((NoteKey(name), note) for name, note in self.notes.items())

    def restore(self, key: NoteKey, value: str) -> None:
        self.notes[key.campaign_id] = value


def test_a_further_kind_of_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key, its store and a line in the registry: it is written and restored."""
    kinds = (*KINDS, Kind(NoteKey, str.encode, bytes.decode))
    monkeypatch.setattr(changelog, "_kinds", {kind.key: kind for kind in kinds})
    monkeypatch.setattr(changelog, "_decode_key", changelog._key_decoder(k.key for k in kinds))
    made: list[Notes] = []

    def with_notes(self: CampaignPartition, *args: Any) -> None:
        original(self, *args)
        made.append(Notes())
        self.stores = {**self.stores, NoteKey: made[-1]}

    original = CampaignPartition.__init__
    monkeypatch.setattr(CampaignPartition, "__init__", with_notes)
    before = CampaignPartition(0, PARTITION_SETTINGS, [0], 0.0)
    made[0].notes["spring"] = "as it was"
    restorer = PartitionRestorer(0, PARTITION_SETTINGS, [0], 0.0)
    for offset, (key, value) in enumerate(before.take_changes(0.0)):
        restorer.add(key, value, offset)
    restorer.restore().finish(0.0, 0)
    assert made[1].notes == {"spring": "as it was"}
