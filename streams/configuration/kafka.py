"""How to reach Kafka, and which topics are ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BeforeValidator, Field, create_model, field_validator, model_validator

from streams.configuration.files import check_small
from streams.outputs.registry import TOPICS
from streams.outputs.topics import Topic
from streams.settings import (
    Count,
    Flag,
    PositiveDuration,
    ProblemsError,
    Secret,
    Server,
    Settings,
    Text,
    TopicName,
)

SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
_LONGEST_TIMEOUT = 24 * 86_400.0
"""Seconds: Kafka's protocol has milliseconds in 32 bits."""
Guarantee = Literal["exactly-once", "at-least-once"]


def _split(value: object) -> object:
    """`a:9092,b:9092`, as other Kafka clients write it, means two servers."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class TlsSettings(Settings):
    """Encryption, and the client certificate if the brokers ask for one."""

    enabled: Flag = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret | None = None

    @field_validator("ca_file", "certificate_file", "key_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None:
            check_small(path)
        return path

    @model_validator(mode="after")
    def _complete(self) -> Self:
        files = (self.ca_file, self.certificate_file, self.key_file)
        if not self.enabled and any(files):
            raise ValueError("names files but enabled is false: set kafka.tls.enabled: true")
        if self.key_file and not self.certificate_file:
            raise ValueError("key_file needs certificate_file beside it")
        return self


class SaslSettings(Settings):
    """Who we are to the brokers. OAUTHBEARER means AWS MSK with IAM."""

    mechanism: SaslMechanism | None = None
    username: Text | None = None
    password: Secret | None = None
    aws_region: Text | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        credentials = {"username": self.username, "password": self.password}
        region = {"aws_region": self.aws_region}
        needed: dict[str, object] = {}
        foreign: dict[str, object] = {}
        if self.mechanism is None:
            foreign = {**credentials, **region}
        elif self.mechanism == "OAUTHBEARER":
            needed, foreign = {**region}, {**credentials}
        else:
            needed, foreign = {**credentials}, {**region}
        mechanism = self.mechanism or "null"
        missing = [key for key, value in needed.items() if value is None]
        unused = [key for key, value in foreign.items() if value is not None]
        if missing:
            raise ValueError(f"mechanism {mechanism} needs {' and '.join(missing)}")
        if unused:
            raise ValueError(f"mechanism {mechanism} does not use {' and '.join(unused)}")
        return self


class KafkaSettings(Settings):
    """The cluster, the consumer group and the guarantee."""

    bootstrap_servers: Annotated[
        tuple[Server, ...], BeforeValidator(_split), Field(min_length=1)
    ] = ("localhost:9092",)
    group_id: Text = "campaign-streams"
    client_id: Text = "campaign-streams"
    group_instance_id: Text | None = None
    session_timeout: PositiveDuration = 10.0
    guarantee: Guarantee = "exactly-once"
    transaction_timeout: PositiveDuration = 30.0
    tls: TlsSettings = TlsSettings()
    sasl: SaslSettings = SaslSettings()

    @field_validator("session_timeout", "transaction_timeout")
    @classmethod
    def _fits_the_protocol(cls, seconds: float) -> float:
        if seconds > _LONGEST_TIMEOUT:
            raise ValueError("expected at most 24d")
        return seconds

    @model_validator(mode="after")
    def _iam_is_encrypted(self) -> Self:
        if self.sasl.mechanism == "OAUTHBEARER" and not self.tls.enabled:
            problem = "mechanism OAUTHBEARER (AWS MSK IAM) needs kafka.tls.enabled: true"
            raise ProblemsError([(("sasl",), problem)])
        return self


if TYPE_CHECKING:

    class _Names(Settings):
        """Names of the topics that every worker needs."""

        source: str = ""
        repartition: str = ""
        changelog: str = ""
        silences: str = ""
        groups: str = ""
        campaign_names: str = ""
        app_names: str = ""
        dead_letter: str = ""

else:
    _Names = create_model(
        "_Names",
        __base__=Settings,
        **{
            topic.role: (TopicName if topic.default else TopicName | None, topic.default)
            for topic in TOPICS
        },
    )
    """A name for each topic of the registry, by its role."""


class TopicSettings(_Names):
    """Names of the topics, and how they are made; an output topic without a name is not used."""

    partitions: Count = 4
    replication_factor: Count = 1
    create: Flag = True

    def name_of(self, topic: Topic) -> str | None:
        """Return the name of a topic; null if it is not used."""
        name: str | None = getattr(self, topic.role)
        return name

    def named(self) -> list[tuple[Topic, str]]:
        """Return the topics that are used, with their names."""
        return [(topic, name) for topic in TOPICS if (name := self.name_of(topic)) is not None]

    @model_validator(mode="after")
    def _different(self) -> Self:
        """A topic in two roles would feed its own output back in."""
        seen: dict[str, str] = {}
        for topic, name in self.named():
            if name in seen:
                raise ProblemsError(
                    [((topic.role,), f"is also {seen[name]}: each topic needs its own name")]
                )
            seen[name] = topic.setting
        return self
