"""What is counted and which rules are evaluated, the same in every partition."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streams.domain.causes.exchange import GroupView
from streams.domain.counts import StatusGroups
from streams.domain.deliveries import DEFAULT_RETENTION, Retention
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.names import Names
from streams.domain.notification.grouping import GroupTimes
from streams.domain.notification.rate_limit import ReceiverLimit
from streams.domain.rules import Rule
from streams.domain.silences.book import SilenceBook
from streams.domain.silences.matchers import Matcher
from streams.domain.windows import WindowPolicy


@dataclass(frozen=True, slots=True)
class PartitionSettings:
    """The settings that every partition has in common.

    Args:
        windows: size, grace and retention of windows.
        groups: which group each status is in.
        rules: what alerts are raised for.
        receivers: the names of all receivers.
        idle_timeout: seconds without events after which an input no longer holds event time back.
        base_url: of the API, for links in alerts; null for alerts without links.
        new_id: makes alert ids.
        limits: how many names and campaigns are kept apart.
        emits_windows: whether results of closed windows are emitted.
        silences: all that the worker knows; they change while it runs.
        matchers: of each receiver that has any, by its name: what labels of alerts have to be.
        retention: how long deliveries that have ended are kept.
        take_acknowledgements: the names of the receivers that have a notion of them.
        grouping: by receiver that is told of alerts in groups, when it is told.
        group_labels: by receiver that groups by labels, and not by cause, their names.
        rate_limits: by receiver that has one, its rate limit; what is left of it changes.
        lanes: how many partitions there are.
        names: of campaigns and apps, as the worker knows them; they change.
        group_view: what all lanes say of groups, as the worker knows it; it changes.
        notice_before: how long (s) before a silence ends receivers are told, at most; 0: never.
        take_notices: the names of the receivers that are.
        tell: the name of the receiver that is told of the others' trouble; null for nobody.
    """

    windows: WindowPolicy
    groups: StatusGroups
    rules: tuple[Rule, ...]
    receivers: tuple[str, ...]
    idle_timeout: float
    base_url: str | None
    new_id: Callable[[], str]
    limits: Limits = DEFAULT_LIMITS
    emits_windows: bool = False
    silences: SilenceBook = field(default_factory=SilenceBook)
    matchers: Mapping[str, tuple[Matcher, ...]] = field(default_factory=dict)
    retention: Retention = DEFAULT_RETENTION
    take_acknowledgements: frozenset[str] = frozenset()
    grouping: Mapping[str, GroupTimes] = field(default_factory=dict)
    group_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rate_limits: Mapping[str, ReceiverLimit] = field(default_factory=dict)
    lanes: int = 1
    names: Names = field(default_factory=Names)
    group_view: GroupView = field(default_factory=GroupView)
    notice_before: float = 0.0
    take_notices: frozenset[str] = frozenset()
    tell: str | None = None
