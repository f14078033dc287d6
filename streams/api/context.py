"""What the answers are made from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from msgspec import UNSET, UnsetType

from streams.api.answer import Answer
from streams.api.change_logs import ChangeLogs
from streams.api.cluster import Cluster
from streams.api.readers import Readers
from streams.api.rows import RowReader
from streams.api.stream_events import Wanted
from streams.api.stream_outlets import Subscription
from streams.domain.change_log import Positions
from streams.domain.dead_letters import NewestDeadLetters
from streams.domain.names import NameBook
from streams.domain.partition_settings import PartitionSettings
from streams.domain.silences.book import SilenceBook
from streams.domain.silences.silence import Silence
from streams.domain.transitions import rfc3339
from streams.receivers.pagerduty_webhooks import Signatures

A = TypeVar("A", bound=Answer)


class Health(Protocol):
    """What the worker knows of its own state."""

    def ready(self) -> tuple[bool, list[str]]:
        """Tell whether the worker does its work; if not, why, and otherwise what else is wrong."""
        ...

    def live(self) -> bool:
        """Tell whether the worker makes progress; false means that it should be started anew."""
        ...


class Silences(Protocol):
    """The silences, as every worker knows them."""

    @property
    def book(self) -> SilenceBook:
        """All of them."""
        ...

    @property
    def is_read(self) -> bool:
        """Whether the book has all; it has not when the worker has just started."""
        ...

    async def make(self, silence: Silence) -> None:
        """Make a silence; return once the book has it.

        Raises:
            SilenceError: if it is not possible; says all that is wrong with it.
            UserError: if it cannot be made now.
        """
        ...

    async def end(self, silence_id: str, by: str, token: str | None = None) -> Silence | None:
        """End a silence; return it as it is once the book has that, null if there is none.

        Raises:
            UserError: if it cannot be ended now.
        """
        ...


class DeadLetterTail(Protocol):
    """The end of the dead-letter topic."""

    async def newest(self) -> NewestDeadLetters:
        """Return the newest dead letters.

        Raises:
            UserError: if they cannot be read now; says why.
        """
        ...


class LiveStream(Protocol):
    """Tells of changes as they come."""

    async def open(
        self, context: "Context", wanted: Wanted, since: Positions | None
    ) -> Subscription:
        """Return what is told to a reader that begins at some positions; null for now.

        Raises:
            ProblemError: 503, if there are too many readers.
        """
        ...


class NamesOfKind(Protocol):
    """The names of campaigns, or of apps, as every worker knows them."""

    @property
    def is_read(self) -> bool:
        """Whether the book has all that there are."""
        ...

    @property
    def book(self) -> NameBook:
        """All of them."""
        ...

    async def set(self, its_id: str, name: str) -> str:
        """Give a name; return it as it is once the book has it.

        Raises:
            BadNameError: if it is none.
            UserError: if it cannot be given now.
        """
        ...

    async def remove(self, its_id: str) -> str | None:
        """Take a name away; return it once the book has that, null if there was none.

        Raises:
            UserError: if it cannot be taken away now.
        """
        ...


@dataclass(frozen=True, slots=True)
class KnownNames:
    """What campaigns and apps are called."""

    campaigns: NamesOfKind
    apps: NamesOfKind

    def of_campaign(self, campaign_id: str) -> str | UnsetType:
        """Return what a campaign is called, as answers have it."""
        return self.campaigns.book.of(campaign_id) or UNSET

    def of_app(self, app_id: str | None) -> str | UnsetType:
        """Return what an app is called, as answers have it."""
        return self.apps.book.of(app_id) or UNSET


@dataclass(frozen=True, slots=True)
class Context:
    """What the answers are made from.

    Args:
        settings: what is counted, which rules are evaluated and who is notified.
        cluster: the partitions, here and at other workers.
        rows: reads the campaign list.
        readers: read campaigns' windows.
        change_logs: what has changed in the partitions that are here.
        stream: what has changed in all partitions, as it comes.
        silences: which alerts nobody is notified of.
        names: of campaigns and apps.
        groups_are_read: tells whether the settings' view has all groups that there are.
        dead_letters: the newest ones.
        health: of this worker.
        metrics: writes the metrics in the format that `Accept` asks for, and says its content type.
        now: the wall clock (s, UTC).
        document: the OpenAPI document.
        assets: the files of the pages, by name.
        pagerduty: checks webhooks of PagerDuty, by the name of the receiver that they are about.
    """

    settings: PartitionSettings
    cluster: Cluster
    rows: RowReader
    readers: Readers
    change_logs: ChangeLogs
    stream: LiveStream
    silences: Silences
    names: KnownNames
    groups_are_read: Callable[[], bool]
    dead_letters: DeadLetterTail
    health: Health
    metrics: Callable[[str], tuple[bytes, str]]
    now: Callable[[], float]
    document: bytes
    assets: dict[str, bytes]
    pagerduty: Mapping[str, Signatures]

    def stamp(self, answer: A, missing: Iterable[int], as_of: float | None = None) -> A:
        """Say in an answer what is missing, and of when (s, UTC) its figures are; null for now."""
        answer.as_of = rfc3339(self.now() if as_of is None else as_of)
        answer.missing_partitions = sorted(missing)
        answer.partial = bool(answer.missing_partitions)
        return answer
