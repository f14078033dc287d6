"""What the answers are made from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from streams.api.answers import Answer
from streams.api.cluster import Cluster
from streams.api.rows import RowReader
from streams.domain.partition_settings import PartitionSettings
from streams.domain.transitions import rfc3339

A = TypeVar("A", bound=Answer)


class Health(Protocol):
    """What the worker knows of its own state."""

    def ready(self) -> tuple[bool, list[str]]:
        """Tell whether the worker does its work; if not, why, and otherwise what else is wrong."""
        ...

    def live(self) -> bool:
        """Tell whether the worker makes progress; false means that it should be started anew."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What the answers are made from.

    Args:
        settings: what is counted, which rules are evaluated and who is notified.
        cluster: the partitions, here and at other workers.
        rows: reads the campaign list.
        health: of this worker.
        metrics: writes the metrics in the format that `Accept` asks for, and says its content type.
        now: the wall clock (s, UTC).
        document: the OpenAPI document.
        assets: the files of the pages, by name.
    """

    settings: PartitionSettings
    cluster: Cluster
    rows: RowReader
    health: Health
    metrics: Callable[[str], tuple[bytes, str]]
    now: Callable[[], float]
    document: bytes
    assets: dict[str, bytes]

    def stamp(self, answer: A, missing: Iterable[int], as_of: float | None = None) -> A:
        """Say in an answer what is missing, and of when (s, UTC) its figures are; null for now."""
        answer.as_of = rfc3339(self.now() if as_of is None else as_of)
        answer.missing_partitions = sorted(missing)
        answer.partial = bool(answer.missing_partitions)
        return answer
