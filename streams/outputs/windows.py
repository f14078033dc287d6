"""`campaign-windows`: each campaign's figures of each closed window, keyed by campaign.

One record when a window is closed, and one for each correction by late events. They are the
figures of the API, with a `revision` that rises by one: of the records with the same
`campaign_id`, `start`, `end` and `partition`, the one with the highest revision holds. A window
that is never corrected has one record, of revision 1. Late events that follow each other within
seconds are one correction.

`partition` is the task that counted. `__other__`, the campaigns that are counted together, has a
record in each partition; these are to be added up. So has a campaign that producers did not keep to
one partition though `source.keyed` says so.

Written in the transaction that moves the offsets of the events, so exactly once for consumers that
read committed records; brokers without transactions may have a record twice after a crash. What is
still to be written survives in the changelog: `streams.domain.emission` says how.

The topic is not used unless `topics.windows` names it, as no stream processor writes to a sink that
nobody declared: each window costs records and disk, and the right to write them.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import msgspec

from streams.domain.counts import Summary, largest_counts, summarise
from streams.domain.emission import WindowResult
from streams.domain.partition_settings import PartitionSettings
from streams.domain.transitions import rfc3339
from streams.outputs.output import Changes, Keyed, OutputTopic
from streams.outputs.topics import CLEANUP_POLICY, MONTH, Topic

ResultType: TypeAlias = Literal["campaign.window.closed", "campaign.window.corrected"]

_SHARE_OF_STATUSES = 8
_BYTES_PER_STATUS = 200
"""So that statuses, each byte escaped as up to six and with a count, fit into a record."""


class Rates(msgspec.Struct):
    """Shares of attempts by group, 0 to 1; null without attempts."""

    success: float | None
    failure: float | None
    throttled: float | None


class Result(msgspec.Struct):
    """The figures of a campaign in one closed window; `late_events` of its events corrected them.

    `start` is inclusive, `end` exclusive. `counts` are sends by status, `engagement` the other
    events by type. `attempts` are sends but for suppressed ones; `unrecognised` of them have a
    status that is in no group. Statuses that do not fit into a record are summed up as `__other__`.
    """

    type: ResultType
    campaign_id: str
    app_id: str | None
    partition: int
    start: str
    end: str
    revision: int
    counts: dict[str, int]
    attempts: int
    unrecognised: int
    rates: Rates
    engagement: dict[str, int]
    late_events: int


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Result).decode


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a result."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "campaign-streams window result",
        **msgspec.json.schema(Result),
    }


def _records(changes: Changes, settings: PartitionSettings, limit: int) -> Iterator[Keyed]:
    for result in changes.results:
        key = result.campaign_id.encode()
        summary = summarise([result.cell], settings.groups)
        value = encode(_result(changes.partition, result, summary, summary.counts, settings))
        if len(key) + len(value) > limit:
            counts = _largest(summary.counts, limit)
            value = encode(_result(changes.partition, result, summary, counts, settings))
        yield Keyed(key, value)


def _largest(counts: Mapping[str, int], limit: int) -> dict[str, int]:
    return largest_counts(counts, limit // _BYTES_PER_STATUS, limit // _SHARE_OF_STATUSES)


def _result(
    partition: int,
    result: WindowResult,
    summary: Summary,
    counts: dict[str, int],
    settings: PartitionSettings,
) -> Result:
    return Result(
        type="campaign.window.closed" if result.revision == 1 else "campaign.window.corrected",
        campaign_id=result.campaign_id,
        app_id=result.cell.app_id,
        partition=partition,
        start=rfc3339(result.start),
        end=rfc3339(result.start + settings.windows.size),
        revision=result.revision,
        counts=counts,
        attempts=summary.attempts,
        unrecognised=summary.unrecognised,
        rates=Rates(summary.rate("success"), summary.rate("failure"), summary.rate("throttled")),
        engagement=summary.engagement,
        late_events=result.cell.late_events,
    )


WINDOWS = OutputTopic(
    Topic(
        "windows",
        None,
        "a record of each closed window and campaign, and of each correction: campaign-windows",
        ("WRITE",),
        settings={**MONTH, CLEANUP_POLICY: "delete"},
        unfit="compaction would leave one window of each campaign",
    ),
    schema="window-result",
    json_schema=json_schema,
    describes="the topic of closed windows",
    records=_records,
    reads_windows=True,
)
