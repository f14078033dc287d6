"""The checkpoint: how far a partition's windows are, as the changelog topic has it."""

from typing import Annotated, NamedTuple

import msgspec

from streams.domain.event_time_log import Ranges


class CheckpointKey(msgspec.Struct, frozen=True, array_like=True, tag="checkpoint"):
    """Key of the checkpoint on the changelog topic: there is one."""


class DirtyWindow(NamedTuple):
    """From where a dirty window gets its counts when it is restored.

    Attributes:
        replay_from_offset: offset in the repartition topic, from which its counts are replayed.
        closed_at_offset: from which they came late; null while the window is open.
    """

    replay_from_offset: int
    closed_at_offset: int | None


class RollupStart(NamedTuple):
    """Which counts are in a roll-up.

    Attributes:
        step: of the roll-up (s).
        time_zone: whose days they are, if it is of days.
        kept_from: counts of times (s) before are in longer windows.
    """

    step: int
    time_zone: str
    kept_from: int


class DirtyRollup(NamedTuple):
    """From where a window of a roll-up gets its counts when it is restored.

    Attributes:
        step: of the roll-up (s).
        time_zone: whose days they are, if it is of days.
        start: of the window (s).
        replay_from_offset: offset in the repartition topic, from which the counts are replayed
            whose windows had been rolled up by then.
    """

    step: int
    time_zone: str
    start: int
    replay_from_offset: int


class RollupsState(msgspec.Struct):
    """How far a partition's roll-ups are.

    Attributes:
        windows_from: counts of times (s) before are in no window but in roll-ups, or expired.
        complete_from: since when (s) all counts are retained.
        steps: the roll-ups that counts go to, shortest first.
        dirty: windows with counts that have to be replayed.
    """

    windows_from: int
    complete_from: int
    steps: list[RollupStart]
    dirty: list[DirtyRollup]


class Checkpoint(msgspec.Struct):
    """How far a partition's windows are.

    Attributes:
        window_size: length of the windows (s).
        event_time: the watermark (ms).
        inputs: the largest event time (ms) of each source partition, by its number.
        dirty: the dirty windows, by their start (s).
        observed: the windows that event time was in, if any rule has to know them.
        rollups: how far the roll-ups are; null up to format 8.
    """

    window_size: Annotated[int, msgspec.Meta(gt=0)]
    event_time: int
    inputs: dict[int, int]
    dirty: dict[int, DirtyWindow]
    observed: Ranges = []
    rollups: RollupsState | None = None
