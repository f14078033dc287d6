"""The changelog topic: every key, every value, and the one format of all of them.

Partition n of the topic has the state of task n. The topic is compacted: the last value of a key is
the state, null removes the key. What one commit writes is in one transaction with the offsets of
what was read. `streams.domain.restorer` restores a partition from the records.

A key is a JSON array, the kind of the record first. Values are JSON but for buckets.

    key                              value          restored to
    written when

    ["checkpoint"]                   Checkpoint     WindowTable: watermark, dirty windows
    windows or event time changed; with the first record of all. Has the format, too
    ["bucket", start, bucket, part]  WindowCounts   WindowTable: counts
    a window is closed and quiet, or too much would be replayed; null: it expired. MessagePack
    ["rollup", step, time zone, start, bucket, part]
                                     WindowCounts   Rollups: counts
    windows that expired were added to it, or counts that came after that; null: it expired itself.
    MessagePack
    ["alert", campaign id, id]       Alert          AlertBook
    it made a transition, or its evidence will not follow from counts; null: it is forgotten
    ["delivery", campaign id, id]    Delivery       Outbox
    it is enqueued, attempted, given up, delivered or replayed; null: it is forgotten
    ["message", alert id, receiver]  SentMessage    SentMessages of the Outbox
    a receiver has a message that the alert's next delivery updates; null: its end was delivered
    ["detector", campaign id, rule, treatment, channel]
                                     DetectorStateRecord DetectorStates
    a rule was evaluated, and its detector remembers something else; null: it is forgotten
    ["folds"]                        FoldsRecord    Folds: how far the written states are
    the states are written; the first partial counts after that were folded
    ["fold", rule, group]            FoldGroup      FoldedScopes of a rule
    a window is written or has expired, and any of them changed; null: none is left, or they are in
    the record of a group before it. MessagePack
    ["pools", rule]                  PoolsRecord    FoldedScopes: Pools of a rule, by app
    states are written, and any sum changed
    ["receiver", name]               ReceiverRecord ReceiverBook
    a receiver is paused, gone or enabled
    ["grouped", campaign id, alert id] GroupedAlert LaneGroups
    an alert waits, or is handed over to be told of in a group; null: it is told by itself
    ["grouped-by", campaign id, alert id, name] GroupedAlert LaneGroups
    the same, by labels or beyond a rate limit; null: it is told by itself, and has ended
    ["group-lane"]                   int            LaneGroups: version of its newest member
    a member was written to the groups topic
    ["teller", name]                 TellerRecord   Tellers: causes and groups of a name
    any of them changed; in the partition that tells of them
    ["notice", notice id]            NoticeRecord   SilenceNotices
    a receiver was told that a silence ends; null: it has ended. In the partition that tells of it
    ["trouble", name]                TroubleRecord  ReceiverTrouble
    it was told how a receiver is, in the partition that tells of it
    ["offsets"]                      [InputOffset]  TaskOffsets
    the task has read on in any partition
    ["unprocessable"]                [offset]       StreamTask: partial counts it will not replay
    partial counts of the repartition topic were dead-lettered, whole or in part

A further kind of record is a key and a value in the file of the store that keeps them, and a line
in `KINDS`; `CampaignPartition.stores` has the store. A key is a `msgspec.Struct` with
`frozen=True, array_like=True` and the kind as its `tag`.

A field with a default may be added, as long as a version that does not know it may ignore it. Any
other change, a further kind of record among them, raises `FORMAT`; one after which what was written
before cannot be read any more, `OLDEST_FORMAT` too. docs/operations.md says what an operator does
then. tests/domain/changelogs has what each format looked like.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias, Union
from uuid import UUID

import msgspec

from streams.domain import alert_records, deliveries, folded_scopes
from streams.domain.alert_records import AlertKey
from streams.domain.buckets import BucketKey, read_bucket
from streams.domain.causes.handover import (
    GroupedAlert,
    GroupedAlertKey,
    LaneVersionKey,
    NamedGroupKey,
)
from streams.domain.causes.records import TellerKey, TellerRecord
from streams.domain.checkpoint import Checkpoint, CheckpointKey
from streams.domain.deliveries import DeliveryKey
from streams.domain.detector_states import DetectorStateKey, DetectorStateRecord
from streams.domain.fleet.receiver_trouble import TroubleKey, TroubleRecord
from streams.domain.fleet.silence_notices import NoticeKey, NoticeRecord
from streams.domain.folded_scopes import FoldGroupKey
from streams.domain.folds import FoldsKey, FoldsRecord
from streams.domain.pools import PoolsKey, PoolsRecord
from streams.domain.receivers import ReceiverKey, ReceiverRecord
from streams.domain.rollups import RollupKey
from streams.domain.sent_messages import MessageKey, SentMessage
from streams.errors import FormatError

FORMAT = 10
"""Version of all keys and values that are written. The checkpoint says it, and is there if any
record is."""
OLDEST_FORMAT = 5
"""The first version of those that are read: all from there to `FORMAT`."""
_CHECKPOINT_UP_TO_FORMAT_4 = b'["clock"]'
"""The key that the checkpoint had then."""

Key: TypeAlias = msgspec.Struct
Record: TypeAlias = tuple[bytes, bytes | None]
"""Key and value, as they are on the topic."""


class InputOffset(NamedTuple):
    """How far a task has read one partition.

    Attributes:
        topic: that the partition is of.
        partition: its number.
        offset: of the next record to read.
        event_time: of a source partition, the largest event time (ms) counted; otherwise 0.
        topic_id: of the topic; null if it is not known.
        leader_epoch: of the last record that was read; -1 if it is not known.
    """

    topic: str
    partition: int
    offset: int
    event_time: int
    topic_id: UUID | None
    leader_epoch: int


class InputOffsetsKey(msgspec.Struct, frozen=True, array_like=True, tag="offsets"):
    """Key of how far the task has read all its inputs: there is one."""


class UnprocessableKey(msgspec.Struct, frozen=True, array_like=True, tag="unprocessable"):
    """Key of which partial counts of the repartition topic were dead-lettered: there is one."""


class _CheckpointRecord(Checkpoint, kw_only=True):
    """A checkpoint as it is written."""

    format: int


class _Format(msgspec.Struct):
    """The part of a checkpoint that every format has."""

    format: int


class Kind(NamedTuple):
    """One kind of record.

    Attributes:
        key: the type of its keys.
        encode: makes the bytes of a value.
        decode: reads them. Raises MsgspecError or ValueError if they are no such value, FormatError
            if they are of another format.
    """

    key: type[Key]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _json(key: type[Key], value: Any) -> Kind:
    """Return a kind whose values are JSON of a type that msgspec knows."""
    return Kind(key, msgspec.json.Encoder().encode, msgspec.json.Decoder(value).decode)


_encode_json = msgspec.json.Encoder().encode
_decode_format = msgspec.json.Decoder(_Format).decode
_decode_written = msgspec.json.Decoder(Checkpoint).decode


def _encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    return _encode_json(_CheckpointRecord(format=FORMAT, **msgspec.structs.asdict(checkpoint)))


def _decode_checkpoint(value: bytes) -> Checkpoint:
    written = _decode_format(value).format
    if not OLDEST_FORMAT <= written <= FORMAT:
        oldest = f"formats {OLDEST_FORMAT} to" if OLDEST_FORMAT < FORMAT else "format"
        raise FormatError(
            f"the changelog topic has format {written}, and this version of the program reads "
            f"{oldest} {FORMAT}: start the version that wrote it, or count anew, as "
            "docs/operations.md says"
        )
    return _decode_written(value)


KINDS = (
    Kind(CheckpointKey, _encode_checkpoint, _decode_checkpoint),
    # The table has the bytes of buckets at hand: that is how it keeps clean ones.
    Kind(BucketKey, bytes, read_bucket),
    Kind(RollupKey, bytes, read_bucket),
    Kind(AlertKey, alert_records.encode, alert_records.decode),
    Kind(DeliveryKey, deliveries.encode, deliveries.decode),
    _json(MessageKey, SentMessage),
    _json(DetectorStateKey, DetectorStateRecord),
    _json(FoldsKey, FoldsRecord),
    _json(PoolsKey, PoolsRecord),
    Kind(FoldGroupKey, folded_scopes.encode, folded_scopes.decode),
    _json(ReceiverKey, ReceiverRecord),
    _json(GroupedAlertKey, GroupedAlert),
    _json(NamedGroupKey, GroupedAlert),
    _json(LaneVersionKey, int),
    _json(TellerKey, TellerRecord),
    _json(NoticeKey, NoticeRecord),
    _json(TroubleKey, TroubleRecord),
    _json(InputOffsetsKey, list[InputOffset]),
    _json(UnprocessableKey, list[int]),
)
"""Every kind of record of the changelog topic."""


class Store(Protocol):
    """Keeps the values of one kind of record."""

    def take_changes(self) -> Iterable[tuple[Key, Any]]:
        """Hand out the keys that changed since the last call, and their values; null for none."""
        ...

    def restore(self, key: Any, value: Any) -> None:
        """Take a value as it was written down.

        Raises:
            ValueError: if the value is another one than the key says.
        """
        ...


def _key_decoder(kinds: Iterable[type[Key]]) -> Callable[[bytes], Key]:
    """Return what reads a key of any of these types; the tag says of which."""
    any_of_them: Any = Union[tuple(kinds)]  # noqa: UP007 - made of what is registered
    return msgspec.json.Decoder(any_of_them).decode


_kinds = {kind.key: kind for kind in KINDS}
_decode_key = _key_decoder(_kinds)


def key_of(key: Key) -> bytes:
    """Return a key as it is on the topic."""
    return _encode_json(key)


CHECKPOINT_KEY = key_of(CheckpointKey())


def encode(changes: Iterable[tuple[Key, Any]]) -> Iterator[Record]:
    """Return records as they are on the topic, given keys and values; null removes a key."""
    for key, value in changes:
        yield key_of(key), None if value is None else _kinds[type(key)].encode(value)


def decode(key: bytes, value: bytes) -> tuple[Key, Any]:
    """Return a key and its value.

    Raises:
        FormatError: if they are of another format.
        MsgspecError, ValueError: if they are no record of the changelog topic.
    """
    if key == _CHECKPOINT_UP_TO_FORMAT_4:
        return CheckpointKey(), _decode_checkpoint(value)
    try:
        known = _decode_key(key)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not a key of the changelog topic: {key[:200]!r}: {error}") from error
    return known, _kinds[type(known)].decode(value)


def is_checkpoint(key: bytes) -> bool:
    """Tell whether a key is that of the checkpoint, in this or an earlier format."""
    return key in {CHECKPOINT_KEY, _CHECKPOINT_UP_TO_FORMAT_4}
