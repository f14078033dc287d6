"""`campaign-alerts`: each transition of an alert, keyed by campaign."""

from collections.abc import Iterator

from streams.domain import transitions
from streams.domain.partition_settings import PartitionSettings
from streams.outputs.output import Changes, Keyed, OutputTopic
from streams.outputs.topics import MONTH, Topic


def _records(changes: Changes, _settings: PartitionSettings, _limit: int) -> Iterator[Keyed]:
    for transition in changes.transitions:
        yield Keyed(transition.data.campaign_id.encode(), transitions.encode(transition))


ALERTS = OutputTopic(
    Topic(
        "alerts",
        "campaign-alerts",
        "alert transitions, for other systems too",
        ("WRITE",),
        settings=MONTH,
    ),
    schema="alert-transition",
    json_schema=transitions.json_schema,
    describes="the alerts topic and of native webhooks",
    records=_records,
)
