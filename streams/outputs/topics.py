"""What each topic is made with, and the topics that every worker needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

RECORD_BYTES = 16 * 1024 * 1024
"""A dead letter is its record and more, so its topic should take more than the source; what is
larger all the same is cut off."""

CLEANUP_POLICY = "cleanup.policy"
TIMESTAMP_TYPE = "message.timestamp.type"
MAX_MESSAGE_BYTES = "max.message.bytes"
_DAY_MS = 86_400_000

# Answers to writes then say what time it is at the broker, and none is refused for its time.
BROKER_TIME = {TIMESTAMP_TYPE: "LogAppendTime"}
MONTH = {**BROKER_TIME, "retention.ms": str(30 * _DAY_MS)}
_COMPACTED = {CLEANUP_POLICY: "compact", "min.cleanable.dirty.ratio": "0.1"}
_LARGE = {**BROKER_TIME, MAX_MESSAGE_BYTES: str(RECORD_BYTES)}


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, whatever its name is in a configuration.

    Args:
        role: its key below `topics` in the configuration.
        default: its name where the configuration gives none; null for a topic that is not used
            unless the configuration names it.
        holds: what its records are, for the example configuration.
        rights: the operations that a worker performs there, as Kafka's ACLs name them.
        one_a_task: whether it must have one partition for each task.
        partitions: how many it is made with; null for `topics.partitions`, or one a task.
        settings: the topic settings it is made with. With `cleanup.policy` among them, a topic
            that somebody else made is checked for it.
        unfit: what goes wrong with another `cleanup.policy`.
    """

    role: str
    default: str | None
    holds: str
    rights: tuple[str, ...]
    one_a_task: bool = False
    partitions: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    unfit: str = ""

    @property
    def setting(self) -> str:
        """The key of its name in the configuration."""
        return f"topics.{self.role}"


SOURCE = Topic(
    "source", "campaign-events", "the events, as Pinpoint emits them, with any key", ("READ",)
)
REPARTITION = Topic(
    "repartition",
    "campaign-streams-repartition",
    "internal: partial counts of the events, keyed by campaign",
    ("READ", "WRITE"),
    one_a_task=True,
    settings={**_LARGE, CLEANUP_POLICY: "delete", "retention.ms": str(7 * _DAY_MS)},
    unfit="its records have no keys",
)
CHANGELOG = Topic(
    "changelog",
    "campaign-streams-changelog",
    "internal: window tables and alerts",
    ("READ", "WRITE"),
    one_a_task=True,
    settings={**_LARGE, **_COMPACTED},
    unfit="counts would be lost",
)
SILENCES = Topic(
    "silences",
    "campaign-streams-silences",
    "internal: silences, which every worker reads whole",
    ("READ", "WRITE"),
    partitions=1,
    settings={**BROKER_TIME, **_COMPACTED},
    unfit="silences would be lost",
)
GROUPS = Topic(
    "groups",
    "campaign-streams-groups",
    "internal: what lanes know of common causes, which every worker reads whole",
    ("READ", "WRITE"),
    partitions=1,
    settings={**_LARGE, **_COMPACTED},
    unfit="alerts that are told of in groups would be lost",
)
_NAMES_UNFIT = "names would be lost"
CAMPAIGN_NAMES = Topic(
    "campaign_names",
    "campaign-names",
    "what campaigns are called, by id, which every worker reads whole; others may write it, too",
    ("READ", "WRITE"),
    partitions=1,
    settings={**BROKER_TIME, **_COMPACTED},
    unfit=_NAMES_UNFIT,
)
APP_NAMES = Topic(
    "app_names",
    "app-names",
    "what apps are called, in the same way",
    ("READ", "WRITE"),
    partitions=1,
    settings={**BROKER_TIME, **_COMPACTED},
    unfit=_NAMES_UNFIT,
)
DEAD_LETTER = Topic(
    "dead_letter",
    "campaign-events-dead-letter",
    "records that could not be counted, as they came, and why",
    ("WRITE",),
    settings={**_LARGE, **MONTH, CLEANUP_POLICY: "delete"},
    unfit="its records have no keys",
)
