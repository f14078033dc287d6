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


class Checkpoint(msgspec.Struct):
    """How far a partition's windows are.

    Attributes:
        window_size: length of the windows (s).
        event_time: the watermark (ms).
        inputs: the largest event time (ms) of each source partition, by its number.
        dirty: the dirty windows, by their start (s).
        observed: the windows that event time was in, if any rule has to know them.
    """

    window_size: Annotated[int, msgspec.Meta(gt=0)]
    event_time: int
    inputs: dict[int, int]
    dirty: dict[int, DirtyWindow]
    observed: Ranges = []
